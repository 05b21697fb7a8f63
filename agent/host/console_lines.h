/* What a guest writes, byte by byte, as lines of a log: each with the time at which it was read,
 * cut where it is too long, and no more of them than a guest may write. A guest that floods its
 * console loses lines; the log says how many bytes. Knows no file and no socket. Loop thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/api/log_line.h"
#include "lib/buffer.h"
#include "lib/clock.h"

/* Bytes of a line; a longer one becomes pieces. */
#define CONSOLE_LINE_MAX ((size_t)4096)
/* A line that has not ended is written as a piece when nothing came for so long. */
#define CONSOLE_PIECE_MS 1000
/* Bytes of the log: so many at once, and so many a second when it goes on. */
#define CONSOLE_BURST ((uint64_t)1 << 20)
#define CONSOLE_RATE  ((uint64_t)128 << 10)

struct console_lines {
    const struct clock *clock;
    struct buffer line;  /* that has not ended */
    uint64_t touched_ms; /* when the last of it came */
    uint64_t allowance;  /* bytes */
    uint64_t allowed_ms;
    bool is_dropping;
    uint64_t dropped; /* bytes */
    /* Gets whole lines, at most 64 KiB of them at a time. */
    void (*write)(void *context, const char *lines, size_t length);
    void *context;
};

void console_lines_init(struct console_lines *lines, const struct clock *clock,
                        void (*write)(void *context, const char *lines, size_t length),
                        void *context);
/* What the guest wrote. */
void console_lines_feed(struct console_lines *lines, const char *bytes, size_t length);
/* What the agent has to say; of control characters nothing is left. */
void console_lines_mark(struct console_lines *lines, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Writes what is due by now. True: there is something that waits, call it again in a while. */
bool console_lines_tick(struct console_lines *lines);
/* Nothing more comes: writes all that is left. */
void console_lines_finish(struct console_lines *lines);
