#include "scheduler/observation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "scheduler/controller.h"
#include "scheduler/counters.h"
#include "scheduler/publication.h"

#define SAVE_EVERY_MS 1000
/* Writes left for what a full change still has to say. */
#define ROOM_OF_EVENT 2

/* Instances that become ready with one status and have an event each; the rest share one. */
#define TOLD_ALONE_MAX 8

struct look {
    struct core *core;
    struct model_node *node;
    const struct api_status *status;
    struct change change;
    uint64_t now_ms;
    bool changed;
    size_t ready_count; /* that became ready with this status */
    char last_ready[INSTANCE_ID_MAX];
};

static void flush_if_full(struct look *look)
{
    if (!change_has_room(&look->change, ROOM_OF_EVENT))
        changes_write(look->core->changes, &look->change);
}

static void instance_event(struct look *look, const struct model_instance *instance,
                           const char *what, const char *cause, const char *message)
{
    flush_if_full(look);
    changes_event(look->core->changes, &look->change, "instance",
                  instance->document->namespace_name, instance->document->service, instance->name,
                  what, cause, "%s", message);
}

/* --- one instance --- */

/* The scheduler counts how long an instance has been ready by what its agent says, and does not
 * let jitter of messages shorten it again. */
static void note_ready_since(struct look *look, struct model_instance *instance,
                             const struct api_observed_instance *seen)
{
    uint64_t age = seen->state_age_ms < look->now_ms ? seen->state_age_ms : look->now_ms;
    uint64_t since = look->now_ms - age;
    bool same_run = instance->reported && instance->observed.state == INSTANCE_READY &&
                    instance->observed.restarts == seen->restarts && age >= instance->ready_age_ms;
    if (!same_run || since < instance->ready_since_ms)
        instance->ready_since_ms = since;
    instance->ready_age_ms = age;
}

static void describe_wake(const struct look *look, const struct api_observed_instance *seen,
                          char *ret_text, size_t size)
{
    if (seen->wake_ms > 0)
        snprintf(ret_text, size, "on node %s, woken, %llu ms after it was resumed",
                 look->node->name, (unsigned long long)seen->wake_ms);
    else
        snprintf(ret_text, size, "on node %s, woken", look->node->name);
}

/* A boot is told of once: what was ready, or waited as a standby, is not booted for this. */
static void describe_readiness(const struct look *look, const struct document_observed *before,
                               const struct api_observed_instance *seen, char *ret_text,
                               size_t size)
{
    char steps[API_BOOT_STEPS_TEXT_MAX] = "";
    bool same_boot = before->boot_ms > 0 && before->boot_ms == seen->boot_ms &&
                     before->restarts == seen->restarts;
    if (seen->wake_ms > 0 || before->state == INSTANCE_STANDBY) {
        describe_wake(look, seen, ret_text, size);
        return;
    }
    if (same_boot) {
        snprintf(ret_text, size, "on node %s, again", look->node->name);
        return;
    }
    if (seen->has_steps)
        api_boot_steps_format(&seen->steps, steps, sizeof steps);
    snprintf(ret_text, size, "on node %s, %llu ms after its start%s%s", look->node->name,
             (unsigned long long)seen->boot_ms, steps[0] != '\0' ? ": " : "", steps);
}

static void tell_state(struct look *look, const struct model_instance *instance,
                       const struct api_observed_instance *seen)
{
    char text[REASON_MAX];
    switch (seen->state) {
    case INSTANCE_READY:
        text_copy(look->last_ready, sizeof look->last_ready, instance->name);
        if (++look->ready_count > TOLD_ALONE_MAX)
            break;
        describe_readiness(look, &instance->observed, seen, text, sizeof text);
        instance_event(look, instance, "ready", NULL, text);
        break;
    case INSTANCE_FAILED:
        instance_event(look, instance, "failed", seen->cause, seen->message);
        break;
    case INSTANCE_STOPPED:
        instance_event(look, instance, "stopped", seen->cause,
                       seen->message[0] != '\0' ? seen->message
                                                : document_text(instance->document->why));
        break;
    case INSTANCE_RUNNING:
        if (instance->observed.state == INSTANCE_READY)
            instance_event(look, instance, "unready",
                           seen->cause[0] != '\0' ? seen->cause : "unhealthy", seen->message);
        break;
    default:
        break;
    }
}

static void tell_change(struct look *look, const struct model_instance *instance,
                        const struct api_observed_instance *seen)
{
    const struct document_observed *before = &instance->observed;
    bool waits = seen->state == INSTANCE_PENDING || seen->state == INSTANCE_FETCHING ||
                 seen->state == INSTANCE_VERIFYING;
    if (seen->restarts > before->restarts)
        instance_event(look, instance, "restarted", seen->cause,
                       seen->cause[0] != '\0'
                           ? seen->message
                           : "its node was not heard when it was; it has run well since");
    if (seen->state != before->state)
        tell_state(look, instance, seen);
    if (waits && seen->cause[0] != '\0' && !document_text_equals(before->cause, seen->cause))
        instance_event(look, instance, "waiting", seen->cause, seen->message);
}

static bool is_same(const struct document_observed *before,
                    const struct api_observed_instance *seen)
{
    return before->state == seen->state && before->restarts == seen->restarts &&
           before->boot_ms == seen->boot_ms && document_text_equals(before->cause, seen->cause) &&
           document_text_equals(before->message, seen->message);
}

static void take_observed(struct look *look, struct model_instance *instance,
                          const struct api_observed_instance *seen)
{
    struct document_observed *observed = &instance->observed;
    bool same = is_same(observed, seen);
    bool came_in = seen->state != observed->state;
    if (seen->state == INSTANCE_READY)
        note_ready_since(look, instance, seen);
    if (!same)
        tell_change(look, instance, seen);
    if (came_in && instance_state_is_over(seen->state) && !instance_state_is_over(observed->state))
        instance->over_since_ms = look->now_ms;
    if (came_in)
        observed->since_ms = core_wall(look->core);
    if (!same || !instance->reported) {
        if (instance->service != NULL)
            model_touch_endpoints(instance->service);
        if (instance->service != NULL)
            model_touch_service(instance->service);
    }
    instance->observed_unsaved = instance->observed_unsaved || !same;
    look->node->has_unsaved = look->node->has_unsaved || !same;
    instance->reported = true;
    instance->received_ms = look->now_ms;
    observed->state = seen->state;
    observed->restarts = seen->restarts;
    observed->boot_ms = seen->boot_ms;
    observed->uptime_ms = seen->uptime_ms;
    document_set_text(&observed->cause, seen->cause);
    document_set_text(&observed->message, seen->message);
    text_copy(observed->accel, sizeof observed->accel, seen->accel);
}

/* --- instances that nobody knows --- */

/* Lists of ids here are in order, so that a status that lists thousands costs little more than
 * reading it. */
static int compare_strings(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

static bool has_string(const struct json_strings *strings, const char *text)
{
    return strings->count > 0 && bsearch(&text, strings->items, strings->count,
                                         sizeof *strings->items, compare_strings) != NULL;
}

static void sort_strings(struct json_strings *strings)
{
    size_t kept = 0;
    if (strings->count == 0)
        return;
    qsort(strings->items, strings->count, sizeof *strings->items, compare_strings);
    for (size_t i = 1; i < strings->count; i++) {
        if (strcmp(strings->items[i], strings->items[kept]) == 0)
            free(strings->items[i]);
        else
            strings->items[++kept] = strings->items[i];
    }
    strings->count = kept + 1;
}

static void note_stranger(struct look *look, const char *id)
{
    struct json_strings *strangers = &look->node->strangers;
    if (strangers->count >= STATUS_ENTRIES_MAX || has_string(strangers, id))
        return;
    json_strings_add(strangers, id);
    for (size_t i = strangers->count;
         --i > 0 && compare_strings(&strangers->items[i - 1], &strangers->items[i]) > 0;) {
        char *moved = strangers->items[i];
        strangers->items[i] = strangers->items[i - 1];
        strangers->items[i - 1] = moved;
    }
    flush_if_full(look);
    changes_event(
        look->core->changes, &look->change, "node", "", look->node->name, id, "stranger", NULL,
        "instance %s of another history runs: it is left alone, stop it by hand if nobody "
        "needs it",
        id);
}

static void note_orphan(struct look *look, struct json_strings *orphans,
                        const struct api_observed_instance *seen)
{
    bool known = has_string(&look->node->orphans, seen->id);
    /* More than any node can run is no agent's word: the rest is told once these are gone. */
    if (instance_state_is_over(seen->state) || orphans->count >= STATUS_ENTRIES_MAX)
        return;
    if (!counters_know(&look->core->model.counters, store_identity(look->core->store)->term,
                       seen->id)) {
        note_stranger(look, seen->id);
        return;
    }
    json_strings_add(orphans, seen->id);
    if (known)
        return;
    flush_if_full(look);
    changes_event(look->core->changes, &look->change, "node", "", look->node->name, seen->id,
                  "orphan", NULL, "instance %s is nobody's and is to be stopped", seen->id);
}

static bool same_strings(const struct json_strings *left, const struct json_strings *right)
{
    bool same = left->count == right->count;
    for (size_t i = 0; same && i < left->count; i++)
        same = strcmp(left->items[i], right->items[i]) == 0;
    return same;
}

/* --- the whole status --- */

static void touch_orphans(struct model_node *node)
{
    node->orphans_revision = 0;
    model_touch_node(node);
}

static void take_instance(struct look *look, const struct api_observed_instance *seen,
                          struct json_strings *orphans)
{
    struct model_instance *instance = model_node_instance(look->node, seen->id);
    /* One that has ended and runs again is nobody's either: it is in no assignment. */
    if (instance == NULL || model_instance_has_ended(instance)) {
        note_orphan(look, orphans, seen);
        return;
    }
    instance->is_there = true;
    take_observed(look, instance, seen);
}

/* What a status with a base does not list is as it was. */
static void keep_orphans(struct look *look, struct json_strings *orphans)
{
    const struct api_status *status = look->status;
    struct json_strings listed = {0};
    if (look->node->orphans.count == 0)
        return;
    for (size_t i = 0; i < status->instance_count; i++)
        json_strings_add(&listed, status->instances[i].id);
    sort_strings(&listed);
    for (size_t i = 0; i < look->node->orphans.count; i++) {
        if (!has_string(&listed, look->node->orphans.items[i]))
            json_strings_add(orphans, look->node->orphans.items[i]);
    }
    json_strings_release(&listed);
}

/* One event for the rest of many that became ready at once. */
static void tell_together(struct look *look)
{
    if (look->ready_count <= TOLD_ALONE_MAX)
        return;
    flush_if_full(look);
    changes_event(look->core->changes, &look->change, "node", "", look->node->name, NULL, "ready",
                  NULL, "%zu instances more are ready, the last is %s",
                  look->ready_count - TOLD_ALONE_MAX, look->last_ready);
}

static void take_instances(struct look *look)
{
    struct model_node *node = look->node;
    struct json_strings orphans = {0};
    for (size_t i = 0; look->status->base == 0 && i < node->instances.count; i++)
        ((struct model_instance *)node->instances.items[i])->is_there = false;
    if (look->status->base != 0)
        keep_orphans(look, &orphans);
    for (size_t i = 0; i < look->status->instance_count; i++)
        take_instance(look, &look->status->instances[i], &orphans);
    sort_strings(&orphans);
    if (!same_strings(&orphans, &node->orphans))
        touch_orphans(node);
    if (orphans.count > 0 || node->orphans.count > 0)
        usage_touch(node, false);
    json_strings_release(&node->orphans);
    node->orphans = orphans;
}

/* What was to stop, and an agent that knows so does not have, is over: its guest never was, or
 * went with the agent's state. */
static void take_absent(struct look *look)
{
    const struct model_node *node = look->node;
    if (node->is_touched || node->term != store_identity(look->core->store)->term ||
        node->assignment_applied < node->assignment_revision)
        return;
    for (size_t i = 0; i < node->instances.count; i++) {
        struct model_instance *instance = node->instances.items[i];
        if (model_instance_has_ended(instance) || instance->document->wish != WISH_STOP ||
            instance_state_is_over(instance->observed.state) || instance->is_there)
            continue;
        struct api_observed_instance gone = {.state = INSTANCE_STOPPED,
                                             .restarts = instance->observed.restarts};
        take_observed(look, instance, &gone);
    }
}

static const struct api_observed_frontend *find_frontend(const struct model_node *node,
                                                         uint32_t publish)
{
    for (size_t i = 0; i < node->frontend_count; i++) {
        if (node->frontends[i].publish == publish)
            return &node->frontends[i];
    }
    return NULL;
}

static void take_frontends(struct look *look, struct api_status *status)
{
    struct model_node *node = look->node;
    for (size_t i = 0; i < status->frontend_count; i++) {
        const struct api_observed_frontend *seen = &status->frontends[i];
        const struct api_observed_frontend *before = find_frontend(node, seen->publish);
        if (seen->bound || (before != NULL && !before->bound))
            continue;
        flush_if_full(look);
        changes_event(look->core->changes, &look->change, "node", "", node->name, NULL,
                      "publish_failed", NULL, "port %u: %.400s", seen->publish, seen->message);
    }
    if (node->frontend_count > 0 || status->frontend_count > 0)
        usage_touch(node, false);
    free(node->frontends);
    node->frontends = TAKE_POINTER(status->frontends);
    node->frontend_count = status->frontend_count;
    status->frontend_count = 0;
}

/* False when all of it is as it was. */
static bool take_revisions(struct look *look)
{
    struct model_node *node = look->node;
    struct model *model = &look->core->model;
    const struct api_status *status = look->status;
    bool is_ours = status->term == store_identity(look->core->store)->term;
    uint64_t confirmed = model->draining > 0 ? confirmation_revision(model) : 0;
    bool same = node->term == status->term &&
                node->assignment_applied == status->assignment_revision &&
                node->endpoints_applied == status->endpoints_revision;
    node->term = status->term;
    node->assignment_applied = status->assignment_revision;
    node->endpoints_applied = status->endpoints_revision;
    /* What was applied of an earlier term's endpoints says nothing of ours. */
    confirmation_apply(node, is_ours ? status->endpoints_revision : 0);
    if (model->draining > 0 && confirmation_revision(model) != confirmed)
        model_touch_draining(model);
    return !same;
}

static void take_data_plane(struct look *look, struct api_status *status)
{
    struct model_node *node = look->node;
    size_t count = status->draining_count;
    status->draining_count = 0;
    confirmation_take_draining(node, TAKE_POINTER(status->draining), count);
    take_frontends(look, status);
}

void observation_take_volumes(struct model_node *node, uint64_t used, uint64_t snapshots)
{
    if (node->volumes_there == used && node->snapshots == snapshots)
        return;
    node->volumes_there = used;
    node->snapshots = snapshots;
    usage_touch(node, false);
}

static void mark_back(struct look *look)
{
    struct model_node *node = look->node;
    if (!node->reported || node->silent) {
        look->changed = true;
        /* Services that were waiting to know, and those that wait for room. */
        model_mark_services_of(node);
        model_mark_waiting(&look->core->model);
    }
    model_hear_node(&look->core->model, node, look->now_ms);
    if (!node->reported)
        usage_touch(node, false);
    node->reported = true;
    node->host_silent_ms = look->status->host_silent_ms;
    node->sequence = look->status->sequence;
}

static void save_observed(struct look *look)
{
    struct model_node *node = look->node;
    if (!node->has_unsaved || look->now_ms < node->saved_ms + SAVE_EVERY_MS)
        return;
    node->has_unsaved = false;
    for (size_t i = 0; i < node->instances.count; i++) {
        struct model_instance *instance = node->instances.items[i];
        if (!instance->observed_unsaved)
            continue;
        flush_if_full(look);
        change_put(&look->change, DOCUMENT_OBSERVED,
                   document_copy(DOCUMENT_OBSERVED, &instance->observed));
        instance->observed_unsaved = false;
        node->saved_ms = look->now_ms;
    }
}

/* As they are kept: else every status would look like a change. */
static void make_printable(struct api_status *status)
{
    for (size_t i = 0; i < status->instance_count; i++) {
        text_make_printable(status->instances[i].cause);
        text_make_printable(status->instances[i].message);
    }
}

bool observation_knows_base(const struct model_node *node, const struct api_status *status)
{
    return status->base == 0 || (status->base == node->sequence && node->reported && !node->silent);
}

void observation_take(struct core *core, struct model_node *node, struct api_status *status)
{
    struct look look = {.core = core, .node = node, .status = status, .now_ms = core_now(core)};
    bool whole = status->base == 0;
    make_printable(status);
    mark_back(&look);
    observation_take_volumes(node, status->volumes_used, status->snapshots);
    bool moved = take_revisions(&look);
    if (whole || status->instance_count > 0)
        take_instances(&look);
    tell_together(&look);
    if (whole || !status->same_data_plane)
        take_data_plane(&look, status);
    if (whole || moved)
        take_absent(&look);
    else if (status->instance_count == 0 && status->same_data_plane && !node->has_unsaved)
        return; /* a heartbeat that says nothing else */
    save_observed(&look);
    if (look.changed)
        core->model.endpoints_dirty = true;
    changes_write(core->changes, &look.change);
    publication_update(core->publication);
    controller_wake(core->controller);
}
