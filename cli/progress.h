/* How waiting looks, on standard error: one line that is written over on a terminal, one line for
 * each change elsewhere. */
#pragma once

#include <stdbool.h>

#define PROGRESS_LINE_MAX 512

struct progress {
    bool terminal;
    bool shown; /* a line stands on the terminal without its end */
    char line[PROGRESS_LINE_MAX];
};

void progress_init(struct progress *progress);
/* The state now. */
void progress_show(struct progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same for numbers that change all the time: only on a terminal. */
void progress_show_fast(struct progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A remark that stays, on a line of its own. */
void progress_say(struct progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A line of another program's, which stays; dimmed where the terminal may show that. */
void progress_quote(struct progress *progress, bool dim, const char *line);
/* Takes the line that is written over away. */
void progress_clear(struct progress *progress);
/* Ends the line that is written over. */
void progress_finish(struct progress *progress);
