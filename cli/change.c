#include "cli/change.h"

#include <stdio.h>
#include <string.h>

#include "cli/format.h"
#include "cli/jobs.h"
#include "cli/ports.h"
#include "cli/scheduler.h"
#include "cli/table.h"
#include "lib/cleanup.h"
#include "lib/text.h"

int change_begin(struct change *change, struct cli *cli, const char *namespace_name,
                 const char *service, struct json_object *answer, struct error *error)
{
    *change = (struct change){.cli = cli, .namespace_name = namespace_name, .service = service};
    if (json_decode(&api_change_answer_record, answer, JSON_LENIENT, &change->answer, error) < 0)
        return error_wrap(error, "the scheduler's answer");
    if (change->answer.warning[0] != '\0') {
        struct buffer AUTO_BUFFER text = {0};
        text_append_safe(&text, change->answer.warning);
        fprintf(stderr, "shoal: warning: %s: the image boots, its policy only warns: %s\n", service,
                buffer_text(&text));
    }
    return 0;
}

static bool is_detached(const struct change *change)
{
    return invocation_has(change->cli->invocation, "detach");
}

int change_wait_replicas(struct change *change, struct error *error)
{
    if (is_detached(change))
        return 0;
    change->waited = true;
    follow_init(&change->follow, change->cli, change->namespace_name, change->service);
    int result = follow_replicas(&change->follow, error);
    change->succeeded = result == 0 && !change->follow.detached;
    return result;
}

/* The same spec again while its rollout still runs: there is something to wait for. */
static void find_running_rollout(struct change *change)
{
    struct api_service_view view = {0};
    if (scheduler_service(change->cli, change->namespace_name, change->service, &view, NULL, NULL) <
        0)
        return;
    if (view.has_rollout && !rollout_phase_is_over(view.rollout.phase) &&
        view.rollout.to == change->answer.revision)
        change->answer.rollout = view.rollout.number;
    json_record_release(&api_service_view_record, &view);
}

/* Of a job only the run that was begun is waited for. */
static int wait_for_run(struct change *change, struct error *error)
{
    if (change->answer.run == 0) {
        change->succeeded = change->answer.changed;
        return 0;
    }
    if (is_detached(change))
        return 0;
    change->waited = true;
    follow_init(&change->follow, change->cli, change->namespace_name, change->service);
    progress_say(&change->follow.progress, "%s: %s", change->service, change->answer.message);
    int result = follow_run(&change->follow, change->answer.run, error);
    change->succeeded = result == 0 && !change->follow.detached;
    return result;
}

int change_wait(struct change *change, struct error *error)
{
    if (change->answer.type == API_TYPE_JOB)
        return wait_for_run(change, error);
    if (change->answer.rollout == 0 && !change->answer.changed)
        find_running_rollout(change);
    if (change->answer.rollout == 0)
        return change->answer.changed ? change_wait_replicas(change, error) : 0;
    if (is_detached(change))
        return 0;
    change->waited = true;
    follow_init(&change->follow, change->cli, change->namespace_name, change->service);
    if (change->aborts && change->answer.changed)
        change->follow.aborted = change->answer.message;
    else if (change->aborts)
        change->follow.aborted = "";
    if (change->answer.changed && change->answer.message[0] != '\0')
        progress_say(&change->follow.progress, "%s: %s", change->service, change->answer.message);
    int result = follow_rollout(&change->follow, change->answer.rollout, error);
    change->succeeded = result == 0 && !change->follow.detached;
    if (change->succeeded)
        ports_warn(change->cli, change->namespace_name, change->service);
    return result;
}

static const char *result_of(const struct change *change)
{
    if (change->succeeded && change->follow.rollout.phase == ROLLOUT_AWAITING_PROMOTION)
        return rollout_phase_names[ROLLOUT_AWAITING_PROMOTION];
    if (change->succeeded)
        return "succeeded";
    if (!change->answer.changed && change->answer.rollout == 0 && change->answer.run == 0)
        return "unchanged";
    if (!change->waited || change->follow.detached)
        return "detached";
    return "failed";
}

struct json_object *change_document(const struct change *change)
{
    struct json_object *document = json_object_new_object();
    struct json_object *answer = json_encode(&api_change_answer_record, &change->answer);
    json_object_object_add(document, "namespace", json_object_new_string(change->namespace_name));
    json_object_object_add(document, "service", json_object_new_string(change->service));
    json_object_object_add(document, "result", json_object_new_string(result_of(change)));
    json_object_object_foreach (answer, key, value) {
        json_object_object_add(document, key, json_object_get(value));
    }
    json_object_put(answer);
    if (change->follow.has_rollout)
        json_object_object_add(document, "rollout_view",
                               json_encode(&api_rollout_view_record, &change->follow.rollout));
    if (change->follow.has_run)
        json_object_object_add(document, "run_view",
                               json_encode(&api_run_view_record, &change->follow.run));
    return document;
}

static void print_job(const struct change *change)
{
    const struct api_run_view *run = &change->follow.run;
    char counts[128], spent[FORMAT_MAX];
    if (change->succeeded && change->follow.has_run) {
        jobs_describe_run(run, counts, sizeof counts);
        format_span(run->duration_ms, spent);
        printf("%s: run %u succeeded, %s (%s)\n", change->service, run->number, counts, spent);
    } else if (change->answer.run != 0) {
        printf("%s: run %u goes on; see `shoal status %s`\n", change->service, change->answer.run,
               change->service);
    } else {
        printf("%s: %s\n", change->service, change->answer.message);
    }
}

/* How the rollout ended that was waited for. */
static void print_rollout(const struct change *change)
{
    const struct api_rollout_view *rollout = &change->follow.rollout;
    char spent[FORMAT_MAX];
    format_span(rollout->duration_ms, spent);
    if (rollout->phase == ROLLOUT_AWAITING_PROMOTION)
        printf("%s: %u of %u canaries of revision %u are healthy: `shoal promote %s` goes on, "
               "`shoal abort %s` goes back\n",
               change->service, rollout->healthy, rollout->canary, rollout->to, change->service,
               change->service);
    else if (rollout->phase == ROLLOUT_SUCCEEDED)
        printf("%s: revision %u runs, %u of %u healthy (rollout %u, %s)\n", change->service,
               rollout->to, rollout->healthy, rollout->wanted, change->answer.rollout, spent);
    else if (rollout->phase == ROLLOUT_ROLLED_BACK)
        printf("%s: back at revision %u, %u of %u healthy (rollout %u, %s)\n", change->service,
               rollout->from, rollout->healthy, rollout->wanted, change->answer.rollout, spent);
    else
        printf("%s: rollout %u %s\n", change->service, change->answer.rollout, rollout->reason);
}

void change_print(const struct change *change)
{
    const char *result = result_of(change);
    if (strcmp(result, "unchanged") == 0) {
        printf("%s: no change, revision %u stays\n", change->service, change->answer.revision);
    } else if (change->follow.detached) {
        return; /* Ctrl-C: said when it came */
    } else if (change->answer.type == API_TYPE_JOB) {
        print_job(change);
    } else if (strcmp(result, "detached") == 0 && change->answer.rollout > 0) {
        printf("%s: rollout %u to revision %u goes on; see `shoal status %s`\n", change->service,
               change->answer.rollout, change->answer.revision, change->service);
    } else if (strcmp(result, "detached") == 0) {
        printf("%s: accepted, it goes on; see `shoal status %s`\n", change->service,
               change->service);
    } else if (change->succeeded && change->follow.has_rollout) {
        print_rollout(change);
    } else if (change->succeeded) {
        printf("%s: %s%s%u ready\n", change->service, change->answer.message,
               change->answer.message[0] != '\0' ? "; " : "", change->answer.replicas);
    }
}
