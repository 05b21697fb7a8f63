/* Specs of `type: job`: defaults, what only they have, what they do not have, and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "lib/api/service_spec.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/manifest.h"

#define HEAD "{\"service\":\"batch\",\"image\":\"batch:1.0\""
#define JOB  HEAD ",\"type\":\"job\""

static int decode(const char *text, struct api_service_spec *ret_spec, struct error *error)
{
    AUTO_JSON struct json_object *object = NULL;
    if (json_parse(text, strlen(text), &object, error) < 0)
        return -1;
    return api_service_spec_decode(object, ret_spec, error);
}

static struct api_service_spec decoded(const char *text)
{
    struct api_service_spec spec;
    struct error error = ERROR_INIT;
    if (decode(text, &spec, &error) < 0)
        fail_msg("%s: %s", text, error.message);
    return spec;
}

static void assert_refused(const char *text, const char *pointer, const char *message)
{
    struct api_service_spec spec;
    struct error error = ERROR_INIT;
    assert_int_equal(decode(text, &spec, &error), -1);
    if (strstr(error.message, message) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", message, error.message);
    assert_int_equal(error.code, ERROR_INVALID);
    assert_string_equal(error.pointer, pointer);
}

static void defaults_are_those_of_the_manual(void **state)
{
    (void)state;
    struct api_service_spec spec = decoded(JOB "}");
    assert_int_equal(spec.type, API_TYPE_JOB);
    assert_int_equal(spec.job.completions, 1);
    assert_int_equal(spec.job.parallelism, 1);
    assert_int_equal(spec.job.retries, 3);
    assert_int_equal(spec.job.deadline_ms, 0);
    assert_string_equal(spec.job.schedule, "");
    assert_int_equal(spec.job.concurrency, API_CONCURRENCY_FORBID);
    assert_int_equal(spec.restart.policy, API_RESTART_NEVER);
    api_service_spec_release(&spec);
}

static void what_is_said_is_kept(void **state)
{
    (void)state;
    struct api_service_spec spec =
        decoded(JOB ",\"completions\":5,\"parallelism\":2,\"retries\":0,\"deadline\":\"10m\","
                    "\"schedule\":\"*/5 * * * mon-fri\",\"concurrency\":\"replace\"}");
    assert_int_equal(spec.job.completions, 5);
    assert_int_equal(spec.job.parallelism, 2);
    assert_int_equal(spec.job.retries, 0);
    assert_int_equal(spec.job.deadline_ms, 600000);
    assert_string_equal(spec.job.schedule, "*/5 * * * mon-fri");
    assert_int_equal(spec.job.concurrency, API_CONCURRENCY_REPLACE);
    api_service_spec_release(&spec);
}

static void a_service_has_none_of_it(void **state)
{
    (void)state;
    struct api_service_spec spec = decoded(HEAD ",\"type\":\"service\"}");
    assert_int_equal(spec.type, API_TYPE_SERVICE);
    AUTO_FREE char *text = json_record_text(&api_service_spec_record, &spec);
    assert_null(strstr(text, "completions"));
    assert_null(strstr(text, "\"type\""));
    api_service_spec_release(&spec);
    assert_refused(HEAD ",\"completions\":2}", "/completions", "only a job has `completions`");
    assert_refused(HEAD ",\"schedule\":\"@daily\"}", "/schedule", "add `type: job`");
    assert_refused(HEAD ",\"deadline\":\"1m\"}", "/deadline", "only a job");
    assert_refused(HEAD ",\"retries\":0}", "/retries", "only a job");
    assert_refused(HEAD ",\"type\":\"cron\"}", "/type", "service, job");
}

static void what_makes_no_sense_for_a_job_is_refused(void **state)
{
    (void)state;
    assert_refused(JOB ",\"replicas\":3}", "/replicas", "`completions` says how many");
    assert_refused(JOB ",\"rollout\":{\"max_surge\":1}}", "/rollout", "is not rolled out");
    assert_refused(JOB ",\"restart\":{}}", "/restart", "`retries` says how many");
    assert_refused(JOB ",\"health\":{}}", "/health", "judged by its end");
    assert_refused(JOB ",\"volumes\":[{\"name\":\"data\",\"size\":\"64Mi\"}]}", "/volumes",
                   "they belong to the slots of a service");
    assert_refused(JOB ",\"placement\":{\"rebalance\":true}}", "/placement/rebalance",
                   "is not moved");
    assert_refused(JOB ",\"boot_timeout\":\"5s\"}", "/boot_timeout", "`deadline` ends");
    assert_refused(JOB ",\"reschedule\":{\"attempts\":2}}", "/reschedule/attempts", "`retries`");
    assert_refused(JOB ",\"ports\":[{\"name\":\"a\",\"port\":1},"
                       "{\"name\":\"b\",\"port\":2,\"publish\":80}]}",
                   "/ports/1/publish", "no port of them is published");
    struct api_service_spec spec = decoded(JOB ",\"reschedule\":{\"backoff\":\"1s\"}}");
    assert_int_equal(spec.reschedule.backoff_ms, 1000);
    api_service_spec_release(&spec);
}

static void limits_are_those_of_the_manual(void **state)
{
    (void)state;
    assert_refused(JOB ",\"completions\":0}", "/completions", "1 to 10000");
    assert_refused(JOB ",\"completions\":10001}", "/completions", "1 to 10000");
    assert_refused(JOB ",\"parallelism\":1001}", "/parallelism", "1 to 1000");
    assert_refused(JOB ",\"retries\":1001}", "/retries", "0 to 1000");
    assert_refused(JOB ",\"deadline\":\"999ms\"}", "/deadline", "1s to 720h");
}

static void a_schedule_is_refused_with_its_character(void **state)
{
    (void)state;
    assert_refused(JOB ",\"schedule\":\"0 25 * * *\"}", "/schedule",
                   "the schedule \"0 25 * * *\": character 3: hour: found 25, allowed are 0 to 23");
    assert_refused(JOB ",\"schedule\":\"0 0 30 2 *\"}", "/schedule", "no such day ever comes");
    assert_refused(JOB ",\"schedule\":\"* * *\"}", "/schedule", "the month is missing");
    static const char text[] = "service: b\nimage: b\ntype: job\nschedule: \"0 25 * * *\"\n";
    struct manifest *manifest = NULL;
    struct error error = ERROR_INIT;
    assert_int_equal(manifest_parse("a.yaml", text, strlen(text), "default", &manifest, &error),
                     -1);
    assert_non_null(strstr(error.message, "a.yaml:4:11: the schedule"));
}

static void what_is_shown_of_a_job_decodes_again(void **state)
{
    (void)state;
    struct api_service_spec spec =
        decoded(JOB ",\"completions\":4,\"schedule\":\"@daily\",\"deadline\":\"1h\"}");
    AUTO_JSON struct json_object *shown = api_service_spec_encode(&spec);
    assert_false(json_object_object_get_ex(shown, "rollout", NULL));
    assert_false(json_object_object_get_ex(shown, "replicas", NULL));
    struct api_service_spec again;
    struct error error = ERROR_INIT;
    if (api_service_spec_decode(shown, &again, &error) < 0)
        fail_msg("%s", error.message);
    AUTO_FREE char *first = json_record_text(&api_service_spec_record, &spec);
    AUTO_FREE char *second = json_record_text(&api_service_spec_record, &again);
    assert_string_equal(first, second);
    api_service_spec_release(&spec);
    api_service_spec_release(&again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_manual),
        cmocka_unit_test(what_is_said_is_kept),
        cmocka_unit_test(a_service_has_none_of_it),
        cmocka_unit_test(what_makes_no_sense_for_a_job_is_refused),
        cmocka_unit_test(limits_are_those_of_the_manual),
        cmocka_unit_test(a_schedule_is_refused_with_its_character),
        cmocka_unit_test(what_is_shown_of_a_job_decodes_again),
    };
    return cmocka_run_group_tests_name("job_spec", tests, NULL, NULL);
}
