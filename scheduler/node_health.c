#include "scheduler/node_health.h"

enum node_state node_health_judge(const struct node_health_settings *settings,
                                  const struct node_health_input *node, bool frozen,
                                  uint64_t now_ms, uint64_t *ret_next_ms)
{
    uint64_t lease_end = node->heard_ms + settings->lease_ms;
    uint64_t lost = node->given_up ? 0 : node->suspect_ms + settings->replace_after_ms;
    *ret_next_ms = UINT64_MAX;
    switch (node->state) {
    case NODE_READY:
        if (now_ms >= lease_end)
            return NODE_SUSPECT;
        *ret_next_ms = lease_end;
        return NODE_READY;
    case NODE_SUSPECT:
        if (frozen && !node->given_up)
            return NODE_SUSPECT;
        if (now_ms >= lost)
            return NODE_LOST;
        *ret_next_ms = lost;
        return NODE_SUSPECT;
    case NODE_LOST:
        break;
    }
    return node->state;
}

bool node_health_is_split(const struct node_health_settings *settings,
                          const struct node_health_counts *counts)
{
    uint64_t percent =
        settings->freeze_percent != 0 ? settings->freeze_percent : NODE_HEALTH_FREEZE_PERCENT;
    uint64_t all = (uint64_t)counts->ready + counts->suspect;
    return (uint64_t)counts->suspect * 100 > percent * all;
}
