#include "lib/http_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define DEFAULT_CONNECT_TIMEOUT_MS 5000
#define DEFAULT_TIMEOUT_MS         60000
#define DEFAULT_RESPONSE_LIMIT     ((size_t)4 << 20)
#define STREAM_BUFFER_SIZE         (128L << 10)
#define IDLE_CONNECTIONS           32L
#define MAX_REDIRECTS              5L

struct http_call {
    struct http_client_response response; /* first: http_response_header finds the call by it */
    struct http_client *client;
    CURL *easy;
    struct curl_slist *headers;
    http_client_callback *callback;
    void *data;
    char *label; /* "GET http://host/path", for messages; without the query, it may hold secrets */
    struct buffer body;
    size_t response_limit;
    int (*on_body)(const void *bytes, size_t length, void *data);
    int body_descriptor;
    uint64_t body_offset;
    uint64_t body_length;
    uint64_t body_sent;
    int socket_descriptor; /* -1 once curl has it */
    bool added;            /* to the multi handle */
    bool cancelled;
    bool completed; /* its callback is running */
    bool too_large;
    bool reader_stopped;
    char reason[CURL_ERROR_SIZE];
    LIST_ENTRY(http_call) link;
};

struct http_socket {
    uv_poll_t poll; /* first: the close callback frees by it */
    struct http_client *client;
    curl_socket_t descriptor;
    LIST_ENTRY(http_socket) link;
};

struct http_client {
    uv_loop_t *loop;
    uv_timer_t timer;
    CURLM *multi;
    LIST_HEAD(http_call_list, http_call) calls;
    LIST_HEAD(http_socket_list, http_socket) sockets;
    unsigned handles; /* open libuv handles; the last one closed frees the client */
    bool inside_curl; /* curl is on the stack: its handles must not be added or removed */
    bool destroyed;
};

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

/* --- curl's callbacks for one call --- */

static size_t on_response_bytes(char *bytes, size_t size, size_t count, void *data)
{
    struct http_call *call = data;
    size_t length = size * count;
    if (call->cancelled)
        return 0;
    long status = 0;
    curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (call->on_body != NULL && status >= 200 && status < 300) {
        if (call->on_body(bytes, length, call->data) < 0) {
            call->reader_stopped = true;
            return 0;
        }
        return call->cancelled ? 0 : length;
    }
    if (length > call->response_limit - call->body.length) {
        call->too_large = true;
        return 0;
    }
    buffer_append(&call->body, bytes, length);
    return length;
}

static size_t on_request_bytes(char *bytes, size_t size, size_t count, void *data)
{
    struct http_call *call = data;
    uint64_t left = call->body_length - call->body_sent;
    size_t wanted = size * count < left ? size * count : (size_t)left;
    if (wanted == 0)
        return 0;
    ssize_t got;
    do {
        got = pread(call->body_descriptor, bytes, wanted,
                    (off_t)(call->body_offset + call->body_sent));
    } while (got < 0 && errno == EINTR);
    if (got <= 0)
        return CURL_READFUNC_ABORT;
    call->body_sent += (uint64_t)got;
    return (size_t)got;
}

static int on_request_seek(void *data, curl_off_t offset, int origin)
{
    struct http_call *call = data;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > call->body_length)
        return CURL_SEEKFUNC_FAIL;
    call->body_sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

static curl_socket_t on_open_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    (void)address;
    struct http_call *call = data;
    /* Asked a second time (another address of the name), there is no other socket to give. */
    if (call->socket_descriptor < 0)
        return CURL_SOCKET_BAD;
    return TAKE_DESCRIPTOR(call->socket_descriptor);
}

/* --- the end of a call --- */

/* Of a call that is off the list already. */
static void call_release(struct http_call *call)
{
    if (call->added)
        curl_multi_remove_handle(call->client->multi, call->easy);
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    if (call->socket_descriptor >= 0)
        close(call->socket_descriptor);
    buffer_finish(&call->body);
    free(call->label);
    free(call);
}

static void call_free(struct http_call *call)
{
    LIST_REMOVE(call, link);
    call_release(call);
}

static enum error_code code_of_curl(CURLcode result)
{
    switch (result) {
    case CURLE_OPERATION_TIMEDOUT:
        return ERROR_TIMEOUT;
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE:
        return ERROR_UNAVAILABLE;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_TOO_MANY_REDIRECTS:
        return ERROR_INVALID;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CONNECT_ERROR:
        return ERROR_DENIED;
    case CURLE_READ_ERROR:
    case CURLE_ABORTED_BY_CALLBACK:
        return ERROR_IO;
    default:
        return ERROR_INTERNAL;
    }
}

static void describe_failure(struct http_call *call, CURLcode result)
{
    struct error *error = &call->response.error;
    call->response.failed = true;
    if (call->too_large) {
        error_set(error, ERROR_TOO_LARGE, "%s: the answer is larger than %zu bytes", call->label,
                  call->response_limit);
    } else if (call->reader_stopped) {
        error_set(error, ERROR_IO, "%s: the reader of the answer stopped it", call->label);
    } else {
        error_set(error, code_of_curl(result), "%s: %s", call->label,
                  call->reason[0] != '\0' ? call->reason : curl_easy_strerror(result));
    }
}

static void call_complete(struct http_call *call, CURLcode result)
{
    if (result == CURLE_OK) {
        long status = 0;
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
        call->response.status = (int)status;
        call->response.body_length = call->body.length;
        call->response.body = buffer_text(&call->body);
    } else {
        describe_failure(call, result);
        call->response.body = "";
    }
    call->completed = true;
    call->callback(&call->response, call->data);
    call_release(call);
}

static void teardown(struct http_client *client)
{
    while (!LIST_EMPTY(&client->calls))
        call_free(LIST_FIRST(&client->calls));
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
            call_free(call);
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

/* --- building a request --- */

static bool is_token(const char *text)
{
    size_t length = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-");
    return length > 0 && length <= 32 && text[length] == '\0';
}

static int check_url(const char *url, struct error *error)
{
    CURLU *parts = curl_url();
    char *scheme = NULL;
    bool fine = curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
                curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) == CURLUE_OK &&
                (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    curl_free(scheme);
    curl_url_cleanup(parts);
    if (!fine)
        return error_set(error, ERROR_INVALID, "\"%s\" is not an http:// or https:// URL", url);
    return 0;
}

static int check_request(const struct http_client_request *request, struct error *error)
{
    if (request->url == NULL || (request->method != NULL && !is_token(request->method)))
        return error_set(error, ERROR_INVALID, "an HTTP call needs a URL and a method");
    for (const char *const *header = request->headers; header != NULL && *header != NULL;
         header++) {
        if (strpbrk(*header, "\r\n") != NULL || strchr(*header, ':') == NULL)
            return error_set(error, ERROR_INVALID, "\"%s\" is not an HTTP header", *header);
    }
    struct sockaddr_storage peer;
    socklen_t length = sizeof peer;
    if (request->has_socket &&
        getpeername(request->socket_descriptor, (struct sockaddr *)&peer, &length) == 0)
        return error_set(error, ERROR_INVALID, "the socket for %s is connected already",
                         request->url);
    return check_url(request->url, error);
}

static void set_headers(struct http_call *call, const struct http_client_request *request)
{
    bool has_type = false;
    for (const char *const *header = request->headers; header != NULL && *header != NULL;
         header++) {
        call->headers = curl_slist_append(call->headers, *header);
        has_type = has_type || strncasecmp(*header, "Content-Type:", 13) == 0;
    }
    /* curl would wait for "100 Continue", and call bodies forms. */
    call->headers = curl_slist_append(call->headers, "Expect:");
    if (!has_type)
        call->headers = curl_slist_append(call->headers, "Content-Type:");
    curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
}

static void set_method_and_body(struct http_call *call, const struct http_client_request *request)
{
    const char *method = request->method != NULL ? request->method : "GET";
    bool expects_body =
        strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
    if (request->has_body_file) {
        call->body_descriptor = request->body_descriptor;
        call->body_offset = request->body_offset;
        call->body_length = request->body_file_length;
        curl_easy_setopt(call->easy, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(call->easy, CURLOPT_INFILESIZE_LARGE, (curl_off_t)call->body_length);
        curl_easy_setopt(call->easy, CURLOPT_READFUNCTION, on_request_bytes);
        curl_easy_setopt(call->easy, CURLOPT_READDATA, call);
        curl_easy_setopt(call->easy, CURLOPT_SEEKFUNCTION, on_request_seek);
        curl_easy_setopt(call->easy, CURLOPT_SEEKDATA, call);
        curl_easy_setopt(call->easy, CURLOPT_UPLOAD_BUFFERSIZE, STREAM_BUFFER_SIZE);
    } else if (expects_body || request->body_length > 0) {
        curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_length);
        curl_easy_setopt(call->easy, CURLOPT_COPYPOSTFIELDS,
                         request->body != NULL ? request->body : "");
    } else if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(call->easy, CURLOPT_NOBODY, 1L);
    }
    curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST, method);
}

static void set_limits(struct http_call *call, const struct http_client_request *request)
{
    unsigned connect =
        request->connect_timeout_ms > 0 ? request->connect_timeout_ms : DEFAULT_CONNECT_TIMEOUT_MS;
    unsigned whole = request->timeout_ms > 0 ? request->timeout_ms : DEFAULT_TIMEOUT_MS;
    curl_easy_setopt(call->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect);
    if (whole != HTTP_NO_TIMEOUT)
        curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, (long)whole);
    if (request->stall_timeout_s > 0) {
        curl_easy_setopt(call->easy, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(call->easy, CURLOPT_LOW_SPEED_TIME, (long)request->stall_timeout_s);
    }
    call->response_limit =
        request->response_limit > 0 ? request->response_limit : DEFAULT_RESPONSE_LIMIT;
}

static void set_socket(struct http_call *call, const struct http_client_request *request)
{
    call->socket_descriptor = request->socket_descriptor;
    fcntl(call->socket_descriptor, F_SETFD, FD_CLOEXEC);
    curl_easy_setopt(call->easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(call->easy, CURLOPT_OPENSOCKETDATA, call);
    /* The same address in another network namespace is another peer. */
    curl_easy_setopt(call->easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(call->easy, CURLOPT_FORBID_REUSE, 1L);
}

static void set_common(struct http_call *call, const struct http_client_request *request)
{
    CURL *easy = call->easy;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* whatever the environment says */
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "shoal/" SHOAL_VERSION);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->reason);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_response_bytes);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    if (request->on_body != NULL)
        curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, STREAM_BUFFER_SIZE);
    if (request->follow_redirects) {
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(easy, CURLOPT_MAXREDIRS, MAX_REDIRECTS);
        curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    }
}

static struct http_call *call_create(struct http_client *client,
                                     const struct http_client_request *request)
{
    struct http_call *call = xcalloc(1, sizeof *call);
    call->client = client;
    call->easy = curl_easy_init();
    call->socket_descriptor = -1;
    call->on_body = request->on_body;
    call->label = xasprintf("%s %.*s", request->method != NULL ? request->method : "GET",
                            (int)strcspn(request->url, "?"), request->url);
    LIST_INSERT_HEAD(&client->calls, call, link);
    set_common(call, request);
    set_headers(call, request);
    set_method_and_body(call, request);
    set_limits(call, request);
    if (request->has_socket)
        set_socket(call, request);
    return call;
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
    if (check_request(request, error) < 0) {
        if (request->has_socket)
            close(request->socket_descriptor);
        return NULL;
    }
    struct http_call *call = call_create(client, request);
    call->callback = callback;
    call->data = data;
    /* Adding only arms the timer: nothing is answered before the loop runs. */
    if (!client->inside_curl && curl_multi_add_handle(client->multi, call->easy) != CURLM_OK) {
        error_set(error, ERROR_INTERNAL, "%s: curl refused the call", call->label);
        call_free(call);
        return NULL;
    }
    call->added = !client->inside_curl;
    return call;
}

void http_client_cancel(struct http_call *call)
{
    if (call == NULL || call->completed)
        return;
    call->cancelled = true;
    if (!call->client->inside_curl)
        call_free(call);
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
