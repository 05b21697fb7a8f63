/* The file that a guest's console is kept in: <folder>/<id>.log, turned over to <id>.log.1 and on
 * when it is full; the oldest is dropped. A disk that is full costs lines, never the guest: what
 * could not be written is counted, and said once writing works again. Loop thread. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/clock.h"

#define CONSOLE_LOG_SIZE      ((uint64_t)1 << 20)
#define CONSOLE_LOG_SIZE_MIN  ((uint64_t)64 << 10)
#define CONSOLE_LOG_SIZE_MAX  ((uint64_t)1 << 30)
#define CONSOLE_LOG_FILES     4
#define CONSOLE_LOG_FILES_MAX 100

struct console_file_options {
    const char *folder;
    uint64_t size;  /* bytes of one file at most */
    uint32_t files; /* of one instance at most, 1 or more */
    gid_t reader;   /* may read them; they are root's */
    const struct clock *clock;
};

struct console_file {
    const struct console_file_options *options;
    char *path;
    int descriptor; /* -1: it cannot be opened now */
    uint64_t size;
    uint64_t lost; /* bytes that were not written since writing failed */
    int failure;   /* errno of that; 0: writing works */
    uint64_t failed_ms;
};

/* Appends to what is there, behind a line that a kill cut off in one of its own. `options` stay the
 * caller's. */
void console_file_init(struct console_file *file, const struct console_file_options *options,
                       const char *id);
/* Appends whole lines (lib/api/log_line.h), not more than CONSOLE_LOG_SIZE_MIN bytes of them. */
void console_file_append(struct console_file *file, const char *lines, size_t length);
void console_file_finish(struct console_file *file);
