#include "lib/api/job_spec.h"

#include <stdio.h>

#include "lib/cleanup.h"

static const char *const job_keys[] = {"completions", "parallelism", "retries",
                                       "deadline",    "schedule",    "concurrency"};

static const struct {
    const char *key, *why;
} service_keys[] = {
    {"replicas", "a job has no replicas: `completions` says how many instances have to succeed, "
                 "`parallelism` how many run at a time"},
    {"standby", "a job has no standbys: its instances run until they end"},
    {"rollout", "a job is not rolled out: its next run takes the new revision"},
    {"restart", "a job's instance is not restarted in place: `retries` says how many failed ones "
                "are replaced by new ones"},
    {"health", "a job's instance is judged by its end, not by checks: `deadline` ends a run that "
               "hangs"},
    {"volumes", "a job has no volumes: they belong to the slots of a service"},
    {"boot_timeout", "a job's instance need not become ready: `deadline` ends a run that hangs"},
};

static bool has(struct json_object *object, const char *key)
{
    return json_object_object_get_ex(object, key, NULL);
}

static int refuse(struct error *error, const char *key, const char *why)
{
    char pointer[64];
    snprintf(pointer, sizeof pointer, "/%s", key);
    return error_set_at(error, ERROR_INVALID, pointer, "%s", why);
}

static int check_service(struct json_object *object, struct error *error)
{
    for (size_t i = 0; i < ARRAY_LENGTH(job_keys); i++) {
        if (!has(object, job_keys[i]))
            continue;
        char why[128];
        snprintf(why, sizeof why, "only a job has `%s`: add `type: job`, or leave it out",
                 job_keys[i]);
        return refuse(error, job_keys[i], why);
    }
    return 0;
}

static int check_job(struct json_object *object, const struct api_service_spec *spec,
                     struct error *error)
{
    struct json_object *reschedule;
    for (size_t i = 0; i < ARRAY_LENGTH(service_keys); i++) {
        if (has(object, service_keys[i].key))
            return refuse(error, service_keys[i].key, service_keys[i].why);
    }
    if (json_object_object_get_ex(object, "reschedule", &reschedule) && has(reschedule, "attempts"))
        return refuse(error, "reschedule/attempts",
                      "a job counts its attempts over a whole run: `retries` says how many");
    if (spec->placement.rebalance)
        return refuse(error, "placement/rebalance",
                      "a job's instance is not moved: it would begin its work anew");
    for (size_t i = 0; i < spec->port_count; i++) {
        char key[48];
        snprintf(key, sizeof key, "ports/%zu/publish", i);
        if (spec->ports[i].publish != 0)
            return refuse(error, key,
                          "a job's instances serve nobody and come and go: no port of them is "
                          "published");
    }
    return 0;
}

static int check_schedule(const char *schedule, struct error *error)
{
    struct cron cron;
    struct error reason = ERROR_INIT;
    if (schedule[0] == '\0' || cron_parse(schedule, &cron, &reason) == 0)
        return 0;
    return error_set_at(error, ERROR_INVALID, "/schedule", "the schedule \"%s\": %s", schedule,
                        reason.message);
}

static void fill_defaults(struct api_service_spec *spec)
{
    struct api_job *job = &spec->job;
    if (!job->has_completions)
        job->completions = 1;
    if (!job->has_parallelism)
        job->parallelism = 1;
    if (!job->has_retries)
        job->retries = 3;
    job->has_completions = job->has_parallelism = job->has_retries = job->has_concurrency = true;
    /* The node tells an end and leaves it at that. */
    spec->restart.policy = API_RESTART_NEVER;
}

int api_job_complete(struct json_object *object, struct api_service_spec *spec, struct error *error)
{
    if (spec->type == API_TYPE_SERVICE)
        return check_service(object, error);
    if (check_job(object, spec, error) < 0 || check_schedule(spec->job.schedule, error) < 0)
        return -1;
    fill_defaults(spec);
    return 0;
}

void api_job_strip(struct json_object *object)
{
    struct json_object *reschedule;
    for (size_t i = 0; i < ARRAY_LENGTH(service_keys); i++)
        json_object_object_del(object, service_keys[i].key);
    if (json_object_object_get_ex(object, "reschedule", &reschedule))
        json_object_object_del(reschedule, "attempts");
}
