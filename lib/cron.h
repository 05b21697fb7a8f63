/* Times that come again: "30 4 * * 1-5", "@hourly". What crontab(5) of Vixie's cron means by them,
 * strictly read, in UTC.
 *
 *   minute 0-59 · hour 0-23 · day of the month 1-31 · month 1-12 or jan-dec ·
 *   day of the week 0-7 or sun-sat (0 and 7 are Sunday)
 *
 * A field is `*`, a number, a range `a-b`, either of `*` and a range with a step `/n`, or a list of
 * these with commas. When both day fields are restricted, which is when neither begins with `*`,
 * a day matches by either of them; else it has to match both.
 *
 * Pure; any thread. In lib/ because the CLI checks manifests by it and the scheduler runs by it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/error.h"

#define CRON_TEXT_MAX 128 /* bytes of an expression, its NUL included */

struct cron {
    uint64_t minutes; /* a bit for each that matches */
    uint32_t hours;
    uint32_t days;     /* of the month, from bit 1 */
    uint16_t months;   /* from bit 1 */
    uint8_t week_days; /* bit 0: Sunday */
    bool either_day;   /* both day fields are restricted: one of them is enough */
};

/* ERROR_INVALID says at which character what was found and what is allowed; so does an expression
 * that no day can match, such as "0 0 30 2 *". */
int cron_parse(const char *text, struct cron *ret_cron, struct error *error);
/* The first time that matches after `after_ms` (milliseconds since 1970), seconds zero; UINT64_MAX
 * when that is beyond the year 9999. */
uint64_t cron_next(const struct cron *cron, uint64_t after_ms);
