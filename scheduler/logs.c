#include "scheduler/logs.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/agent_calls.h"

#define TAIL_DEFAULT 100
#define TAIL_MAX     100000
#define SOURCES_MAX  200         /* instances of one answer */
#define LINE_LIMIT   (64u << 10) /* a longer line is cut in two */

/* One instance's log on its way. */
struct source {
    LIST_ENTRY(source) link;
    struct log_stream *stream;
    struct http_call *call;
    char id[INSTANCE_ID_MAX];
    struct buffer line;
};

struct log_stream {
    struct core *core;
    struct http_request *request;
    bool prefixed; /* lines of several instances */
    bool begun;
    bool broken; /* the reader is gone or too slow */
    uint64_t tail;
    bool follow;
    struct error error; /* of the last source that failed */
    LIST_HEAD(, source) sources;
};

static void source_free(struct source *source)
{
    LIST_REMOVE(source, link);
    buffer_finish(&source->line);
    free(source);
}

static void begin(struct log_stream *stream)
{
    if (!stream->begun)
        http_request_stream_begin(stream->request, "text/plain; charset=utf-8");
    stream->begun = true;
}

static int send_bytes(struct log_stream *stream, const char *bytes, size_t length)
{
    begin(stream);
    if (http_request_stream_write(stream->request, bytes, length) == 0)
        return 0;
    stream->broken = true;
    return -1;
}

static int send_line(struct source *source, const char *line, size_t length)
{
    AUTO_BUFFER struct buffer text = {0};
    buffer_printf(&text, "%s ", source->id);
    buffer_append(&text, line, length);
    buffer_append_text(&text, "\n");
    return send_bytes(source->stream, text.data, text.length);
}

static int on_body(const void *bytes, size_t length, void *data)
{
    struct source *source = data;
    if (!source->stream->prefixed)
        return send_bytes(source->stream, bytes, length);
    buffer_append(&source->line, bytes, length);
    size_t start = 0;
    for (size_t i = 0; i < source->line.length; i++) {
        bool ends = source->line.data[i] == '\n';
        if (!ends && i - start < LINE_LIMIT)
            continue;
        if (send_line(source, source->line.data + start, i - start) < 0)
            return -1;
        start = ends ? i + 1 : i;
    }
    buffer_consume(&source->line, start);
    return 0;
}

static void end_stream(struct log_stream *stream)
{
    if (stream->begun || stream->error.code == ERROR_NONE) {
        begin(stream);
        http_request_stream_end(stream->request);
    } else {
        http_request_respond_error(stream->request, &stream->error);
    }
    free(stream);
}

static void on_source_end(const struct http_client_response *response, void *data)
{
    struct source *source = data;
    struct log_stream *stream = source->stream;
    struct error error = ERROR_INIT;
    if (http_response_check(response, &error) < 0) {
        stream->error = error;
        error_wrap(&stream->error, "logs of %s", source->id);
    } else if (source->line.length > 0 && !stream->broken) {
        send_line(source, source->line.data, source->line.length);
    }
    source_free(source);
    if (LIST_EMPTY(&stream->sources))
        end_stream(stream);
}

static void on_abandoned(struct http_request *request, void *data)
{
    struct log_stream *stream = data;
    (void)request;
    while (!LIST_EMPTY(&stream->sources)) {
        struct source *source = LIST_FIRST(&stream->sources);
        http_client_cancel(source->call);
        source_free(source);
    }
    free(stream);
}

static void add_source(struct log_stream *stream, const struct model_instance *instance)
{
    struct source *source = xcalloc(1, sizeof *source);
    source->stream = stream;
    text_copy(source->id, sizeof source->id, instance->name);
    LIST_INSERT_HEAD(&stream->sources, source, link);
    AUTO_FREE char *path =
        xasprintf("/v1/instances/%s/logs?tail=%llu%s", instance->name,
                  (unsigned long long)stream->tail, stream->follow ? "&follow=1" : "");
    struct agent_call call = {.path = path, .stays = stream->follow, .on_body = on_body};
    source->call = agent_calls_start(stream->core, instance->node, &call, on_source_end, source,
                                     &stream->error);
    if (source->call == NULL)
        source_free(source);
}

static bool has_log(const struct model_instance *instance)
{
    return instance->node != NULL && !instance->node->silent;
}

static struct log_stream *stream_create(struct http_request *request, struct core *core)
{
    const char *tail = http_request_query(request, "tail");
    const char *follow = http_request_query(request, "follow");
    struct log_stream *stream = xcalloc(1, sizeof *stream);
    *stream = (struct log_stream){.core = core, .request = request, .tail = TAIL_DEFAULT};
    LIST_INIT(&stream->sources);
    stream->follow = follow != NULL && strcmp(follow, "0") != 0;
    if (tail != NULL && !text_parse_u64(tail, TAIL_MAX, &stream->tail)) {
        struct error error;
        error_set(&error, ERROR_INVALID, "tail is a number of lines, 0 to %d", TAIL_MAX);
        http_request_respond_error(request, &error);
        free(stream);
        return NULL;
    }
    return stream;
}

static void go_on(struct log_stream *stream)
{
    if (LIST_EMPTY(&stream->sources))
        end_stream(stream);
    else
        http_request_on_abandoned(stream->request, on_abandoned, stream);
}

static void refuse(struct http_request *request, enum error_code code, const char *what,
                   const char *name)
{
    struct error error;
    error_set(&error, code, what, name);
    http_request_respond_error(request, &error);
}

void logs_handle_instance(struct http_request *request, void *data)
{
    struct core *core = data;
    const char *id = http_request_parameter(request, "instance");
    const struct model_instance *instance = model_instance(&core->model, id);
    if (instance == NULL) {
        refuse(request, ERROR_NOT_FOUND, "there is no instance %.64s", id);
        return;
    }
    if (!has_log(instance)) {
        refuse(request, ERROR_UNAVAILABLE, "the node of instance %.64s is silent", id);
        return;
    }
    struct log_stream *stream = stream_create(request, core);
    if (stream == NULL)
        return;
    add_source(stream, instance);
    go_on(stream);
}

/* Of a job, all of its newest run. */
static void add_sources_of_run(struct log_stream *stream, const struct model_service *service)
{
    size_t added = 0;
    uint32_t run = service->run_count > 0 ? service->runs[service->run_count - 1]->number : 0;
    for (size_t i = service->instances.count; i-- > 0 && added < SOURCES_MAX;) {
        const struct model_instance *instance = service->instances.items[i];
        if (has_log(instance) && instance->document->rollout == run) {
            add_source(stream, instance);
            added++;
        }
    }
}

/* What runs; when nothing does, what ended last of each slot is what one wants to read. */
static void add_sources(struct log_stream *stream, const struct model_service *service)
{
    size_t added = 0;
    if (model_is_job(service)) {
        add_sources_of_run(stream, service);
        return;
    }
    for (int ended = 0; ended <= 1 && added == 0; ended++) {
        for (size_t i = service->instances.count; i-- > 0 && added < SOURCES_MAX;) {
            const struct model_instance *instance = service->instances.items[i];
            if (has_log(instance) && model_instance_has_ended(instance) == (ended == 1)) {
                add_source(stream, instance);
                added++;
            }
        }
    }
}

void logs_handle_service(struct http_request *request, void *data)
{
    struct core *core = data;
    const char *name = http_request_parameter(request, "service");
    const struct model_service *service =
        model_service(&core->model, http_request_parameter(request, "namespace"), name);
    if (service == NULL || service->document == NULL) {
        refuse(request, ERROR_NOT_FOUND, "there is no service %.64s", name);
        return;
    }
    struct log_stream *stream = stream_create(request, core);
    if (stream == NULL)
        return;
    stream->prefixed = true;
    add_sources(stream, service);
    go_on(stream);
}
