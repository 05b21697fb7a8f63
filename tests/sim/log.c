/* The log of a simulation: lib/log.h's lines become lines of the trace. Stands in for lib/log.c,
 * and so for its one piece of global state. */
#include "lib/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/world.h"

static struct world *listener;

void world_take_log(struct world *world)
{
    listener = world;
}

void log_event(enum log_level level, const char *message, ...)
{
    char text[500];
    size_t length;
    va_list fields;
    if (listener == NULL || (!listener->traces && level < LOG_LEVEL_ERROR))
        return;
    length = (size_t)snprintf(text, sizeof text, "      log: %s", message);
    va_start(fields, message);
    for (const char *key; (key = va_arg(fields, const char *)) != NULL && length < sizeof text;) {
        const char *value = va_arg(fields, const char *);
        length += (size_t)snprintf(text + length, sizeof text - length, " %s=%s", key,
                                   value != NULL ? value : "");
    }
    va_end(fields);
    world_trace(listener, "%s", text);
    /* The state machines of both sides say so when a move is not in their tables. */
    if (strstr(message, "not in the table") != NULL || strstr(message, "may not move") != NULL)
        world_fail(listener, "%s", text);
}

const char *log_format_number(char *buffer, long long value)
{
    snprintf(buffer, 24, "%lld", value);
    return buffer;
}
