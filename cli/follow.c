#include "cli/follow.h"

#include <stdio.h>
#include <string.h>

#include "cli/format.h"
#include "cli/jobs.h"
#include "cli/rollout_text.h"
#include "cli/scheduler.h"
#include "lib/clock.h"
#include "lib/text.h"

#define POLL_MS     200
#define PATIENCE_MS 30000 /* with a scheduler that does not answer: it may be restarting */

/* What a look at the scheduler found. */
enum look { LOOK_DONE, LOOK_WAIT, LOOK_NO_ROOM, LOOK_ERROR };
typedef enum look look_function(struct follow *follow, uint32_t number, struct error *error);

void follow_init(struct follow *follow, struct cli *cli, const char *namespace_name,
                 const char *service)
{
    *follow = (struct follow){
        .cli = cli,
        .namespace_name = namespace_name,
        .service = service,
        .wait_for_room = invocation_has(cli->invocation, "wait-for-room"),
        .timeout_ms = invocation_duration(cli->invocation, "timeout", 0),
    };
    snprintf(follow->see, sizeof follow->see, "shoal status %s", service);
    progress_init(&follow->progress);
    session_catch_interrupt(cli_session(cli));
}

static uint64_t now_ms(void)
{
    return clock_monotonic_ms(clock_system());
}

static bool may_pass(const struct error *error)
{
    return error->code == ERROR_UNAVAILABLE || error->code == ERROR_TIMEOUT ||
           error->code == ERROR_NO_LEADER || error->code == ERROR_UNKNOWN;
}

static int end_detached(struct follow *follow)
{
    follow->detached = true;
    progress_say(&follow->progress, "Detached: %s goes on without being watched. See `%s`.",
                 follow->service, follow->see);
    return 0;
}

/* What was asked and what each node has free, in the scheduler's words, a line each. */
static void describe_room(const char *reason, struct buffer *text)
{
    const char *end;
    for (; (end = strstr(reason, "; ")) != NULL; reason = end + 2)
        buffer_printf(text, "%.*s\n  ", (int)(end - reason), reason);
    buffer_append_text(text, reason[0] != '\0' ? reason : "no node has room");
}

static int end_without_room(struct follow *follow, struct error *error)
{
    struct buffer AUTO_BUFFER text = {0};
    describe_room(follow->no_room, &text);
    progress_finish(&follow->progress);
    return error_set(error, ERROR_NO_CAPACITY,
                     "%s: %s\nIt goes on by itself once a node can take it: free some room, add a "
                     "node, start the agent of one that is silent (`shoal node list`), or wait "
                     "with --wait-for-room.",
                     follow->service, buffer_text(&text));
}

static int end_by_timeout(struct follow *follow, uint64_t ms, const char *what, struct error *error)
{
    char spent[TEXT_DURATION_MAX];
    text_format_duration(ms, spent, sizeof spent);
    progress_finish(&follow->progress);
    return error_set(error, ERROR_TIMEOUT, "%s: %s %s; it goes on. See `%s`.", follow->service,
                     what, spent, follow->see);
}

/* Whether --timeout or the patience with a standstill is over, without room being the reason. */
static bool is_over_time(struct follow *follow, enum look found, uint64_t begin, uint64_t now,
                         struct error *error)
{
    if (found != LOOK_WAIT)
        follow->changed_ms = now;
    if (follow->timeout_ms > 0 && now - begin >= follow->timeout_ms) {
        end_by_timeout(follow, follow->timeout_ms, "not done after", error);
        return true;
    }
    if (follow->stall_ms > 0 && now - follow->changed_ms >= follow->stall_ms) {
        end_by_timeout(follow, follow->stall_ms, "nothing has changed for", error);
        return true;
    }
    return false;
}

/* Looks again and again; a scheduler that is away for a moment is waited for. */
static int follow_with(struct follow *follow, look_function *look, uint32_t number,
                       struct error *error)
{
    struct session *session = cli_session(follow->cli);
    uint64_t begin = now_ms(), answered = begin, had_room = begin;
    follow->changed_ms = begin;
    for (;;) {
        struct error reason = ERROR_INIT;
        enum look found = look(follow, number, &reason);
        uint64_t now = now_ms();
        if (session_is_interrupted(session))
            return end_detached(follow);
        if (found == LOOK_DONE) {
            progress_finish(&follow->progress);
            return 0;
        }
        if (found == LOOK_ERROR && (!may_pass(&reason) || now - answered > PATIENCE_MS)) {
            progress_finish(&follow->progress);
            return error_copy(error, &reason);
        }
        if (found == LOOK_ERROR)
            progress_show(&follow->progress, "the scheduler does not answer, trying again");
        else
            answered = now;
        if (found != LOOK_NO_ROOM)
            had_room = now;
        else if (!follow->wait_for_room && now - had_room >= FOLLOW_NO_ROOM_MS)
            return end_without_room(follow, error);
        if (is_over_time(follow, found, begin, now, error))
            return -1;
        if (!session_sleep(session, POLL_MS))
            return end_detached(follow);
    }
}

static const struct api_rollout_view *find_rollout(const struct view_list *list, uint32_t number)
{
    const struct api_rollout_view *views = list->items;
    for (size_t i = 0; i < list->count; i++) {
        if (views[i].number == number)
            return &views[i];
    }
    return NULL;
}

static void show_rollout(struct follow *follow, const struct api_rollout_view *view)
{
    struct buffer AUTO_BUFFER phase = {0}, progress = {0};
    rollout_text_phase(view, &phase);
    rollout_text_progress(view, &progress);
    progress_show(&follow->progress, "%s: rollout %u to revision %u %s: %s", follow->service,
                  view->number, view->to, buffer_text(&phase), buffer_text(&progress));
}

static enum look end_of_rollout(const struct follow *follow, const struct api_rollout_view *view,
                                struct error *error)
{
    const char *reason = view->reason[0] != '\0' ? view->reason : "no reason was given";
    bool went_back = view->phase == ROLLOUT_ROLLED_BACK ||
                     (follow->aborted != NULL && strcmp(view->reason, follow->aborted) == 0);
    if (view->phase == ROLLOUT_SUCCEEDED || (follow->aborted != NULL && went_back))
        return LOOK_DONE;
    if (view->phase == ROLLOUT_ROLLED_BACK)
        error_set(error, ERROR_FAILED,
                  "%s: rollout %u to revision %u was rolled back to revision %u: %s\n"
                  "See `shoal status %s` and `shoal logs %s`.",
                  follow->service, view->number, view->to, view->from, reason, follow->service,
                  follow->service);
    else if (view->phase == ROLLOUT_SUPERSEDED)
        error_set(error, ERROR_FAILED, "%s: rollout %u to revision %u did not go to its end: %s",
                  follow->service, view->number, view->to, reason);
    else
        error_set(error, ERROR_FAILED,
                  "%s: rollout %u to revision %u failed: %s\n"
                  "See `shoal status %s` and `shoal logs %s`.",
                  follow->service, view->number, view->to, reason, follow->service,
                  follow->service);
    return LOOK_ERROR;
}

static enum look look_at_rollout(struct follow *follow, uint32_t number, struct error *error)
{
    struct view_list AUTO_VIEWS rollouts = {0};
    if (scheduler_rollouts(follow->cli, follow->namespace_name, follow->service, &rollouts, error) <
        0)
        return LOOK_ERROR;
    const struct api_rollout_view *view = find_rollout(&rollouts, number);
    if (view == NULL) {
        error_set(error, ERROR_NOT_FOUND, "%s has no rollout %u any more", follow->service, number);
        return LOOK_ERROR;
    }
    follow->rollout = *view;
    follow->has_rollout = true;
    show_rollout(follow, view);
    if (rollout_phase_is_over(view->phase))
        return end_of_rollout(follow, view, error);
    if (view->phase == ROLLOUT_AWAITING_PROMOTION && view->held)
        return LOOK_DONE;
    if (view->no_capacity)
        text_copy(follow->no_room, sizeof follow->no_room, view->reason);
    return view->no_capacity ? LOOK_NO_ROOM : LOOK_WAIT;
}

int follow_rollout(struct follow *follow, uint32_t number, struct error *error)
{
    return follow_with(follow, look_at_rollout, number, error);
}

static enum look end_of_run(const struct follow *follow, const struct api_run_view *view,
                            struct error *error)
{
    if (view->phase == RUN_SUCCEEDED)
        return LOOK_DONE;
    error_set(error, ERROR_FAILED, "%s: run %u %s: %s\nSee `shoal status %s` and `shoal logs %s`.",
              follow->service, view->number, run_phase_names[view->phase],
              view->reason[0] != '\0' ? view->reason : "no reason was given", follow->service,
              follow->service);
    return LOOK_ERROR;
}

static enum look look_at_run(struct follow *follow, uint32_t number, struct error *error)
{
    struct view_list AUTO_VIEWS runs = {0};
    char counts[128];
    if (jobs_fetch_runs(follow->cli, follow->namespace_name, follow->service, &runs, error) < 0)
        return LOOK_ERROR;
    const struct api_run_view *views = runs.items;
    for (size_t i = 0; i < runs.count; i++) {
        if (views[i].number != number)
            continue;
        follow->run = views[i];
        follow->has_run = true;
        jobs_describe_run(&views[i], counts, sizeof counts);
        progress_show(&follow->progress, "%s: run %u %s: %s", follow->service, number,
                      run_phase_names[views[i].phase], counts);
        if (run_phase_is_over(views[i].phase))
            return end_of_run(follow, &views[i], error);
        if (views[i].no_capacity)
            text_copy(follow->no_room, sizeof follow->no_room, views[i].reason);
        return views[i].no_capacity ? LOOK_NO_ROOM : LOOK_WAIT;
    }
    error_set(error, ERROR_NOT_FOUND, "%s has no run %u any more", follow->service, number);
    return LOOK_ERROR;
}

int follow_run(struct follow *follow, uint32_t number, struct error *error)
{
    return follow_with(follow, look_at_run, number, error);
}

static enum look look_at_replicas(struct follow *follow, uint32_t wanted, struct error *error)
{
    struct view_list AUTO_VIEWS instances = {0};
    if (scheduler_instances(follow->cli, follow->namespace_name, follow->service, &instances,
                            error) < 0)
        return LOOK_ERROR;
    const struct api_instance_view *views = instances.items;
    uint32_t ready = 0, ending = 0, others = 0, unknown = 0;
    bool no_room = false;
    for (size_t i = 0; i < instances.count; i++) {
        if (instance_state_is_over(views[i].state))
            continue;
        ending += views[i].wanted == API_WANTED_STOP;
        ready += views[i].wanted == API_WANTED_RUN && views[i].state == INSTANCE_READY;
        others += views[i].wanted == API_WANTED_RUN && views[i].state != INSTANCE_READY;
        unknown += views[i].state == INSTANCE_UNKNOWN;
        if (strcmp(views[i].cause, "no_capacity") != 0)
            continue;
        no_room = true;
        text_copy(follow->no_room, sizeof follow->no_room, views[i].message);
    }
    char silent[64] = "";
    if (unknown > 0)
        snprintf(silent, sizeof silent, ", %u unknown on silent nodes", unknown);
    progress_show(&follow->progress, "%s: %u/%u ready%s%s", follow->service, ready, wanted,
                  ending > 0 ? ", others are ending" : "", silent);
    bool enough = follow->held ? ready >= wanted : ready == wanted;
    if (enough && others == 0 && ending == 0)
        return LOOK_DONE;
    uint64_t picture = (uint64_t)ready << 40 | (uint64_t)others << 20 | ending;
    if (picture != follow->picture)
        follow->changed_ms = now_ms();
    follow->picture = picture;
    return no_room ? LOOK_NO_ROOM : LOOK_WAIT;
}

int follow_replicas(struct follow *follow, struct error *error)
{
    struct api_service_view view = {0};
    if (scheduler_service(follow->cli, follow->namespace_name, follow->service, &view, NULL,
                          error) < 0)
        return -1;
    uint32_t wanted = view.replicas;
    follow->held = view.has_rollout && view.rollout.held;
    struct api_service_spec spec = {0};
    if (view.spec != NULL && api_service_spec_decode(view.spec, &spec, NULL) == 0)
        follow->stall_ms = spec.rollout.progress_deadline_ms;
    api_service_spec_release(&spec);
    json_record_release(&api_service_view_record, &view);
    return follow_with(follow, look_at_replicas, wanted, error);
}

static enum look look_at_removal(struct follow *follow, uint32_t number, struct error *error)
{
    (void)number;
    struct view_list AUTO_VIEWS instances = {0};
    if (scheduler_instances(follow->cli, follow->namespace_name, follow->service, &instances,
                            error) < 0)
        return error->code == ERROR_NOT_FOUND ? LOOK_DONE : LOOK_ERROR;
    const struct api_instance_view *views = instances.items;
    size_t left = 0;
    for (size_t i = 0; i < instances.count; i++)
        left += !instance_state_is_over(views[i].state);
    if (left == 0)
        return LOOK_DONE;
    progress_show(&follow->progress, "%s: %zu instance%s ending", follow->service, left,
                  left == 1 ? " is" : "s are");
    return LOOK_WAIT;
}

int follow_removal(struct follow *follow, struct error *error)
{
    return follow_with(follow, look_at_removal, 0, error);
}

static enum look look_at_drain(struct follow *follow, uint32_t number, struct error *error)
{
    (void)number;
    struct api_node_view view = {0};
    if (scheduler_node(follow->cli, follow->service, &view, error) < 0)
        return LOOK_ERROR;
    enum look found = view.waiting[0] != '\0' ? LOOK_NO_ROOM : LOOK_WAIT;
    text_copy(follow->no_room, sizeof follow->no_room, view.waiting);
    follow->volume_slots = view.volume_slots;
    if (view.eligibility == NODE_CORDONED && view.leaving == 0) {
        found = LOOK_DONE;
    } else if (view.eligibility != NODE_DRAINING) {
        error_set(error, ERROR_FAILED, "%s: somebody called the drain off (%s)", view.name,
                  view.eligibility == NODE_CORDONED ? "cordon" : "uncordon");
        found = LOOK_ERROR;
    } else {
        char left[FORMAT_MAX] = "";
        if (view.drain_left_ms > 0)
            format_span(view.drain_left_ms / 1000 * 1000, left);
        progress_show(&follow->progress, "%s: draining, %u instance%s left%s%s%s%s", view.name,
                      view.leaving, view.leaving == 1 ? "" : "s", left[0] != '\0' ? ", " : "", left,
                      left[0] != '\0' ? " to go" : "",
                      view.waiting[0] != '\0' ? "; something finds no other place" : "");
    }
    json_record_release(&api_node_view_record, &view);
    return found;
}

int follow_drain(struct follow *follow, struct error *error)
{
    snprintf(follow->see, sizeof follow->see, "shoal node list");
    return follow_with(follow, look_at_drain, 0, error);
}
