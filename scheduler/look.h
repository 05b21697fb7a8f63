/* A look at one service: what the controller's files on it share (service_controller.c). Loop
 * thread only, for one pass. */
#pragma once

#include "scheduler/controller.h"

/* Writes that one action may take: two instances, the counters, two events. */
#define ROOM_OF_ACTION 6

struct look {
    struct controller_pass *pass;
    struct model_service *service;
    const struct document_service *document;
    const struct document_rollout *rollout; /* the last; NULL before the first */
    const struct document_revision *target; /* NULL: none yet, or no longer kept */
    const struct document_revision *good;   /* what worked last; NULL: nothing yet */
    enum reconcile_mode mode;
    uint32_t replicas;
    uint32_t canary; /* to be judged first; 0: none, or they were promoted */
    struct reconcile_instance *values;
    struct model_instance **owners;
    size_t count;
    const struct document_instance **planned; /* started by this look */
    size_t planned_count;
    const struct model_instance **resumed; /* standbys that are replicas by this look */
    size_t resumed_count;
    size_t standbys_tried;          /* of the service's instances, from the first on */
    struct capacity_search *search; /* for places; NULL: none was needed yet */
    const struct document_revision *search_revision;
    bool no_room;
    bool tells_together; /* what it starts, by one event */
};

static inline bool look_is_revoked(const struct document_revision *revision)
{
    return revision != NULL && revision->revoked[0] != '\0';
}

/* look_values.c: what the model says, as reconcile's values. */
/* The service is looked at again then at the latest. */
void look_again(struct look *look, uint64_t at_ms);
/* How many it replaces one after the other, and 0 for one that lived long enough: with its end a
 * new row begins. */
uint32_t look_attempt_of(const struct look *look, const struct model_instance *instance);
/* Fills values and owners; the caller frees both. */
void look_collect(struct look *look);
/* A `restart` that still replaces whatever it did not make itself: it goes on, or is paused. One
 * that goes back does not. */
bool look_is_restarting(const struct look *look);
/* Until its node has reported to this process, or its lease has passed, nobody knows how an
 * instance does: then nothing is decided. */
bool look_is_frozen(struct look *look);

/* look_rollout.c */
/* True when the rollout moves on: what to do then is decided after that is written. */
bool look_advance_rollout(struct look *look, const struct reconcile_counts *counts);

/* look_standby.c */
/* A standby becomes the instance of the slot; NULL: none can. Lent, for the event. */
const struct document_instance *look_resume_standby(struct look *look, uint32_t slot,
                                                    uint32_t attempt,
                                                    const struct document_revision *revision);
/* As many as are wanted, after the replicas. False when the change has no room left. */
bool look_keep_standbys(struct look *look);

/* look_actions.c. Each is false when the change has no room left for all of it. */
bool look_carry_out(struct look *look, const struct reconcile_result *result);
/* Records instances that were to stop and have. */
bool look_record_ends(struct look *look);
/* What may not run any more is not drained: it is stopped at once, whatever the rollout's bounds.
 * True when there was something to stop: the rest is decided after that is written. */
bool look_stop_revoked(struct look *look);

void look_end_instance(struct look *look, struct model_instance *owner, enum instance_wish wish,
                       const char *why);
/* Places for standbys of what worked last; the caller ends it. */
struct capacity_search *look_search_for_standby(struct look *look);

/* rebalance.c: after a look with nothing to do, one instance may begin to move to a better place.
 */
void look_rebalance(struct look *look, const struct reconcile_result *result);
