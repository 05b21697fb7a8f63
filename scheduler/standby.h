/* Which standbys of a service to start and to stop. Pure: values and a time in, actions out.
 *
 * Standbys are booted, paused, and wait beside the replicas; they are of the revision that worked
 * last. Resuming one in a replica's place is look_standby.c's. One look costs O(instances). */
#pragma once

#include "scheduler/reconcile.h"

struct standby_instance {
    bool matches;  /* of the revision that standbys are to be of */
    bool stopping; /* asked to */
    enum instance_state state;
    bool lost;    /* its node is, for so long that it is to be replaced */
    bool leaving; /* its node drains */
    bool is_worn; /* it was restarted in place, so that it is never resumed */
    uint64_t over_ms;
    uint32_t attempt; /* how many it replaces one after the other */
    bool given_up;
};

struct standby_input {
    uint32_t wanted;
    bool may_start; /* something they could be of may run */
    struct api_reschedule reschedule;
    const struct standby_instance *instances; /* none that has ended; in order of their ids */
    size_t instance_count;
    uint64_t now_ms;
};

enum standby_kind {
    STANDBY_CREATE,
    STANDBY_STOP,
    STANDBY_GIVE_UP, /* failed too often: stays failed, somebody has to look */
};

struct standby_action {
    enum standby_kind kind;
    size_t instance; /* STOP, GIVE_UP */
};

struct standby_result {
    struct standby_action *actions;
    size_t action_count;
    uint64_t next_ms; /* look again then at the latest; UINT64_MAX: no need */
};

void standby_decide(const struct standby_input *input, struct standby_result *ret_result);
void standby_result_release(struct standby_result *result);
