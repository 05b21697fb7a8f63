/* One line of what a guest wrote on its console, as it is kept in files and handed on:
 *
 *   2026-11-26T02:14:50.123Z L listening on 10.64.0.7:8080                an agent's
 *   2026-11-26T02:14:50.123Z 0001000003f2 L listening on 10.64.0.7:8080   the scheduler's
 *
 * The time (UTC) is when the line was read on its node, by that node's clock. Then comes what it
 * is: L a line, P a piece of a line that had not ended by then and goes on in the next, M what the
 * agent itself has to say (a boot, an end, a gap), which no guest can forge. The guest's bytes are
 * as they came, without the line end: whoever shows them makes them printable.
 *
 * Two kinds are in no file: R says to a reader who follows where they are (log_position.h), F is
 * the scheduler's word that an instance's log cannot be had now, and why. An empty line from an
 * agent ends the past; from the scheduler it is the last one: an answer that ends without it broke
 * off. Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/api/protocol.h"
#include "lib/buffer.h"

enum api_log_kind {
    API_LOG_LINE = 'L',
    API_LOG_PIECE = 'P',
    API_LOG_MARK = 'M',
    API_LOG_POSITION = 'R',
    API_LOG_FAILURE = 'F',
};

struct api_log_line {
    uint64_t time_ms;               /* since 1970 */
    char instance[INSTANCE_ID_MAX]; /* "": it is clear whose */
    enum api_log_kind kind;
    const char *text; /* not ended by a NUL */
    size_t length;
};

/* With NUL. */
#define API_LOG_TIME_MAX 25
void api_log_time_write(uint64_t time_ms, char ret_text[API_LOG_TIME_MAX]);
/* That form, or without its fraction, or without its seconds too ("2026-11-26T02:14Z"). */
bool api_log_time_parse(const char *text, uint64_t *ret_time_ms);
/* A point in the past: a time as above, or how long before `now_ms` ("10m", text_parse_duration).
 */
bool api_log_since_parse(const char *text, uint64_t now_ms, uint64_t *ret_time_ms);
/* What api_log_since_parse takes, for messages. */
#define API_LOG_SINCE_FORMS "a duration (10m, 2h30m) or a time (2026-11-26T02:14:50Z)"

/* Appends the line with its end. */
void api_log_line_write(const struct api_log_line *line, struct buffer *ret_text);
/* Reads one, given without its end; `ret_line` points into it. */
bool api_log_line_parse(const char *bytes, size_t length, bool has_instance,
                        struct api_log_line *ret_line);
