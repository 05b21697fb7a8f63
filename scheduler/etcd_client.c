#include "scheduler/etcd_client.h"

#include <string.h>
#include <sys/queue.h>

#include "lib/cleanup.h"
#include "lib/http_client_blocking.h"
#include "lib/xalloc.h"

#define CONNECT_TIMEOUT_MS 1000
#define ANSWER_LIMIT       (8u << 20)

struct etcd_call {
    struct etcd_client *client;
    struct http_call *http;
    size_t endpoint; /* it went to */
    etcd_callback *callback;
    void *data;
    LIST_ENTRY(etcd_call) link;
};

struct etcd_client {
    struct http_client *http;
    char *all;
    char **endpoints;
    size_t count;
    size_t present; /* endpoint of the next call */
    LIST_HEAD(, etcd_call) calls;
};

/* --- endpoints --- */

static void ignore(const struct http_client_response *response, void *data)
{
    (void)response;
    (void)data;
}

/* What is no URL is refused by the first call already, which is never made. */
static int add_endpoint(struct etcd_client *client, const char *text, size_t length,
                        struct error *error)
{
    if (length > 0 && text[length - 1] == '/')
        length--;
    if ((strncmp(text, "http://", 7) != 0 || length < 8) &&
        (strncmp(text, "https://", 8) != 0 || length < 9))
        return error_set(error, ERROR_INVALID,
                         "\"%.*s\" is no address of etcd: one like http://10.0.0.1:2379 is needed",
                         (int)length, text);
    AUTO_FREE char *endpoint = xstrndup(text, length);
    struct http_client_request request = {.url = endpoint};
    struct http_call *call = http_client_start(client->http, &request, ignore, NULL, error);
    if (call == NULL)
        return -1;
    http_client_cancel(call);
    client->endpoints =
        xreallocarray(client->endpoints, client->count + 1, sizeof *client->endpoints);
    client->endpoints[client->count++] = TAKE_POINTER(endpoint);
    return 0;
}

static void client_free(struct etcd_client *client)
{
    http_client_destroy(client->http);
    for (size_t i = 0; i < client->count; i++)
        free(client->endpoints[i]);
    free(client->endpoints);
    free(client->all);
    free(client);
}

int etcd_client_create(uv_loop_t *loop, const char *endpoints, struct etcd_client **ret_client,
                       struct error *error)
{
    struct etcd_client *client = xcalloc(1, sizeof *client);
    client->all = xstrdup(endpoints);
    client->http = http_client_create(loop);
    LIST_INIT(&client->calls);
    for (const char *at = endpoints; at != NULL;) {
        const char *comma = strchr(at, ',');
        size_t length = comma != NULL ? (size_t)(comma - at) : strlen(at);
        if (add_endpoint(client, at, length, error) < 0) {
            client_free(client);
            return -1;
        }
        at = comma != NULL ? comma + 1 : NULL;
    }
    *ret_client = client;
    return 0;
}

void etcd_client_destroy(struct etcd_client *client)
{
    if (client == NULL)
        return;
    while (!LIST_EMPTY(&client->calls))
        etcd_call_cancel(LIST_FIRST(&client->calls));
    client_free(client);
}

const char *etcd_client_endpoints(const struct etcd_client *client)
{
    return client->all;
}

void etcd_client_move_on(struct etcd_client *client)
{
    client->present = (client->present + 1) % client->count;
}

/* --- one attempt --- */

/* Fills the answer, or says what went wrong and whether the next endpoint may do better. */
static int read_response(const struct http_client_response *response, const char *endpoint,
                         struct etcd_answer *ret_answer, struct error *error)
{
    int result;
    if (response->failed) {
        error_copy(error, &response->error);
        /* Whatever cut the answer off may have let the request through. */
        if (error->code != ERROR_TOO_LARGE && error->code != ERROR_TIMEOUT)
            error->code = ERROR_UNAVAILABLE;
        return -1;
    }
    if (response->status < 200 || response->status > 299) {
        result = etcd_error_decode(response->status, response->body, response->body_length, error);
    } else {
        result = etcd_answer_decode(response->body, response->body_length, ret_answer, error);
        /* Whoever stands between may have spoilt it: what was asked may have been done. */
        if (result < 0)
            error->code = ERROR_UNAVAILABLE;
    }
    return result < 0 ? error_wrap(error, "etcd at %s", endpoint) : 0;
}

static bool is_unclear(const struct error *error)
{
    return error->code == ERROR_UNAVAILABLE || error->code == ERROR_TIMEOUT;
}

static void blame(struct etcd_client *client, size_t endpoint, const struct error *error)
{
    if (is_unclear(error) && client->present == endpoint)
        etcd_client_move_on(client);
}

static void on_response(const struct http_client_response *response, void *data)
{
    struct etcd_call *call = data;
    struct etcd_client *client = call->client;
    struct etcd_answer answer = {0};
    struct error error = ERROR_INIT;
    LIST_REMOVE(call, link);
    int result = read_response(response, client->endpoints[call->endpoint], &answer, &error);
    if (result < 0)
        blame(client, call->endpoint, &error);
    answer.unsent = response->failed && response->unsent;
    /* The client may be gone after this. */
    call->callback(result < 0 ? &error : NULL, &answer, call->data);
    etcd_answer_release(&answer);
    free(call);
}

static struct http_client_request make_request(const char *url, const char *body,
                                               unsigned timeout_ms)
{
    return (struct http_client_request){
        .method = "POST",
        .url = url,
        .body = body,
        .body_length = strlen(body),
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .timeout_ms = timeout_ms,
        .response_limit = ANSWER_LIMIT,
    };
}

struct etcd_call *etcd_call_start(struct etcd_client *client, const char *path, char *body,
                                  unsigned timeout_ms, etcd_callback *callback, void *data)
{
    AUTO_FREE char *url = xasprintf("%s/v3/%s", client->endpoints[client->present], path);
    struct http_client_request request = make_request(url, body, timeout_ms);
    struct etcd_call *call = xcalloc(1, sizeof *call);
    *call = (struct etcd_call){
        .client = client, .endpoint = client->present, .callback = callback, .data = data};
    LIST_INSERT_HEAD(&client->calls, call, link);
    /* The endpoints were checked when they were added. */
    call->http = http_client_start(client->http, &request, on_response, call, NULL);
    free(body);
    return call;
}

void etcd_call_cancel(struct etcd_call *call)
{
    if (call == NULL)
        return;
    LIST_REMOVE(call, link);
    http_client_cancel(call->http);
    free(call);
}

int etcd_call_blocking(struct etcd_client *client, const char *path, char *body,
                       unsigned timeout_ms, struct etcd_answer *ret_answer, struct error *error)
{
    const char *endpoint = client->endpoints[client->present];
    struct http_blocking_client *http = http_blocking_client_create(0);
    AUTO_FREE char *url = xasprintf("%s/v3/%s", endpoint, path);
    struct http_client_request request = make_request(url, body, timeout_ms);
    struct error found = ERROR_INIT;
    const struct http_client_response *response = http_client_perform(http, &request, NULL, &found);
    int result = response != NULL ? read_response(response, endpoint, ret_answer, &found) : -1;
    if (result < 0) {
        blame(client, client->present, &found);
        error_copy(error, &found);
    }
    http_client_release(http, response);
    http_blocking_client_destroy(http);
    free(body);
    return result;
}

struct http_call *etcd_watch_start(struct etcd_client *client, char *body,
                                   int (*on_body)(const void *bytes, size_t length, void *data),
                                   http_client_callback *on_end, void *data)
{
    AUTO_FREE char *url = xasprintf("%s/v3/watch", client->endpoints[client->present]);
    struct http_client_request request = make_request(url, body, HTTP_NO_TIMEOUT);
    request.on_body = on_body;
    struct http_call *call = http_client_start(client->http, &request, on_end, data, NULL);
    free(body);
    return call;
}
