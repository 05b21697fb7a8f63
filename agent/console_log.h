/* Reads the guests' consoles, which the host half writes to <folder>/<id>.log and turns over to
 * <id>.log.1; of those that are forgotten, the last ones stay as <id>.ended. Bounded reads of local
 * files; loop thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/buffer.h"
#include "lib/error.h"

#define CONSOLE_TAIL_MAX ((size_t)1 << 20) /* bytes of the past that can be had */

struct console_log {
    char *path;
    int descriptor; /* -1: there is no file yet */
};

/* Whether an instance that is forgotten has left one; `id` is a valid instance id. */
bool console_log_is_kept(const char *folder, const char *id);
/* Appends the last `lines` lines of the past to `text`, and stands behind them. A log that does not
 * exist yet is empty. `id` is a valid instance id. */
int console_log_open(struct console_log *ret_log, const char *folder, const char *id,
                     uint64_t lines, struct buffer *text, struct error *error);
/* Appends what came since, across a turn-over; at most CONSOLE_TAIL_MAX at a time. */
void console_log_read(struct console_log *log, struct buffer *text);
void console_log_close(struct console_log *log);
