#include "scheduler/logs.h"

#include <string.h>

#include "lib/api/log_line.h"
#include "lib/text.h"
#include "scheduler/agent_calls.h"
#include "scheduler/log_stream.h"

#define TAIL_DEFAULT 100
#define TAIL_MAX     100000

static void refuse(struct http_request *request, enum error_code code, const char *what,
                   const char *name)
{
    struct error error;
    error_set(&error, code, what, name);
    http_request_respond_error(request, &error);
}

/* "INSTANCE:POSITION[,...]", or nothing; calls `found` (may be NULL) for each. False: malformed. */
static bool each_position(const char *text,
                          void (*found)(const char *instance,
                                        const struct api_log_position *position, void *data),
                          void *data)
{
    while (*text != '\0') {
        char id[INSTANCE_ID_MAX] = "";
        struct api_log_position position;
        size_t length = strcspn(text, ",");
        if (length < INSTANCE_ID_MAX || text[INSTANCE_ID_MAX - 1] != ':')
            return false;
        memcpy(id, text, INSTANCE_ID_MAX - 1);
        if (api_check_instance_id(id) != NULL ||
            !api_log_position_parse(text + INSTANCE_ID_MAX, length - INSTANCE_ID_MAX, &position))
            return false;
        if (found != NULL)
            found(id, &position, data);
        text += length + (text[length] == ',');
    }
    return true;
}

/* Who goes on with a log. */
struct return_of_reader {
    struct log_stream *stream;
    const struct model_service *service; /* NULL: of one instance, */
    const struct model_instance *instance;
};

static void go_on_with(const char *id, const struct api_log_position *position, void *data)
{
    const struct return_of_reader *reader = data;
    const struct model *model = &log_stream_core(reader->stream)->model;
    const struct model_instance *instance = model_instance(model, id);
    if (instance == NULL)
        log_stream_miss(reader->stream, id);
    else if (reader->service != NULL ? instance->service == reader->service
                                     : instance == reader->instance)
        log_stream_add(reader->stream, instance, position);
}

/* What comes `after`; NULL: nobody goes on. Of many instances it fits into no head. */
static const char *after_of(const struct http_request *request)
{
    size_t length;
    const char *body = http_request_body(request, &length);
    return length > 0 ? body : http_request_query(request, "after");
}

static void add_named(const struct http_request *request, struct return_of_reader reader)
{
    const char *after = after_of(request);
    if (after != NULL)
        each_position(after, go_on_with, &reader);
}

/* What was asked for; `options`' texts are the request's. */
static int read_query(struct http_request *request, const struct core *core,
                      struct log_stream_options *ret_options)
{
    const char *tail = http_request_query(request, "tail");
    const char *follow = http_request_query(request, "follow");
    const char *after = after_of(request);
    struct log_stream_options options = {.tail = TAIL_DEFAULT,
                                         .since = http_request_query(request, "since"),
                                         .resumes = after != NULL};
    uint64_t since_ms;
    struct error error;
    options.follow = follow != NULL && strcmp(follow, "0") != 0;
    if (tail != NULL && !text_parse_u64(tail, TAIL_MAX, &options.tail))
        error_set(&error, ERROR_INVALID, "tail is a number of lines, 0 to %d", TAIL_MAX);
    else if (options.since != NULL &&
             !api_log_since_parse(options.since, core_wall(core), &since_ms))
        error_set(&error, ERROR_INVALID, "since is " API_LOG_SINCE_FORMS);
    else if (after != NULL && (!options.follow || !each_position(after, NULL, NULL)))
        error_set(&error, ERROR_INVALID,
                  "after is INSTANCE:POSITION[,INSTANCE:POSITION...], and goes with follow");
    else {
        *ret_options = options;
        return 0;
    }
    http_request_respond_error(request, &error);
    return -1;
}

void logs_handle_instance(struct http_request *request, void *data)
{
    struct core *core = data;
    const char *id = http_request_parameter(request, "instance");
    const struct model_instance *instance = model_instance(&core->model, id);
    struct log_stream_options options;
    struct error error;
    if (instance == NULL) {
        refuse(request, ERROR_NOT_FOUND, "there is no instance %.64s: `shoal ps --all` lists them",
               id);
        return;
    }
    if (instance->node == NULL) {
        refuse(request, ERROR_UNAVAILABLE, "the node of instance %.64s is gone", id);
        return;
    }
    if (read_query(request, core, &options) < 0)
        return;
    /* Who goes on waits for the node to come back. */
    if (!options.resumes && agent_calls_check(core, instance->node, &error) < 0) {
        error_wrap(&error, "node %s", instance->node->name);
        http_request_respond_error(request, &error);
        return;
    }
    struct log_stream *stream = log_stream_create(request, core, &options);
    add_named(request, (struct return_of_reader){.stream = stream, .instance = instance});
    log_stream_add(stream, instance, NULL);
    log_stream_start(stream);
}

/* --- of a service --- */

/* Of a job all of its newest run; else what runs, and when nothing does, what ended last of each
 * slot is what one wants to read. */
static bool is_wanted(const struct model_service *service, const struct model_instance *instance,
                      bool ended)
{
    if (instance->node == NULL)
        return false;
    if (!model_is_job(service))
        return model_instance_has_ended(instance) == ended;
    uint32_t run = service->run_count > 0 ? service->runs[service->run_count - 1]->number : 0;
    return instance->document->rollout == run;
}

/* With `stream` NULL they are only counted. */
static size_t add_instances(struct log_stream *stream, const struct model_service *service,
                            bool ended)
{
    size_t count = 0;
    for (size_t i = service->instances.count; i-- > 0;) {
        const struct model_instance *instance = service->instances.items[i];
        if (!is_wanted(service, instance, ended))
            continue;
        count++;
        if (stream != NULL)
            log_stream_add(stream, instance, NULL);
    }
    return count;
}

static bool may_have_more(const struct model_service *service)
{
    if (!model_is_job(service))
        return service->document->replicas > 0;
    return service->run_count > 0 && service->runs[service->run_count - 1]->ended_ms == 0;
}

static bool look(struct log_stream *stream, const char *namespace_name, const char *name)
{
    const struct model_service *service =
        model_service(&log_stream_core(stream)->model, namespace_name, name);
    if (service == NULL || service->document == NULL)
        return false;
    add_instances(stream, service, false);
    return may_have_more(service);
}

void logs_handle_service(struct http_request *request, void *data)
{
    struct core *core = data;
    const char *namespace_name = http_request_parameter(request, "namespace");
    const char *name = http_request_parameter(request, "service");
    struct error error;
    const struct model_service *service =
        model_find_service(&core->model, namespace_name, name, &error);
    struct log_stream_options options;
    if (service == NULL) {
        http_request_respond_error(request, &error);
        return;
    }
    if (read_query(request, core, &options) < 0)
        return;
    options.look = look;
    options.namespace_name = namespace_name;
    options.service = name;
    options.expected = add_instances(NULL, service, false);
    bool ended = options.expected == 0 && !options.resumes;
    if (ended)
        options.expected = add_instances(NULL, service, true);
    struct log_stream *stream = log_stream_create(request, core, &options);
    add_named(request, (struct return_of_reader){.stream = stream, .service = service});
    add_instances(stream, service, ended);
    log_stream_start(stream);
}
