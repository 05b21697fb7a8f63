#include "scheduler/plan.h"

#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/capacity.h"
#include "scheduler/views.h"

/* Instances looked at in all rounds together: a long rollout is cut there, some 50 ms on the loop.
 */
#define LOOKS_MAX 4000000
/* Time stands still here, later than anything began. */
#define NOW_MS (UINT64_C(1) << 50)

struct planner {
    struct core *core;
    struct model_service service; /* the copy */
    const struct document_revision *target;
    struct capacity capacity;
    struct capacity_search *search;
    struct reconcile_input input;
    struct reconcile_instance *values;
    struct plan_subject {
        const struct model_instance *now; /* NULL: a new one */
        char node[NAME_MAX_TEXT];
        uint32_t slot;
        size_t replaced; /* index of what it takes the place of, and 1; 0: nothing */
        bool is_gone;
    } * subjects; /* one for each value */
    size_t count, room;
    bool no_room; /* in this round */
    bool is_stop_first;
    struct api_plan *plan;
};

/* --- the copy --- */

static const void *written(const struct change *change, enum document_kind kind, uint32_t number)
{
    for (size_t i = 0; i < change->count; i++) {
        const struct change_write *write = &change->writes[i];
        const struct document_revision *revision = write->document;
        if (write->kind == kind && !write->removed &&
            (kind != DOCUMENT_REVISION || revision->number == number))
            return write->document;
    }
    return NULL;
}

/* The service as it would be: what the change writes, above what is, which may be volumes only. */
static void copy_service(struct planner *planner, const struct model_service *record,
                         const struct change *change, uint32_t revision)
{
    const struct document_service *document = written(change, DOCUMENT_SERVICE, 0);
    if (record != NULL)
        planner->service = *record;
    planner->service.kept = (struct usage_kept){0}; /* that is the real one's */
    if (document != NULL)
        planner->service.document = (struct document_service *)document;
    planner->target = written(change, DOCUMENT_REVISION, revision);
    size_t count = record != NULL ? record->revision_count : 0;
    planner->service.revisions = xcalloc(count + 1, sizeof(struct document_revision *));
    for (size_t i = 0; i < count; i++)
        planner->service.revisions[i] = record->revisions[i];
    if (planner->target != NULL && model_revision(&planner->service, revision) == NULL)
        planner->service.revisions[planner->service.revision_count++] =
            (struct document_revision *)planner->target;
    if (planner->target == NULL)
        planner->target = model_revision(&planner->service, revision);
    planner->is_stop_first =
        (record != NULL && record->document != NULL && model_is_stop_first(record)) ||
        (planner->target != NULL && planner->target->template.volume_count > 0);
}

static struct reconcile_instance *add_value(struct planner *planner, uint32_t slot,
                                            const struct model_instance *now)
{
    if (planner->count == planner->room) {
        planner->room = planner->room > 0 ? 2 * planner->room : 64;
        planner->values = xreallocarray(planner->values, planner->room, sizeof *planner->values);
        planner->subjects =
            xreallocarray(planner->subjects, planner->room, sizeof *planner->subjects);
    }
    struct reconcile_instance *value = &planner->values[planner->count];
    *value = (struct reconcile_instance){
        .slot = slot, .matches = true, .state = INSTANCE_READY, .drained = true};
    planner->subjects[planner->count++] = (struct plan_subject){.now = now, .slot = slot};
    return value;
}

/* What is there now: those that match are taken to become healthy. */
static void take_instances(struct planner *planner)
{
    for (size_t i = 0; i < planner->service.instances.count; i++) {
        const struct model_instance *instance = planner->service.instances.items[i];
        const struct document_instance *document = instance->document;
        bool leaving =
            instance->node != NULL && instance->node->document->eligibility == NODE_DRAINING;
        if (model_instance_has_ended(instance) || document->standby)
            continue;
        struct reconcile_instance *value = add_value(planner, document->slot, instance);
        text_copy(planner->subjects[planner->count - 1].node, NAME_MAX_TEXT, document->node);
        value->lost = model_instance_is_lost(instance);
        value->silent = value->lost;
        value->leaving = leaving;
        value->wish = document->wish;
        value->matches =
            model_same_template(&planner->service, document->revision, planner->target) &&
            !instance_state_is_over(instance->observed.state);
        if (!value->matches)
            value->state = instance->observed.state;
    }
}

/* --- one round --- */

static void give_back(struct planner *planner, size_t index)
{
    struct plan_subject *subject = &planner->subjects[index];
    if (subject->is_gone)
        return;
    subject->is_gone = true;
    planner->values[index].wish = WISH_STOP;
    planner->values[index].state = INSTANCE_STOPPED;
    if (subject->now != NULL)
        capacity_give_back(&planner->capacity, subject->now);
}

/* The first reason of a round is the one told. */
static void note_no_room(struct planner *planner, const struct error *error)
{
    if (planner->no_room)
        return;
    planner->no_room = true;
    planner->plan->no_capacity = xstrdup(error->message);
    capacity_search_obstacles(planner->search, &planner->plan->obstacles);
}

static void create(struct planner *planner, const struct reconcile_action *action)
{
    struct document_instance instance = {0};
    struct error error = ERROR_INIT;
    instance.slot = action->slot;
    /* What is pinned to one node says nothing of the other slots. */
    if (planner->target == NULL ||
        (planner->no_room && planner->target->template.volume_count == 0))
        return;
    if (capacity_search_place(planner->search, &instance, &error) < 0) {
        note_no_room(planner, &error);
        return;
    }
    add_value(planner, action->slot, NULL);
    struct plan_subject *subject = &planner->subjects[planner->count - 1];
    text_copy(subject->node, sizeof subject->node, instance.node);
    if (action->instance != RECONCILE_NONE) {
        subject->replaced = action->instance + 1;
        give_back(planner, action->instance);
    }
}

/* True when something moved. */
static bool carry_out(struct planner *planner, const struct reconcile_result *result)
{
    size_t before = planner->count;
    bool moved = false;
    for (size_t i = 0; i < result->action_count; i++) {
        const struct reconcile_action *action = &result->actions[i];
        switch (action->kind) {
        case RECONCILE_CREATE:
            create(planner, action);
            break;
        case RECONCILE_DRAIN:
        case RECONCILE_STOP:
            moved = moved || !planner->subjects[action->instance].is_gone;
            give_back(planner, action->instance);
            break;
        case RECONCILE_GIVE_UP:
            break;
        }
    }
    return moved || planner->count > before;
}

/* Those that are gone are looked at no more. Who found no room is tried again: some may have gone.
 */
static void set_input(struct planner *planner, struct reconcile_instance *live, size_t *indexes)
{
    size_t count = 0;
    for (size_t i = 0; i < planner->count; i++) {
        if (planner->subjects[i].is_gone)
            continue;
        live[count] = planner->values[i];
        indexes[count++] = i;
    }
    planner->input.instances = live;
    planner->input.instance_count = count;
    planner->input.no_room = planner->no_room;
    planner->no_room = false;
    free(planner->plan->no_capacity);
    planner->plan->no_capacity = NULL;
    json_record_release(&api_obstacles_record, &planner->plan->obstacles);
}

static bool play_round(struct planner *planner)
{
    struct reconcile_result result;
    AUTO_FREE struct reconcile_instance *live = xcalloc(planner->count + 1, sizeof *live);
    AUTO_FREE size_t *indexes = xcalloc(planner->count + 1, sizeof *indexes);
    set_input(planner, live, indexes);
    reconcile_decide(&planner->input, &result);
    for (size_t i = 0; i < result.action_count; i++) {
        if (result.actions[i].instance != RECONCILE_NONE)
            result.actions[i].instance = indexes[result.actions[i].instance];
    }
    bool moved = carry_out(planner, &result);
    reconcile_result_release(&result);
    return moved;
}

static void play(struct planner *planner)
{
    const struct api_service_spec *spec = &planner->service.document->spec;
    planner->input = (struct reconcile_input){
        .mode = RECONCILE_ROLLOUT,
        .replicas = planner->service.document->replicas,
        .max_surge = spec->rollout.max_surge,
        .max_unavailable = spec->rollout.max_unavailable,
        .stop_first = planner->is_stop_first,
        .reschedule = spec->reschedule,
        .restart = API_RESTART_ALWAYS,
        .now_ms = NOW_MS,
    };
    size_t looks = 0;
    while (looks < LOOKS_MAX && play_round(planner))
        looks += planner->count + 1;
    planner->plan->is_cut = looks >= LOOKS_MAX;
}

/* --- what came of it --- */

static struct api_plan_instance *add_instance(struct api_plan *plan, uint32_t slot,
                                              enum api_plan_action action)
{
    plan->instances =
        xreallocarray(plan->instances, plan->instance_count + 1, sizeof *plan->instances);
    struct api_plan_instance *instance = &plan->instances[plan->instance_count++];
    *instance = (struct api_plan_instance){.slot = slot, .action = action};
    return instance;
}

static void tell_old(struct api_plan_instance *instance, const struct plan_subject *old)
{
    text_copy(instance->id, sizeof instance->id, old->now->name);
    text_copy(instance->from, sizeof instance->from, old->node);
}

/* Of the wanted template, and there at the end. */
static bool stays(const struct planner *planner, size_t index)
{
    const struct reconcile_instance *value = &planner->values[index];
    return !planner->subjects[index].is_gone && value->wish == WISH_RUN && value->matches &&
           !value->leaving;
}

/* What is there now in each slot and has to go; an index and 1. */
static size_t *find_old(const struct planner *planner, uint32_t slots)
{
    size_t *old = xcalloc((size_t)slots + 1, sizeof *old);
    for (size_t i = 0; i < planner->count; i++) {
        const struct plan_subject *subject = &planner->subjects[i];
        if (subject->now != NULL && !stays(planner, i) && subject->slot < slots &&
            subject->now->document->wish == WISH_RUN)
            old[subject->slot] = i + 1;
    }
    return old;
}

static void tell_new(struct planner *planner, const struct plan_subject *subject, const size_t *old)
{
    size_t before = subject->replaced != 0 ? subject->replaced : old[subject->slot];
    struct api_plan_instance *instance = add_instance(
        planner->plan, subject->slot, before != 0 ? API_PLAN_REPLACE : API_PLAN_CREATE);
    text_copy(instance->node, sizeof instance->node, subject->node);
    if (before != 0)
        tell_old(instance, &planner->subjects[before - 1]);
}

static void tell_instances(struct planner *planner)
{
    struct api_plan *plan = planner->plan;
    uint32_t replicas = planner->service.document->replicas;
    AUTO_FREE size_t *old = find_old(planner, replicas);
    AUTO_FREE bool *held = xcalloc((size_t)replicas + 1, sizeof *held);
    for (size_t i = 0; i < planner->count; i++) {
        const struct plan_subject *subject = &planner->subjects[i];
        if (stays(planner, i) && subject->slot < replicas)
            held[subject->slot] = true;
        if (subject->now == NULL)
            tell_new(planner, subject, old);
        else if (stays(planner, i))
            plan->kept++;
        else if (subject->slot >= replicas)
            tell_old(add_instance(plan, subject->slot, API_PLAN_STOP), subject);
    }
    /* What is there of another template stays until its replacement has a place. */
    for (uint32_t slot = 0; slot < replicas && planner->no_room; slot++) {
        if (held[slot])
            continue;
        struct api_plan_instance *waits = add_instance(plan, slot, API_PLAN_WAIT);
        plan->waiting++;
        if (old[slot] != 0)
            tell_old(waits, &planner->subjects[old[slot] - 1]);
    }
}

/* A spec without what templates say. */
static struct json_object *settings_of(const struct document_service *document)
{
    static const char *const keys[] = {"image", "arch",         "args",      "env",
                                       "stop",  "boot_timeout", "resources", "volumes"};
    struct json_object *settings = json_encode(&api_service_spec_record, &document->spec);
    for (size_t i = 0; i < ARRAY_LENGTH(keys); i++)
        json_object_object_del(settings, keys[i]);
    return settings;
}

/* Told with the settings already. */
static void drop_ports(struct json_object *before, struct json_object *after)
{
    json_object_object_del(before, "ports");
    json_object_object_del(after, "ports");
}

/* Against what is used now, which after a rollback is not what was applied last. */
static void tell_template_changes(struct planner *planner, const struct document_revision *now)
{
    AUTO_JSON struct json_object *before = views_comparable_revision(now);
    AUTO_JSON struct json_object *after = views_comparable_revision(planner->target);
    const char *image = planner->service.document->spec.image;
    json_object_object_add(after, "image", json_object_new_string(image));
    for (size_t i = 0; i < planner->plan->change_count; i++) {
        if (strcmp(planner->plan->changes[i].path, "/ports") == 0)
            drop_ports(before, after);
    }
    api_plan_compare(planner->plan, before, after);
}

static void tell_changes(struct planner *planner, const struct model_service *known)
{
    const struct document_revision *now =
        known != NULL ? model_revision(known, model_target(known)) : NULL;
    bool both = now != NULL && planner->target != NULL;
    AUTO_JSON struct json_object *before =
        both ? settings_of(known->document) : json_object_new_object();
    AUTO_JSON struct json_object *after =
        both ? settings_of(planner->service.document)
             : json_encode(&api_service_spec_record, &planner->service.document->spec);
    api_plan_compare(planner->plan, before, after);
    if (both)
        tell_template_changes(planner, now);
}

int plan_make(struct core *core, const struct service_apply *apply, struct api_plan *ret_plan,
              struct error *error)
{
    const struct api_service_spec *spec = apply->spec;
    const struct model_service *known =
        model_service(&core->model, spec->namespace_name, spec->service);
    struct change never = {0};
    struct api_change_answer answer = {0};
    struct api_plan plan = {0};
    if (service_changes_apply(core, &never, apply, &answer, error) < 0) {
        change_finish(&never);
        return -1;
    }
    struct planner planner = {.core = core, .plan = &plan};
    copy_service(&planner, model_service_record(&core->model, spec->namespace_name, spec->service),
                 &never, answer.revision);
    text_copy(plan.namespace_name, sizeof plan.namespace_name, spec->namespace_name);
    text_copy(plan.service, sizeof plan.service, spec->service);
    plan.changed = answer.changed;
    plan.is_new = known == NULL;
    plan.revision = answer.revision;
    plan.rolls = answer.rollout != 0;
    plan.replicas_before = known != NULL ? known->document->replicas : 0;
    plan.replicas = planner.service.document->replicas;
    plan.message = xstrdup(answer.message);
    tell_changes(&planner, known);
    if (planner.target != NULL && spec->type == API_TYPE_SERVICE) {
        capacity_init(&planner.capacity, &core->model, core_now(core));
        planner.search =
            capacity_search_begin(&planner.capacity, &planner.service, planner.target, 0);
        take_instances(&planner);
        play(&planner);
        tell_instances(&planner);
        capacity_search_end(planner.search);
        capacity_finish(&planner.capacity);
    }
    free(planner.values);
    free(planner.subjects);
    free(planner.service.revisions);
    change_finish(&never);
    *ret_plan = plan;
    return 0;
}
