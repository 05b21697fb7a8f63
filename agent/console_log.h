/* Reads the logs of guests' consoles, which the host half writes to <folder>/<id>.log and turns
 * over to <id>.log.1 and on; of those that are forgotten, the last ones stay as <id>.ended. Their
 * lines are those of lib/api/log_line.h. Bounded reads of local files; loop thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/api/log_position.h"
#include "lib/buffer.h"
#include "lib/error.h"

/* Bytes of the past that can be had at once. */
#define CONSOLE_PAST_MAX ((size_t)4 << 20)

struct console_log_query {
    uint64_t tail;     /* lines at most, the newest of them */
    uint64_t since_ms; /* from the first line on that was read then or later; 0: all */
    size_t limit;      /* bytes at most, CONSOLE_PAST_MAX or less */
};

struct console_log {
    char *path;
    char *ended;        /* what it is called once it is forgotten; NULL: it is called that */
    int descriptor;     /* -1: there is no file yet */
    struct buffer part; /* of a line that was not written to its end when it was read */
    uint64_t skip;      /* lines that the reader has already */
    bool has_gap;       /* see console_log_read */
};

/* Whether an instance that is forgotten has left one; `id` is a valid instance id. */
bool console_log_is_kept(const char *folder, const char *id);
/* What was asked for of the past. */
struct console_log_past {
    struct api_log_position start; /* where the lines begin */
    bool is_cut;                   /* `limit` left out lines that were asked for */
    struct buffer lines;           /* the caller finishes it */
};

/* Reads the past and stands behind it. A log that does not exist yet is empty. `id` is a valid
 * instance id. */
int console_log_open(struct console_log *ret_log, const char *folder, const char *id,
                     const struct console_log_query *query, struct console_log_past *ret_past,
                     struct error *error);
/* Stands where a reader was. `ret_is_lost`: that is not kept any more, it stands at the oldest line
 * there is. */
int console_log_resume(struct console_log *ret_log, const char *folder, const char *id,
                       const struct api_log_position *position, bool *ret_is_lost,
                       struct error *error);
/* Appends the lines that came since, across turn-overs; some 256 KiB of them at a time. `has_gap`:
 * the file that was read is not kept any more, and behind these lines some may be missing. */
void console_log_read(struct console_log *log, struct buffer *text);
/* Where it stands, behind the last line that was read. Not known while lines are left out since the
 * reader has them. */
struct api_log_position console_log_position(const struct console_log *log);
void console_log_close(struct console_log *log);
