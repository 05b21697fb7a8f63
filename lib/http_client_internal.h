/* What http_client.c (calls on the loop), http_client_blocking.c (calls that block) and
 * http_client_request.c (one call as curl sees it) share. A call belongs to one thread. */
#pragma once

#include <curl/curl.h>
#include <sys/queue.h>

#include "lib/buffer.h"
#include "lib/http_client.h"

struct http_call {
    struct http_client_response response; /* first: http_response_header finds the call by it */
    struct http_client *client;           /* NULL: it blocks */
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

/* Whether a request makes sense at all. */
int http_call_check(const struct http_client_request *request, struct error *error);
/* A call with its curl handle set up. Takes the handle, which is new or reset, and the request's
 * socket. */
struct http_call *http_call_create(CURL *easy, const struct http_client_request *request);
/* Fills the response from what curl says at the end. */
void http_call_complete(struct http_call *call, CURLcode result);
/* Frees all but the curl handle, which the caller has taken out. */
void http_call_free(struct http_call *call);
