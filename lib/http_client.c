#include "lib/http_client.h"

#include <stdlib.h>
#include <unistd.h>

#include "lib/http_client_internal.h"
#include "lib/xalloc.h"

#define IDLE_CONNECTIONS 32L

static void act(struct http_client *client, curl_socket_t descriptor, int events);

/* --- libuv under curl --- */

static void client_release(struct http_client *client)
{
    if (--client->handles > 0)
        return;
    free(client);
    curl_global_cleanup();
}

static void on_timer_closed(uv_handle_t *handle)
{
    client_release(handle->data);
}

static void on_socket_closed(uv_handle_t *handle)
{
    struct http_socket *watch = (struct http_socket *)handle;
    client_release(watch->client);
    free(watch);
}

static void socket_close(struct http_socket *watch)
{
    LIST_REMOVE(watch, link);
    uv_poll_stop(&watch->poll);
    uv_close((uv_handle_t *)&watch->poll, on_socket_closed);
}

static void on_timer(uv_timer_t *timer)
{
    act(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct http_socket *watch = (struct http_socket *)poll;
    int flags = 0;
    if (status < 0)
        flags |= CURL_CSELECT_ERR;
    if (events & UV_READABLE)
        flags |= CURL_CSELECT_IN;
    if (events & UV_WRITABLE)
        flags |= CURL_CSELECT_OUT;
    act(watch->client, watch->descriptor, flags);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *data)
{
    (void)multi;
    struct http_client *client = data;
    if (timeout_ms < 0) {
        uv_timer_stop(&client->timer);
        return 0;
    }
    uv_update_time(client->loop);
    uv_timer_start(&client->timer, on_timer, (uint64_t)timeout_ms, 0);
    return 0;
}

static int on_curl_socket(CURL *easy, curl_socket_t descriptor, int what, void *data, void *mine)
{
    (void)easy;
    struct http_client *client = data;
    struct http_socket *watch = mine;
    if (what == CURL_POLL_REMOVE) {
        if (watch != NULL) {
            curl_multi_assign(client->multi, descriptor, NULL);
            socket_close(watch);
        }
        return 0;
    }
    if (watch == NULL) {
        watch = xcalloc(1, sizeof *watch);
        watch->client = client;
        watch->descriptor = descriptor;
        if (uv_poll_init_socket(client->loop, &watch->poll, descriptor) < 0) {
            free(watch);
            return -1;
        }
        client->handles++;
        LIST_INSERT_HEAD(&client->sockets, watch, link);
        curl_multi_assign(client->multi, descriptor, watch);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    uv_poll_start(&watch->poll, events, on_socket);
    return 0;
}

/* --- the end of a call --- */

/* Of a call that is off the list already. */
static void call_release(struct http_call *call)
{
    if (call->added)
        curl_multi_remove_handle(call->client->multi, call->easy);
    curl_easy_cleanup(call->easy);
    http_call_free(call);
}

static void call_drop(struct http_call *call)
{
    LIST_REMOVE(call, link);
    call_release(call);
}

static void call_complete(struct http_call *call, CURLcode result)
{
    http_call_complete(call, result);
    call->completed = true;
    call->callback(&call->response, call->data);
    call_release(call);
}

static void teardown(struct http_client *client)
{
    while (!LIST_EMPTY(&client->calls))
        call_drop(LIST_FIRST(&client->calls));
    /* Before curl closes the sockets under libuv's feet. */
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, NULL);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, NULL);
    while (!LIST_EMPTY(&client->sockets))
        socket_close(LIST_FIRST(&client->sockets));
    curl_multi_cleanup(client->multi);
    uv_close((uv_handle_t *)&client->timer, on_timer_closed);
}

/* What callbacks inside curl could only note down: calls cancelled and calls started. */
static void apply_noted(struct http_client *client)
{
    struct http_call *call, *next;
    for (call = LIST_FIRST(&client->calls); call != NULL; call = next) {
        next = LIST_NEXT(call, link);
        if (call->cancelled)
            call_drop(call);
        else if (!call->added)
            call->added = curl_multi_add_handle(client->multi, call->easy) == CURLM_OK;
    }
}

/* Runs the callbacks of what ended. A callback may start and cancel calls and destroy the client,
 * whose memory stays until its timer is closed. */
static void settle(struct http_client *client)
{
    while (!client->destroyed) {
        int left;
        CURLMsg *message = curl_multi_info_read(client->multi, &left);
        if (message == NULL)
            return;
        if (message->msg != CURLMSG_DONE)
            continue;
        CURLcode result = message->data.result;
        struct http_call *call = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &call);
        curl_multi_remove_handle(client->multi, call->easy);
        call->added = false;
        LIST_REMOVE(call, link);
        call_complete(call, result);
    }
}

/* curl tells of a deadline once. libuv's clock has whole milliseconds and may fire just before it,
 * and then curl, which has nothing to do yet, would not tell again: so ask. */
static void rearm(struct http_client *client)
{
    long timeout_ms = -1;
    if (uv_is_active((uv_handle_t *)&client->timer) ||
        curl_multi_timeout(client->multi, &timeout_ms) != CURLM_OK || timeout_ms < 0)
        return;
    uv_timer_start(&client->timer, on_timer, (uint64_t)timeout_ms, 0);
}

static void act(struct http_client *client, curl_socket_t descriptor, int events)
{
    int running;
    client->inside_curl = true;
    curl_multi_socket_action(client->multi, descriptor, events, &running);
    client->inside_curl = false;
    if (client->destroyed) {
        teardown(client);
        return;
    }
    apply_noted(client);
    settle(client);
    if (!client->destroyed)
        rearm(client);
}

/* --- the interface --- */

struct http_client *http_client_create(uv_loop_t *loop)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
    struct http_client *client = xcalloc(1, sizeof *client);
    client->loop = loop;
    LIST_INIT(&client->calls);
    LIST_INIT(&client->sockets);
    uv_timer_init(loop, &client->timer);
    client->timer.data = client;
    client->handles = 1;
    client->multi = curl_multi_init();
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, IDLE_CONNECTIONS);
    return client;
}

void http_client_destroy(struct http_client *client)
{
    if (client == NULL || client->destroyed)
        return;
    client->destroyed = true;
    struct http_call *call;
    LIST_FOREACH(call, &client->calls, link)
    {
        call->cancelled = true;
    }
    if (!client->inside_curl)
        teardown(client);
}

struct http_call *http_client_start(struct http_client *client,
                                    const struct http_client_request *request,
                                    http_client_callback *callback, void *data, struct error *error)
{
    if (http_call_check(request, error) < 0) {
        if (request->has_socket)
            close(request->socket_descriptor);
        return NULL;
    }
    struct http_call *call = http_call_create(curl_easy_init(), request);
    call->client = client;
    LIST_INSERT_HEAD(&client->calls, call, link);
    call->callback = callback;
    call->data = data;
    /* Adding only arms the timer: nothing is answered before the loop runs. */
    if (!client->inside_curl && curl_multi_add_handle(client->multi, call->easy) != CURLM_OK) {
        error_set(error, ERROR_INTERNAL, "%s: curl refused the call", call->label);
        call_drop(call);
        return NULL;
    }
    call->added = !client->inside_curl;
    return call;
}

void http_call_continue(struct http_call *call)
{
    struct http_client *client = call->client;
    if (client->inside_curl || client->destroyed || call->cancelled || !call->added)
        return;
    client->inside_curl = true;
    curl_easy_pause(call->easy, CURLPAUSE_CONT);
    client->inside_curl = false;
    if (client->destroyed) {
        teardown(client);
        return;
    }
    /* What ended is told by the turn of the loop that curl has asked for. */
    apply_noted(client);
    rearm(client);
}

void http_client_cancel(struct http_call *call)
{
    if (call == NULL || call->completed)
        return;
    call->cancelled = true;
    if (!call->client->inside_curl)
        call_drop(call);
}

int http_call_status(const struct http_call *call)
{
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

uv_loop_t *http_client_loop(const struct http_client *client)
{
    return client->loop;
}

const char *http_response_header(const struct http_client_response *response, const char *name)
{
    const struct http_call *call = (const struct http_call *)response;
    struct curl_header *header;
    if (curl_easy_header(call->easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK)
        return NULL;
    return header->value;
}
