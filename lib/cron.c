#include "lib/cron.h"

#include <string.h>
#include <strings.h>

#define MINUTE_MS UINT64_C(60000)
#define DAY_MS    UINT64_C(86400000)
#define YEARS_END UINT64_C(253402300800000) /* 10000-01-01 */
#define NAME_SIZE 3

static const char *const month_names[] = {"jan", "feb", "mar", "apr", "may", "jun", "jul",
                                          "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const week_day_names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};
/* February's is that of a leap year. */
static const unsigned month_days[] = {0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

static const struct field {
    const char *title;
    unsigned min, max;
    const char *const *names; /* the first one is `min` */
} fields[] = {
    {"minute", 0, 59, NULL},
    {"hour", 0, 23, NULL},
    {"day of the month", 1, 31, NULL},
    {"month", 1, 12, month_names},
    {"day of the week", 0, 7, week_day_names},
};
enum { MINUTE, HOUR, DAY, MONTH, WEEK_DAY, FIELDS };

static const struct {
    const char *name, *expression;
} nicknames[] = {
    {"@hourly", "0 * * * *"},   {"@daily", "0 0 * * *"},   {"@midnight", "0 0 * * *"},
    {"@weekly", "0 0 * * 0"},   {"@monthly", "0 0 1 * *"}, {"@yearly", "0 0 1 1 *"},
    {"@annually", "0 0 1 1 *"},
};

/* --- reading --- */

struct reader {
    const char *text; /* all of it */
    const char *at;
    const struct field *field;
    struct error *error;
};

static int refuse(const struct reader *reader, const char *at, const char *why)
{
    int length = (int)strcspn(at, " \t,");
    const char *found = length > 0 ? at : "nothing";
    if (length == 0)
        length = (int)strlen(found);
    return error_set(reader->error, ERROR_INVALID, "character %zu: %s: found %.*s, %s",
                     (size_t)(at - reader->text) + 1, reader->field->title, length, found, why);
}

static int refuse_value(const struct reader *reader, const char *at)
{
    static const char *const allowed[FIELDS] = {
        "allowed are 0 to 59", "allowed are 0 to 23", "allowed are 1 to 31",
        "allowed are 1 to 12 and jan to dec", "allowed are 0 to 7 and sun to sat"};
    return refuse(reader, at, allowed[reader->field - fields]);
}

/* Up to three digits; false when there is none, or too many. */
static bool read_digits(struct reader *reader, unsigned *ret_number)
{
    unsigned number = 0, digits = 0;
    const char *at = reader->at;
    for (; *at >= '0' && *at <= '9' && digits < 4; at++, digits++)
        number = number * 10 + (unsigned)(*at - '0');
    if (digits == 0 || digits > 3)
        return false;
    reader->at = at;
    *ret_number = number;
    return true;
}

static bool read_name(struct reader *reader, unsigned *ret_number)
{
    const char *const *names = reader->field->names;
    for (unsigned i = 0; names != NULL && names[i] != NULL; i++) {
        if (strncasecmp(reader->at, names[i], NAME_SIZE) == 0) {
            reader->at += NAME_SIZE;
            *ret_number = reader->field->min + i;
            return true;
        }
    }
    return false;
}

static int read_value(struct reader *reader, unsigned *ret_value)
{
    const char *begin = reader->at;
    unsigned value;
    if ((!read_digits(reader, &value) && !read_name(reader, &value)) ||
        value < reader->field->min || value > reader->field->max)
        return refuse_value(reader, begin);
    *ret_value = value;
    return 0;
}

static int read_step(struct reader *reader, unsigned *ret_step)
{
    const char *begin = ++reader->at;
    unsigned step;
    if (!read_digits(reader, &step) || step == 0 || step > reader->field->max)
        return refuse(reader, begin, "a step is at least 1 and within the field");
    *ret_step = step;
    return 0;
}

/* One of the list: `*`, a value or a range, with a step perhaps. */
static int read_part(struct reader *reader, uint64_t *bits)
{
    const char *begin = reader->at;
    unsigned from = reader->field->min, to = reader->field->max, step = 1;
    bool many = true;
    if (*reader->at == '*') {
        reader->at++;
    } else {
        if (read_value(reader, &from) < 0)
            return -1;
        to = from;
        many = *reader->at == '-';
        if (many) {
            reader->at++;
            if (read_value(reader, &to) < 0)
                return -1;
        }
        if (to < from)
            return refuse(reader, begin, "a range goes upwards: write it as two, with a comma");
    }
    if (*reader->at == '/') {
        if (!many)
            return refuse(reader, begin, "a step needs a range or *, as in 5-59/10");
        if (read_step(reader, &step) < 0)
            return -1;
    }
    for (unsigned value = from; value <= to; value += step)
        *bits |= UINT64_C(1) << value;
    return 0;
}

static int read_field(struct reader *reader, uint64_t *ret_bits)
{
    uint64_t bits = 0;
    for (;;) {
        if (read_part(reader, &bits) < 0)
            return -1;
        if (*reader->at != ',')
            break;
        reader->at++;
    }
    if (*reader->at != '\0' && *reader->at != ' ' && *reader->at != '\t')
        return refuse(reader, reader->at, "expected a space, or one of , - / in their places");
    *ret_bits = bits;
    return 0;
}

static void skip_spaces(struct reader *reader)
{
    reader->at += strspn(reader->at, " \t");
}

static int read_fields(struct reader *reader, struct cron *ret_cron)
{
    uint64_t bits[FIELDS];
    bool any[FIELDS];
    for (unsigned i = 0; i < FIELDS; i++) {
        skip_spaces(reader);
        reader->field = &fields[i];
        if (*reader->at == '\0')
            return error_set(reader->error, ERROR_INVALID,
                             "character %zu: the %s is missing: five fields are needed (minute, "
                             "hour, day of the month, month, day of the week), or @hourly, @daily, "
                             "@weekly, @monthly, @yearly",
                             (size_t)(reader->at - reader->text) + 1, fields[i].title);
        any[i] = *reader->at == '*';
        if (read_field(reader, &bits[i]) < 0)
            return -1;
    }
    skip_spaces(reader);
    if (*reader->at != '\0')
        return error_set(reader->error, ERROR_INVALID,
                         "character %zu: something stands behind the fifth field",
                         (size_t)(reader->at - reader->text) + 1);
    *ret_cron = (struct cron){.minutes = bits[MINUTE],
                              .hours = (uint32_t)bits[HOUR],
                              .days = (uint32_t)bits[DAY],
                              .months = (uint16_t)bits[MONTH],
                              .week_days = (uint8_t)((bits[WEEK_DAY] | bits[WEEK_DAY] >> 7) & 0x7f),
                              .either_day = !any[DAY] && !any[WEEK_DAY]};
    return 0;
}

/* Where the day of the month has to match, one of the months must have such a day. Any date falls
 * on any day of the week in some year. */
static bool can_match(const struct cron *cron)
{
    if (cron->either_day)
        return true;
    for (unsigned month = 1; month <= 12; month++) {
        uint32_t has = (uint32_t)((UINT64_C(1) << (month_days[month] + 1)) - 2);
        if ((cron->months >> month & 1) != 0 && (cron->days & has) != 0)
            return true;
    }
    return false;
}

static const char *find_nickname(const char *text)
{
    for (size_t i = 0; i < sizeof nicknames / sizeof nicknames[0]; i++) {
        if (strcasecmp(text, nicknames[i].name) == 0)
            return nicknames[i].expression;
    }
    return NULL;
}

int cron_parse(const char *text, struct cron *ret_cron, struct error *error)
{
    struct cron cron;
    if (strlen(text) >= CRON_TEXT_MAX)
        return error_set(error, ERROR_INVALID, "an expression has at most %d characters",
                         CRON_TEXT_MAX - 1);
    if (text[0] == '@') {
        const char *expression = find_nickname(text);
        if (expression == NULL)
            return error_set(error, ERROR_INVALID,
                             "character 1: found %s, allowed are @hourly, @daily, @midnight, "
                             "@weekly, @monthly, @yearly, @annually and five fields",
                             text);
        text = expression;
    }
    struct reader reader = {.text = text, .at = text, .error = error};
    if (read_fields(&reader, &cron) < 0)
        return -1;
    if (!can_match(&cron))
        return error_set(error, ERROR_INVALID,
                         "no such day ever comes: none of the months has that day");
    *ret_cron = cron;
    return 0;
}

/* --- the next time --- */

struct date {
    unsigned year, month, day;
};

static bool is_leap(unsigned year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static unsigned days_in(const struct date *date)
{
    return date->month == 2 && !is_leap(date->year) ? 28 : month_days[date->month];
}

/* The first days of years and months are passed over in one step each: a few thousand at most. */
static struct date date_of(uint64_t days)
{
    struct date date = {.year = 1970, .month = 1};
    while (days >= (is_leap(date.year) ? 366u : 365u))
        days -= is_leap(date.year++) ? 366 : 365;
    while (days >= days_in(&date)) {
        days -= days_in(&date);
        date.month++;
    }
    date.day = (unsigned)days + 1;
    return date;
}

static void next_day(struct date *date)
{
    if (date->day++ < days_in(date))
        return;
    date->day = 1;
    if (date->month++ < 12)
        return;
    date->month = 1;
    date->year++;
}

static bool day_matches(const struct cron *cron, const struct date *date, uint64_t days)
{
    unsigned week_day = (unsigned)((days + 4) % 7); /* 1970 began on a Thursday */
    bool by_day = (cron->days >> date->day & 1) != 0;
    bool by_week_day = (cron->week_days >> week_day & 1) != 0;
    if ((cron->months >> date->month & 1) == 0)
        return false;
    return cron->either_day ? by_day || by_week_day : by_day && by_week_day;
}

/* The first minute of a day from `minute` on; false when the day has none left. */
static bool find_minute(const struct cron *cron, unsigned minute, unsigned *ret_minute)
{
    for (; minute < 24 * 60; minute++) {
        if ((cron->hours >> minute / 60 & 1) == 0)
            minute += 59 - minute % 60;
        else if ((cron->minutes >> minute % 60 & 1) != 0) {
            *ret_minute = minute;
            return true;
        }
    }
    return false;
}

uint64_t cron_next(const struct cron *cron, uint64_t after_ms)
{
    if (after_ms >= YEARS_END - MINUTE_MS)
        return UINT64_MAX;
    uint64_t minutes = after_ms / MINUTE_MS + 1;
    uint64_t days = minutes / (24 * 60);
    unsigned minute = (unsigned)(minutes % (24 * 60));
    struct date date = date_of(days);
    for (; date.year < 10000; days++, minute = 0) {
        if (day_matches(cron, &date, days) && find_minute(cron, minute, &minute))
            return days * DAY_MS + minute * MINUTE_MS;
        next_day(&date);
    }
    return UINT64_MAX;
}
