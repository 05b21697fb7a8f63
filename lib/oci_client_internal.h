/* One call of the OCI client: its attempts, its waits between them, its end. For oci_client*.c. */
#pragma once

#include <sys/queue.h>

#include "lib/oci_client.h"

struct oci_token;

struct oci_client {
    struct http_client *http;
    char *url;
    unsigned attempts;
    unsigned stall_timeout_s;
    char *basic;      /* "Basic <base64>"; NULL: no name and password */
    bool wants_basic; /* the registry said that it takes these with each request */
    LIST_HEAD(oci_tokens, oci_token) tokens;
    LIST_HEAD(oci_operations, oci_operation) operations;
    LIST_HEAD(oci_hooks, oci_client_hook) hooks;
};

struct oci_operation {
    uv_timer_t timer; /* first: its close callback frees the operation by it */
    struct oci_client *client;
    LIST_ENTRY(oci_operation) link;
    struct http_call *call;
    http_client_callback *answered; /* of the request under way, as sent_url is */
    char *area;                     /* what it is about: the key of its token */
    char *sent_url;
    char *refused_url;      /* the last one answered 401; it gets one token and no more */
    unsigned introductions; /* of the whole operation */
    unsigned failures;
    /* One attempt, from the loop; may be called again. */
    void (*attempt)(struct oci_operation *operation);
    /* Frees what the kind added to the struct; may be NULL. */
    void (*release)(struct oci_operation *operation);
    char *label; /* "manifest default/hello:1.0", for messages */
    oci_callback *callback;
    oci_progress *progress;
    void *data;
};

/* A zeroed struct of `size` bytes that begins with an oci_operation. It takes `label`, and its
 * first attempt comes from the loop. */
void *oci_operation_create(struct oci_client *client, size_t size, char *label,
                           void (*attempt)(struct oci_operation *),
                           void (*release)(struct oci_operation *), oci_callback *callback,
                           void *data);
/* "<url>/v2/<path>"; the caller frees it. */
char *oci_client_url(const struct oci_client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Starts a request; one that cannot be started ends the operation. */
void oci_operation_send(struct oci_operation *operation, const struct http_client_request *request,
                        http_client_callback *callback);
/* For an answer outside 2xx or none at all: another attempt later, or the end with its error. */
void oci_operation_fail(struct oci_operation *operation,
                        const struct http_client_response *response);
/* The attempt goes on from the loop, when others have had their turn. */
void oci_operation_go_on(struct oci_operation *operation);
/* The end; the operation is gone for the caller. */
void oci_operation_fail_with(struct oci_operation *operation, const struct error *error);
void oci_operation_succeed(struct oci_operation *operation, const struct oci_result *result);
/* For a call that makes no sense: ends it. An `attempt`. */
void oci_operation_refuse(struct oci_operation *operation);
/* The target of `Link: <target>; rel="next"`, on the registry itself; NULL when there is none. The
 * caller frees it. */
char *oci_client_next_page(const struct oci_client *client,
                           const struct http_client_response *response);

/* --- who we are: oci_client_auth.c --- */

/* Whether a 401 is being answered: then the operation's attempt comes again by itself, or its end.
 */
bool oci_auth_answer(struct oci_operation *operation, const struct http_client_response *response);
/* The "Authorization: ..." header for a URL, or NULL: what is known to be wanted there. The caller
 * frees it. `ret_area`: what its token goes by, likewise. */
char *oci_auth_header(const struct oci_client *client, const char *url, char **ret_area);
void oci_auth_set_login(struct oci_client *client, const char *username, const char *password);
void oci_auth_finish(struct oci_client *client);

/* ERROR_SIGNATURE naming both digests when they differ. */
int oci_check_digest(const char *expected, const char *got, struct error *error);
