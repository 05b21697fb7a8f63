#include "registry/upkeep/upkeep.h"

#include <pthread.h>
#include <string.h>

#include "lib/xalloc.h"
#include "registry/upkeep/backup.h"
#include "registry/upkeep/retention.h"
#include "registry/upkeep/scrub.h"

const char *const upkeep_task_names[] = {"collect", "retain", "scrub", "backup", NULL};

struct upkeep {
    struct upkeep_parts parts;
    struct task_progress progress;
    pthread_mutex_t lock;
    bool is_running; /* under lock, as `task` */
    enum upkeep_task task;
};

bool upkeep_task_parse(const char *name, enum upkeep_task *ret_task)
{
    for (int i = 0; upkeep_task_names[i] != NULL; i++) {
        if (strcmp(upkeep_task_names[i], name) == 0) {
            *ret_task = (enum upkeep_task)i;
            return true;
        }
    }
    return false;
}

struct upkeep *upkeep_create(const struct upkeep_parts *parts)
{
    struct upkeep *upkeep = xcalloc(1, sizeof *upkeep);
    upkeep->parts = *parts;
    upkeep->parts.state = xstrdup(parts->state);
    pthread_mutex_init(&upkeep->lock, NULL);
    return upkeep;
}

void upkeep_stop(struct upkeep *upkeep)
{
    if (upkeep != NULL)
        atomic_store(&upkeep->progress.stops, true);
}

void upkeep_destroy(struct upkeep *upkeep)
{
    if (upkeep == NULL)
        return;
    pthread_mutex_destroy(&upkeep->lock);
    free((char *)(uintptr_t)upkeep->parts.state);
    free(upkeep);
}

/* --- the tasks --- */

static int collect(struct upkeep *upkeep, const struct upkeep_options *options,
                   struct json_object **ret_report, struct error *error)
{
    struct collector_options how;
    struct collector_report report = {0};
    collector_options_usual(upkeep->parts.collector, &how);
    how.dry_run = options->dry_run;
    how.untagged = how.untagged || options->untagged;
    int result = collector_run(upkeep->parts.collector, &how, &report, error);
    if (result == 0)
        *ret_report = json_encode(&collector_report_record, &report);
    return result;
}

static int retain(struct upkeep *upkeep, const struct upkeep_options *options,
                  struct json_object **ret_report, struct error *error)
{
    const struct upkeep_parts *parts = &upkeep->parts;
    struct policies policies = {0};
    struct retention_report report = {0};
    parts->copy_policies(&policies, parts->data);
    const struct retention_parts retention = {parts->metadata, parts->leases, parts->metrics,
                                              &policies};
    int result = retention_run(&retention, options->dry_run, &upkeep->progress, &report, error);
    if (result == 0)
        *ret_report = json_encode(&retention_report_record, &report);
    json_record_release(&retention_report_record, &report);
    policies_release(&policies);
    return result;
}

static int scrub(struct upkeep *upkeep, const struct upkeep_options *options,
                 struct json_object **ret_report, struct error *error)
{
    const struct scrub_parts parts = {upkeep->parts.metadata, upkeep->parts.blobs,
                                      upkeep->parts.metrics};
    const struct scrub_options how = {.dry_run = options->dry_run, .rate = options->rate};
    struct scrub_report report = {0};
    int result = scrub_run(&parts, &how, &upkeep->progress, &report, error);
    if (result == 0)
        *ret_report = json_encode(&scrub_report_record, &report);
    json_record_release(&scrub_report_record, &report);
    return result;
}

static int back_up(struct upkeep *upkeep, const struct upkeep_options *options,
                   struct json_object **ret_report, struct error *error)
{
    const struct backup_parts parts = {upkeep->parts.metadata, upkeep->parts.blobs,
                                       upkeep->parts.state};
    struct backup_report report = {0};
    if (options->target == NULL)
        return error_set(error, ERROR_INVALID, "a backup needs a folder to go to");
    int result = backup_run(&parts, options->target, &upkeep->progress, &report, error);
    if (result == 0)
        *ret_report = json_encode(&backup_report_record, &report);
    json_record_release(&backup_report_record, &report);
    return result;
}

/* --- one at a time --- */

static int begin(struct upkeep *upkeep, enum upkeep_task task, struct error *error)
{
    pthread_mutex_lock(&upkeep->lock);
    int result = 0;
    if (upkeep->is_running)
        result = error_set(error, ERROR_CONFLICT,
                           "%s is under way: wait for its end, or end it by shoal-registry cancel",
                           upkeep_task_names[upkeep->task]);
    atomic_store(&upkeep->progress.cancelled,
                 upkeep->is_running && atomic_load(&upkeep->progress.cancelled));
    if (result == 0)
        result = task_check(&upkeep->progress, error);
    if (result == 0) {
        upkeep->is_running = true;
        upkeep->task = task;
        atomic_store(&upkeep->progress.done, 0);
    }
    pthread_mutex_unlock(&upkeep->lock);
    return result;
}

static void end(struct upkeep *upkeep)
{
    pthread_mutex_lock(&upkeep->lock);
    upkeep->is_running = false;
    pthread_mutex_unlock(&upkeep->lock);
}

int upkeep_run(struct upkeep *upkeep, enum upkeep_task task, const struct upkeep_options *options,
               struct json_object **ret_report, struct error *error)
{
    static int (*const tasks[])(struct upkeep *, const struct upkeep_options *,
                                struct json_object **, struct error *) = {
        [UPKEEP_COLLECT] = collect,
        [UPKEEP_RETAIN] = retain,
        [UPKEEP_SCRUB] = scrub,
        [UPKEEP_BACKUP] = back_up,
    };
    if (begin(upkeep, task, error) < 0)
        return -1;
    int result = tasks[task](upkeep, options, ret_report, error);
    end(upkeep);
    return result;
}

void upkeep_cancel(struct upkeep *upkeep)
{
    pthread_mutex_lock(&upkeep->lock);
    if (upkeep->is_running)
        atomic_store(&upkeep->progress.cancelled, true);
    pthread_mutex_unlock(&upkeep->lock);
}

struct json_object *upkeep_status(struct upkeep *upkeep)
{
    struct json_object *status = json_object_new_object();
    pthread_mutex_lock(&upkeep->lock);
    json_object_object_add(
        status, "task",
        upkeep->is_running ? json_object_new_string(upkeep_task_names[upkeep->task]) : NULL);
    pthread_mutex_unlock(&upkeep->lock);
    json_object_object_add(status, "done",
                           json_object_new_uint64(atomic_load(&upkeep->progress.done)));
    return status;
}
