#include "scheduler/agent_calls.h"

#include <stdlib.h>
#include <string.h>

#include "lib/api/protocol.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define CONNECT_TIMEOUT_MS 3000
#define ANSWER_TIMEOUT_MS  55000 /* under the deadline of a request */
#define LATER_MS           50    /* until a reader who is slow is given more */

/* --- one call --- */

int agent_calls_check(const struct core *core, const struct model_node *node, struct error *error)
{
    char span[32];
    uint64_t now = core_now(core);
    if (!node->silent)
        return 0;
    uint64_t since = now > node->heard_ms ? now - node->heard_ms : 0;
    text_format_duration(since / 1000 * 1000, span, sizeof span);
    return error_set(error, ERROR_UNAVAILABLE,
                     "its agent was last heard %s ago: what only the node knows can be had once it "
                     "is back (is the machine up, does shoal-agent run there?)",
                     span);
}

int agent_calls_check_answer(const struct http_client_response *response, struct error *error)
{
    if (http_response_check(response, error) == 0)
        return 0;
    return response->failed && error->code != ERROR_TOO_LARGE
               ? error_wrap(error, "its agent does not answer (does shoal-agent run there?)")
               : -1;
}

struct http_call *agent_calls_start(struct core *core, const struct model_node *node,
                                    const struct agent_call *call, http_client_callback *callback,
                                    void *data, struct error *error)
{
    if (agent_calls_check(core, node, error) < 0) {
        error_wrap(error, "node %s", node->name);
        return NULL;
    }
    AUTO_FREE char *url = xasprintf("http://%s%s", node->document->address, call->path);
    AUTO_FREE char *type =
        call->content_type != NULL ? xasprintf("Content-Type: %s", call->content_type) : NULL;
    const char *const headers[] = {SHOAL_PROTOCOL_HEADER, type, NULL};
    struct http_client_request request = {
        .method = call->method,
        .url = url,
        .headers = headers,
        .body = call->body,
        .body_length = call->body_length,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .timeout_ms = call->stays ? HTTP_NO_TIMEOUT : ANSWER_TIMEOUT_MS,
        .response_limit = AGENT_ANSWER_MAX,
        .on_body = call->on_body,
    };
    return http_client_start(core->http, &request, callback, data, error);
}

/* --- a request that is passed on --- */

struct passed {
    uv_timer_t later; /* first: the close callback frees by it */
    struct http_request *request;
    struct http_call *call;
    char node[NAME_MAX_TEXT];
    const char *stream_type; /* NULL: the answer comes in whole */
    bool begun;
};

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void passed_free(struct passed *passed)
{
    uv_close((uv_handle_t *)&passed->later, on_closed);
}

static void on_later(uv_timer_t *timer)
{
    struct passed *passed = (struct passed *)timer;
    http_call_continue(passed->call);
}

/* Who reads slowly has the agent wait, which knows what may be left out. */
static int on_body(const void *bytes, size_t length, void *data)
{
    struct passed *passed = data;
    if (!passed->begun)
        http_request_stream_begin(passed->request, passed->stream_type);
    passed->begun = true;
    if (http_request_stream_write(passed->request, bytes, length) == 0)
        return 0;
    uv_timer_start(&passed->later, on_later, LATER_MS, 0);
    return HTTP_BODY_LATER;
}

static void on_answer(const struct http_client_response *response, void *data)
{
    struct passed *passed = data;
    struct http_request *request = passed->request;
    bool is_good = !response->failed && response->status / 100 == 2;
    if (response->failed && !passed->begun) {
        struct error error = ERROR_INIT;
        agent_calls_check_answer(response, &error);
        error_wrap(&error, "node %s", passed->node);
        http_request_respond_error(request, &error);
    } else if (passed->stream_type != NULL && (passed->begun || is_good)) {
        if (!passed->begun)
            http_request_stream_begin(request, passed->stream_type);
        http_request_stream_end(request);
    } else {
        http_request_respond(request, response->status,
                             http_response_header(response, "Content-Type"), response->body,
                             response->body_length);
    }
    passed_free(passed);
}

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    struct passed *passed = data;
    http_client_cancel(passed->call);
    passed_free(passed);
}

void agent_calls_pass(struct http_request *request, struct core *core,
                      const struct model_node *node, const char *path, const char *stream_type)
{
    struct error error = ERROR_INIT;
    struct passed *passed = xcalloc(1, sizeof *passed);
    *passed = (struct passed){.request = request, .stream_type = stream_type};
    uv_timer_init(core->loop, &passed->later);
    text_copy(passed->node, sizeof passed->node, node->name);
    const char *method = http_request_method(request);
    struct agent_call call = {
        .method = strcmp(method, "HEAD") == 0 ? "GET" : method, /* the server drops the body */
        .path = path,
        .content_type = http_request_header(request, "Content-Type"),
        .stays = stream_type != NULL,
        .on_body = stream_type != NULL ? on_body : NULL,
    };
    call.body = http_request_body(request, &call.body_length);
    if (call.body_length == 0)
        call.body = NULL;
    passed->call = agent_calls_start(core, node, &call, on_answer, passed, &error);
    if (passed->call == NULL) {
        http_request_respond_error(request, &error);
        passed_free(passed);
        return;
    }
    http_request_on_abandoned(request, on_abandoned, passed);
}

void agent_calls_pass_instance(struct http_request *request, struct core *core, const char *path,
                               const char *stream_type)
{
    struct error error;
    const char *id = http_request_parameter(request, "instance");
    const struct model_instance *instance = model_instance(&core->model, id);
    if (instance == NULL)
        error_set(&error, ERROR_NOT_FOUND,
                  "there is no instance %.64s: `shoal ps --all` lists them", id);
    else if (instance->node == NULL)
        error_set(&error, ERROR_UNAVAILABLE, "instance %.64s is on no node yet", id);
    else if (instance_state_is_over(instance->observed.state))
        error_set(&error, ERROR_CONFLICT,
                  "instance %s is over (%s%s%s): `shoal logs %s` shows what it wrote",
                  instance->name, instance_state_names[instance->observed.state],
                  instance->observed.message != NULL ? ": " : "",
                  instance->observed.message != NULL ? instance->observed.message : "",
                  instance->name);
    else {
        agent_calls_pass(request, core, instance->node, path, stream_type);
        return;
    }
    http_request_respond_error(request, &error);
}
