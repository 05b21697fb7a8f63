#include "scheduler/look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/api/causes.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"

struct failures {
    uint32_t worst;
    uint32_t slot;
    char text[REASON_MAX];
};

/* What went wrong in a slot, of instances that this rollout made of its revision. */
struct slot_failures {
    uint32_t count;                            /* boots that failed, and restarts */
    const struct document_observed *explained; /* the last that said why; NULL: none did */
};

/* What we ended tells nothing of what it was worth. */
static bool was_stopped(const char *cause)
{
    return strcmp(cause, INSTANCE_CAUSE_STOPPED) == 0 ||
           strcmp(cause, INSTANCE_CAUSE_STOP_KILLED) == 0;
}

static struct slot_failures *count_failures(const struct look *look)
{
    struct slot_failures *slots = xcalloc((size_t)look->replicas + 1, sizeof *slots);
    const struct document_revision *to = model_revision(look->service, look->rollout->to);
    for (size_t i = 0; i < look->service->instances.count; i++) {
        const struct model_instance *instance = look->service->instances.items[i];
        const struct document_observed *observed = &instance->observed;
        uint32_t slot = instance->document->slot;
        if (slot >= look->replicas || instance->document->standby ||
            instance->document->rollout != look->rollout->number ||
            !model_same_template(look->service, instance->document->revision, to))
            continue;
        slots[slot].count += observed->restarts + (observed->state == INSTANCE_FAILED);
        if (observed->cause != NULL && !was_stopped(observed->cause))
            slots[slot].explained = observed;
    }
    return slots;
}

/* Of the slot that failed most often; without one that said why, what another one said. */
static struct failures find_failures(const struct look *look)
{
    struct failures worst = {0};
    const struct document_observed *explained = NULL;
    AUTO_FREE struct slot_failures *slots = count_failures(look);
    for (uint32_t slot = 0; slot < look->replicas; slot++) {
        bool worse = slots[slot].count > worst.worst;
        if (slots[slot].explained != NULL && (worse || explained == NULL))
            explained = slots[slot].explained;
        if (!worse)
            continue;
        worst.worst = slots[slot].count;
        worst.slot = slot;
    }
    if (explained != NULL)
        snprintf(worst.text, sizeof worst.text, "%s%s%.400s", explained->cause,
                 explained->message != NULL ? ": " : "", document_text(explained->message));
    return worst;
}

/* Silent nodes that are told by their names; there may be more. */
#define SILENT_NAMED 3

/* "node a is silent: 2 instances there are unknown", without the time: a line that says something
 * else each second is not read. False: none is. */
static bool describe_silence(const struct look *look, uint32_t unknown, char ret_text[REASON_MAX])
{
    const struct model_node *named[SILENT_NAMED];
    struct buffer AUTO_BUFFER text = {0};
    size_t count = 0;
    bool more = false;
    for (size_t i = 0; i < look->count && unknown > 0; i++) {
        const struct model_node *node = look->owners[i]->node;
        const struct reconcile_instance *value = &look->values[i];
        bool is_new = value->silent && value->wish == WISH_RUN && node != NULL &&
                      !instance_state_is_over(value->state);
        for (size_t j = 0; j < count; j++)
            is_new = is_new && named[j] != node;
        if (is_new && count < SILENT_NAMED)
            named[count++] = node;
        else
            more = more || is_new;
    }
    for (size_t i = 0; i < count; i++)
        buffer_printf(&text, "%s%s", i > 0 ? ", " : "", named[i]->name);
    if (count > 0)
        snprintf(ret_text, REASON_MAX, "node%s %s%s %s silent: %u instance%s there %s unknown",
                 count > 1 ? "s" : "", buffer_text(&text), more ? " and others" : "",
                 count > 1 ? "are" : "is", unknown, unknown > 1 ? "s" : "",
                 unknown > 1 ? "are" : "is");
    return count > 0;
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
    case ROLLOUT_AWAITING_PROMOTION:
        return "canaries_healthy";
    case ROLLOUT_PROGRESSING:
    case ROLLOUT_PAUSED:
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
    rollout->promoted = rollout->promoted || decision->promotes;
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
                  name, NULL, decision->promotes ? "promoted" : event_of_phase(decision->phase),
                  NULL, "rollout %u to revision %u: %s", rollout->number, rollout->to,
                  rollout->reason);
}

bool look_advance_rollout(struct look *look, const struct reconcile_counts *counts)
{
    struct model_service *service = look->service;
    struct rollout_decision decision;
    if (look->rollout == NULL || rollout_phase_is_over(look->rollout->phase) ||
        look->document->deleting)
        return false;
    bool back = look->rollout->phase == ROLLOUT_ROLLING_BACK;
    if (service->clock_rollout != look->rollout->number ||
        (service->clock_phase == ROLLOUT_ROLLING_BACK) != back)
        service->clock = (struct rollout_clock){0};
    service->clock_rollout = look->rollout->number;
    service->clock_phase = look->rollout->phase;
    struct failures failures = find_failures(look);
    service->failures = failures.worst;
    char silence[REASON_MAX];
    bool is_silent = describe_silence(look, counts->unknown, silence);
    struct rollout_input input = {.phase = look->rollout->phase,
                                  .from = look->rollout->from,
                                  .to = look->rollout->to,
                                  .replicas = look->replicas,
                                  .canary = look->canary,
                                  .settings = look->document->spec.rollout,
                                  .counts = *counts,
                                  .slot_failures = failures.worst,
                                  .worst_slot = failures.slot,
                                  .last_failure = failures.text,
                                  .became_healthy = service->became_healthy,
                                  .no_capacity = service->no_capacity,
                                  .silence = is_silent ? silence : NULL,
                                  .revoked =
                                      look_is_revoked(look->target) ? look->target->revoked : NULL,
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
