#include "agent/log_requests.h"

#include <stdlib.h>
#include <string.h>

#include "agent/console_log.h"
#include "lib/api/log_line.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define FOLLOW_MS    100
#define TAIL_DEFAULT 100
#define TAIL_MOST    1000000
#define LOG_TYPE     "text/plain; charset=utf-8"
/* What is written at a time to a reader who stays. */
#define PIECE_MAX ((size_t)256 << 10)

/* A reader who stays. */
struct follower {
    uv_timer_t timer; /* first: the close callback frees by it */
    struct log_source source;
    struct http_request *request;
    struct console_log log;
    struct buffer unsent; /* what the reader did not take yet; nothing more is read before */
    char id[INSTANCE_ID_MAX];
};

static void on_follower_closed(uv_handle_t *handle)
{
    struct follower *follower = (struct follower *)handle;
    console_log_close(&follower->log);
    buffer_finish(&follower->unsent);
    free(follower);
}

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    struct follower *follower = data;
    uv_close((uv_handle_t *)&follower->timer, on_follower_closed);
}

/* What the agent itself has to say here. */
static void append_line(enum api_log_kind kind, uint64_t time_ms, const char *words,
                        struct buffer *text)
{
    struct api_log_line line = {
        .time_ms = time_ms, .kind = kind, .text = words, .length = strlen(words)};
    api_log_line_write(&line, text);
}

static void append_position(const struct api_log_position *position, struct buffer *text)
{
    char words[API_LOG_POSITION_MAX];
    if (!position->is_known)
        return;
    api_log_position_write(position, words);
    append_line(API_LOG_POSITION, clock_wall_ms(clock_system()), words, text);
}

/* False: the reader is to be given more time. */
static bool send_unsent(struct follower *follower)
{
    while (follower->unsent.length > 0) {
        size_t part = follower->unsent.length < PIECE_MAX ? follower->unsent.length : PIECE_MAX;
        if (http_request_stream_write(follower->request, follower->unsent.data, part) < 0)
            return false;
        buffer_consume(&follower->unsent, part);
    }
    return true;
}

static void on_follow(uv_timer_t *timer)
{
    struct follower *follower = timer->data;
    bool is_gone = !instance_table_has(follower->source.instances, follower->id);
    if (!send_unsent(follower))
        return;
    console_log_read(&follower->log, &follower->unsent);
    if (follower->log.has_gap)
        append_line(API_LOG_MARK, clock_wall_ms(clock_system()),
                    "this reader was slower than the guest: lines may be missing here",
                    &follower->unsent);
    if (follower->unsent.length > 0) {
        struct api_log_position position = console_log_position(&follower->log);
        append_position(&position, &follower->unsent);
        send_unsent(follower);
    } else if (is_gone) {
        http_request_stream_end(follower->request);
        uv_close((uv_handle_t *)&follower->timer, on_follower_closed);
    }
}

/* Takes the log; `past` is sent first. */
static void follow(const struct log_source *source, struct http_request *request, const char *id,
                   const struct console_log *log, const struct buffer *past)
{
    struct follower *follower = xcalloc(1, sizeof *follower);
    struct api_log_position position = console_log_position(log);
    follower->source = *source;
    follower->request = request;
    follower->log = *log;
    memcpy(follower->id, id, sizeof follower->id);
    buffer_append(&follower->unsent, buffer_text(past), past->length);
    append_position(&position, &follower->unsent);
    buffer_append_text(&follower->unsent, "\n");
    uv_timer_init(source->loop, &follower->timer);
    follower->timer.data = follower;
    http_request_on_abandoned(request, on_abandoned, follower);
    http_request_stream_begin(request, LOG_TYPE);
    uv_timer_start(&follower->timer, on_follow, 0, FOLLOW_MS);
}

/* --- the past --- */

/* The time of the first line, so that what is said before it is in its place. */
static uint64_t time_of_first(const struct buffer *lines)
{
    struct api_log_line line;
    const char *end = lines->length > 0 ? memchr(lines->data, '\n', lines->length) : NULL;
    if (end == NULL || !api_log_line_parse(lines->data, (size_t)(end - lines->data), false, &line))
        return clock_wall_ms(clock_system());
    return line.time_ms;
}

static int open_past(const struct log_source *source, const char *id,
                     const struct console_log_query *query, bool follows,
                     struct console_log *ret_log, struct buffer *text, struct error *error)
{
    struct console_log_past past;
    if (console_log_open(ret_log, source->folder, id, query, &past, error) < 0)
        return -1;
    if (past.is_cut) {
        AUTO_FREE char *words =
            xasprintf("older lines are left out here: %zu KiB of a log can be read at once",
                      query->limit >> 10);
        append_line(API_LOG_MARK, time_of_first(&past.lines), words, text);
    }
    if (follows)
        append_position(&past.start, text);
    buffer_append(text, buffer_text(&past.lines), past.lines.length);
    buffer_finish(&past.lines);
    return 0;
}

/* Of a reader who was here before; what comes then is read like all that comes. */
static int resume(const struct log_source *source, const char *id,
                  const struct api_log_position *after, struct console_log *ret_log,
                  struct buffer *text, struct error *error)
{
    bool is_lost;
    if (console_log_resume(ret_log, source->folder, id, after, &is_lost, error) < 0)
        return -1;
    struct api_log_position position = console_log_position(ret_log);
    if (is_lost)
        append_line(API_LOG_MARK,
                    position.begun_ms > 0 ? position.begun_ms : clock_wall_ms(clock_system()),
                    "lines before this one are not kept any more: some may be missing", text);
    append_position(&position, text);
    return 0;
}

static int read_query(const struct http_request *request, struct console_log_query *ret_query,
                      struct api_log_position *ret_after, struct error *error)
{
    const char *tail = http_request_query(request, "tail");
    const char *since = http_request_query(request, "since");
    const char *limit = http_request_query(request, "limit");
    const char *after = http_request_query(request, "after");
    struct console_log_query query = {.tail = TAIL_DEFAULT};
    struct api_log_position position = {0};
    uint64_t bytes = CONSOLE_PAST_MAX;
    if (tail != NULL && !text_parse_u64(tail, TAIL_MOST, &query.tail))
        return error_set(error, ERROR_INVALID, "tail=%s: a number up to %d is allowed", tail,
                         TAIL_MOST);
    if (since != NULL &&
        !api_log_since_parse(since, clock_wall_ms(clock_system()), &query.since_ms))
        return error_set(error, ERROR_INVALID, "since=%s: " API_LOG_SINCE_FORMS " is allowed",
                         since);
    if (limit != NULL && !text_parse_u64(limit, CONSOLE_PAST_MAX, &bytes))
        return error_set(error, ERROR_INVALID, "limit=%s: a number of bytes up to %zu is allowed",
                         limit, CONSOLE_PAST_MAX);
    if (after != NULL && !api_log_position_parse(after, strlen(after), &position))
        return error_set(error, ERROR_INVALID, "after=%s: a position in a log is allowed", after);
    query.limit = (size_t)bytes;
    *ret_query = query;
    *ret_after = position;
    return 0;
}

void log_requests_handle(struct http_request *request, const struct log_source *source)
{
    struct error error = ERROR_INIT;
    const char *id = http_request_parameter(request, "id");
    const char *follow_text = http_request_query(request, "follow");
    bool follows = follow_text != NULL && strcmp(follow_text, "0") != 0;
    struct console_log_query query;
    struct api_log_position after;
    struct console_log log;
    AUTO_BUFFER struct buffer past = {0};
    char known[INSTANCE_ID_MAX];
    if (api_check_instance_id(id) != NULL || !text_copy(known, sizeof known, id) ||
        (!instance_table_has(source->instances, id) &&
         !console_log_is_kept(source->folder, known))) {
        error_set(&error, ERROR_NOT_FOUND, "no instance %.32s on node %s", id, source->node);
        http_request_respond_error(request, &error);
        return;
    }
    int result = read_query(request, &query, &after, &error);
    if (result == 0 && follows && after.is_known)
        result = resume(source, known, &after, &log, &past, &error);
    else if (result == 0)
        result = open_past(source, known, &query, follows, &log, &past, &error);
    if (result < 0) {
        http_request_respond_error(request, &error);
        return;
    }
    if (follows) {
        follow(source, request, known, &log, &past);
        return;
    }
    http_request_respond(request, 200, LOG_TYPE, buffer_text(&past), past.length);
    console_log_close(&log);
}
