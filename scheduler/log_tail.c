#include "scheduler/log_tail.h"

#include <stdlib.h>
#include <string.h>

#include "lib/api/log_position.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

/* Where the reader of one instance's log is. */
struct place {
    char instance[INSTANCE_ID_MAX];
    struct api_log_position position;
};

struct places {
    struct place *items;
    size_t count, last; /* lines of one instance often follow each other */
};

static struct api_log_position *find_place(struct places *places, const char *instance)
{
    for (size_t i = 0; i < places->count; i++) {
        size_t at = (places->last + i) % places->count;
        if (strcmp(places->items[at].instance, instance) != 0)
            continue;
        places->last = at;
        return &places->items[at].position;
    }
    if ((places->count & (places->count - 1)) == 0)
        places->items = xreallocarray(places->items, places->count > 0 ? 2 * places->count : 1,
                                      sizeof *places->items);
    struct place *place = &places->items[places->count++];
    *place = (struct place){0};
    memcpy(place->instance, instance, sizeof place->instance);
    places->last = places->count - 1;
    return &place->position;
}

/* Where the last `count` lines begin. */
static size_t find_start(const struct buffer *lines, uint64_t count)
{
    struct api_log_line line;
    size_t start = lines->length;
    while (start > 0 && count > 0) {
        size_t end = start - 1; /* its line feed */
        const char *before = memrchr(lines->data, '\n', end);
        start = before != NULL ? (size_t)(before - lines->data) + 1 : 0;
        if (api_log_line_parse(lines->data + start, end - start, true, &line) &&
            line.kind != API_LOG_POSITION && line.kind != API_LOG_FAILURE)
            count--;
    }
    return start;
}

/* Goes over what is left out. */
static uint64_t leave_out(const struct buffer *lines, size_t length, struct places *places,
                          struct buffer *kept)
{
    uint64_t time_ms = 0;
    for (size_t at = 0; at < length;) {
        struct api_log_line line;
        const char *end = memchr(lines->data + at, '\n', length - at);
        size_t size = end != NULL ? (size_t)(end - lines->data) - at : length - at;
        if (api_log_line_parse(lines->data + at, size, true, &line)) {
            api_log_position_move(find_place(places, line.instance), &line);
            time_ms = line.time_ms;
            if (line.kind == API_LOG_FAILURE)
                api_log_line_write(&line, kept);
        }
        at += size + 1;
    }
    return time_ms;
}

void log_tail_keep(struct buffer *lines, uint64_t count)
{
    struct places places = {0};
    AUTO_BUFFER struct buffer kept = {0};
    size_t start = find_start(lines, count);
    uint64_t time_ms = leave_out(lines, start, &places, &kept);
    for (size_t i = 0; i < places.count; i++) {
        char words[API_LOG_POSITION_MAX];
        if (!places.items[i].position.is_known)
            continue;
        api_log_position_write(&places.items[i].position, words);
        struct api_log_line line = {
            .time_ms = time_ms, .kind = API_LOG_POSITION, .text = words, .length = strlen(words)};
        memcpy(line.instance, places.items[i].instance, sizeof line.instance);
        api_log_line_write(&line, &kept);
    }
    free(places.items);
    if (start == 0)
        return;
    buffer_append(&kept, buffer_text(lines) + start, lines->length - start);
    buffer_clear(lines);
    buffer_append(lines, buffer_text(&kept), kept.length);
}
