/* One service: the model's values for reconcile and rollout, and their decisions as writes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/controller.h"
#include "scheduler/publication.h"

/* Writes that one action may take: two instances, the counters, two events. */
#define ROOM_OF_ACTION 6
#define ROOM_RETRY_MS  2000
#define CAUSE_REVOKED  "trust_revoked"

/* A look at one service. */
struct look {
    struct controller_pass *pass;
    struct model_service *service;
    const struct document_service *document;
    const struct document_rollout *rollout; /* the last; NULL before the first */
    const struct document_revision *target; /* NULL: none yet, or no longer kept */
    enum reconcile_mode mode;
    uint32_t replicas;
    struct reconcile_instance *values;
    struct model_instance **owners;
    size_t count;
    const struct document_instance **planned; /* started by this look */
    size_t planned_count;
    bool no_room;
};

static void look_again(struct look *look, uint64_t at_ms)
{
    if (at_ms > look->pass->now_ms && at_ms < look->service->next_ms)
        look->service->next_ms = at_ms;
}

static bool is_revoked(const struct document_revision *revision)
{
    return revision != NULL && revision->revoked[0] != '\0';
}

/* --- values --- */

static bool same_template(const struct model_service *service, uint32_t number,
                          const struct document_revision *other)
{
    if (other == NULL || number == other->number)
        return other != NULL;
    const struct document_revision *revision = model_revision(service, number);
    return revision != NULL && strcmp(revision->template_digest, other->template_digest) == 0;
}

static bool is_restarting(const struct look *look)
{
    return look->rollout != NULL && strcmp(look->rollout->kind, "restart") == 0 &&
           look->rollout->phase == ROLLOUT_PROGRESSING;
}

static bool matches(const struct look *look, const struct model_instance *instance)
{
    if (look->mode == RECONCILE_HOLD)
        return true;
    bool of_rollout = look->rollout != NULL && instance->document->rollout == look->rollout->number;
    if (is_restarting(look) && !of_rollout)
        return false;
    /* What failed, or was given up, before this rollout began is not waited for. */
    if (look->mode == RECONCILE_ROLLOUT && !of_rollout &&
        instance_state_is_over(instance->observed.state))
        return false;
    return same_template(look->service, instance->document->revision, look->target);
}

static bool is_replaceable(const struct look *look, const struct model_instance *instance)
{
    const struct document_revision *good = model_revision(look->service, look->document->good);
    return same_template(look->service, instance->document->revision, good);
}

/* Attempts count in a row: one that lived long enough begins a new row. */
static uint32_t attempt_of(const struct look *look, const struct model_instance *instance)
{
    uint64_t lived = instance->observed.since_ms > instance->document->created_ms
                         ? instance->observed.since_ms - instance->document->created_ms
                         : 0;
    bool row_ended = instance_state_is_over(instance->observed.state) &&
                     lived >= look->document->spec.restart.reset_after_ms;
    return row_ended ? 0 : instance->document->attempt;
}

static bool is_drained(struct look *look, struct model_instance *instance)
{
    const struct document_revision *revision =
        model_revision(look->service, instance->document->revision);
    if (instance->document->wish != WISH_DRAIN || instance->drain_since_ms == 0)
        return false;
    /* It is given time when its node is back. */
    if (instance->node != NULL && instance->node->lost)
        return false;
    uint64_t deadline =
        instance->drain_since_ms + (revision != NULL ? revision->template.stop.drain_ms : 0);
    look_again(look, deadline);
    return look->pass->now_ms >= deadline ||
           publication_is_drained(look->pass->core->publication, instance);
}

static void add_value(struct look *look, struct model_instance *instance)
{
    const struct model_node *node = instance->node;
    struct reconcile_instance *value = &look->values[look->count];
    *value = (struct reconcile_instance){
        .slot = instance->document->slot,
        .matches = matches(look, instance),
        .wish = instance->document->wish,
        .state = instance->observed.state,
        .silent = node == NULL || node->silent,
        .lost = model_instance_is_lost(instance),
        .ready_since_ms = instance->ready_since_ms,
        .failed_ms = instance->over_since_ms,
        .attempt = attempt_of(look, instance),
        .given_up = instance->document->given_up,
        .replaceable = is_replaceable(look, instance),
        .drained = is_drained(look, instance),
        /* One that is over is not there any more. */
        .leaving = node != NULL && node->document->eligibility == NODE_DRAINING &&
                   !instance_state_is_over(instance->observed.state),
    };
    look->owners[look->count++] = instance;
    uint64_t min_healthy = look->document->spec.rollout.min_healthy_time_ms;
    if (!instance->was_healthy && value->matches &&
        reconcile_is_healthy(value, min_healthy, look->pass->now_ms)) {
        instance->was_healthy = true;
        look->service->became_healthy = true;
    }
}

/* Until its node has reported to this process, or its lease has passed, nobody knows how an
 * instance does: then nothing is decided. */
static bool is_frozen(struct look *look)
{
    bool frozen = false;
    for (size_t i = 0; i < look->service->instances.count; i++) {
        const struct model_instance *instance = look->service->instances.items[i];
        const struct model_node *node = instance->node;
        if (model_instance_has_ended(instance) || node == NULL || node->reported || node->silent)
            continue;
        frozen = true;
        look_again(look, node->heard_ms + look->pass->core->options->lease_ms);
    }
    return frozen;
}

static void collect(struct look *look)
{
    size_t room = look->service->instances.count;
    look->values = xcalloc(room + 1, sizeof *look->values);
    look->owners = xcalloc(room + 1, sizeof *look->owners);
    for (size_t i = 0; i < room; i++) {
        struct model_instance *instance = look->service->instances.items[i];
        if (!model_instance_has_ended(instance))
            add_value(look, instance);
    }
}

/* --- the rollout --- */

struct failures {
    uint32_t worst;
    uint32_t slot;
    char text[REASON_MAX];
};

/* Failed boots and restarts of the slot, of instances that this rollout made of its revision. */
static uint32_t slot_failures(const struct look *look, uint32_t slot, char *ret_text)
{
    const struct document_revision *to = model_revision(look->service, look->rollout->to);
    uint32_t failures = 0;
    for (size_t i = 0; i < look->service->instances.count; i++) {
        const struct model_instance *instance = look->service->instances.items[i];
        const struct document_observed *observed = &instance->observed;
        if (instance->document->slot != slot ||
            instance->document->rollout != look->rollout->number ||
            !same_template(look->service, instance->document->revision, to))
            continue;
        failures += observed->restarts + (observed->state == INSTANCE_FAILED);
        if (observed->cause != NULL)
            snprintf(ret_text, REASON_MAX, "%s%s%.400s", observed->cause,
                     observed->message != NULL ? ": " : "", document_text(observed->message));
    }
    return failures;
}

static struct failures find_failures(const struct look *look)
{
    struct failures worst = {0};
    for (uint32_t slot = 0; slot < look->replicas; slot++) {
        char text[REASON_MAX] = "";
        uint32_t count = slot_failures(look, slot, text);
        if (count > worst.worst || worst.text[0] == '\0')
            text_copy(worst.text, sizeof worst.text, text);
        if (count > worst.worst) {
            worst.worst = count;
            worst.slot = slot;
        }
    }
    return worst;
}

static const char *event_of_phase(enum rollout_phase phase)
{
    switch (phase) {
    case ROLLOUT_SUCCEEDED:
        return "rollout_succeeded";
    case ROLLOUT_FAILED:
        return "rollout_failed";
    case ROLLOUT_ROLLING_BACK:
        return "rolling_back";
    case ROLLOUT_ROLLED_BACK:
        return "rolled_back";
    case ROLLOUT_PROGRESSING:
    case ROLLOUT_SUPERSEDED:
        break;
    }
    return rollout_phase_names[phase];
}

static void move_rollout(struct look *look, const struct rollout_decision *decision)
{
    struct controller_pass *pass = look->pass;
    const char *name = look->document->service;
    if (!rollout_phase_may_move(look->rollout->phase, decision->phase)) {
        log_error("a rollout may not move so: it stays", "service", look->service->name, "from",
                  rollout_phase_names[look->rollout->phase], "to",
                  rollout_phase_names[decision->phase], "cause", decision->reason);
        return;
    }
    log_info("rollout moves", "service", look->service->name, "from",
             rollout_phase_names[look->rollout->phase], "to", rollout_phase_names[decision->phase],
             "cause", decision->reason);
    struct document_rollout *rollout = change_edit(pass->change, DOCUMENT_ROLLOUT, look->rollout);
    rollout->phase = decision->phase;
    if (decision->phase != ROLLOUT_ROLLED_BACK)
        text_copy(rollout->reason, sizeof rollout->reason, decision->reason);
    if (rollout_phase_is_over(decision->phase))
        rollout->ended_ms = pass->wall_ms;
    if (decision->phase == ROLLOUT_SUCCEEDED) {
        struct document_service *service =
            change_edit(pass->change, DOCUMENT_SERVICE, look->document);
        service->good = rollout->to;
    }
    changes_event(pass->core->changes, pass->change, "rollout", look->document->namespace_name,
                  name, NULL, event_of_phase(decision->phase), NULL,
                  "rollout %u to revision %u: %s", rollout->number, rollout->to, rollout->reason);
}

/* True when the rollout moves on: what to do then is decided after that is written. */
static bool advance_rollout(struct look *look, const struct reconcile_counts *counts)
{
    struct model_service *service = look->service;
    struct rollout_decision decision;
    if (look->rollout == NULL || rollout_phase_is_over(look->rollout->phase) ||
        look->document->deleting)
        return false;
    if (service->clock_rollout != look->rollout->number ||
        service->clock_phase != look->rollout->phase)
        service->clock = (struct rollout_clock){0};
    service->clock_rollout = look->rollout->number;
    service->clock_phase = look->rollout->phase;
    struct failures failures = find_failures(look);
    service->failures = failures.worst;
    struct rollout_input input = {.phase = look->rollout->phase,
                                  .from = look->rollout->from,
                                  .to = look->rollout->to,
                                  .replicas = look->replicas,
                                  .settings = look->document->spec.rollout,
                                  .counts = *counts,
                                  .slot_failures = failures.worst,
                                  .worst_slot = failures.slot,
                                  .last_failure = failures.text,
                                  .became_healthy = service->became_healthy,
                                  .no_capacity = service->no_capacity,
                                  .revoked =
                                      is_revoked(look->target) ? look->target->revoked : NULL,
                                  .now_ms = look->pass->now_ms};
    rollout_decide(&input, &service->clock, &decision);
    service->became_healthy = false;
    text_copy(service->progress, sizeof service->progress, decision.reason);
    look_again(look, decision.next_ms);
    if (decision.phase == look->rollout->phase)
        return false;
    move_rollout(look, &decision);
    return true;
}

/* --- actions --- */

static void end_instance(struct look *look, struct model_instance *owner, enum instance_wish wish,
                         const char *why)
{
    struct document_instance *instance =
        change_edit(look->pass->change, DOCUMENT_INSTANCE, owner->document);
    instance->wish = wish;
    document_set_text(&instance->why, why);
    if (wish == WISH_STOP && instance_state_is_over(owner->observed.state))
        instance->ended_ms = look->pass->wall_ms;
}

static const char *why_ended(const struct look *look, const struct reconcile_instance *value)
{
    if (look->document->deleting)
        return "the service is being removed";
    if (value->slot >= look->replicas)
        return "scaled down";
    if (value->leaving)
        return "its node is drained";
    return "replaced by the rollout";
}

/* A lost one may be well and serve: when its node comes back it drains before it stops. */
static enum instance_wish wish_of_replaced(const struct model_instance *owner)
{
    bool may_serve = owner->in_endpoints && owner->document->wish == WISH_RUN &&
                     model_instance_state(owner) == INSTANCE_UNKNOWN;
    return may_serve ? WISH_DRAIN : WISH_STOP;
}

static void drain(struct look *look, const struct reconcile_action *action)
{
    struct model_instance *owner = look->owners[action->instance];
    const char *why = why_ended(look, &look->values[action->instance]);
    /* What no data plane sends anything need not be waited for. */
    enum instance_wish wish = owner->in_endpoints ? WISH_DRAIN : WISH_STOP;
    end_instance(look, owner, wish, why);
    changes_event(look->pass->core->changes, look->pass->change, "instance",
                  look->document->namespace_name, look->document->service, owner->name,
                  wish == WISH_DRAIN ? "draining" : "stopping", NULL, "%s", why);
}

static void stop(struct look *look, const struct reconcile_action *action)
{
    struct model_instance *owner = look->owners[action->instance];
    const char *why = owner->document->why;
    end_instance(look, owner, wish_of_replaced(owner),
                 why != NULL ? why : why_ended(look, &look->values[action->instance]));
}

static void give_up(struct look *look, const struct reconcile_action *action)
{
    struct model_instance *owner = look->owners[action->instance];
    struct document_instance *instance =
        change_edit(look->pass->change, DOCUMENT_INSTANCE, owner->document);
    instance->given_up = true;
    changes_event(look->pass->core->changes, look->pass->change, "instance",
                  look->document->namespace_name, look->document->service, owner->name, "given_up",
                  owner->observed.cause,
                  "slot %u failed %u times in a row and is not tried again: deploy, restart or "
                  "roll back the service once the cause is gone",
                  action->slot, action->attempt + 1);
}

static void note_no_room(struct look *look, const struct error *error)
{
    struct model_service *service = look->service;
    look->no_room = true;
    /* An address that is held becomes free by time alone: nothing else would tell. */
    look_again(look, look->pass->now_ms + ROOM_RETRY_MS);
    if (service->no_capacity == NULL)
        changes_event(look->pass->core->changes, look->pass->change, "service",
                      look->document->namespace_name, look->document->service, NULL, "no_capacity",
                      "no_capacity", "%.500s", error->message);
    free(service->no_capacity);
    service->no_capacity = xstrdup(error->message);
}

static void new_id(struct look *look, char ret_id[INSTANCE_ID_MAX])
{
    struct controller_pass *pass = look->pass;
    struct document_counters *counters =
        change_edit(pass->change, DOCUMENT_COUNTERS, &pass->core->model.counters);
    counters->instances++;
    snprintf(ret_id, INSTANCE_ID_MAX, "%04x%08x",
             (unsigned)(uint16_t)store_identity(pass->core->store)->term,
             (uint32_t)counters->instances);
}

static void start(struct look *look, const struct reconcile_action *action,
                  const struct document_revision *revision)
{
    struct controller_pass *pass = look->pass;
    struct error error = ERROR_INIT;
    struct document_instance *instance = document_create(DOCUMENT_INSTANCE);
    if (capacity_place(&pass->capacity, look->service, revision, look->planned, look->planned_count,
                       instance, &error) < 0) {
        note_no_room(look, &error);
        document_free(DOCUMENT_INSTANCE, instance);
        return;
    }
    new_id(look, instance->id);
    instance->service_uid = look->document->uid;
    text_copy(instance->namespace_name, NAME_MAX_TEXT, look->document->namespace_name);
    text_copy(instance->service, NAME_MAX_TEXT, look->document->service);
    instance->slot = action->slot;
    instance->revision = revision->number;
    instance->rollout = look->rollout->number;
    instance->attempt = action->attempt;
    instance->created_ms = pass->wall_ms;
    change_put(pass->change, DOCUMENT_INSTANCE, instance);
    look->planned[look->planned_count++] = instance;
    const char *replaced = "";
    if (action->instance != RECONCILE_NONE) {
        struct model_instance *owner = look->owners[action->instance];
        replaced = owner->name;
        end_instance(look, owner, wish_of_replaced(owner), "replaced by a new instance");
    }
    changes_event(pass->core->changes, pass->change, "instance", instance->namespace_name,
                  instance->service, instance->id, "scheduled", NULL,
                  "slot %u, revision %u on node %s, address %s%s%s", instance->slot,
                  instance->revision, instance->node, instance->address,
                  replaced[0] != '\0' ? ", replaces " : "", replaced);
}

/* New instances while a failed rollout is looked at are of the revision that is known to work. */
static const struct document_revision *revision_to_start(const struct look *look)
{
    const struct document_revision *good = model_revision(look->service, look->document->good);
    return look->mode == RECONCILE_HOLD && good != NULL ? good : look->target;
}

static bool carry_out(struct look *look, const struct reconcile_result *result)
{
    const struct document_revision *revision = revision_to_start(look);
    look->planned = xcalloc(result->action_count + 1, sizeof *look->planned);
    for (size_t i = 0; i < result->action_count; i++) {
        const struct reconcile_action *action = &result->actions[i];
        change_may_split(look->pass->change);
        if (!change_has_room(look->pass->change, ROOM_OF_ACTION))
            return false;
        switch (action->kind) {
        case RECONCILE_CREATE:
            if (revision != NULL && !is_revoked(revision) && !look->no_room)
                start(look, action, revision);
            break;
        case RECONCILE_DRAIN:
            drain(look, action);
            break;
        case RECONCILE_STOP:
            stop(look, action);
            break;
        case RECONCILE_GIVE_UP:
            give_up(look, action);
            break;
        }
    }
    if (!look->no_room && look->service->no_capacity != NULL) {
        free(look->service->no_capacity);
        look->service->no_capacity = NULL;
    }
    return true;
}

/* --- revoked --- */

static void stop_revoked_instance(struct look *look, struct model_instance *owner,
                                  const struct document_revision *revision)
{
    struct document_instance *instance =
        change_edit(look->pass->change, DOCUMENT_INSTANCE, owner->document);
    end_instance(look, owner, WISH_STOP, revision->revoked);
    document_set_text(&instance->cause, CAUSE_REVOKED);
    changes_event(look->pass->core->changes, look->pass->change, "instance",
                  look->document->namespace_name, look->document->service, owner->name, "stopping",
                  CAUSE_REVOKED, "%s", revision->revoked);
}

/* What may not run any more is not drained: it is stopped at once, whatever the rollout's bounds.
 * True when there was something to stop: the rest is decided after that is written. */
static bool stop_revoked(struct look *look)
{
    bool found = false;
    for (size_t i = 0; i < look->count; i++) {
        struct model_instance *owner = look->owners[i];
        const struct document_revision *revision =
            model_revision(look->service, owner->document->revision);
        if (!is_revoked(revision) || owner->document->wish == WISH_STOP)
            continue;
        found = true;
        change_may_split(look->pass->change);
        if (!change_has_room(look->pass->change, ROOM_OF_ACTION))
            break;
        stop_revoked_instance(look, owner, revision);
    }
    return found;
}

/* --- ends --- */

/* An instance that was to stop and has. */
static bool record_ends(struct look *look)
{
    for (size_t i = 0; i < look->count; i++) {
        struct model_instance *owner = look->owners[i];
        if (owner->document->wish != WISH_STOP || !instance_state_is_over(owner->observed.state))
            continue;
        change_may_split(look->pass->change);
        if (!change_has_room(look->pass->change, ROOM_OF_ACTION))
            return false;
        struct document_instance *instance =
            change_edit(look->pass->change, DOCUMENT_INSTANCE, owner->document);
        instance->ended_ms = look->pass->wall_ms;
    }
    return true;
}

/* What a removed service leaves behind goes first, it goes last: a crash in between goes on. */
static bool remove_service(struct look *look)
{
    struct model_service *service = look->service;
    struct change *change = look->pass->change;
    for (size_t i = 0; i < look->count; i++) {
        if (!look->values[i].lost)
            return true; /* still ending */
    }
    for (size_t i = 0; i < look->count; i++) {
        change_may_split(change);
        if (!change_has_room(change, ROOM_OF_ACTION))
            return false;
        change_remove(change, DOCUMENT_INSTANCE, look->owners[i]->document);
        change_remove(change, DOCUMENT_OBSERVED, &look->owners[i]->observed);
    }
    for (size_t i = 0; i < service->rollout_count; i++) {
        change_may_split(change);
        if (!change_has_room(change, ROOM_OF_ACTION))
            return false;
        change_remove(change, DOCUMENT_ROLLOUT, service->rollouts[i]);
    }
    for (size_t i = 0; i < service->revision_count; i++) {
        change_may_split(change);
        if (!change_has_room(change, ROOM_OF_ACTION))
            return false;
        change_remove(change, DOCUMENT_REVISION, service->revisions[i]);
    }
    change_remove(change, DOCUMENT_SERVICE, look->document);
    changes_event(look->pass->core->changes, change, "service", look->document->namespace_name,
                  look->document->service, NULL, "removed", NULL, "nothing of it runs any more");
    return true;
}

static bool decide(struct look *look, bool frozen)
{
    const struct api_service_spec *spec = &look->document->spec;
    struct reconcile_input input = {
        .mode = look->mode,
        .replicas = look->replicas,
        .max_surge = spec->rollout.max_surge,
        .max_unavailable = spec->rollout.max_unavailable,
        .min_healthy_time_ms = spec->rollout.min_healthy_time_ms,
        .reschedule = spec->reschedule,
        .restart = spec->restart.policy,
        .instances = look->values,
        .instance_count = look->count,
        .no_room = look->service->no_capacity != NULL,
        .now_ms = look->pass->now_ms,
    };
    struct reconcile_result result;
    reconcile_decide(&input, &result);
    look->service->counts = result.counts;
    if (frozen) {
        reconcile_result_release(&result);
        return true;
    }
    look_again(look, result.next_ms);
    bool complete = record_ends(look);
    if (complete && stop_revoked(look)) {
        reconcile_result_release(&result);
        return change_has_room(look->pass->change, ROOM_OF_ACTION);
    }
    if (complete && !advance_rollout(look, &result.counts))
        complete = carry_out(look, &result);
    if (complete && look->document->deleting)
        complete = remove_service(look);
    reconcile_result_release(&result);
    return complete;
}

bool controller_reconcile_service(struct controller_pass *pass, struct model_service *service)
{
    if (service->document == NULL)
        return true;
    struct look look = {.pass = pass,
                        .service = service,
                        .document = service->document,
                        .rollout = model_rollout(service),
                        .replicas = service->document->deleting ? 0 : service->document->replicas};
    if (look.rollout == NULL && !look.document->deleting)
        return true;
    look.target = model_revision(service, model_target(service));
    look.mode = look.rollout != NULL && !look.document->deleting ? rollout_mode(look.rollout->phase)
                                                                 : RECONCILE_STEADY;
    collect(&look);
    bool complete = decide(&look, is_frozen(&look));
    free(look.values);
    free(look.owners);
    free(look.planned);
    return complete;
}
