#include "scheduler/event_log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/leadership.h"

#define PAGE          500
#define PRUNED_A_TIME (STORE_WRITES_MAX - 10)
/* A reader whose queue is full is tried again so often, and so many times in a row. */
#define STALL_MS  20
#define STALL_MAX 1500

/* Someone who reads: first what the store has, page by page, then what comes. */
struct reader {
    LIST_ENTRY(reader) link;
    struct event_log *log;
    struct http_request *request; /* NULL: gone, while a page is on its way */
    uint64_t sent;                /* sequence of the last event that was looked at */
    uint64_t published;           /* the log's latest when the page was asked for */
    bool follow;
    bool live;
    bool paging; /* a page is on its way */
    unsigned stalls;
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
};

struct event_log {
    struct core *core;
    LIST_HEAD(, reader) readers;
    uint64_t latest; /* the highest sequence that was published */
    /* How many there are: counted once, in pages, then kept up to date, until somebody else drops
     * some. */
    uint64_t kept;
    uint64_t counting;
    bool counted;
    uint64_t compacted;   /* by `kept` */
    bool pruning;         /* or counting */
    bool older;           /* there may be more to remove than is being removed */
    struct change pruned; /* until its turn to be written comes */
    size_t removing;      /* events of the change that is being written */
    uv_timer_t stall;
};

struct event_log *event_log_create(struct core *core)
{
    struct event_log *log = xcalloc(1, sizeof *log);
    log->core = core;
    LIST_INIT(&log->readers);
    uv_timer_init(core->loop, &log->stall);
    log->stall.data = log;
    return log;
}

static void reader_free(struct reader *reader)
{
    LIST_REMOVE(reader, link);
    free(reader);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void event_log_destroy(struct event_log *log)
{
    if (log == NULL)
        return;
    while (!LIST_EMPTY(&log->readers))
        reader_free(LIST_FIRST(&log->readers));
    change_finish(&log->pruned);
    uv_close((uv_handle_t *)&log->stall, on_closed);
}

static bool is_wanted(const struct reader *reader, const struct api_event *event)
{
    if (reader->namespace_name[0] != '\0' &&
        strcmp(reader->namespace_name, event->namespace_name) != 0)
        return false;
    return reader->service[0] == '\0' || strcmp(reader->service, event->name) == 0;
}

/* -1: the reader is too slow or gone; it may come back with after=N. */
static int send_event(struct reader *reader, const struct api_event *event, const char *text)
{
    if (event->sequence <= reader->sent)
        return 0;
    if (is_wanted(reader, event)) {
        AUTO_FREE char *line = xasprintf("%s\n", text);
        if (http_request_stream_write(reader->request, line, strlen(line)) < 0)
            return -1;
    }
    reader->sent = event->sequence;
    reader->stalls = 0;
    return 0;
}

static void end_reader(struct reader *reader)
{
    http_request_stream_end(reader->request);
    reader_free(reader);
}

void event_log_publish(const struct api_event *event, void *data)
{
    struct event_log *log = data;
    AUTO_FREE char *text = NULL;
    struct reader *next;
    log->kept++;
    log->latest = event->sequence > log->latest ? event->sequence : log->latest;
    log_info("event", "kind", event->kind, "namespace", event->namespace_name, "name", event->name,
             "id", event->id, "what", event->what, "cause", event->cause, "message",
             event->message);
    for (struct reader *reader = LIST_FIRST(&log->readers); reader != NULL; reader = next) {
        next = LIST_NEXT(reader, link);
        if (!reader->live)
            continue;
        if (text == NULL)
            text = json_record_text(&api_event_record, event);
        if (send_event(reader, event, text) < 0)
            end_reader(reader);
    }
}

/* --- history --- */

static void read_page(struct reader *reader);

static int send_document(struct reader *reader, const struct store_document *document)
{
    struct api_event event = {0};
    if (json_parse_record(&api_event_record, document->value, strlen(document->value), JSON_LENIENT,
                          &event, NULL) < 0)
        return 0;
    return send_event(reader, &event, document->value);
}

static void on_stall(uv_timer_t *timer)
{
    struct event_log *log = timer->data;
    struct reader *next;
    for (struct reader *reader = LIST_FIRST(&log->readers); reader != NULL; reader = next) {
        next = LIST_NEXT(reader, link);
        if (reader->live || reader->paging)
            continue;
        if (reader->stalls > STALL_MAX)
            end_reader(reader);
        else
            read_page(reader);
    }
}

/* History comes faster than it is read: the rest waits. */
static void stall(struct reader *reader)
{
    reader->stalls++;
    if (!uv_is_active((uv_handle_t *)&reader->log->stall))
        uv_timer_start(&reader->log->stall, on_stall, STALL_MS, 0);
}

/* What comes next for a slow reader was dropped meanwhile: when it comes back it is told. */
static bool has_gap(const struct reader *reader)
{
    return reader->sent != 0 && reader->sent < reader->log->core->model.counters.events_compacted;
}

static void on_page(const struct error *error, const struct store_document *documents, size_t count,
                    bool more, uint64_t revision, void *data)
{
    (void)revision;
    struct reader *reader = data;
    reader->paging = false;
    if (reader->request == NULL) {
        reader_free(reader);
        return;
    }
    if (has_gap(reader)) {
        end_reader(reader);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (send_document(reader, &documents[i]) < 0) {
            stall(reader);
            return;
        }
    }
    /* An event may have been published after the store read this page and before it came: whoever
     * goes live has seen all that were published. */
    bool behind = reader->follow && reader->log->latest > reader->published;
    if (error == NULL && ((more && count > 0) || behind))
        read_page(reader);
    else if (error == NULL && reader->follow)
        reader->live = true;
    else
        end_reader(reader);
}

static void event_key(uint64_t sequence, char *ret_key, size_t size)
{
    snprintf(ret_key, size, "%s%016" PRIx64, document_prefix(DOCUMENT_EVENT), sequence);
}

static void read_page(struct reader *reader)
{
    char after[64];
    event_key(reader->sent, after, sizeof after);
    reader->paging = true;
    reader->published = reader->log->latest;
    store_list(reader->log->core->store, document_prefix(DOCUMENT_EVENT), after, PAGE, on_page,
               reader);
}

void event_log_catch_up(struct event_log *log)
{
    struct reader *reader;
    LIST_FOREACH(reader, &log->readers, link)
    {
        if (!reader->live)
            continue;
        reader->live = false;
        read_page(reader);
    }
}

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    struct reader *reader = data;
    reader->request = NULL;
    /* When a page is on its way, its callback frees the reader. */
    if (!reader->paging)
        reader_free(reader);
}

/* Whether events behind `after` may be missing: dropped since, or of a history that a restore of a
 * backup has undone. 0 asks for what there is. */
static int check_kept(const struct core *core, uint64_t after, struct error *error)
{
    const struct document_counters *counters = &core->model.counters;
    if (after != 0 && after < counters->events_compacted)
        return error_set(error, ERROR_COMPACTED,
                         "events up to %" PRIu64
                         " are not kept any more: read again without `after`",
                         counters->events_compacted);
    bool is_unknown = after > (counters->starts << 32 | UINT32_MAX);
    /* One that stands by may not have heard yet of who leads now. */
    if (is_unknown && leadership_phase(core->leadership) != LEADERSHIP_LEADING)
        return error_set(error, ERROR_NO_LEADER,
                         "event %" PRIu64 " is not known to this scheduler, which does not lead: "
                         "ask another one, or again in a few seconds",
                         after);
    if (is_unknown)
        return error_set(error, ERROR_COMPACTED,
                         "event %" PRIu64 " is not of this history: read again without `after`",
                         after);
    return 0;
}

void event_log_handle(struct http_request *request, void *data)
{
    struct error error = ERROR_INIT;
    struct core *core = data;
    const char *after = http_request_query(request, "after");
    const char *follow = http_request_query(request, "follow");
    const char *namespace_name = http_request_query(request, "namespace");
    const char *service = http_request_query(request, "service");
    uint64_t sequence = 0;
    if (after != NULL && !text_parse_u64(after, INT64_MAX, &sequence))
        error_set(&error, ERROR_INVALID, "after is the sequence of an event: a number");
    else
        check_kept(core, sequence, &error);
    if (error.code != ERROR_NONE) {
        http_request_respond_error(request, &error);
        return;
    }
    struct reader *reader = xcalloc(1, sizeof *reader);
    *reader = (struct reader){.log = core->events, .request = request, .sent = sequence};
    reader->follow = follow != NULL && strcmp(follow, "0") != 0;
    if (namespace_name != NULL)
        text_copy(reader->namespace_name, sizeof reader->namespace_name, namespace_name);
    if (service != NULL)
        text_copy(reader->service, sizeof reader->service, service);
    LIST_INSERT_HEAD(&core->events->readers, reader, link);
    http_request_on_abandoned(request, on_abandoned, reader);
    http_request_stream_begin(request, "application/x-ndjson");
    read_page(reader);
}

/* --- keeping --- */

static void read_oldest(struct event_log *log);

static int decide_prune(struct change *change, void *data, struct error *error)
{
    (void)error;
    struct event_log *log = data;
    const struct document_counters *counters = &log->core->model.counters;
    size_t count = log->pruned.count;
    *change = log->pruned;
    log->pruned = (struct change){0};
    if (count == 0)
        return 0;
    const struct api_event *last = change->writes[count - 1].document;
    uint64_t sequence = last->sequence;
    ((struct document_counters *)change_edit(change, DOCUMENT_COUNTERS, counters))
        ->events_compacted = sequence;
    log->removing = count;
    return 0;
}

/* Only on from what is really gone: where nothing can be written the next try is a minute away. */
static void on_pruned(const struct error *error, void *data)
{
    struct event_log *log = data;
    if (error == NULL) {
        log->kept -= log->removing < log->kept ? log->removing : log->kept;
        log->compacted = log->core->model.counters.events_compacted;
    }
    log->removing = 0;
    log->pruning = error == NULL && log->older;
    if (log->pruning)
        read_oldest(log);
}

static void on_oldest(const struct error *error, const struct store_document *documents,
                      size_t count, bool more, uint64_t revision, void *data)
{
    (void)revision;
    struct event_log *log = data;
    struct change *change = &log->pruned;
    uint64_t now = core_wall(log->core);
    const struct scheduler_options *options = log->core->options;
    change_finish(change); /* what was not decided any more, when the lead was lost */
    for (size_t i = 0; i < count && error == NULL; i++) {
        struct api_event event = {0};
        if (json_parse_record(&api_event_record, documents[i].value, strlen(documents[i].value),
                              JSON_LENIENT, &event, NULL) < 0)
            continue;
        if (log->kept <= options->events_kept + change->count &&
            event.time_ms + options->events_kept_ms > now)
            break;
        change_remove(change, DOCUMENT_EVENT, &event);
    }
    log->older = more && change->count == count && count > 0;
    changes_decide(log->core->changes, decide_prune, on_pruned, log);
}

static void read_oldest(struct event_log *log)
{
    store_list(log->core->store, document_prefix(DOCUMENT_EVENT), NULL, PRUNED_A_TIME, on_oldest,
               log);
}

static void on_counted(const struct error *error, const struct store_document *documents,
                       size_t count, bool more, uint64_t revision, void *data)
{
    (void)revision;
    struct event_log *log = data;
    log->counting += count;
    if (error == NULL && more && count > 0) {
        store_list(log->core->store, document_prefix(DOCUMENT_EVENT), documents[count - 1].key,
                   PAGE, on_counted, log);
        return;
    }
    log->counted = error == NULL;
    log->kept = log->counting;
    log->compacted = log->core->model.counters.events_compacted;
    if (log->counted)
        read_oldest(log);
    else
        log->pruning = false;
}

void event_log_prune(struct event_log *log)
{
    if (log->pruning)
        return;
    log->pruning = true;
    if (log->counted && log->compacted == log->core->model.counters.events_compacted) {
        read_oldest(log);
        return;
    }
    log->counting = 0;
    store_list(log->core->store, document_prefix(DOCUMENT_EVENT), NULL, PAGE, on_counted, log);
}
