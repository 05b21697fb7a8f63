/* The way of a request: this scheduler answers it, or sends it on to the one that leads, or says
 * that nobody does. The one place where that is decided.
 *
 * What is sent on has its body in whole and a deadline; the answer comes back as it is, errors
 * included; only consoles are passed on piece by piece. A call that was sent on once is not sent on
 * again. Loop thread only. */
#pragma once

#include "lib/http_server.h"
#include "scheduler/core.h"

/* The routes for the server, whose data is the struct core: scheduler_routes behind that decision.
 * The caller frees the list. */
struct http_route *forward_routes(size_t *ret_count);
/* For the server's on_answer: a leader says to whoever sent a change on which revision of the store
 * shows it. */
void forward_mark_answer(struct http_request *request, void *core);
/* Answers of changes are handed on once what they did can be read here too, or that takes too long:
 * called when the model has moved on, and about once a second. */
void forward_release(struct core *core);
/* Whoever was asked leads no more: what was sent on is not waited for any longer. */
void forward_cancel_all(struct core *core);
/* What to answer to a request for the leader when this scheduler ceases to be it; NULL: nothing. */
const struct error *forward_end_of_leading(const struct http_request *request, void *core);
/* The same when this scheduler ends: what is decided by now is still written. */
const struct error *forward_end_of_all(const struct http_request *request, void *core);
