/* HTTP/1.1 client on the loop. The door to libcurl (multi interface, one handle a client); calls
 * that block their thread are in http_client_blocking.h.
 *
 * Loop thread only. A call's callback runs exactly once, from the loop, never from within
 * http_client_start; after http_client_cancel it does not run at all. Redirects are not followed
 * unless asked. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "lib/error.h"

struct http_client;
struct http_call;

struct http_client_request {
    const char *method; /* NULL: GET */
    const char *url;
    const char *const *headers; /* "Name: value", NULL-terminated; may be NULL */
    /* Sent body: bytes (copied) or, when body_descriptor is >= 0 and has_body_file is set, a
     * file's bytes from body_offset on (the descriptor stays the caller's until the callback). */
    const void *body;
    size_t body_length;
    bool has_body_file;
    int body_descriptor;
    uint64_t body_offset;
    uint64_t body_file_length;
    unsigned connect_timeout_ms; /* 0: 5 s */
    unsigned timeout_ms;         /* whole call; 0: 60 s; HTTP_NO_TIMEOUT: none */
    unsigned stall_timeout_s;    /* aborts when under 1 byte/s for so long; 0: off */
    size_t response_limit;       /* kept body; 0: 4 MiB; ERROR_TOO_LARGE beyond */
    bool follow_redirects;
    /* Body bytes of a 2xx answer go here instead of being kept; -1 aborts the call.
     * HTTP_BODY_LATER: these were not taken, and come again after http_call_continue; no more is
     * read until then, so that the peer waits. */
    int (*on_body)(const void *bytes, size_t length, void *data);
    /* Connects through this TCP socket, not connected yet (curl 7.88 fails on a connected one,
     * which is refused), instead of a new one; the client takes the descriptor, also when
     * http_client_start fails. Used with has_socket. */
    bool has_socket;
    int socket_descriptor;
    /* A UNIX socket's path to connect to, whatever the URL's host is; NULL: none. */
    const char *unix_socket;
    /* PEM file of the authorities that an https:// peer must lead to; NULL: the system's. */
    const char *ca_file;
    /* Name and password (or access key and secret); never logged, never part of an error. */
    const char *user;
    const char *password;
    /* "aws:amz:REGION:SERVICE": `user` and `password` sign the call by AWS Signature Version 4
     * instead of going along. The query must be sorted and encoded ("?uploads="), the header
     * x-amz-content-sha256 says what is signed of the body, and a POST names its Content-Type. */
    const char *aws_sigv4;
};

#define HTTP_NO_TIMEOUT 0xffffffffu
#define HTTP_BODY_LATER 1

struct http_client_response {
    /* Set when no answer came at all; then status is 0. */
    bool failed;
    /* With `failed`: nothing of the request was sent, so that nothing was done. */
    bool unsent;
    struct error error;
    int status;
    const char *body; /* ends with a NUL; "" when none */
    size_t body_length;
};

typedef void http_client_callback(const struct http_client_response *response, void *data);

struct http_client *http_client_create(uv_loop_t *loop);
/* Cancels every call. The client frees itself once libuv has closed its handles. */
void http_client_destroy(struct http_client *client);
/* NULL only when the request is malformed, with `error` set. */
struct http_call *http_client_start(struct http_client *client,
                                    const struct http_client_request *request,
                                    http_client_callback *callback, void *data,
                                    struct error *error);
void http_client_cancel(struct http_call *call);
/* After HTTP_BODY_LATER; not within a callback of a call. on_body may run within it. */
void http_call_continue(struct http_call *call);
/* Inside on_body: the status of the answer whose body this is; 0 before there is one. */
int http_call_status(const struct http_call *call);
/* The loop it was created with. */
uv_loop_t *http_client_loop(const struct http_client *client);
/* A header of the answer, inside the callback; NULL when absent. Case-insensitive name. */
const char *http_response_header(const struct http_client_response *response, const char *name);
/* Turns an answer outside 2xx, or a failure, into an error (reading the project's or OCI's error
 * body); 0 for 2xx. */
int http_response_check(const struct http_client_response *response, struct error *error);
/* Whether another server may do better: no answer at all, or a gateway's or an unready server's
 * (502, 503, 504). */
bool http_response_is_absence(const struct http_client_response *response);
/* Percent-encodes one path segment or query value; the caller frees it. */
char *http_encode_segment(const char *text);
