/* Calls to scheduler and registry that look blocking: each runs the loop until it is answered.
 *
 * Owns the loop, its HTTP client and the interrupt (Ctrl-C). One thread. Errors say which daemon
 * cannot be reached and how to start it. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/context.h"
#include "lib/error.h"
#include "lib/oci_client.h"

struct session;

/* Which of the schedulers is asked first is kept in the settings. */
struct session *session_create(struct settings *settings);
/* NULL is fine. */
void session_destroy(struct session *session);

/* A call to the scheduler: `path` from "/v1" on, `body` may be NULL (its reference stays the
 * caller's). Of several schedulers the next one is asked when one cannot be reached, does not
 * answer, or knows of no leader, which is also waited for a while. What may have been done is not
 * asked for again unless that changes nothing (GET, PUT). `ret_answer` (the caller's reference; may
 * be NULL) is NULL after an empty answer. */
int session_call(struct session *session, const char *method, const char *path,
                 struct json_object *body, struct json_object **ret_answer, struct error *error);
int session_get(struct session *session, const char *path, struct json_object **ret_answer,
                struct error *error);
/* A call to any URL whose answer's text is not wanted; for /healthz. Waits at most `timeout_ms`. */
int session_probe(struct session *session, const char *url, unsigned timeout_ms,
                  struct error *error);
/* A body of text from any URL (free it); `timeout_ms` 0: as usual. */
int session_fetch(struct session *session, const char *method, const char *url, unsigned timeout_ms,
                  char **ret_text, struct error *error);

/* A stream of bytes from the scheduler, until it ends, the receiver returns -1, or an interrupt.
 * Ends with 0 in all three cases. `body` goes along with what is asked; NULL: nothing does. */
typedef int session_receiver(const char *bytes, size_t length, void *data);
int session_stream(struct session *session, const char *path, const char *body,
                   session_receiver *receiver, void *data, struct error *error);

/* From now on Ctrl-C does not end the process: calls under way fail, sleeping ends, and
 * session_is_interrupted says so. */
void session_catch_interrupt(struct session *session);
bool session_is_interrupted(const struct session *session);
/* False when interrupted meanwhile. */
bool session_sleep(struct session *session, unsigned ms);

/* A client of the registry at `url`, kept for the session, logged in as the person's other clients
 * are. Fails when the file of their logins makes no sense. */
int session_registry(struct session *session, const char *url, struct oci_client **ret_client,
                     struct error *error);
/* For what goes on beside a call: the loop and its client. */
struct http_client *session_http(struct session *session);
/* Runs the loop until the flag is set or an interrupt came. */
void session_run_until(struct session *session, const bool *done);
