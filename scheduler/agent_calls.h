/* Calls to the agents' own HTTP interface: what only the node itself knows (consoles, figures,
 * volumes) is asked of it when somebody wants it.
 *
 * Knows where an agent listens and when it is not asked; not what it is asked for. Loop thread. */
#pragma once

#include "lib/http_client.h"
#include "lib/http_server.h"
#include "scheduler/core.h"

struct agent_call {
    const char *method; /* NULL: GET */
    const char *path;   /* with its query: "/v1/stats" */
    const void *body;   /* copied; NULL: none */
    size_t body_length;
    const char *content_type; /* of the body; NULL: none */
    bool stays;               /* the answer goes on for as long as it is read */
    /* As http_client_request's. */
    int (*on_body)(const void *bytes, size_t length, void *data);
};

/* Longest document of an agent that is taken, unless it streams; one that is longer is an error
 * that says so. */
#define AGENT_ANSWER_MAX ((size_t)4 << 20)

/* Whether that node can be asked now; ERROR_UNAVAILABLE when it is silent, with since when. Its
 * name is the caller's to put in front. */
int agent_calls_check(const struct core *core, const struct model_node *node, struct error *error);
/* As http_response_check; when there is no answer at all the message says what that means. The
 * node's name is the caller's to put in front. */
int agent_calls_check_answer(const struct http_client_response *response, struct error *error);
/* Asks one agent; as http_client_start, and NULL too when the node is silent. The node need not
 * outlive the call. */
struct http_call *agent_calls_start(struct core *core, const struct model_node *node,
                                    const struct agent_call *call, http_client_callback *callback,
                                    void *data, struct error *error);

/* Passes a request on: `path` (with its query) is asked of the node's agent by the same method and
 * with the same body, and its answer, errors included, is the request's. With `stream_type`, the
 * body of a good answer streams back as that type for as long as both sides stay; else it is handed
 * on in whole. A node that is silent, or does not answer, is an error that names it. */
void agent_calls_pass(struct http_request *request, struct core *core,
                      const struct model_node *node, const char *path, const char *stream_type);
/* The same for the node of an instance, whose id `{instance}` of the request's route is; one that
 * is not there, nowhere yet or over is an error. */
void agent_calls_pass_instance(struct http_request *request, struct core *core, const char *path,
                               const char *stream_type);
