/* From single probe results to healthy or not: rise and fall, and when to probe next. Pure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define HEALTH_FIRST_DELAY_MS 5

struct health_state {
    bool healthy;
    bool ever_passed;  /* since the boot that is watched */
    uint32_t run;      /* equal results in a row that speak against `healthy` */
    uint64_t delay_ms; /* last delay before the first pass */
};

enum health_change { HEALTH_SAME, HEALTH_ROSE, HEALTH_FELL };

/* A check that starts out healthy has passed before (an adopted instance, a liveness check). */
void health_state_init(struct health_state *ret_state, bool healthy);
/* `rise` passes in a row make healthy, `fall` failures in a row unhealthy; 0 counts as 1. */
enum health_change health_state_record(struct health_state *state, bool passed, uint32_t rise,
                                       uint32_t fall);
/* Until the first pass 5 ms, doubling up to `every_ms`; then `every_ms`. */
uint64_t health_state_next_delay(struct health_state *state, uint64_t every_ms);
/* Checks of many instances do not march in step: each has its own moments, which come every
 * `every_ms` and depend on its name only, whatever made it late. `key` is the name's. The delay
 * from `now_ms` is half of `every_ms` to one and a half. */
uint64_t health_state_spread(uint64_t now_ms, uint64_t every_ms, const char *key);
