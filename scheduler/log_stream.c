#include "scheduler/log_stream.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "lib/api/log_line.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/agent_calls.h"
#include "scheduler/log_merge.h"
#include "scheduler/log_tail.h"
#include "scheduler/sorted.h"

#define SOURCES_MAX 200 /* that are read at once */
#define LOG_TYPE    "text/plain; charset=utf-8"
/* Bytes of the past in one answer, and of one instance at most. */
#define PAST_MAX        ((size_t)32 << 20)
#define PAST_SOURCE_MAX ((size_t)4 << 20)
#define PAST_SOURCE_MIN ((size_t)64 << 10)
#define PAST_MS         10000 /* an agent that has not sent it by then is not waited for */
#define LOG_LINE_MAX    ((size_t)64 << 10)
#define PIECE_MAX       ((size_t)256 << 10)
#define UNSENT_MAX      ((size_t)8 << 20) /* a reader who is further behind is let go */
#define TICK_MS         100
#define LOOK_MS         1000
/* How long a line waits for older ones of other instances: two ticks of an agent. */
#define HOLD_MS 250
#define ALL     "1000000"

/* One instance's log. */
struct source {
    const char *name; /* first: its id */
    struct log_stream *stream;
    struct http_call *call; /* NULL: it is not asked now */
    char id[INSTANCE_ID_MAX];
    char node[NAME_MAX_TEXT];
    struct buffer line;
    struct api_log_position position; /* up to where it was read */
    uint64_t last_ms;                 /* of its last line */
    bool is_new;                      /* it came while others were read: all of it is wanted */
    bool has_past;                    /* all of it came, or none will */
    bool is_done;                     /* nothing more comes */
    bool is_broken;                   /* and the reader was told */
};

struct log_stream {
    uv_timer_t timer; /* first: the close callback frees by it */
    struct core *core;
    struct http_request *request;
    uint64_t tail;
    char *since;
    bool follow;
    bool resumes;
    bool (*look)(struct log_stream *stream, const char *namespace_name, const char *service);
    char namespace_name[NAME_MAX_TEXT], service[NAME_MAX_TEXT];
    size_t limit; /* bytes of the past of one source */
    uint64_t started_ms, looked_ms;
    bool past_is_out;
    bool more_may_come;
    bool is_full;          /* an instance found no room, and the reader was told */
    struct sorted sources; /* also those that are done, which a job may have thousands of */
    size_t open;           /* that were not done at the last look */
    struct log_merge merge;
    struct buffer unsent;
    bool has_answer;    /* of any agent */
    struct error error; /* of the last source that failed */
};

static void free_stream(uv_handle_t *handle)
{
    struct log_stream *stream = (struct log_stream *)handle;
    free(stream->since);
    log_merge_finish(&stream->merge);
    buffer_finish(&stream->unsent);
    free(stream);
}

static void free_source(struct source *source)
{
    buffer_finish(&source->line);
    free(source);
}

/* The request is answered, or gone. */
static void close_stream(struct log_stream *stream)
{
    for (size_t i = 0; i < stream->sources.count; i++) {
        struct source *source = stream->sources.items[i];
        if (source->call != NULL)
            http_client_cancel(source->call);
        free_source(source);
    }
    sorted_finish(&stream->sources);
    uv_close((uv_handle_t *)&stream->timer, free_stream);
}

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    close_stream(data);
}

/* --- what an agent sends --- */

static void add_line(struct source *source, struct api_log_line *line, uint64_t order_ms)
{
    AUTO_BUFFER struct buffer text = {0};
    struct log_stream *stream = source->stream;
    text_copy(line->instance, sizeof line->instance, source->id);
    api_log_line_write(line, &text);
    log_merge_add(&stream->merge, order_ms, core_now(stream->core), text.data, text.length);
}

/* What is no agent's word, behind what came of the instance. */
static void add_word(struct source *source, enum api_log_kind kind, const char *words)
{
    AUTO_FREE char *text = xstrdup(words);
    struct api_log_line line = {.time_ms = core_wall(source->stream->core), .kind = kind};
    text_make_line(text);
    line.text = text;
    line.length = strlen(text);
    add_line(source, &line, line.time_ms > source->last_ms ? line.time_ms : source->last_ms);
}

/* Once, until something comes again. */
static void add_break(struct source *source, const struct error *error)
{
    if (!source->is_broken)
        add_word(source, API_LOG_FAILURE, error->message);
    source->is_broken = true;
}

/* Nothing more comes of it: who follows need not ask for it again. */
static void end_source(struct source *source)
{
    source->is_done = true;
    if (source->stream->follow)
        add_word(source, API_LOG_POSITION, "");
}

static void take_line(struct source *source, struct api_log_line *line)
{
    api_log_position_move(&source->position, line);
    /* A clock that was set back does not turn a log around. */
    if (line->kind != API_LOG_POSITION && line->time_ms > source->last_ms)
        source->last_ms = line->time_ms;
    add_line(source, line, source->last_ms);
}

static int on_body(const void *bytes, size_t length, void *data)
{
    struct source *source = data;
    source->stream->has_answer = true;
    source->is_broken = false;
    buffer_append(&source->line, bytes, length);
    size_t start = 0;
    const char *end;
    while ((end = memchr(source->line.data + start, '\n', source->line.length - start)) != NULL) {
        struct api_log_line line;
        size_t size = (size_t)(end - source->line.data) - start;
        if (size == 0)
            source->has_past = true;
        else if (api_log_line_parse(source->line.data + start, size, false, &line))
            take_line(source, &line);
        start += size + 1;
    }
    buffer_consume(&source->line, start);
    return source->line.length > LOG_LINE_MAX || source->stream->merge.bytes > 2 * PAST_MAX ? -1
                                                                                            : 0;
}

static void on_tick(uv_timer_t *timer);

/* An agent that stops ends its answers in good order too. */
static bool is_over_for_good(const struct source *source)
{
    const struct model_instance *instance =
        model_instance(&source->stream->core->model, source->id);
    return instance == NULL || model_instance_has_ended(instance);
}

/* Its agent cannot be asked now. */
static void fail_source(struct source *source, const struct error *error)
{
    add_break(source, error);
    source->stream->error = *error;
    source->is_done = !source->stream->follow;
}

/* Its agent does not know it: it has not heard of it yet, or keeps nothing of it any more. */
static void miss_source(struct source *source)
{
    source->stream->has_answer = true;
    source->is_done = !source->stream->follow;
    if (!is_over_for_good(source))
        return;
    add_word(source, API_LOG_MARK, "what it wrote is not kept any more");
    end_source(source);
}

static void on_source_end(const struct http_client_response *response, void *data)
{
    struct source *source = data;
    struct log_stream *stream = source->stream;
    struct error error = ERROR_INIT;
    source->call = NULL;
    source->has_past = true;
    buffer_clear(&source->line);
    if (!stream->follow)
        uv_timer_start(&stream->timer, on_tick, 0, TICK_MS);
    if (agent_calls_check_answer(response, &error) == 0) {
        stream->has_answer = true;
        source->is_done = !stream->follow;
        if (is_over_for_good(source))
            end_source(source);
    } else if (error.code == ERROR_NOT_FOUND) {
        miss_source(source);
    } else {
        error_wrap(&error, "node %s", source->node);
        fail_source(source, &error);
    }
}

/* --- asking --- */

/* What was read before is not read again; of one that has just come, all is new. */
static char *path_of(const struct source *source)
{
    const struct log_stream *stream = source->stream;
    char position[API_LOG_POSITION_MAX];
    if (source->position.is_known) {
        api_log_position_write(&source->position, position);
        return xasprintf("/v1/instances/%s/logs?follow=1&after=%s", source->id, position);
    }
    AUTO_FREE char *tail = source->is_new ? xstrdup(ALL) : xasprintf("%" PRIu64, stream->tail);
    return xasprintf("/v1/instances/%s/logs?tail=%s&limit=%zu%s%s%s", source->id, tail,
                     stream->limit, stream->since != NULL ? "&since=" : "",
                     stream->since != NULL ? stream->since : "", stream->follow ? "&follow=1" : "");
}

static void ask(struct source *source, const struct model_instance *instance)
{
    struct log_stream *stream = source->stream;
    struct error error = ERROR_INIT;
    AUTO_FREE char *path = path_of(source);
    struct agent_call call = {.path = path, .stays = stream->follow, .on_body = on_body};
    source->has_past = false;
    text_copy(source->node, sizeof source->node, instance->node->name);
    source->call =
        agent_calls_start(stream->core, instance->node, &call, on_source_end, source, &error);
    if (source->call != NULL)
        return;
    source->has_past = true;
    fail_source(source, &error);
}

static struct source *add_source(struct log_stream *stream, const char *id)
{
    struct source *source = xcalloc(1, sizeof *source);
    source->stream = stream;
    text_copy(source->id, sizeof source->id, id);
    source->name = source->id;
    sorted_insert(&stream->sources, source);
    return source;
}

/* Once, by the first that finds no room. */
static void tell_full(struct log_stream *stream, const char *id)
{
    AUTO_FREE char *text = xasprintf("%d logs are read at once, and this one is not among them nor "
                                     "are those after it: `shoal logs %s` reads it",
                                     SOURCES_MAX, id);
    struct source other = {.stream = stream};
    text_copy(other.id, sizeof other.id, id);
    if (!stream->is_full)
        add_word(&other, API_LOG_FAILURE, text);
    stream->is_full = true;
}

void log_stream_miss(struct log_stream *stream, const char *instance)
{
    struct source other = {.stream = stream};
    text_copy(other.id, sizeof other.id, instance);
    add_word(&other, API_LOG_MARK, "it is forgotten: what it wrote last cannot be read any more");
    end_source(&other);
}

void log_stream_add(struct log_stream *stream, const struct model_instance *instance,
                    const struct api_log_position *after)
{
    if (instance->node == NULL || sorted_find(&stream->sources, instance->name) != NULL)
        return;
    if (stream->open >= SOURCES_MAX) {
        tell_full(stream, instance->name);
        return;
    }
    struct source *source = add_source(stream, instance->name);
    source->is_new = stream->resumes || stream->past_is_out;
    if (after != NULL)
        source->position = *after;
    ask(source, instance);
    stream->open += !source->is_done;
}

/* One whose agent was gone for a while, or goes now; one that is over makes room. */
static void look_at_source(struct source *source)
{
    struct log_stream *stream = source->stream;
    const struct model_instance *instance = model_instance(&stream->core->model, source->id);
    struct error error = ERROR_INIT;
    if (source->call == NULL && instance == NULL) {
        if (!source->is_done)
            end_source(source);
        sorted_remove(&stream->sources, source);
        free_source(source);
        return;
    }
    if (source->is_done || instance == NULL)
        return;
    if (source->call == NULL && instance->node == NULL) {
        AUTO_FREE char *words = xasprintf("node %s was removed", source->node);
        add_word(source, API_LOG_FAILURE, words);
        end_source(source);
    }
    if (instance->node == NULL)
        return;
    bool is_silent = agent_calls_check(stream->core, instance->node, &error) < 0;
    if (source->call != NULL && is_silent) {
        /* A machine that vanished does not end its connections. */
        http_client_cancel(source->call);
        source->call = NULL;
        buffer_clear(&source->line);
        error_wrap(&error, "node %s", source->node);
        fail_source(source, &error);
    } else if (source->call == NULL && !is_silent) {
        ask(source, instance);
    }
}

/* New ones too. */
static void look_again(struct log_stream *stream)
{
    for (size_t i = stream->sources.count; i-- > 0;)
        look_at_source(stream->sources.items[i]);
    stream->open = 0;
    for (size_t i = 0; i < stream->sources.count; i++)
        stream->open += !((const struct source *)stream->sources.items[i])->is_done;
    stream->more_may_come =
        stream->look != NULL && stream->look(stream, stream->namespace_name, stream->service);
}

/* --- handing on --- */

/* Whether every source has sent its past, or has had the time to. */
static bool past_is_there(const struct log_stream *stream)
{
    if (core_now(stream->core) - stream->started_ms >= PAST_MS)
        return true;
    for (size_t i = 0; i < stream->sources.count; i++) {
        const struct source *source = stream->sources.items[i];
        if (!source->has_past)
            return false;
    }
    return true;
}

static void tell_late_ones(struct log_stream *stream)
{
    struct error error = ERROR_INIT;
    for (size_t i = 0; i < stream->sources.count; i++) {
        struct source *source = stream->sources.items[i];
        if (source->has_past)
            continue;
        error_set(&error, ERROR_TIMEOUT, "node %s: its agent has not answered within %d s",
                  source->node, PAST_MS / 1000);
        add_break(source, &error);
    }
}

static bool is_over(const struct log_stream *stream)
{
    for (size_t i = 0; i < stream->sources.count; i++) {
        const struct source *source = stream->sources.items[i];
        if (!source->is_done)
            return false;
    }
    return !stream->more_may_come;
}

/* False: the reader is too slow. */
static bool send_unsent(struct log_stream *stream)
{
    while (stream->unsent.length > 0) {
        size_t part = stream->unsent.length < PIECE_MAX ? stream->unsent.length : PIECE_MAX;
        if (http_request_stream_write(stream->request, stream->unsent.data, part) < 0)
            return stream->unsent.length < UNSENT_MAX + PAST_MAX;
        buffer_consume(&stream->unsent, part);
    }
    return true;
}

static void answer_whole(struct log_stream *stream)
{
    buffer_append_text(&stream->unsent, "\n");
    if (!stream->has_answer && stream->error.code != ERROR_NONE)
        http_request_respond_error(stream->request, &stream->error);
    else
        http_request_respond(stream->request, 200, LOG_TYPE, buffer_text(&stream->unsent),
                             stream->unsent.length);
    close_stream(stream);
}

static void go_on(struct log_stream *stream)
{
    uint64_t now = core_now(stream->core);
    bool is_single = stream->look == NULL;
    log_merge_take(&stream->merge, is_single || is_over(stream) ? UINT64_MAX : now - HOLD_MS,
                   &stream->unsent);
    bool keeps_up = send_unsent(stream);
    if (now - stream->looked_ms >= LOOK_MS) {
        stream->looked_ms = now;
        look_again(stream);
    }
    bool is_at_end = is_over(stream) && stream->unsent.length == 0 && stream->merge.count == 0;
    if (!keeps_up || is_at_end) {
        if (is_at_end)
            http_request_stream_write(stream->request, "\n", 1);
        http_request_stream_end(stream->request);
        close_stream(stream);
    }
}

static void on_tick(uv_timer_t *timer)
{
    struct log_stream *stream = (struct log_stream *)timer;
    if (stream->past_is_out) {
        go_on(stream);
        return;
    }
    if (!past_is_there(stream))
        return;
    tell_late_ones(stream);
    log_merge_take(&stream->merge, UINT64_MAX, &stream->unsent);
    if (!stream->resumes)
        log_tail_keep(&stream->unsent, stream->tail);
    stream->past_is_out = true;
    bool has_failed = !stream->has_answer && stream->error.code != ERROR_NONE;
    if (!stream->follow || (has_failed && !stream->resumes)) {
        answer_whole(stream);
        return;
    }
    http_request_stream_begin(stream->request, LOG_TYPE);
    stream->more_may_come = true;
    go_on(stream);
}

/* --- life --- */

struct log_stream *log_stream_create(struct http_request *request, struct core *core,
                                     const struct log_stream_options *options)
{
    struct log_stream *stream = xcalloc(1, sizeof *stream);
    size_t expected = options->expected > 0 ? options->expected : 1;
    stream->core = core;
    stream->request = request;
    stream->tail = options->tail;
    stream->since = options->since != NULL ? xstrdup(options->since) : NULL;
    stream->follow = options->follow;
    stream->resumes = options->resumes;
    stream->look = options->look;
    if (options->look != NULL) {
        text_copy(stream->namespace_name, NAME_MAX_TEXT, options->namespace_name);
        text_copy(stream->service, NAME_MAX_TEXT, options->service);
    }
    stream->limit = PAST_MAX / expected;
    if (stream->limit > PAST_SOURCE_MAX)
        stream->limit = PAST_SOURCE_MAX;
    if (stream->limit < PAST_SOURCE_MIN)
        stream->limit = PAST_SOURCE_MIN;
    uv_timer_init(core->loop, &stream->timer);
    return stream;
}

struct core *log_stream_core(const struct log_stream *stream)
{
    return stream->core;
}

void log_stream_start(struct log_stream *stream)
{
    stream->started_ms = stream->looked_ms = core_now(stream->core);
    http_request_on_abandoned(stream->request, on_abandoned, stream);
    uv_timer_start(&stream->timer, on_tick, 0, TICK_MS);
}
