/* The log: one logfmt line an event, on standard error or in a file.
 *
 *   ts=2026-01-02T03:04:05.678Z level=info daemon=shoal-agent msg="instance started"
 * id=0001000003f2
 *
 * Owns the process's one piece of global state besides constants. Any thread; a line is written
 * with one write(2). Values are quoted where they need it; secrets never belong here. */
#pragma once

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

/* `daemon` is printed on every line and must stay valid for the process's life. */
void log_open(const char *daemon, enum log_level level);
/* 0 and the level of "debug", "info", "warn" or "error"; -1 for anything else. */
int log_level_parse(const char *name, enum log_level *ret_level);

/* Fields are pairs of strings, key then value, up to a NULL key; a NULL value prints as "". */
void log_event(enum log_level level, const char *message, ...) __attribute__((sentinel));

#define log_debug(...) log_event(LOG_LEVEL_DEBUG, __VA_ARGS__, (char *)0)
#define log_info(...)  log_event(LOG_LEVEL_INFO, __VA_ARGS__, (char *)0)
#define log_warn(...)  log_event(LOG_LEVEL_WARN, __VA_ARGS__, (char *)0)
#define log_error(...) log_event(LOG_LEVEL_ERROR, __VA_ARGS__, (char *)0)

/* A file of such lines without level, daemon and message, for a log of its own (an access log).
 * Lines are appended with one write(2) each. */
struct log_file;
struct error;
int log_file_open(const char *path, struct log_file **ret_file, struct error *error);
/* Goes on in the file at `path`: the same one, after somebody has moved it away, or another. Lines
 * meanwhile go to one of both; on failure all go on as before. */
int log_file_reopen(struct log_file *file, const char *path, struct error *error);
/* Fields as for log_event. */
void log_file_write(struct log_file *file, ...) __attribute__((sentinel));
/* NULL is fine. */
void log_file_close(struct log_file *file);

/* A number as a field's value; the text lives until the enclosing full expression's block ends. */
#define LOG_NUMBER(value) log_format_number((char[24]){0}, (long long)(value))
const char *log_format_number(char *buffer, long long value);
