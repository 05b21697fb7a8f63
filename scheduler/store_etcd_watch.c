#include <string.h>

#include "lib/log.h"
#include "lib/xalloc.h"
#include "scheduler/store_etcd_internal.h"

/* Of one line; etcd cuts its messages at some 2 MiB (fragment), and base64 adds a third. */
#define LINE_MAX_BYTES (64u << 20)
/* A watch that hears nothing for so long, though there was something to tell, is stuck: its
 * connection, or the member of etcd behind it. */
#define BEHIND_MS 2000

/* --- one stream --- */

struct etcd_stream *store_etcd_stream_create(struct store_etcd *store, const char *from,
                                             const char *end, uint64_t seen)
{
    struct etcd_stream *stream = xcalloc(1, sizeof *stream);
    stream->store = store;
    stream->from = xstrdup(from);
    stream->end = xstrdup(end);
    stream->seen = seen;
    return stream;
}

static void drop_events(struct etcd_stream *stream)
{
    for (size_t i = 0; i < stream->event_count; i++) {
        free(stream->events[i].key);
        free(stream->events[i].value);
    }
    free(stream->events);
    stream->events = NULL;
    stream->event_count = 0;
}

void store_etcd_stream_destroy(struct etcd_stream *stream)
{
    if (stream == NULL)
        return;
    http_client_cancel(stream->call);
    drop_events(stream);
    buffer_finish(&stream->received);
    free(stream->from);
    free(stream->end);
    free(stream);
}

/* Inside curl: what came is looked at from the loop. */
static int on_body(const void *bytes, size_t length, void *data)
{
    struct etcd_stream *stream = data;
    buffer_append(&stream->received, bytes, length);
    stream->arrived = true;
    stream->heard = true;
    uv_async_send(&stream->store->wake);
    return stream->received.length > LINE_MAX_BYTES ? -1 : 0;
}

static void on_end(const struct http_client_response *response, void *data)
{
    struct etcd_stream *stream = data;
    stream->call = NULL;
    stream->over = true;
    stream->arrived = true;
    if (response->failed)
        log_debug("a watch of etcd broke off", "error", response->error.message);
    uv_async_send(&stream->store->wake);
}

static void stream_begin(struct etcd_stream *stream)
{
    char *body = etcd_watch_body(stream->from, stream->end, stream->seen + 1);
    drop_events(stream);
    buffer_clear(&stream->received);
    stream->over = false;
    stream->retry_ms = 0;
    stream->behind_ms = 0;
    stream->call = etcd_watch_start(stream->store->client, body, on_body, on_end, stream);
}

/* Elsewhere, and not at once: a member without a leader ends watches as soon as they begin. */
static void stream_break_off(struct etcd_stream *stream, uint64_t now)
{
    http_client_cancel(stream->call);
    stream->call = NULL;
    stream->over = false;
    stream->retry_ms = now + ETCD_RETRY_MS;
    etcd_client_move_on(stream->store->client);
}

/* Tells of the first `count` events, which make their revisions complete. */
static void stream_tell(struct etcd_stream *stream, size_t count)
{
    struct etcd_pair *events = stream->events;
    size_t left = stream->event_count - count;
    uint64_t revision = events[count - 1].revision;
    /* Taken out first: who is told may end the stream. */
    stream->events = xcalloc(left + 1, sizeof *events);
    memcpy(stream->events, events + count, left * sizeof *events);
    stream->event_count = left;
    stream->seen = revision;
    stream->on_events(events, count, revision, stream->data);
    for (size_t i = 0; i < count; i++) {
        free(events[i].key);
        free(events[i].value);
    }
    free(events);
}

static void take_events(struct etcd_stream *stream, struct etcd_watch_message *message)
{
    size_t count = stream->event_count + message->event_count;
    stream->events = xreallocarray(stream->events, count + 1, sizeof *stream->events);
    memcpy(stream->events + stream->event_count, message->events,
           message->event_count * sizeof *message->events);
    stream->event_count = count;
    message->event_count = 0; /* theirs are ours now */
}

static void stream_take(struct etcd_stream *stream, struct etcd_watch_message *message,
                        uint64_t now)
{
    if (message->compact_revision > 0) {
        http_client_cancel(stream->call);
        stream->call = NULL;
        stream->retry_ms = UINT64_MAX;
        stream->on_stale(stream->data);
        return;
    }
    if (message->canceled) {
        stream_break_off(stream, now);
        return;
    }
    take_events(stream, message);
    size_t complete = stream->event_count;
    while (message->fragment && complete > 0 &&
           stream->events[complete - 1].revision ==
               stream->events[stream->event_count - 1].revision)
        complete--;
    if (complete > 0)
        stream_tell(stream, complete);
}

/* One line of what came; false when there is no whole one. */
static bool stream_read_line(struct etcd_stream *stream, uint64_t now)
{
    char *end = stream->received.length > 0
                    ? memchr(stream->received.data, '\n', stream->received.length)
                    : NULL;
    if (end == NULL)
        return false;
    struct error error = ERROR_INIT;
    struct etcd_watch_message message = {0};
    size_t length = (size_t)(end - stream->received.data);
    int result = etcd_watch_decode(stream->received.data, length, &message, &error);
    buffer_consume(&stream->received, length + 1);
    if (result < 0) {
        log_warn("a watch of etcd ended", "error", error.message);
        stream_break_off(stream, now);
        return false;
    }
    stream_take(stream, &message, now);
    etcd_watch_release(&message);
    return true;
}

void store_etcd_stream_step(struct etcd_stream *stream, uint64_t now)
{
    if (stream->arrived) {
        stream->arrived = false;
        /* on_stale may have ended it, and then nothing more is read. */
        while (stream->retry_ms == 0 && stream_read_line(stream, now))
            ;
        if (stream->over)
            stream_break_off(stream, now);
    }
    if (stream->call == NULL && now >= stream->retry_ms)
        stream_begin(stream);
}

/* --- what users see --- */

static void on_watch_events(const struct etcd_pair *events, size_t count, uint64_t revision,
                            void *data)
{
    struct etcd_watch *watch = data;
    struct store_etcd *store = (struct store_etcd *)watch->base.store;
    size_t skipped = strlen(store->documents), told = 0;
    struct store_document *changes = xcalloc(count + 1, sizeof *changes);
    for (size_t i = 0; i < count; i++) {
        const struct etcd_pair *event = &events[i];
        if (strncmp(event->key, store->documents, skipped) != 0 ||
            strncmp(event->key + skipped, watch->prefix, strlen(watch->prefix)) != 0)
            continue;
        changes[told++] = (struct store_document){
            event->key + skipped, event->removed ? NULL : event->value, event->revision};
    }
    if (told > 0 && !watch->stopped)
        watch->callback(NULL, changes, told, revision, watch->data);
    free(changes);
}

static void on_watch_stale(void *data)
{
    struct etcd_watch *watch = data;
    struct error error;
    error_set(&error, ERROR_STALE, "revision %llu is too old to watch from: list again",
              (unsigned long long)watch->stream->seen);
    if (watch->stopped)
        return;
    watch->stopped = true;
    watch->callback(&error, NULL, 0, 0, watch->data);
}

struct store_watch *store_etcd_watch_start(struct store *base, const char *prefix, uint64_t from,
                                           store_watch_callback *callback, void *data)
{
    struct store_etcd *store = (struct store_etcd *)base;
    struct etcd_watch *watch = xcalloc(1, sizeof *watch);
    watch->base.store = base;
    watch->prefix = xstrdup(prefix);
    watch->callback = callback;
    watch->data = data;
    /* All of ours: who leads is among it, and so says how far the watch has come. */
    watch->stream = store_etcd_stream_create(store, store->root, store->root_end, from);
    watch->stream->on_events = on_watch_events;
    watch->stream->on_stale = on_watch_stale;
    watch->stream->data = watch;
    LIST_INSERT_HEAD(&store->watches, watch, link);
    uv_async_send(&store->wake);
    return &watch->base;
}

void store_etcd_watch_stop(struct store_watch *base)
{
    struct etcd_watch *watch = (struct etcd_watch *)base;
    struct store_etcd *store = (struct store_etcd *)base->store;
    watch->stopped = true;
    uv_async_send(&store->wake);
}

static void watch_free(struct etcd_watch *watch)
{
    LIST_REMOVE(watch, link);
    store_etcd_stream_destroy(watch->stream);
    free(watch->prefix);
    free(watch);
}

static void check_progress(struct etcd_stream *stream, uint64_t now)
{
    if (stream->call == NULL || stream->seen >= stream->store->written) {
        stream->behind_ms = 0;
        return;
    }
    /* What is long may take long: it only has to come. */
    if (stream->behind_ms == 0 || stream->heard)
        stream->behind_ms = now;
    stream->heard = false;
    if (now - stream->behind_ms > BEHIND_MS)
        stream_break_off(stream, now);
}

void store_etcd_step_watches(struct store_etcd *store, uint64_t now)
{
    struct etcd_watch *watch, *next;
    /* Those that a callback adds come first in the list, and have their turn later. */
    LIST_FOREACH(watch, &store->watches, link)
    {
        if (watch->stopped || store->ending)
            continue;
        uint64_t seen = watch->stream->seen;
        store_etcd_stream_step(watch->stream, now);
        if (watch->stream->seen != seen)
            store_etcd_note_progress(store, now);
        check_progress(watch->stream, now);
    }
    for (watch = LIST_FIRST(&store->watches); watch != NULL; watch = next) {
        next = LIST_NEXT(watch, link);
        if (watch->stopped || store->ending)
            watch_free(watch);
    }
}

bool store_etcd_watches_have_seen(const struct store_etcd *store, uint64_t revision)
{
    const struct etcd_watch *watch;
    LIST_FOREACH(watch, &store->watches, link)
    {
        if (!watch->stopped && watch->stream->retry_ms != UINT64_MAX &&
            watch->stream->seen < revision)
            return false;
    }
    return true;
}

void store_etcd_drop_watches(struct store_etcd *store)
{
    while (!LIST_EMPTY(&store->watches))
        watch_free(LIST_FIRST(&store->watches));
}
