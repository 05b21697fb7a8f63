/* How many requests one address may make: a token bucket each (so many a second, some at once).
 * An IPv6 address counts by its /64, of which one host has as many as it likes. Memory is fixed:
 * where there are more addresses than places, the one that was quiet longest is forgotten. Any
 * thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct rate_limit;

/* `burst` 0: as many at once as a second has. */
struct rate_limit *rate_limit_create(uint32_t per_second, uint32_t burst);
/* NULL is fine. */
void rate_limit_destroy(struct rate_limit *limit);
/* False: too many; in `ret_wait_ms` there is a place again. `now_ms` is monotonic. */
bool rate_limit_take(struct rate_limit *limit, const char *address, uint64_t now_ms,
                     uint64_t *ret_wait_ms);
