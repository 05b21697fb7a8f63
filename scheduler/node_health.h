/* When a node is suspected, when it is lost, and when so many are silent at once that rather we are
 * cut off than they are gone. Pure: values and a time in, a state and the next look out.
 *
 * Only monotonic time counts, so that setting a clock changes nothing. */
#pragma once

#include <stdint.h>

#include "lib/api/states.h"

/* Rescheduling freezes when more of the eligible nodes than this are suspect. */
#define NODE_HEALTH_FREEZE_PERCENT 50

struct node_health_settings {
    uint64_t lease_ms;         /* without a status for so long: suspect */
    uint64_t replace_after_ms; /* suspect for so long: lost */
    uint32_t freeze_percent;   /* 0: NODE_HEALTH_FREEZE_PERCENT; 100: never */
};

struct node_health_input {
    enum node_state state;
    uint64_t heard_ms;   /* when its last status came; at first: when this process began */
    uint64_t suspect_ms; /* since when it is suspect, or since a freeze ended */
    bool given_up;       /* it was lost before this process began, or somebody says that it is */
};

/* The state that it is to have, one move at most. `*ret_next_ms` is when to look again, UINT64_MAX:
 * no time changes anything. */
enum node_state node_health_judge(const struct node_health_settings *settings,
                                  const struct node_health_input *node, bool frozen,
                                  uint64_t now_ms, uint64_t *ret_next_ms);

/* Of the eligible nodes, without those that are lost or given up. */
struct node_health_counts {
    uint32_t ready;
    uint32_t suspect;
};

/* Whether so many are suspect that nothing is replaced. One of two is no split, two of three are.
 */
bool node_health_is_split(const struct node_health_settings *settings,
                          const struct node_health_counts *counts);
