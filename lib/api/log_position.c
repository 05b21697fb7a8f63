#include "lib/api/log_position.h"

#include <inttypes.h>
#include <stdio.h>

#define DIGITS_MAX 16

void api_log_position_write(const struct api_log_position *position,
                            char ret_text[API_LOG_POSITION_MAX])
{
    snprintf(ret_text, API_LOG_POSITION_MAX, "%" PRIx64 "-%" PRIx64 "-%" PRIx64 "-%" PRIx64,
             position->file, position->begun_ms, position->offset, position->lines);
}

/* Lower-case hex digits up to `end` or a dash, which is taken too. */
static bool take_number(const char **at, const char *end, uint64_t *ret_number)
{
    uint64_t number = 0;
    size_t count = 0;
    for (; *at < end && **at != '-'; ++*at, count++) {
        char digit = **at;
        bool is_letter = digit >= 'a' && digit <= 'f';
        if (count == DIGITS_MAX || (!is_letter && (digit < '0' || digit > '9')))
            return false;
        number = number << 4 | (uint64_t)(is_letter ? digit - 'a' + 10 : digit - '0');
    }
    if (*at < end)
        ++*at;
    *ret_number = number;
    return count > 0;
}

bool api_log_position_parse(const char *text, size_t length, struct api_log_position *ret_position)
{
    struct api_log_position position = {.is_known = true};
    const char *at = text, *end = text + length;
    if (length == 0 || end[-1] == '-' || !take_number(&at, end, &position.file) ||
        !take_number(&at, end, &position.begun_ms) || !take_number(&at, end, &position.offset) ||
        !take_number(&at, end, &position.lines) || at != end)
        return false;
    *ret_position = position;
    return true;
}

void api_log_position_move(struct api_log_position *position, const struct api_log_line *line)
{
    if (line->kind == API_LOG_POSITION) {
        if (!api_log_position_parse(line->text, line->length, position))
            *position = (struct api_log_position){0};
    } else if (line->kind != API_LOG_FAILURE && position->is_known) {
        position->lines++;
    }
}
