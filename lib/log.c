#include "lib/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/cleanup.h"

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
    for (const char *key = va_arg(fields, const char *); key != NULL;
         key = va_arg(fields, const char *)) {
        const char *value = va_arg(fields, const char *);
        line_put(&line, ' ');
        line_puts(&line, key);
        line_put(&line, '=');
        line_put_value(&line, value != NULL ? value : "");
    }
    va_end(fields);
    line.text[line.length++] = '\n';
    /* A log that cannot be written is not worth stopping for. */
    ssize_t written = write(STDERR_FILENO, line.text, line.length);
    (void)written;
}

const char *log_format_number(char *buffer, long long value)
{
    snprintf(buffer, 24, "%lld", value);
    return buffer;
}
