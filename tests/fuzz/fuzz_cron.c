/* Schedules. What is taken has a next time, which matches by a count of days of its own; before it,
 * nothing does. The first line is the expression, the rest the time. */
#include "lib/cron.h"
#include "tests/fuzz/fuzz.h"

#include <time.h>

#define MINUTE_MS UINT64_C(60000)
#define LATEST_MS UINT64_C(4102444800000) /* 2100 */

static bool matches(const struct cron *cron, uint64_t minute)
{
    time_t seconds = (time_t)(minute * 60);
    struct tm time;
    gmtime_r(&seconds, &time);
    bool day = cron->days >> time.tm_mday & 1, week = cron->week_days >> time.tm_wday & 1;
    return (cron->minutes >> time.tm_min & 1) && (cron->hours >> time.tm_hour & 1) &&
           (cron->months >> (time.tm_mon + 1) & 1) &&
           (cron->either_day ? day || week : day && week);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE char *text = fuzz_line(&bytes, &length);
    uint64_t after = 0;
    struct cron cron;
    struct error error = ERROR_INIT;
    for (size_t i = 0; i < length && i < 6; i++)
        after = after << 8 | bytes[i];
    after %= LATEST_MS;
    if (cron_parse(text, &cron, &error) < 0) {
        EXPECT(error.code == ERROR_INVALID && error.message[0] != '\0');
        return 0;
    }
    uint64_t next = cron_next(&cron, after);
    EXPECT(next > after && next != UINT64_MAX && next % MINUTE_MS == 0);
    EXPECT(matches(&cron, next / MINUTE_MS));
    for (uint64_t minute = after / MINUTE_MS + 1; minute < next / MINUTE_MS && minute % 2048 != 0;
         minute++)
        EXPECT(!matches(&cron, minute));
    return 0;
}
