#include "lib/api/log_line.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/api/agent.h"
#include "lib/text.h"

#define TIME_LENGTH (API_LOG_TIME_MAX - 1)
#define ID_LENGTH   (INSTANCE_ID_MAX - 1)

void api_log_time_write(uint64_t time_ms, char ret_text[API_LOG_TIME_MAX])
{
    time_t seconds = (time_t)(time_ms / 1000);
    struct tm parts;
    /* A clock that is set to no year of four digits is as good as none. */
    if (gmtime_r(&seconds, &parts) == NULL || parts.tm_year < 0 || parts.tm_year > 8099)
        parts = (struct tm){.tm_year = 70, .tm_mday = 1};
    size_t used = strftime(ret_text, API_LOG_TIME_MAX, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(ret_text + used, API_LOG_TIME_MAX - used, ".%03uZ", (unsigned)(time_ms % 1000));
}

/* `count` digits at *at, which moves on. */
static bool take_number(const char **at, int count, int *ret_value)
{
    int value = 0;
    for (int i = 0; i < count; i++) {
        if (!isdigit((unsigned char)(*at)[i]))
            return false;
        value = value * 10 + (*at)[i] - '0';
    }
    *at += count;
    *ret_value = value;
    return true;
}

static bool take(const char **at, char wanted)
{
    if (**at != wanted)
        return false;
    ++*at;
    return true;
}

bool api_log_time_parse(const char *text, uint64_t *ret_time_ms)
{
    struct tm parts = {0};
    int year, month, milliseconds = 0;
    if (!take_number(&text, 4, &year) || !take(&text, '-') || !take_number(&text, 2, &month) ||
        !take(&text, '-') || !take_number(&text, 2, &parts.tm_mday) || !take(&text, 'T') ||
        !take_number(&text, 2, &parts.tm_hour) || !take(&text, ':') ||
        !take_number(&text, 2, &parts.tm_min))
        return false;
    if (take(&text, ':') && (!take_number(&text, 2, &parts.tm_sec) ||
                             (take(&text, '.') && !take_number(&text, 3, &milliseconds))))
        return false;
    if (strcmp(text, "Z") != 0 || year < 1970 || month < 1 || month > 12 || parts.tm_mday < 1 ||
        parts.tm_mday > 31 || parts.tm_hour > 23 || parts.tm_min > 59 || parts.tm_sec > 60)
        return false;
    parts.tm_year = year - 1900;
    parts.tm_mon = month - 1;
    *ret_time_ms = (uint64_t)timegm(&parts) * 1000 + (uint64_t)milliseconds;
    return true;
}

bool api_log_since_parse(const char *text, uint64_t now_ms, uint64_t *ret_time_ms)
{
    uint64_t age;
    if (!text_parse_duration(text, &age))
        return api_log_time_parse(text, ret_time_ms);
    *ret_time_ms = now_ms > age ? now_ms - age : 0;
    return true;
}

void api_log_line_write(const struct api_log_line *line, struct buffer *ret_text)
{
    char head[API_LOG_TIME_MAX + INSTANCE_ID_MAX + 4];
    api_log_time_write(line->time_ms, head);
    size_t used = TIME_LENGTH;
    if (line->instance[0] != '\0')
        used += (size_t)snprintf(head + used, sizeof head - used, " %s", line->instance);
    used += (size_t)snprintf(head + used, sizeof head - used, " %c ", (char)line->kind);
    buffer_append(ret_text, head, used);
    buffer_append(ret_text, line->text, line->length);
    buffer_append(ret_text, "\n", 1);
}

bool api_log_line_parse(const char *bytes, size_t length, bool has_instance,
                        struct api_log_line *ret_line)
{
    struct api_log_line line = {0};
    char time[API_LOG_TIME_MAX] = "";
    size_t kind_at = TIME_LENGTH + 1 + (has_instance ? ID_LENGTH + 1 : 0);
    if (length < kind_at + 2 || bytes[TIME_LENGTH] != ' ' || bytes[kind_at - 1] != ' ' ||
        bytes[kind_at + 1] != ' ' || memchr("LPMRF", bytes[kind_at], 5) == NULL)
        return false;
    memcpy(time, bytes, TIME_LENGTH);
    if (!api_log_time_parse(time, &line.time_ms) || strlen(time) != TIME_LENGTH)
        return false;
    if (has_instance) {
        memcpy(line.instance, bytes + TIME_LENGTH + 1, ID_LENGTH);
        if (api_check_instance_id(line.instance) != NULL)
            return false;
    }
    line.kind = (enum api_log_kind)bytes[kind_at];
    line.text = bytes + kind_at + 2;
    line.length = length - kind_at - 2;
    *ret_line = line;
    return true;
}
