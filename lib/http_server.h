/* HTTP/1.1 server: routes, bounded bodies, answers now or later, streams both ways.
 * The one door to libmicrohttpd.
 *
 * Two ways to run. HTTP_SERVER_LOOP: everything happens on the libuv loop's thread; a handler must
 * not block and may answer later. HTTP_SERVER_THREADS: one thread a connection, up to
 * max_connections; a handler may block, must be thread-safe and must answer before it returns.
 * A client that sends a request or reads an answer too slowly is cut off (slow_window_ms).
 * A call that a web page sends (one with Origin) is refused by 403 unless it is GET or HEAD.
 * With TLS (1.2 or 1.3) libmicrohttpd only *asks* for client certificates: the server itself
 * refuses requests, before any owner's code, whose certificate is missing or leads to no authority
 * it was given. A process that has a server ignores SIGPIPE. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "lib/error.h"

struct http_server;
struct http_request;

typedef void http_handler(struct http_request *request, void *data);

struct http_route {
    const char *method; /* "GET" also serves HEAD, without the body */
    /* Segments; "{name}" matches one, "{name...}" one or more (also in the middle:
     * "/v2/{repository...}/blobs/{digest}"). The first route that matches wins. */
    const char *pattern;
    http_handler *handler;
    size_t body_limit; /* bytes; 0: a request with a body is refused by 413 */
    /* When set, body bytes go here as they arrive, `handler` runs after the last, and body_limit
     * is the limit of the stream (0: none). The first call comes with length 0, before any byte.
     * Returning -1 after http_request_respond... stops reading: the answer is sent at once. */
    int (*on_body)(struct http_request *request, const void *bytes, size_t length, void *data);
    /* Loop mode: a request that was not answered within this is answered 504; 0: 60 s. */
    unsigned deadline_ms;
    int tag; /* the owner's own number, see http_request_tag */
};

/* A request that ended, for access logs and metrics; lives during the callback only. */
struct http_summary {
    const char *method;
    const char *path;               /* decoded, without query; "" when it could not be read */
    const struct http_route *route; /* NULL when none matched */
    int status;         /* 0: the client left before there was an answer; 408: it was too slow */
    uint64_t bytes_in;  /* of the body, as far as it was read */
    uint64_t bytes_out; /* of the body, when it was sent to its end; a broken answer counts as 0 */
    uint64_t microseconds; /* from the request's line to the end of the answer */
    const char *peer;
    const char *user; /* http_request_set_user; NULL: nobody */
};

enum http_client_certificates {
    HTTP_CLIENT_CERTIFICATES_OFF,
    HTTP_CLIENT_CERTIFICATES_OPTIONAL, /* one that is shown must be good */
    HTTP_CLIENT_CERTIFICATES_REQUIRED,
};

/* Paths of PEM files. */
struct http_server_tls {
    const char *certificate; /* the server's own, then those between it and its authority */
    const char *key;
    const char *client_ca; /* authorities of client certificates; NULL: none */
    enum http_client_certificates client_certificates;
};

enum http_server_mode { HTTP_SERVER_LOOP, HTTP_SERVER_THREADS };

struct http_server_options {
    enum http_server_mode mode;
    uv_loop_t *loop;     /* HTTP_SERVER_LOOP */
    const char *address; /* numeric; "127.0.0.1" */
    uint16_t port;       /* 0: any free one, see http_server_port */
    /* A UNIX socket's path instead of address and port. Only its owner may connect. A socket that
     * nobody listens on any more is replaced; it is removed when the server ends. */
    const char *listen_unix;
    const struct http_server_tls *tls; /* NULL: plain */
    const struct http_route *routes;
    size_t route_count;
    void *data;               /* handed to handlers */
    unsigned max_connections; /* 0: 1024 */
    /* Bytes each takes: a request's headers have to fit, and bodies are read in pieces of about
     * half; all of it is cleared after each request. 0: 32 KiB. */
    size_t connection_memory;
    /* An IPv6 address counts by its /64. Requests over it are answered 503; 0: no limit. */
    unsigned max_connections_per_address;
    unsigned idle_timeout_s; /* 0: 120 */
    /* While a request is under way a client must move `slow_bytes` (0: 1) in each window, and have
     * sent the whole head in one; the time that the owner's code takes does not count. Else the
     * connection is cut, by a 408 when nothing was answered yet and it is plain. A TLS handshake
     * counts as part of the first head. 0: nobody is too slow; nor is anybody on a UNIX socket. */
    unsigned slow_window_ms;
    uint64_t slow_bytes;
    /* Calls whose Shoal-Protocol header names neither this one nor the one before are refused by
     * 426 (absent is fine); 0: not looked at. */
    unsigned protocol;
    /* Bodies of errors this file makes itself (404, 405, 413, 504): NULL means the project's form
     * {"error": {...}}; the registry sets OCI's. Called on the request's thread. */
    void (*respond_error)(struct http_request *request, const struct error *error);
    /* Runs when the route is found and before any of the body: -1 after responding, and neither
     * on_body nor the handler run. On the request's thread. */
    int (*admit)(struct http_request *request, void *data);
    /* Runs when an answer begins: it may still get headers. On the request's thread. */
    void (*on_answer)(struct http_request *request, void *data);
    /* Runs at the end of each request that had a method, on its thread. */
    void (*on_finished)(const struct http_summary *summary, void *data);
};

int http_server_create(const struct http_server_options *options, struct http_server **ret_server,
                       struct error *error);
uint16_t http_server_port(const struct http_server *server);
/* Reads the files of `tls` anew: connections that begin from now on get what is in them, others
 * keep what they began with. On failure everything stays. Any thread. A server that began plain
 * stays plain: ERROR_INVALID. */
int http_server_reload_tls(struct http_server *server, const struct http_server_tls *tls,
                           struct error *error);
/* Ends the server: no new connections; waiting requests are answered 503; then closes. In loop
 * mode it returns at once and `on_closed` (may be NULL) runs on the loop when all is freed; in
 * thread mode it blocks until the handlers have returned and then calls on_closed. */
void http_server_destroy(struct http_server *server, void (*on_closed)(void *data), void *data);

/* Loop mode: answers requests whose handlers have not begun to answer, as a deadline would, with
 * the error that `why` gives; NULL leaves one alone. */
void http_server_abandon(struct http_server *server,
                         const struct error *(*why)(const struct http_request *request, void *data),
                         void *data);

/* --- the request; strings live as long as it --- */
const char *http_request_method(const struct http_request *request);
const char *http_request_path(const struct http_request *request); /* decoded, without query */
/* Path and query as they were sent, to be sent on; begins with a slash. */
const char *http_request_target(const struct http_request *request);
/* A "{name}" of the pattern; NULL when the pattern has none. */
const char *http_request_parameter(const struct http_request *request, const char *name);
/* Decoded; NULL when absent, "" when without a value. */
const char *http_request_query(const struct http_request *request, const char *key);
/* Every value of a key that may come several times, in order, until `each` returns false. */
void http_request_query_each(const struct http_request *request, const char *key,
                             bool (*each)(const char *value, void *data), void *data);
const char *http_request_header(const struct http_request *request, const char *name);
/* The tag of its route. */
int http_request_tag(const struct http_request *request);
/* Who sent it: a numeric address, "" on a UNIX socket. */
const char *http_request_peer(const struct http_request *request);
/* The common name of the client's certificate, verified; NULL: it showed none. */
const char *http_request_certificate_name(const struct http_request *request);
/* Who it turned out to be; copied. Before that NULL. */
void http_request_set_user(struct http_request *request, const char *user);
const char *http_request_user(const struct http_request *request);
/* The whole body of a route without on_body; ends with a NUL that `ret_length` does not count. */
const char *http_request_body(const struct http_request *request, size_t *ret_length);
/* A place for the handler's own state; `destroy` (may be NULL) runs when the request is freed. */
void http_request_set_state(struct http_request *request, void *state, void (*destroy)(void *));
void *http_request_state(const struct http_request *request);

/* --- the answer --- */
/* Before respond or stream: adds a header to the answer. */
void http_request_add_header(struct http_request *request, const char *name, const char *value);
/* Copies `body`. HEAD sends the headers only. An answered request is gone for the handler. */
void http_request_respond(struct http_request *request, int status, const char *content_type,
                          const void *body, size_t length);
/* Does not copy: `bytes` stay as they are until `release` is called with `data`, once, from any
 * thread. */
void http_request_respond_shared(struct http_request *request, int status, const char *content_type,
                                 const void *bytes, size_t length, void (*release)(void *data),
                                 void *data);
/* Takes the reference to `object`. */
void http_request_respond_json(struct http_request *request, int status,
                               struct json_object *object);
/* By options.respond_error, or {"error": ...} with the code's own status. */
void http_request_respond_error(struct http_request *request, const struct error *error);
/* Sends `length` bytes of the file from `offset` on; takes the descriptor. */
void http_request_respond_file(struct http_request *request, int status, const char *content_type,
                               int descriptor, uint64_t offset, uint64_t length);
/* Sends `length` bytes that come from elsewhere (thread mode only). `read` gives up to `size` bytes
 * from `offset` on, which grows by what it gave, and may block; 0 or -1: they cannot be had, and
 * the connection is cut so that the client notices. `release` is called once, when nothing is read
 * any more; for HEAD nothing ever is. */
struct http_body_reader {
    ssize_t (*read)(void *data, uint64_t offset, void *ret_bytes, size_t size);
    void (*release)(void *data);
    void *data;
};
void http_request_respond_reader(struct http_request *request, int status, const char *content_type,
                                 uint64_t length, const struct http_body_reader *reader);
/* A 200 whose body comes in pieces until http_request_stream_end (loop mode only). Pieces are
 * queued up to 1 MiB; stream_write returns -1 when the reader is too slow or gone, and the caller
 * then ends the stream. */
void http_request_stream_begin(struct http_request *request, const char *content_type);
int http_request_stream_write(struct http_request *request, const void *bytes, size_t length);
void http_request_stream_end(struct http_request *request);
/* Loop mode, for a handler that answers later: called on the loop when the request ends without
 * its doing (client gone, deadline, server stopping); afterwards it must not be touched. */
void http_request_on_abandoned(struct http_request *request,
                               void (*abandoned)(struct http_request *request, void *data),
                               void *data);
