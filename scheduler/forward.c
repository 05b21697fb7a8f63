#include "scheduler/forward.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/leadership.h"
#include "scheduler/routes.h"

#define FORWARDED_HEADER   "Shoal-Forwarded"
#define REVISION_HEADER    "Shoal-Revision"
#define HELD_MS            2000
#define CONNECT_TIMEOUT_MS 2000
#define ANSWER_TIMEOUT_MS  59000 /* just under the deadline of a request */
#define ANSWER_LIMIT       ((size_t)64 << 20)
/* Of what can be answered here as well. */
#define FIRST_TIMEOUT_MS 2000
#define FIRST_LIMIT      ((size_t)4 << 20)
/* A longer deadline is one of a stream. */
#define STREAM_DEADLINE_MS 60000
#define LATER_MS           50 /* until a reader who is slow is given more */

struct forwarded {
    uv_timer_t later; /* first: the close callback frees by it */
    LIST_ENTRY(forwarded) link;
    struct core *core;
    struct http_request *request;
    struct http_call *call;
    const struct http_route *route;
    bool streams;
    bool begun; /* the stream to whoever asked */
    char leader[ADDRESS_TEXT_MAX];
    /* The answer, while the model is not yet where it was given. */
    uint64_t held_ms;
    uint64_t revision;
    int status;
    char *type;
    char *body;
    size_t length;
};

static bool reads(const struct http_request *request)
{
    const char *method = http_request_method(request);
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void forwarded_free(struct forwarded *forwarded)
{
    LIST_REMOVE(forwarded, link);
    free(forwarded->type);
    free(forwarded->body);
    uv_close((uv_handle_t *)&forwarded->later, on_closed);
}

/* --- nobody leads --- */

static void refuse_without_leader(struct http_request *request, const struct core *core)
{
    struct error error;
    const struct error *failure = leadership_failure(core->leadership);
    if (failure != NULL)
        error_set(&error, ERROR_NO_LEADER,
                  "no scheduler leads at the moment: try again in a few seconds. This one: %s",
                  failure->message);
    else
        error_set(&error, ERROR_NO_LEADER,
                  "no scheduler leads at the moment: try again in a few seconds");
    http_request_respond_error(request, &error);
}

/* Whoever leads is not to be had, and what is known here will do: true, and it is answered. */
static bool answer_from_here(struct forwarded *forwarded)
{
    if (forwarded->route->tag != ROUTE_LEADER_FIRST ||
        !leadership_can_read(forwarded->core->leadership))
        return false;
    http_request_on_abandoned(forwarded->request, NULL, NULL);
    forwarded->route->handler(forwarded->request, forwarded->core);
    return true;
}

/* What is only read can be asked for again by itself; of a change nobody knows how far it came. */
static void end_unanswered(struct forwarded *forwarded, const char *reason)
{
    struct error error;
    if (answer_from_here(forwarded))
        return;
    if (reads(forwarded->request))
        error_set(&error, ERROR_NO_LEADER, "the scheduler that leads, %s, %s: try again",
                  forwarded->leader, reason);
    else
        error_set(&error, ERROR_UNKNOWN,
                  "the scheduler that leads, %s, %s: what was asked may have been done or not",
                  forwarded->leader, reason);
    http_request_respond_error(forwarded->request, &error);
}

/* --- the leader's answer --- */

static void on_later(uv_timer_t *timer)
{
    struct forwarded *forwarded = (struct forwarded *)timer;
    http_call_continue(forwarded->call);
}

/* Who reads slowly has the leader wait, which knows what may be left out. */
static int on_bytes(const void *bytes, size_t length, void *data)
{
    struct forwarded *forwarded = data;
    if (!forwarded->begun)
        http_request_stream_begin(forwarded->request, "text/plain; charset=utf-8");
    forwarded->begun = true;
    if (http_request_stream_write(forwarded->request, bytes, length) == 0)
        return 0;
    uv_timer_start(&forwarded->later, on_later, LATER_MS, 0);
    return HTTP_BODY_LATER;
}

static void end_failed(struct forwarded *forwarded, const struct http_client_response *response)
{
    struct error error;
    if (!response->unsent) {
        end_unanswered(forwarded, "did not answer");
        return;
    }
    if (answer_from_here(forwarded))
        return;
    error_set(&error, ERROR_NO_LEADER,
              "the scheduler that leads, %s, cannot be reached: try again in a few seconds",
              forwarded->leader);
    http_request_respond_error(forwarded->request, &error);
}

/* Whoever asks us next is to see what the change did. */
static bool hold(struct forwarded *forwarded, const struct http_client_response *response)
{
    const char *text = http_response_header(response, REVISION_HEADER);
    uint64_t revision;
    if (text == NULL || !text_parse_u64(text, UINT64_MAX, &revision) ||
        revision <= leadership_seen(forwarded->core->leadership))
        return false;
    LIST_REMOVE(forwarded, link);
    LIST_INSERT_HEAD(&forwarded->core->forwarded_answers, forwarded, link);
    forwarded->held_ms = core_now(forwarded->core);
    forwarded->revision = revision;
    forwarded->status = response->status;
    forwarded->type = xstrdup(http_response_header(response, "Content-Type"));
    forwarded->body = xmemdup(response->body, response->body_length + 1);
    forwarded->length = response->body_length;
    forwarded->call = NULL;
    return true;
}

static void on_answer(const struct http_client_response *response, void *data)
{
    struct forwarded *forwarded = data;
    struct http_request *request = forwarded->request;
    if (!forwarded->begun && !response->failed && hold(forwarded, response))
        return;
    if (forwarded->begun)
        http_request_stream_end(request);
    else if (response->failed)
        end_failed(forwarded, response);
    else if (!http_response_is_absence(response) || !answer_from_here(forwarded))
        http_request_respond(request, response->status,
                             http_response_header(response, "Content-Type"), response->body,
                             response->body_length);
    forwarded_free(forwarded);
}

static void release(struct forwarded *forwarded)
{
    http_request_respond(forwarded->request, forwarded->status, forwarded->type, forwarded->body,
                         forwarded->length);
    forwarded_free(forwarded);
}

void forward_release(struct core *core)
{
    struct forwarded *forwarded, *next;
    uint64_t now = core_now(core), seen = leadership_seen(core->leadership);
    for (forwarded = LIST_FIRST(&core->forwarded_answers); forwarded != NULL; forwarded = next) {
        next = LIST_NEXT(forwarded, link);
        if (forwarded->revision <= seen || now - forwarded->held_ms >= HELD_MS)
            release(forwarded);
    }
}

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    struct forwarded *forwarded = data;
    http_client_cancel(forwarded->call);
    forwarded_free(forwarded);
}

/* --- sending on --- */

static char *header_of(const struct http_request *request, const char *name)
{
    const char *value = http_request_header(request, name);
    return value != NULL ? xasprintf("%s: %s", name, value) : NULL;
}

static struct http_call *send_on(struct forwarded *forwarded, struct error *error)
{
    const struct http_request *request = forwarded->request;
    AUTO_FREE char *url = xasprintf("%s%s", forwarded->leader, http_request_target(request));
    AUTO_FREE char *protocol = header_of(request, "Shoal-Protocol");
    AUTO_FREE char *type = header_of(request, "Content-Type");
    const char *headers[4] = {FORWARDED_HEADER ": 1"};
    size_t count = 1;
    if (protocol != NULL)
        headers[count++] = protocol;
    if (type != NULL)
        headers[count] = type;
    size_t length;
    const char *body = http_request_body(request, &length);
    const char *method = http_request_method(request);
    bool first = forwarded->route->tag == ROUTE_LEADER_FIRST;
    struct http_client_request call = {
        .method = strcmp(method, "HEAD") == 0 ? "GET" : method, /* the server drops the body */
        .url = url,
        .headers = headers,
        .body = length > 0 ? body : NULL,
        .body_length = length,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .timeout_ms = forwarded->streams ? HTTP_NO_TIMEOUT
                      : first            ? FIRST_TIMEOUT_MS
                                         : ANSWER_TIMEOUT_MS,
        .response_limit = first ? FIRST_LIMIT : ANSWER_LIMIT,
        .on_body = forwarded->streams ? on_bytes : NULL,
    };
    return http_client_start(forwarded->core->http, &call, on_answer, forwarded, error);
}

static void forward(struct http_request *request, struct core *core, const char *leader,
                    const struct http_route *route)
{
    struct error error = ERROR_INIT;
    struct forwarded *forwarded = xcalloc(1, sizeof *forwarded);
    *forwarded = (struct forwarded){
        .core = core,
        .request = request,
        .route = route,
        .streams = reads(request) && route->deadline_ms > STREAM_DEADLINE_MS,
    };
    uv_timer_init(core->loop, &forwarded->later);
    text_copy(forwarded->leader, sizeof forwarded->leader, leader);
    LIST_INSERT_HEAD(&core->forwarded, forwarded, link);
    forwarded->call = send_on(forwarded, &error);
    if (forwarded->call == NULL) {
        http_request_respond_error(request, &error);
        forwarded_free(forwarded);
        return;
    }
    http_request_on_abandoned(request, on_abandoned, forwarded);
}

void forward_cancel_all(struct core *core)
{
    struct forwarded *forwarded, *next;
    while (!LIST_EMPTY(&core->forwarded_answers))
        release(LIST_FIRST(&core->forwarded_answers));
    for (forwarded = LIST_FIRST(&core->forwarded); forwarded != NULL; forwarded = next) {
        next = LIST_NEXT(forwarded, link);
        http_client_cancel(forwarded->call);
        if (forwarded->begun)
            http_request_stream_end(forwarded->request);
        else
            end_unanswered(forwarded, "does not lead any more");
        forwarded_free(forwarded);
    }
}

/* --- whose it is --- */

static void dispatch(struct http_request *request, void *data)
{
    struct core *core = data;
    const struct http_route *route = &scheduler_routes[http_request_tag(request)];
    const struct leadership *leadership = core->leadership;
    const char *leader = leadership_other(leadership);
    bool sent_on = http_request_header(request, FORWARDED_HEADER) != NULL;
    bool leads = leadership_phase(leadership) == LEADERSHIP_LEADING;
    bool here = route->tag == ROUTE_ITSELF ||
                (leadership_can_read(leadership) &&
                 (route->tag == ROUTE_ANYWHERE ||
                  (route->tag == ROUTE_LEADER_FIRST && (leader == NULL || sent_on))));
    if (leads || here)
        route->handler(request, core);
    else if (leader == NULL || sent_on)
        refuse_without_leader(request, core);
    else
        forward(request, core, leader, route);
}

void forward_mark_answer(struct http_request *request, void *data)
{
    const struct core *core = data;
    char text[24];
    if (http_request_header(request, FORWARDED_HEADER) == NULL || reads(request) ||
        leadership_phase(core->leadership) != LEADERSHIP_LEADING)
        return;
    snprintf(text, sizeof text, "%" PRIu64, changes_revision(core->changes));
    http_request_add_header(request, REVISION_HEADER, text);
}

struct http_route *forward_routes(size_t *ret_count)
{
    struct http_route *routes =
        xmemdup(scheduler_routes, scheduler_route_count * sizeof *scheduler_routes);
    for (size_t i = 0; i < scheduler_route_count; i++) {
        routes[i].handler = dispatch;
        routes[i].tag = (int)i;
    }
    *ret_count = scheduler_route_count;
    return routes;
}

const struct error *forward_end_of_leading(const struct http_request *request, void *core)
{
    static const struct error undone = {
        ERROR_NO_LEADER, "this scheduler no longer leads: try again in a few seconds", ""};
    static const struct error unknown = {
        ERROR_UNKNOWN, "this scheduler no longer leads: what was asked may have been done or not",
        ""};
    (void)core;
    if (scheduler_routes[http_request_tag(request)].tag != ROUTE_LEADER)
        return NULL;
    return reads(request) ? &undone : &unknown;
}

const struct error *forward_end_of_all(const struct http_request *request, void *core)
{
    static const struct error undone = {
        ERROR_NO_LEADER, "this scheduler is ending: ask another one, or again in a few seconds",
        ""};
    static const struct error unknown = {
        ERROR_UNKNOWN, "this scheduler is ending: what was asked may have been done or not", ""};
    (void)core;
    return reads(request) ? &undone : &unknown;
}
