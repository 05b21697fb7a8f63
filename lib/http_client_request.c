/* One call as curl sees it: its options, the callbacks that move its bytes, its end. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/http_client_internal.h"
#include "lib/xalloc.h"

#define DEFAULT_CONNECT_TIMEOUT_MS 5000
#define DEFAULT_TIMEOUT_MS         60000
#define DEFAULT_RESPONSE_LIMIT     ((size_t)4 << 20)
#define STREAM_BUFFER_SIZE         (128L << 10)
#define MAX_REDIRECTS              5L

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
        int taken = call->on_body(bytes, length, call->data);
        if (taken == HTTP_BODY_LATER)
            return call->cancelled ? 0 : CURL_WRITEFUNC_PAUSE;
        if (taken < 0) {
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

/* curl's own sockets would go on to every program that the process starts. */
static curl_socket_t on_new_socket(void *data, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)data;
    (void)purpose;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static curl_socket_t on_given_socket(void *data, curlsocktype purpose,
                                     struct curl_sockaddr *address)
{
    (void)purpose;
    (void)address;
    struct http_call *call = data;
    /* Asked a second time (another address of the name), there is no other socket to give. */
    if (call->socket_descriptor < 0)
        return CURL_SOCKET_BAD;
    return TAKE_DESCRIPTOR(call->socket_descriptor);
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

int http_call_check(const struct http_client_request *request, struct error *error)
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
    /* curl would wait for "100 Continue", and call bodies forms. Of a signed call curl 7.88 signs
     * headers that are taken away as if they were sent: there they stay. */
    if (request->aws_sigv4 == NULL) {
        call->headers = curl_slist_append(call->headers, "Expect:");
        if (!has_type)
            call->headers = curl_slist_append(call->headers, "Content-Type:");
    }
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
    curl_easy_setopt(call->easy, CURLOPT_OPENSOCKETFUNCTION, on_given_socket);
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
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_new_socket);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->reason);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_response_bytes);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    if (request->on_body != NULL)
        curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, STREAM_BUFFER_SIZE);
    if (request->unix_socket != NULL)
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, request->unix_socket);
    if (request->follow_redirects) {
        curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 1L);
        curl_easy_setopt(easy, CURLOPT_MAXREDIRS, MAX_REDIRECTS);
        curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    }
}

static void set_trust(struct http_call *call, const struct http_client_request *request)
{
    if (request->ca_file != NULL)
        curl_easy_setopt(call->easy, CURLOPT_CAINFO, request->ca_file);
    if (request->user != NULL) {
        curl_easy_setopt(call->easy, CURLOPT_USERNAME, request->user);
        curl_easy_setopt(call->easy, CURLOPT_PASSWORD,
                         request->password != NULL ? request->password : "");
    }
    if (request->aws_sigv4 != NULL)
        curl_easy_setopt(call->easy, CURLOPT_AWS_SIGV4, request->aws_sigv4);
}

struct http_call *http_call_create(CURL *easy, const struct http_client_request *request)
{
    struct http_call *call = xcalloc(1, sizeof *call);
    call->easy = easy;
    call->socket_descriptor = -1;
    call->on_body = request->on_body;
    call->label = xasprintf("%s %.*s", request->method != NULL ? request->method : "GET",
                            (int)strcspn(request->url, "?"), request->url);
    set_common(call, request);
    set_headers(call, request);
    set_method_and_body(call, request);
    set_limits(call, request);
    set_trust(call, request);
    if (request->has_socket)
        set_socket(call, request);
    return call;
}

/* --- the end of a call --- */

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
    long sent = 0;
    curl_easy_getinfo(call->easy, CURLINFO_REQUEST_SIZE, &sent);
    call->response.failed = true;
    call->response.unsent = sent == 0;
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

void http_call_complete(struct http_call *call, CURLcode result)
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
}

void http_call_free(struct http_call *call)
{
    curl_slist_free_all(call->headers);
    if (call->socket_descriptor >= 0)
        close(call->socket_descriptor);
    buffer_finish(&call->body);
    free(call->label);
    free(call);
}
