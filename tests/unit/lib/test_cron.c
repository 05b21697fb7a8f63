#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "lib/cron.h"

#define MINUTE_MS UINT64_C(60000)

/* "2026-11-25 22:53:39" by the C library, which knows calendars on its own. */
static uint64_t at(const char *text)
{
    struct tm time = {0};
    assert_int_equal(sscanf(text, "%d-%d-%d %d:%d:%d", &time.tm_year, &time.tm_mon, &time.tm_mday,
                            &time.tm_hour, &time.tm_min, &time.tm_sec),
                     6);
    time.tm_year -= 1900;
    time.tm_mon -= 1;
    return (uint64_t)timegm(&time) * 1000;
}

static struct cron parse(const char *text)
{
    struct cron cron;
    struct error error = ERROR_INIT;
    if (cron_parse(text, &cron, &error) < 0)
        fail_msg("%s: %s", text, error.message);
    return cron;
}

static void expect_next(const char *text, const char *after, const char *wanted)
{
    struct cron cron = parse(text);
    uint64_t next = cron_next(&cron, at(after));
    if (next != at(wanted))
        fail_msg("%s after %s: %llu instead of %s", text, after, (unsigned long long)next, wanted);
}

static void expect_refused(const char *text, const char *part)
{
    struct cron cron;
    struct error error = ERROR_INIT;
    if (cron_parse(text, &cron, &error) == 0)
        fail_msg("%s was taken", text);
    if (strstr(error.message, part) == NULL)
        fail_msg("%s: \"%s\" does not say \"%s\"", text, error.message, part);
}

static void the_next_time_comes_after_the_given_one(void **state)
{
    (void)state;
    expect_next("* * * * *", "2026-11-25 22:53:00", "2026-11-25 22:54:00");
    expect_next("* * * * *", "2026-11-25 22:53:59", "2026-11-25 22:54:00");
    expect_next("54 22 * * *", "2026-11-25 22:53:59", "2026-11-25 22:54:00");
    expect_next("54 22 * * *", "2026-11-25 22:54:00", "2026-11-26 22:54:00");
    expect_next("0 0 1 1 *", "2026-01-01 00:00:00", "2027-01-01 00:00:00");
    expect_next("0 0 * * *", "1970-01-01 00:00:00", "1970-01-02 00:00:00");
}

static void steps_ranges_and_lists_mean_what_crontab_says(void **state)
{
    (void)state;
    expect_next("*/15 * * * *", "2026-11-25 22:31:00", "2026-11-25 22:45:00");
    expect_next("*/15 * * * *", "2026-11-25 22:45:00", "2026-11-25 23:00:00");
    expect_next("5-59/20 * * * *", "2026-11-25 22:26:00", "2026-11-25 22:45:00");
    expect_next("5-59/20 * * * *", "2026-11-25 22:45:00", "2026-11-25 23:05:00");
    expect_next("0,30 9-17 * * *", "2026-11-25 17:31:00", "2026-11-26 09:00:00");
    expect_next("0 1-5/2,22 * * *", "2026-11-25 03:00:00", "2026-11-25 05:00:00");
    expect_next("0 1-5/2,22 * * *", "2026-11-25 05:00:00", "2026-11-25 22:00:00");
    expect_next("0 0 * */5 *", "2026-07-01 00:00:00", "2026-11-01 00:00:00");
}

static void names_are_read_in_any_case(void **state)
{
    (void)state;
    expect_next("0 0 1 FEB *", "2026-11-25 00:00:00", "2027-02-01 00:00:00");
    expect_next("0 12 * * Mon-Fri", "2026-11-27 12:00:00", "2026-11-30 12:00:00");
    expect_next("0 12 * jan-mar sat,sun", "2026-11-27 12:00:00", "2027-01-02 12:00:00");
}

static void both_0_and_7_are_sunday(void **state)
{
    (void)state;
    expect_next("0 0 * * 0", "2026-11-25 00:00:00", "2026-11-29 00:00:00");
    expect_next("0 0 * * 7", "2026-11-25 00:00:00", "2026-11-29 00:00:00");
    expect_next("0 0 * * 5-7", "2026-11-28 00:00:00", "2026-11-29 00:00:00");
    expect_next("0 0 * * 5-7", "2026-11-29 00:00:00", "2026-12-04 00:00:00");
}

static void two_restricted_day_fields_are_either_or(void **state)
{
    (void)state;
    /* The 13th, or a Friday. */
    expect_next("0 0 13 * 5", "2026-11-10 00:00:00", "2026-11-13 00:00:00");
    expect_next("0 0 13 * 5", "2026-11-13 00:00:00", "2026-11-20 00:00:00");
    expect_next("0 0 13 * 5", "2026-12-12 00:00:00", "2026-12-13 00:00:00");
    /* A day that no such month has leaves the day of the week. */
    expect_next("0 0 30 2 1", "2026-02-03 00:00:00", "2026-02-09 00:00:00");
}

static void a_day_field_that_begins_with_a_star_has_to_match_too(void **state)
{
    (void)state;
    expect_next("0 0 * * 5", "2026-11-10 00:00:00", "2026-11-13 00:00:00");
    expect_next("0 0 13 * *", "2026-11-10 00:00:00", "2026-11-13 00:00:00");
    /* An odd day that is a Friday. */
    expect_next("0 0 */2 * 5", "2026-11-13 00:00:00", "2026-11-27 00:00:00");
    /* 29 February that is a Sunday: every 28 years, 40 across 2100. */
    expect_next("0 0 29 2 */7", "2026-11-25 00:00:00", "2032-02-29 00:00:00");
    expect_next("0 0 29 2 */7", "2088-03-01 00:00:00", "2128-02-29 00:00:00");
}

static void months_end_where_they_end(void **state)
{
    (void)state;
    expect_next("0 0 31 * *", "2026-03-31 00:00:00", "2026-05-31 00:00:00");
    expect_next("0 0 30 * *", "2026-01-30 00:00:00", "2026-03-30 00:00:00");
    expect_next("59 23 31 12 *", "2026-12-31 23:59:00", "2027-12-31 23:59:00");
    expect_next("0 0 1 * *", "2026-12-31 23:59:59", "2027-01-01 00:00:00");
}

static void leap_days_come_in_leap_years(void **state)
{
    (void)state;
    expect_next("0 0 29 2 *", "2026-11-25 00:00:00", "2028-02-29 00:00:00");
    expect_next("0 0 29 2 *", "2096-02-29 00:00:00", "2104-02-29 00:00:00");
    expect_next("0 0 29 2 *", "1996-03-01 00:00:00", "2000-02-29 00:00:00");
    expect_next("0 0 29 * *", "2027-01-29 00:00:00", "2027-03-29 00:00:00");
}

static void nicknames_stand_for_their_fields(void **state)
{
    (void)state;
    expect_next("@hourly", "2026-11-25 22:53:39", "2026-11-25 23:00:00");
    expect_next("@daily", "2026-11-25 22:53:39", "2026-11-26 00:00:00");
    expect_next("@midnight", "2026-11-25 22:53:39", "2026-11-26 00:00:00");
    expect_next("@weekly", "2026-11-25 22:53:39", "2026-11-29 00:00:00");
    expect_next("@monthly", "2026-11-25 22:53:39", "2026-12-01 00:00:00");
    expect_next("@yearly", "2026-11-25 22:53:39", "2027-01-01 00:00:00");
    expect_next("@annually", "2026-11-25 22:53:39", "2027-01-01 00:00:00");
}

static void what_makes_no_sense_is_refused_with_its_place(void **state)
{
    (void)state;
    expect_refused("", "character 1: the minute is missing");
    expect_refused("* * * *", "character 8: the day of the week is missing");
    expect_refused("* * * * * *", "character 11: something stands behind");
    expect_refused("60 * * * *", "character 1: minute: found 60, allowed are 0 to 59");
    expect_refused("* 24 * * *", "character 3: hour: found 24");
    expect_refused("* * 0 * *", "character 5: day of the month: found 0, allowed are 1 to 31");
    expect_refused("* * * 13 *", "character 7: month: found 13");
    expect_refused("* * * * 8", "character 9: day of the week: found 8");
    expect_refused("* * * * funday", "character 9: day of the week: found funday");
    expect_refused("* * * * sunday", "character 12: day of the week: found day");
    expect_refused("1,,2 * * * *", "character 3: minute: found nothing");
    expect_refused("1, * * * *", "character 3: minute: found nothing");
    expect_refused("5- * * * *", "character 3: minute: found nothing");
    expect_refused("-5 * * * *", "character 1: minute: found -5");
    expect_refused("30-10 * * * *", "a range goes upwards");
    expect_refused("* * * * fri-mon", "a range goes upwards");
    expect_refused("5/10 * * * *", "a step needs a range");
    expect_refused("*/0 * * * *", "character 3: minute: found 0, a step is at least 1");
    expect_refused("*/60 * * * *", "character 3: minute: found 60, a step");
    expect_refused("*/ * * * *", "a step");
    expect_refused("99999999999999999999 * * * *", "allowed are 0 to 59");
    expect_refused("* * * * *\n", "expected a space");
    expect_refused("@reboot", "allowed are @hourly");
    expect_refused("@every 5m", "allowed are @hourly");
    char text[CRON_TEXT_MAX + 1];
    memset(text, '*', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    expect_refused(text, "at most 127 characters");
}

static void a_day_that_never_comes_is_refused(void **state)
{
    (void)state;
    expect_refused("0 0 30 2 *", "no such day ever comes");
    expect_refused("0 0 31 feb,apr,jun,sep,nov *", "no such day ever comes");
    expect_refused("0 0 30-31 2 */2", "no such day ever comes");
    parse("0 0 30,31 2,3 *");
    parse("0 0 29 2 *");
}

static void times_beyond_the_calendar_end(void **state)
{
    (void)state;
    struct cron cron = parse("0 0 1 1 *");
    assert_true(cron_next(&cron, at("9999-01-01 00:00:00")) == UINT64_MAX);
    assert_true(cron_next(&cron, UINT64_MAX) == UINT64_MAX);
    assert_true(cron_next(&cron, UINT64_MAX / 2) == UINT64_MAX);
}

/* Minute for minute by the C library's calendar. */
static bool matches_by_libc(const struct cron *cron, uint64_t minute)
{
    time_t seconds = (time_t)(minute * 60);
    struct tm time;
    gmtime_r(&seconds, &time);
    bool day = cron->days >> time.tm_mday & 1, week = cron->week_days >> time.tm_wday & 1;
    return (cron->minutes >> time.tm_min & 1) && (cron->hours >> time.tm_hour & 1) &&
           (cron->months >> (time.tm_mon + 1) & 1) &&
           (cron->either_day ? day || week : day && week);
}

static void no_time_is_left_out_and_none_is_made_up(void **state)
{
    (void)state;
    static const char *const texts[] = {"*/7 3,23 * * *", "0 0 28-31 * *", "59 23 */3 2 mon",
                                        "30 12 1 * sun",  "0 0 29 2 *",    "1 1 1-7 3,12 6"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct cron cron = parse(texts[i]);
        uint64_t minute = at("2099-12-28 00:00:00") / MINUTE_MS;
        uint64_t next = cron_next(&cron, minute * MINUTE_MS) / MINUTE_MS;
        for (uint64_t end = minute + 80 * 24 * 60; ++minute < end;) {
            assert_int_equal(matches_by_libc(&cron, minute), minute == next);
            if (minute == next)
                next = cron_next(&cron, minute * MINUTE_MS) / MINUTE_MS;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_next_time_comes_after_the_given_one),
        cmocka_unit_test(steps_ranges_and_lists_mean_what_crontab_says),
        cmocka_unit_test(names_are_read_in_any_case),
        cmocka_unit_test(both_0_and_7_are_sunday),
        cmocka_unit_test(two_restricted_day_fields_are_either_or),
        cmocka_unit_test(a_day_field_that_begins_with_a_star_has_to_match_too),
        cmocka_unit_test(months_end_where_they_end),
        cmocka_unit_test(leap_days_come_in_leap_years),
        cmocka_unit_test(nicknames_stand_for_their_fields),
        cmocka_unit_test(what_makes_no_sense_is_refused_with_its_place),
        cmocka_unit_test(a_day_that_never_comes_is_refused),
        cmocka_unit_test(times_beyond_the_calendar_end),
        cmocka_unit_test(no_time_is_left_out_and_none_is_made_up),
    };
    return cmocka_run_group_tests_name("cron", tests, NULL, NULL);
}
