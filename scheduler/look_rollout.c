#include "scheduler/look.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
        if (observed->cause != NULL)
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
