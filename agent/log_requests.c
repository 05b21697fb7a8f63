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
/* The past of a reader who stays has to fit into what is queued for them. */
#define FOLLOW_PAST_MAX ((size_t)768 << 10)

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

static void on_follow(uv_timer_t *timer)
{
    struct follower *follower = timer->data;
    bool is_gone = !instance_table_has(follower->source.instances, follower->id);
    if (follower->unsent.length == 0)
        console_log_read(&follower->log, &follower->unsent);
    if (follower->unsent.length > 0 &&
        http_request_stream_write(follower->request, follower->unsent.data,
                                  follower->unsent.length) == 0)
        buffer_clear(&follower->unsent);
    if (is_gone && follower->unsent.length == 0) {
        http_request_stream_end(follower->request);
        uv_close((uv_handle_t *)&follower->timer, on_follower_closed);
    }
}

static void follow(const struct log_source *source, struct http_request *request, const char *id,
                   const struct console_log *log, struct buffer *past)
{
    struct follower *follower = xcalloc(1, sizeof *follower);
    follower->source = *source;
    follower->request = request;
    follower->log = *log;
    memcpy(follower->id, id, sizeof follower->id);
    buffer_append(&follower->unsent, buffer_text(past), past->length);
    buffer_append_text(&follower->unsent, "\n");
    uv_timer_init(source->loop, &follower->timer);
    follower->timer.data = follower;
    http_request_on_abandoned(request, on_abandoned, follower);
    http_request_stream_begin(request, LOG_TYPE);
    uv_timer_start(&follower->timer, on_follow, 0, FOLLOW_MS);
}

static int read_query(const struct http_request *request, bool follows,
                      struct console_log_query *ret_query, struct error *error)
{
    const char *tail = http_request_query(request, "tail");
    const char *since = http_request_query(request, "since");
    const char *limit = http_request_query(request, "limit");
    struct console_log_query query = {.tail = TAIL_DEFAULT};
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
    query.limit = follows && bytes > FOLLOW_PAST_MAX ? FOLLOW_PAST_MAX : (size_t)bytes;
    *ret_query = query;
    return 0;
}

void log_requests_handle(struct http_request *request, const struct log_source *source)
{
    struct error error = ERROR_INIT;
    const char *id = http_request_parameter(request, "id");
    const char *follow_text = http_request_query(request, "follow");
    bool follows = follow_text != NULL && strcmp(follow_text, "0") != 0;
    struct console_log_query query;
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
    if (read_query(request, follows, &query, &error) < 0 ||
        console_log_open(&log, source->folder, known, &query, &past, &error) < 0) {
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
