#include "agent/probe_console.h"

#include <stdlib.h>
#include <string.h>

#include "agent/console_log.h"
#include "lib/api/health_spec.h"
#include "lib/api/log_line.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

struct probe_console {
    char *folder, *id, *pattern;
    uint64_t since_ms;
    bool is_open, has_matched;
    struct console_log log;
};

struct probe_console *probe_console_create(const char *folder, const char *id, const char *pattern,
                                           uint64_t since_ms)
{
    struct probe_console *console = xcalloc(1, sizeof *console);
    console->folder = xstrdup(folder);
    console->id = xstrdup(id);
    console->pattern = xstrdup(pattern);
    console->since_ms = since_ms;
    return console;
}

static void close_log(struct probe_console *console)
{
    if (console->is_open)
        console_log_close(&console->log);
    console->is_open = false;
}

void probe_console_destroy(struct probe_console *console)
{
    if (console == NULL)
        return;
    close_log(console);
    free(console->folder);
    free(console->id);
    free(console->pattern);
    free(console);
}

static void read_more(struct probe_console *console, struct buffer *text)
{
    struct console_log_query query = {
        .tail = UINT64_MAX, .since_ms = console->since_ms, .limit = CONSOLE_PAST_MAX};
    struct console_log_past past;
    if (console->is_open) {
        console_log_read(&console->log, text);
        return;
    }
    if (console_log_open(&console->log, console->folder, console->id, &query, &past, NULL) < 0)
        return;
    console->is_open = true;
    buffer_append(text, buffer_text(&past.lines), past.lines.length);
    buffer_finish(&past.lines);
}

/* What the agent itself says there is not the guest's. */
static bool line_matches(const char *bytes, size_t length, const char *pattern)
{
    struct api_log_line line;
    return api_log_line_parse(bytes, length, false, &line) && line.kind != API_LOG_MARK &&
           api_console_matches(pattern, line.text, line.length);
}

static bool any_line_matches(const struct buffer *text, const char *pattern)
{
    const char *at = text->data, *end = text->data + text->length;
    while (at < end) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        size_t length = (size_t)((stop != NULL ? stop : end) - at);
        if (line_matches(at, length, pattern))
            return true;
        at += length + 1;
    }
    return false;
}

bool probe_console_look(struct probe_console *console)
{
    if (console->has_matched)
        return true;
    AUTO_BUFFER struct buffer text = {0};
    read_more(console, &text);
    console->has_matched = text.length > 0 && any_line_matches(&text, console->pattern);
    if (console->has_matched)
        close_log(console);
    return console->has_matched;
}
