#include "agent/host/console_lines.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"

#define BATCH_MAX ((size_t)48 << 10)
#define MARK_MAX  1024

void console_lines_init(struct console_lines *lines, const struct clock *clock,
                        void (*write)(void *context, const char *lines, size_t length),
                        void *context)
{
    *lines = (struct console_lines){.clock = clock,
                                    .allowance = CONSOLE_BURST,
                                    .allowed_ms = clock_monotonic_ms(clock),
                                    .write = write,
                                    .context = context};
}

static void write_out(struct console_lines *lines, struct buffer *batch)
{
    if (batch->length > 0)
        lines->write(lines->context, batch->data, batch->length);
    buffer_clear(batch);
}

static void add_record(const struct console_lines *lines, enum api_log_kind kind, const char *text,
                       size_t length, struct buffer *batch)
{
    struct api_log_line line = {
        .time_ms = clock_wall_ms(lines->clock), .kind = kind, .text = text, .length = length};
    api_log_line_write(&line, batch);
}

/* --- how much a guest may write --- */

static void refill(struct console_lines *lines)
{
    uint64_t now = clock_monotonic_ms(lines->clock);
    uint64_t passed = now - lines->allowed_ms;
    if (passed > 1000 * CONSOLE_BURST / CONSOLE_RATE)
        passed = 1000 * CONSOLE_BURST / CONSOLE_RATE;
    uint64_t gained = passed * CONSOLE_RATE / 1000;
    if (gained == 0)
        return;
    lines->allowed_ms = now;
    lines->allowance += gained;
    if (lines->allowance > CONSOLE_BURST)
        lines->allowance = CONSOLE_BURST;
}

/* A flood is not logged line by line as the allowance comes in, but second by second. */
static void end_dropping(struct console_lines *lines, struct buffer *batch)
{
    char text[MARK_MAX];
    if (!lines->is_dropping || lines->allowance < CONSOLE_RATE)
        return;
    int length = snprintf(text, sizeof text,
                          "%" PRIu64 " bytes of the console were dropped: it wrote more than %u KiB"
                          " a second",
                          lines->dropped, (unsigned)(CONSOLE_RATE >> 10));
    add_record(lines, API_LOG_MARK, text, (size_t)length, batch);
    lines->is_dropping = false;
    lines->dropped = 0;
}

static void add_line(struct console_lines *lines, enum api_log_kind kind, const char *text,
                     size_t length, struct buffer *batch)
{
    uint64_t cost = length + API_LOG_TIME_MAX + 3;
    end_dropping(lines, batch);
    if (lines->is_dropping || lines->allowance < cost) {
        lines->is_dropping = true;
        lines->dropped += length + (kind == API_LOG_LINE ? 1 : 0);
        return;
    }
    lines->allowance -= cost;
    add_record(lines, kind, text, length, batch);
    if (batch->length > BATCH_MAX)
        write_out(lines, batch);
}

/* --- lines --- */

static void add_open_line(struct console_lines *lines, enum api_log_kind kind, struct buffer *batch)
{
    size_t length = lines->line.length;
    if (kind == API_LOG_LINE && length > 0 && lines->line.data[length - 1] == '\r')
        length--;
    add_line(lines, kind, buffer_text(&lines->line), length, batch);
    buffer_clear(&lines->line);
}

void console_lines_feed(struct console_lines *lines, const char *bytes, size_t length)
{
    AUTO_BUFFER struct buffer batch = {0};
    refill(lines);
    lines->touched_ms = clock_monotonic_ms(lines->clock);
    while (length > 0) {
        const char *end = memchr(bytes, '\n', length);
        size_t part = end != NULL ? (size_t)(end - bytes) : length;
        size_t room = CONSOLE_LINE_MAX - lines->line.length;
        bool is_cut = part > room;
        size_t taken = is_cut ? room : part;
        buffer_append(&lines->line, bytes, taken);
        if (is_cut)
            add_open_line(lines, API_LOG_PIECE, &batch);
        else if (end != NULL) {
            add_open_line(lines, API_LOG_LINE, &batch);
            taken++;
        }
        bytes += taken;
        length -= taken;
    }
    write_out(lines, &batch);
}

void console_lines_mark(struct console_lines *lines, const char *format, ...)
{
    AUTO_BUFFER struct buffer batch = {0};
    char text[MARK_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    text_make_line(text);
    if (lines->line.length > 0)
        add_open_line(lines, API_LOG_PIECE, &batch);
    add_record(lines, API_LOG_MARK, text, strlen(text), &batch);
    write_out(lines, &batch);
}

bool console_lines_tick(struct console_lines *lines)
{
    AUTO_BUFFER struct buffer batch = {0};
    refill(lines);
    end_dropping(lines, &batch);
    if (lines->line.length > 0 &&
        clock_monotonic_ms(lines->clock) - lines->touched_ms >= CONSOLE_PIECE_MS)
        add_open_line(lines, API_LOG_PIECE, &batch);
    write_out(lines, &batch);
    return lines->line.length > 0 || lines->is_dropping;
}

void console_lines_finish(struct console_lines *lines)
{
    AUTO_BUFFER struct buffer batch = {0};
    if (lines->line.length > 0)
        add_open_line(lines, API_LOG_LINE, &batch);
    lines->allowance = lines->is_dropping ? CONSOLE_RATE : lines->allowance;
    end_dropping(lines, &batch);
    write_out(lines, &batch);
    buffer_finish(&lines->line);
}
