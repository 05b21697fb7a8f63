#include <string.h>
#include <strings.h>

#include "lib/cleanup.h"
#include "lib/http_server_internal.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define DEFAULT_DEADLINE_MS 60000
/* Of a body that nobody wants: so much is read to keep the connection, so much more to let the
 * client read our answer before the connection is reset. */
#define DROP_TO_KEEP   ((uint64_t)64 << 10)
#define DROP_TO_ANSWER ((uint64_t)16 << 20)

/* --- what handlers ask --- */

const char *http_request_method(const struct http_request *request)
{
    return request->method;
}

const char *http_request_path(const struct http_request *request)
{
    return request->target.path;
}

const char *http_request_parameter(const struct http_request *request, const char *name)
{
    return text_pairs_get(&request->parameters, name);
}

const char *http_request_query(const struct http_request *request, const char *key)
{
    return text_pairs_get(&request->target.query, key);
}

void http_request_query_each(const struct http_request *request, const char *key,
                             bool (*each)(const char *value, void *data), void *data)
{
    const struct text_pairs *query = &request->target.query;
    for (size_t i = 0; i < query->count; i++) {
        if (strcmp(query->items[i].name, key) == 0 && !each(query->items[i].value, data))
            return;
    }
}

int http_request_tag(const struct http_request *request)
{
    return request->route->tag;
}

const char *http_request_peer(const struct http_request *request)
{
    return request->peer;
}

const char *http_request_certificate_name(const struct http_request *request)
{
    const struct http_connection *connection = request->client;
    return connection != NULL && connection->name[0] != '\0' ? connection->name : NULL;
}

const char *http_request_target(const struct http_request *request)
{
    return http_target_skip_authority(request->raw_target);
}

void http_request_set_user(struct http_request *request, const char *user)
{
    free(request->user);
    request->user = xstrdup(user);
}

const char *http_request_user(const struct http_request *request)
{
    return request->user;
}

const char *http_request_header(const struct http_request *request, const char *name)
{
    return text_pairs_get_caseless(&request->headers, name);
}

const char *http_request_body(const struct http_request *request, size_t *ret_length)
{
    if (ret_length != NULL)
        *ret_length = request->body.length;
    return buffer_text(&request->body);
}

void http_request_set_state(struct http_request *request, void *state, void (*destroy)(void *))
{
    request->state = state;
    request->destroy_state = destroy;
}

void *http_request_state(const struct http_request *request)
{
    return request->state;
}

void http_request_on_abandoned(struct http_request *request,
                               void (*abandoned)(struct http_request *request, void *data),
                               void *data)
{
    request->abandoned = abandoned;
    request->abandoned_data = data;
}

/* --- life --- */

static void request_free(struct http_request *request)
{
    if (request->destroy_state != NULL)
        request->destroy_state(request->state);
    http_answer_finish(&request->answer);
    http_target_finish(&request->target);
    text_pairs_finish(&request->parameters);
    text_pairs_finish(&request->headers);
    buffer_finish(&request->body);
    free(request->raw_target);
    free(request->method);
    free(request->user);
    free(request);
}

void http_request_release(struct http_request *request)
{
    request->held = false;
    if (request->server == NULL)
        request_free(request);
}

void http_request_abandon(struct http_request *request)
{
    if (!request->held || request->abandoned == NULL)
        return;
    request->held = false;
    request->abandoned(request, request->abandoned_data);
}

void http_request_refuse(struct http_request *request, int status, enum error_code code,
                         const char *message)
{
    struct error error = ERROR_INIT;
    error_set(&error, code, "%s", message);
    bool held = request->held;
    http_request_respond_error(request, &error);
    request->held = held;
    if (status != 0)
        request->answer.status = status;
}

/* --- the way of a request --- */

void *http_request_on_target(void *data, const char *target, struct MHD_Connection *connection)
{
    struct http_server *server = data;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct http_connection *client = info->socket_context;
    if (client->request != NULL)
        http_request_end(client->request, MHD_REQUEST_TERMINATED_WITH_ERROR);
    struct http_request *request = xcalloc(1, sizeof *request);
    request->server = server;
    request->connection = connection;
    request->client = client;
    client->request = request;
    memcpy(request->peer, request->client->peer, sizeof request->peer);
    request->raw_target = xstrdup(target);
    request->answer.descriptor = -1;
    if (server->on_finished != NULL)
        clock_gettime(CLOCK_MONOTONIC, &request->started);
    atomic_fetch_add(&server->active, 1);
    if (server->mode == HTTP_SERVER_LOOP)
        LIST_INSERT_HEAD(&server->requests, request, link);
    return request;
}

static enum MHD_Result keep_header(void *data, enum MHD_ValueKind kind, const char *name,
                                   const char *value)
{
    (void)kind;
    struct http_request *request = data;
    text_pairs_add(&request->headers, name, value != NULL ? value : "");
    return MHD_YES;
}

static void read_headers(struct http_request *request)
{
    MHD_get_connection_values(request->connection, MHD_HEADER_KIND, keep_header, request);
    const char *length = http_request_header(request, "Content-Length");
    const char *expect = http_request_header(request, "Expect");
    if (http_request_header(request, "Transfer-Encoding") != NULL)
        request->declared_length = UINT64_MAX;
    else if (length != NULL && !text_parse_u64(length, UINT64_MAX - 1, &request->declared_length))
        request->declared_length = UINT64_MAX;
    request->has_body = request->declared_length > 0;
    request->expects_continue =
        request->has_body && expect != NULL && strcasecmp(expect, "100-continue") == 0;
}

static void add_allowed(struct buffer *allowed, const char *method)
{
    if (allowed->length > 0)
        buffer_append_text(allowed, ", ");
    buffer_append_text(allowed, method);
    if (strcmp(method, "GET") == 0)
        buffer_append_text(allowed, ", HEAD");
}

/* Finds the route, or refuses by 404, or by 405 with the methods that the path does have. */
static int find_route(struct http_request *request)
{
    const struct http_server *server = request->server;
    const char *method = strcmp(request->method, "HEAD") == 0 ? "GET" : request->method;
    struct buffer allowed = {0};
    for (size_t i = 0; i < server->route_count; i++) {
        const struct http_route *route = &server->routes[i];
        struct text_pairs parameters = {0};
        if (!http_target_matches(&request->target, &server->patterns[i], &parameters))
            continue;
        if (strcmp(route->method, method) == 0) {
            request->route = route;
            request->parameters = parameters;
            buffer_finish(&allowed);
            return 0;
        }
        text_pairs_finish(&parameters);
        add_allowed(&allowed, route->method);
    }
    if (allowed.length > 0) {
        http_request_add_header(request, "Allow", buffer_text(&allowed));
        http_request_refuse(request, 405, ERROR_UNSUPPORTED, "this method is not for this path");
    } else {
        http_request_refuse(request, 0, ERROR_NOT_FOUND, "there is nothing under this path");
    }
    buffer_finish(&allowed);
    return -1;
}

static size_t count_headers(const struct http_request *request, const char *name)
{
    size_t count = 0;
    for (size_t i = 0; i < request->headers.count; i++)
        count += strcasecmp(request->headers.items[i].name, name) == 0;
    return count;
}

static bool begins_caseless(const char *text, const char *start)
{
    return strncasecmp(text, start, strlen(start)) == 0;
}

/* A header that others read in another way than libmicrohttpd, which takes a blank in front of the
 * colon for a part of the name (RFC 9112, 5.1), and appends a line that goes on (5.2) to the name
 * too, so that "Content-Length:" becomes a header of another name. */
static bool is_ambiguous(const struct text_pair *header)
{
    static const char length[] = "Content-Length", encoding[] = "Transfer-Encoding";
    for (const char *at = header->name; *at != '\0'; at++) {
        if (*at <= ' ' || *at > '~' || *at == ':')
            return true;
    }
    size_t size = strlen(header->name);
    return strchr(header->value, '\r') != NULL ||
           (begins_caseless(header->name, length) && size != sizeof length - 1) ||
           (begins_caseless(header->name, encoding) && size != sizeof encoding - 1);
}

static bool has_ambiguous_header(const struct http_request *request)
{
    for (size_t i = 0; i < request->headers.count; i++) {
        if (is_ambiguous(&request->headers.items[i]))
            return true;
    }
    return false;
}

/* Where a request's body ends must be the same for whoever passed it on (RFC 9112, 3.2 and 6.3):
 * else the rest of one request is taken for another one. Such a connection is not gone on with. */
static int check_framing(struct http_request *request)
{
    const char *encoding = http_request_header(request, "Transfer-Encoding");
    size_t lengths = count_headers(request, "Content-Length");
    size_t encodings = count_headers(request, "Transfer-Encoding");
    const char *message = NULL;
    if (lengths + encodings > 1)
        message = "the request says more than once how long its body is";
    else if (count_headers(request, "Host") > 1)
        message = "the request has more than one Host";
    else if (encoding != NULL && strcasecmp(encoding, "chunked") != 0)
        message = "no transfer coding but \"chunked\" is understood";
    else if (has_ambiguous_header(request))
        message = "a header's line is not NAME: VALUE, with nothing in front of the colon";
    if (message == NULL)
        return 0;
    http_request_add_header(request, "Connection", "close");
    http_request_refuse(request, 0, ERROR_INVALID, message);
    return -1;
}

static int check_protocol(struct http_request *request)
{
    const char *theirs = http_request_header(request, "Shoal-Protocol");
    unsigned ours = request->server->protocol;
    uint64_t number;
    unsigned oldest = ours > 1 ? ours - 1 : ours; /* 1 was the first */
    if (ours == 0 || theirs == NULL ||
        (text_parse_u64(theirs, UINT32_MAX, &number) && number >= oldest && number <= ours))
        return 0;
    AUTO_FREE char *before = oldest < ours ? xasprintf("%u and ", oldest) : xstrdup("");
    AUTO_FREE char *message =
        xasprintf("the call speaks protocol %.20s and this daemon protocol %s%u: "
                  "bring both to the same version",
                  theirs, before, ours);
    http_request_refuse(request, 0, ERROR_PROTOCOL, message);
    return -1;
}

/* Loopback is no protection from the user's own browser: any page it shows may send a POST there,
 * without asking first when it calls the body text, and then says Origin. No client of ours does.
 */
static int check_origin(struct http_request *request)
{
    bool reads = strcmp(request->method, "GET") == 0 || strcmp(request->method, "HEAD") == 0;
    if (reads || http_request_header(request, "Origin") == NULL)
        return 0;
    http_request_refuse(request, 0, ERROR_DENIED, "web pages may not change anything here");
    return -1;
}

static bool is_over_limit(const struct http_request *request, uint64_t length)
{
    const struct http_route *route = request->route;
    if (route->on_body != NULL && route->body_limit == 0)
        return false;
    return length > route->body_limit;
}

static int refuse_length(struct http_request *request)
{
    AUTO_FREE char *message = xasprintf("the body is larger than the %zu bytes that fit here",
                                        request->route->body_limit);
    http_request_refuse(request, 0, ERROR_TOO_LARGE, message);
    return -1;
}

static int feed(struct http_request *request, const void *bytes, size_t length)
{
    const struct http_route *route = request->route;
    if (route->on_body == NULL) {
        buffer_append(&request->body, bytes, length);
        return 0;
    }
    if (route->on_body(request, bytes, length, request->server->data) == 0)
        return 0;
    if (request->answer.kind == ANSWER_NONE)
        http_request_refuse(request, 0, ERROR_INTERNAL, "the body was refused without a reason");
    return -1;
}

static int check_certificate(struct http_request *request)
{
    struct http_connection *connection = request->client;
    if (connection->identity == NULL ||
        http_connection_check_certificate(connection, request->connection))
        return 0;
    http_request_refuse(request, 0, ERROR_DENIED, connection->problem);
    return -1;
}

static int admit(struct http_request *request)
{
    const struct http_server *server = request->server;
    if (server->admit == NULL || server->admit(request, server->data) == 0)
        return 0;
    if (request->answer.kind == ANSWER_NONE)
        http_request_refuse(request, 0, ERROR_INTERNAL, "the request was refused without a reason");
    return -1;
}

static int refuse_connection(struct http_request *request)
{
    http_request_add_header(request, "Retry-After", "1");
    http_request_refuse(request, 0, ERROR_UNAVAILABLE,
                        "this address has too many connections: use fewer at once");
    return -1;
}

/* All that can be said before the body; -1: it was said. */
static int prepare(struct http_request *request)
{
    struct error error = ERROR_INIT;
    if (atomic_load(&request->server->stopping)) {
        http_request_refuse(request, 0, ERROR_UNAVAILABLE, "the server is stopping");
        return -1;
    }
    if (request->client->is_refused)
        return refuse_connection(request);
    if (http_target_parse(request->raw_target, &request->target, &error) < 0) {
        http_request_refuse(request, error.code == ERROR_TOO_LARGE ? 414 : 0, error.code,
                            error.message);
        return -1;
    }
    if (check_certificate(request) < 0 || check_framing(request) < 0 ||
        check_protocol(request) < 0 || check_origin(request) < 0 || find_route(request) < 0 ||
        admit(request) < 0)
        return -1;
    if (request->declared_length != UINT64_MAX && is_over_limit(request, request->declared_length))
        return refuse_length(request);
    return request->route->on_body != NULL ? feed(request, "", 0) : 0;
}

/* The answer is there and the body is not: a short rest is dropped and the connection kept, before
 * a long one the answer goes out at once. */
static enum MHD_Result answer_within_body(struct http_request *request)
{
    if (!request->has_body)
        return MHD_YES;
    bool is_short = request->declared_length != UINT64_MAX && !request->expects_continue &&
                    request->declared_length - request->received <= DROP_TO_KEEP;
    if (is_short || (request->answer.kind != ANSWER_BYTES && request->answer.kind != ANSWER_SHARED))
        return MHD_YES;
    http_answer_send_at_once(request);
    /* A client that waits for "100 Continue" has sent nothing yet: closing loses nothing. */
    return request->expects_continue && request->received == 0 ? MHD_NO : MHD_YES;
}

static enum MHD_Result begin(struct http_request *request, const char *method)
{
    request->begun = true;
    request->method = xstrdup(method);
    read_headers(request);
    return prepare(request) < 0 ? answer_within_body(request) : MHD_YES;
}

static enum MHD_Result receive(struct http_request *request, const char *bytes, size_t length)
{
    if (request->sent_at_once) {
        request->dropped += length;
        return request->dropped > DROP_TO_ANSWER ? MHD_NO : MHD_YES;
    }
    request->received += length;
    if (request->answer.kind != ANSWER_NONE)
        return MHD_YES;
    if (atomic_load(&request->server->stopping)) {
        http_request_refuse(request, 0, ERROR_UNAVAILABLE, "the server is stopping");
        return answer_within_body(request);
    }
    if ((is_over_limit(request, request->received) && refuse_length(request) < 0) ||
        feed(request, bytes, length) < 0)
        return answer_within_body(request);
    return MHD_YES;
}

static enum MHD_Result finish(struct http_request *request)
{
    struct http_server *server = request->server;
    if (request->sent_at_once || request->gone)
        return MHD_NO;
    if (!request->handled && request->answer.kind == ANSWER_NONE) {
        request->handled = true;
        request->held = true;
        request->route->handler(request, server->data);
    }
    if (request->answer.kind != ANSWER_NONE)
        return http_answer_queue(request);
    if (server->mode == HTTP_SERVER_THREADS) {
        http_request_refuse(request, 0, ERROR_INTERNAL, "the request was not answered");
        request->held = false;
        return http_answer_queue(request);
    }
    if (atomic_load(&server->stopping)) {
        http_request_refuse(request, 0, ERROR_UNAVAILABLE, "the server is stopping");
        http_request_abandon(request);
        return http_answer_queue(request);
    }
    unsigned deadline = request->route->deadline_ms;
    http_request_suspend(request, deadline > 0 ? deadline : DEFAULT_DEADLINE_MS);
    return MHD_YES;
}

static enum MHD_Result step(struct http_request *request, const char *method, const char *bytes,
                            size_t *length)
{
    if (!request->begun)
        return begin(request, method);
    if (*length == 0)
        return finish(request);
    size_t count = *length;
    *length = 0;
    return receive(request, bytes, count);
}

static enum http_phase phase_of(const struct http_request *request)
{
    if (request->queued)
        return HTTP_PHASE_SENDING;
    if (request->suspended)
        return HTTP_PHASE_WORKING;
    return request->sent_at_once ? HTTP_PHASE_DROPPING : HTTP_PHASE_RECEIVING;
}

enum MHD_Result http_request_on_step(void *data, struct MHD_Connection *connection, const char *url,
                                     const char *method, const char *version, const char *bytes,
                                     size_t *length, void **state)
{
    (void)data;
    (void)connection;
    (void)url;
    (void)version;
    struct http_request *request = *state;
    if (!http_connection_enter(request->client, HTTP_PHASE_WORKING))
        return MHD_NO;
    enum MHD_Result result = step(request, method, bytes, length);
    http_connection_enter(request->client, phase_of(request));
    return result;
}

static uint64_t microseconds_since(const struct timespec *then)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)((now.tv_sec - then->tv_sec) * 1000000 + (now.tv_nsec - then->tv_nsec) / 1000);
}

static uint64_t sent_bytes(const struct http_request *request, bool whole)
{
    const struct http_answer *answer = &request->answer;
    if (answer->kind == ANSWER_STREAM)
        return request->streamed;
    return whole && strcmp(request->method, "HEAD") != 0 ? answer->length : 0;
}

static void report(struct http_request *request, enum MHD_RequestTerminationCode code)
{
    const struct http_server *server = request->server;
    if (server->on_finished == NULL || request->method == NULL)
        return;
    bool answered = request->queued || request->sent_at_once;
    int status = http_connection_is_cut(request->client) ? MHD_HTTP_REQUEST_TIMEOUT : 0;
    struct http_summary summary = {
        .method = request->method,
        .path = request->target.path != NULL ? request->target.path : "",
        .route = request->route,
        .status = answered ? request->answer.status : status,
        .bytes_in = request->received + request->dropped,
        .bytes_out = sent_bytes(request, code == MHD_REQUEST_TERMINATED_COMPLETED_OK),
        .microseconds = microseconds_since(&request->started),
        .peer = http_request_peer(request),
        .user = request->user,
    };
    server->on_finished(&summary, server->data);
}

void http_request_end(struct http_request *request, enum MHD_RequestTerminationCode code)
{
    struct http_server *server = request->server;
    http_answer_sent(request);
    report(request, code);
    atomic_fetch_add(&request->client->requests, 1);
    http_connection_enter(request->client, HTTP_PHASE_HEAD);
    request->gone = true;
    http_request_stop_waiting(request);
    http_request_abandon(request);
    if (server->mode == HTTP_SERVER_LOOP)
        LIST_REMOVE(request, link);
    request->server = NULL;
    request->connection = NULL;
    request->client->request = NULL;
    request->client = NULL;
    if (!request->held)
        request_free(request);
    atomic_fetch_sub(&server->active, 1);
}

void http_request_on_completed(void *data, struct MHD_Connection *connection, void **state,
                               enum MHD_RequestTerminationCode code)
{
    (void)data;
    (void)connection;
    if (*state != NULL)
        http_request_end(*state, code);
    *state = NULL;
}
