#include "cli/events.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/format.h"
#include "cli/lists.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define LINE_MAX_BYTES (1u << 20)
#define EVENTS_MANY    1000000
/* A stream that ended is taken up again so soon, and given up after so many tries in a row. */
#define RESUME_MS    500
#define RESUME_TRIES 120

/* NDJSON on its way in. */
struct reader {
    struct cli *cli;
    const char *namespace_name;
    const char *service;
    size_t most;
    bool follow;       /* print each at once instead of keeping it */
    uint64_t sequence; /* of the last one that was read */
    struct buffer line;
    struct event_list list;
};

void event_list_release(struct event_list *list)
{
    free(list->items);
    *list = (struct event_list){0};
}

static bool is_wanted(const struct reader *reader, const struct api_event *event)
{
    if (reader->service == NULL)
        return reader->namespace_name == NULL || event->namespace_name[0] == '\0' ||
               strcmp(event->namespace_name, reader->namespace_name) == 0;
    return strcmp(event->name, reader->service) == 0 &&
           strcmp(event->namespace_name, reader->namespace_name) == 0;
}

static void object_of(const struct api_event *event, char *ret_text, size_t size)
{
    snprintf(ret_text, size, "%s%s%s", event->name, event->id[0] != '\0' ? "/" : "", event->id);
}

static void event_row(struct table *table, const struct api_event *event)
{
    char full[FORMAT_MAX], object[160];
    format_time(event->time_ms, 1, full);
    object_of(event, object, sizeof object);
    table_cell(table, "%s", full);
    table_cell(table, "%s", event->kind);
    table_cell(table, "%s", event->namespace_name);
    table_cell(table, "%s", object);
    table_cell(table, "%s", event->what);
    table_cell(table, "%s", event->cause);
    table_cell(table, "%s", event->message);
}

void events_print_table(const struct cli *cli, const struct event_list *list)
{
    static const struct table_column columns[] = {
        {"TIME", .right = false},   {"KIND", .right = false}, {"NAMESPACE", .wide = true},
        {"NAME", .right = false},   {"WHAT", .right = false}, {"CAUSE", .right = false},
        {"MESSAGE", .wide = false}, {NULL, false, false},
    };
    struct table *table = table_create(columns);
    for (size_t i = 0; i < list->count; i++)
        event_row(table, &list->items[i]);
    lists_print_table(cli, table);
}

static void print_followed(const struct reader *reader, const struct api_event *event)
{
    if (cli_wants_document(reader->cli)) {
        AUTO_FREE char *text = json_record_text(&api_event_record, event);
        puts(text);
    } else {
        char full[FORMAT_MAX], object[160];
        struct buffer AUTO_BUFFER text = {0};
        struct buffer AUTO_BUFFER safe = {0};
        format_time(event->time_ms, 1, full);
        object_of(event, object, sizeof object);
        buffer_printf(&text, "%s  %-9s %-28s %-18s %s%s%s", full, event->kind, object, event->what,
                      event->cause,
                      event->cause[0] != '\0' && event->message[0] != '\0' ? ": " : "",
                      event->message);
        text_append_safe(&safe, buffer_text(&text));
        puts(buffer_text(&safe));
    }
    fflush(stdout);
}

static void keep(struct reader *reader, const struct api_event *event)
{
    struct event_list *list = &reader->list;
    if (list->count == reader->most) {
        memmove(list->items, list->items + 1, (list->count - 1) * sizeof *list->items);
        list->count--;
    }
    /* Grown by doubling: there may be very many. */
    if ((list->count & (list->count - 1)) == 0)
        list->items =
            xreallocarray(list->items, list->count > 0 ? 2 * list->count : 1, sizeof *list->items);
    list->items[list->count++] = *event;
}

static void take_line(struct reader *reader, const char *line, size_t length)
{
    struct api_event event = {0};
    if (length == 0 ||
        json_parse_record(&api_event_record, line, length, JSON_LENIENT, &event, NULL) < 0)
        return;
    reader->sequence = event.sequence;
    if (!is_wanted(reader, &event))
        return;
    if (reader->follow)
        print_followed(reader, &event);
    else if (reader->most > 0)
        keep(reader, &event);
}

static int on_bytes(const char *bytes, size_t length, void *data)
{
    struct reader *reader = data;
    size_t begin = 0;
    buffer_append(&reader->line, bytes, length);
    for (size_t i = reader->line.length - length; i < reader->line.length; i++) {
        if (reader->line.data[i] != '\n')
            continue;
        take_line(reader, reader->line.data + begin, i - begin);
        begin = i + 1;
    }
    buffer_consume(&reader->line, begin);
    return reader->line.length > LINE_MAX_BYTES || ferror(stdout) ? -1 : 0;
}

static int read_events(struct reader *reader, struct error *error)
{
    AUTO_FREE char *filter =
        reader->service != NULL
            ? xasprintf("&namespace=%s&service=%s", reader->namespace_name, reader->service)
            : xstrdup("");
    AUTO_FREE char *path = xasprintf("/v1/events?after=%" PRIu64 "%s%s", reader->sequence,
                                     reader->follow ? "&follow=1" : "", filter);
    int result = session_stream(cli_session(reader->cli), path, NULL, on_bytes, reader, error);
    if (result == 0 && reader->line.length > 0)
        take_line(reader, reader->line.data, reader->line.length);
    buffer_finish(&reader->line);
    return result;
}

int events_fetch(struct cli *cli, const char *namespace_name, const char *service, size_t most,
                 struct event_list *ret_list, struct error *error)
{
    struct reader reader = {
        .cli = cli, .namespace_name = namespace_name, .service = service, .most = most};
    if (invocation_has(cli->invocation, "after"))
        reader.sequence = invocation_number(cli->invocation, "after", 0);
    if (read_events(&reader, error) < 0) {
        event_list_release(&reader.list);
        return -1;
    }
    *ret_list = reader.list;
    return 0;
}

static bool may_resume(const struct error *error)
{
    return error->code == ERROR_NONE || error->code == ERROR_UNAVAILABLE ||
           error->code == ERROR_TIMEOUT || error->code == ERROR_NO_LEADER ||
           error->code == ERROR_COMPACTED;
}

/* The scheduler ends a stream that is read too slowly, and ends itself now and then: reading goes
 * on behind the last event, so that none is missed and none comes twice. */
static int follow_events(struct reader *reader, struct error *error)
{
    struct session *session = cli_session(reader->cli);
    for (unsigned tries = 0;; tries++) {
        struct error ended = ERROR_INIT;
        uint64_t before = reader->sequence;
        int result = read_events(reader, &ended);
        if (session_is_interrupted(session) || ferror(stdout))
            return 0;
        if (reader->sequence != before)
            tries = 0;
        if (result < 0 && (reader->sequence == 0 || tries >= RESUME_TRIES || !may_resume(&ended)))
            return error_copy(error, &ended);
        if (ended.code == ERROR_COMPACTED) {
            fprintf(stderr, "events were missed: %s\n", ended.message);
            reader->sequence = 0;
        } else if (result < 0 && tries == 0) {
            fprintf(stderr, "%s\ntrying again until it answers; Ctrl-C ends this\n", ended.message);
        }
        if (!session_sleep(session, RESUME_MS))
            return 0;
    }
}

static void print_events(struct cli *cli, const struct event_list *list)
{
    if (!cli_wants_document(cli)) {
        events_print_table(cli, list);
        return;
    }
    struct json_object *document = json_object_new_object();
    struct json_object *events = json_object_new_array();
    for (size_t i = 0; i < list->count; i++)
        json_object_array_add(events, json_encode(&api_event_record, &list->items[i]));
    json_object_object_add(document, "events", events);
    cli_print_document(cli, document);
}

int events_run(struct cli *cli, struct error *error)
{
    const char *service = NULL;
    if (cli_argument(cli, 0) != NULL && (service = cli_service_argument(cli, error)) == NULL)
        return -1;
    bool one_namespace = service != NULL || invocation_has(cli->invocation, "namespace");
    const char *namespace_name = one_namespace ? cli->settings.namespace_name : NULL;
    if (invocation_has(cli->invocation, "follow")) {
        struct reader reader = {
            .cli = cli, .namespace_name = namespace_name, .service = service, .follow = true};
        cli->has_document = true;
        session_catch_interrupt(cli_session(cli));
        reader.sequence = invocation_number(cli->invocation, "after", 0);
        return follow_events(&reader, error);
    }
    struct event_list list = {0};
    size_t most = (size_t)invocation_number(cli->invocation, "tail", EVENTS_MANY);
    if (events_fetch(cli, namespace_name, service, most, &list, error) < 0)
        return -1;
    print_events(cli, &list);
    event_list_release(&list);
    return 0;
}
