#include "lib/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/xalloc.h"

#define LINE_MAX_BYTES 4096

static const char *log_daemon = "shoal";
static enum log_level log_threshold = LOG_LEVEL_INFO;
static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_open(const char *daemon, enum log_level level)
{
    log_daemon = daemon;
    log_threshold = level;
}

int log_level_parse(const char *name, enum log_level *ret_level)
{
    for (size_t i = 0; i < ARRAY_LENGTH(level_names); i++) {
        if (strcmp(level_names[i], name) == 0) {
            *ret_level = (enum log_level)i;
            return 0;
        }
    }
    return -1;
}

struct line {
    char text[LINE_MAX_BYTES];
    size_t length;
};

static void line_put(struct line *line, char c)
{
    if (line->length < sizeof line->text - 2)
        line->text[line->length++] = c;
}

static void line_puts(struct line *line, const char *text)
{
    for (; *text != '\0'; text++)
        line_put(line, *text);
}

static bool needs_quotes(const char *value)
{
    if (*value == '\0')
        return true;
    for (; *value != '\0'; value++) {
        if ((unsigned char)*value <= ' ' || *value == '"' || *value == '=' || *value == '\\' ||
            *value == 0x7f)
            return true;
    }
    return false;
}

static void line_put_value(struct line *line, const char *value)
{
    if (!needs_quotes(value)) {
        line_puts(line, value);
        return;
    }
    line_put(line, '"');
    for (; *value != '\0'; value++) {
        unsigned char c = (unsigned char)*value;
        if (c == '\n') {
            line_puts(line, "\\n");
        } else if (c == '"' || c == '\\') {
            line_put(line, '\\');
            line_put(line, (char)c);
        } else if (c < ' ' || c == 0x7f) {
            char escape[8];
            snprintf(escape, sizeof escape, "\\x%02x", c);
            line_puts(line, escape);
        } else {
            line_put(line, (char)c);
        }
    }
    line_put(line, '"');
}

static void line_put_time(struct line *line)
{
    struct timespec now;
    struct tm parts;
    char text[40];
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &parts);
    size_t used = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + used, sizeof text - used, ".%03ldZ", now.tv_nsec / 1000000);
    line_puts(line, text);
}

static void line_put_fields(struct line *line, va_list fields)
{
    for (const char *key = va_arg(fields, const char *); key != NULL;
         key = va_arg(fields, const char *)) {
        const char *value = va_arg(fields, const char *);
        line_put(line, ' ');
        line_puts(line, key);
        line_put(line, '=');
        line_put_value(line, value != NULL ? value : "");
    }
}

/* A log that cannot be written is not worth stopping for. */
static void line_write(struct line *line, int descriptor)
{
    line->text[line->length++] = '\n';
    ssize_t written = write(descriptor, line->text, line->length);
    (void)written;
}

void log_event(enum log_level level, const char *message, ...)
{
    if (level < log_threshold)
        return;
    struct line line = {.length = 0};
    line_puts(&line, "ts=");
    line_put_time(&line);
    line_puts(&line, " level=");
    line_puts(&line, level_names[level]);
    line_puts(&line, " daemon=");
    line_puts(&line, log_daemon);
    line_puts(&line, " msg=");
    line_put_value(&line, message);

    va_list fields;
    va_start(fields, message);
    line_put_fields(&line, fields);
    va_end(fields);
    line_write(&line, STDERR_FILENO);
}

/* --- a file of lines --- */

struct log_file {
    int descriptor;
};

static int open_file(const char *path, struct error *error)
{
    int descriptor = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (descriptor < 0)
        error_set_errno(error, errno, "open the log %s", path);
    return descriptor;
}

int log_file_open(const char *path, struct log_file **ret_file, struct error *error)
{
    int descriptor = open_file(path, error);
    if (descriptor < 0)
        return -1;
    struct log_file *file = xcalloc(1, sizeof *file);
    file->descriptor = descriptor;
    *ret_file = file;
    return 0;
}

int log_file_reopen(struct log_file *file, const char *path, struct error *error)
{
    AUTO_CLOSE int descriptor = open_file(path, error);
    if (descriptor < 0)
        return -1;
    /* In place of the old one at once: nobody writes to a closed descriptor in between. */
    if (dup3(descriptor, file->descriptor, O_CLOEXEC) < 0)
        return error_set_errno(error, errno, "open the log %s anew", path);
    return 0;
}

void log_file_write(struct log_file *file, ...)
{
    struct line line = {.length = 0};
    line_puts(&line, "ts=");
    line_put_time(&line);
    va_list fields;
    va_start(fields, file);
    line_put_fields(&line, fields);
    va_end(fields);
    line_write(&line, file->descriptor);
}

void log_file_close(struct log_file *file)
{
    if (file == NULL)
        return;
    close(file->descriptor);
    free(file);
}

const char *log_format_number(char *buffer, long long value)
{
    snprintf(buffer, 24, "%lld", value);
    return buffer;
}
