#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/agent_calls.h"
#include "scheduler/node_changes.h"
#include "scheduler/routes.h"
#include "scheduler/views.h"

/* A shorter deadline is meant as none at all: then `cordon` and `rm --force` say so. */
#define DEADLINE_LEAST_MS 1000

void routes_list_nodes(struct http_request *request, void *data)
{
    http_request_respond_json(request, 200, views_nodes(data));
}

/* NULL: it is not there, and the request was answered with that. */
static const struct model_node *find_node(struct http_request *request, const struct core *core)
{
    const char *name = http_request_parameter(request, "node");
    const struct model_node *node = model_node(&core->model, name);
    if (node != NULL)
        return node;
    struct error error;
    error_set(&error, ERROR_NOT_FOUND, "there is no node %.63s: `shoal node list` shows them",
              name);
    http_request_respond_error(request, &error);
    return NULL;
}

void routes_get_node(struct http_request *request, void *data)
{
    const struct core *core = data;
    const struct model_node *node = find_node(request, core);
    if (node != NULL)
        http_request_respond_json(request, 200, views_node(core, node));
}

void routes_list_node_images(struct http_request *request, void *data)
{
    struct core *core = data;
    const struct model_node *node = find_node(request, core);
    if (node != NULL)
        agent_calls_pass(request, core, node, "/v1/images", NULL);
}

struct node_request {
    struct core *core;
    struct http_request *request; /* NULL once who asked is gone */
    char node[NAME_MAX_TEXT];
    bool removes;
    bool force;
    enum node_eligibility eligibility;
    struct api_node_request body;
};

static int decide(struct change *change, void *data, struct error *error)
{
    struct node_request *asked = data;
    if (asked->removes)
        return node_changes_remove(asked->core, change, asked->node, asked->force, error);
    return node_changes_set_eligibility(asked->core, change, asked->node, asked->eligibility,
                                        &asked->body, error);
}

static void on_decided(const struct error *error, void *data)
{
    struct node_request *asked = data;
    const struct model_node *node = model_node(&asked->core->model, asked->node);
    if (asked->request != NULL && error != NULL)
        http_request_respond_error(asked->request, error);
    else if (asked->request != NULL)
        http_request_respond_json(asked->request, 200,
                                  node != NULL ? views_node(asked->core, node)
                                               : json_object_new_object());
    free(asked);
}

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    ((struct node_request *)data)->request = NULL;
}

static int read_body(struct http_request *request, struct api_node_request *ret_body,
                     struct error *error)
{
    size_t length;
    const char *body = http_request_body(request, &length);
    struct api_node_request asked = {0};
    if (length > 0 &&
        json_parse_record(&api_node_request_record, body, length, JSON_STRICT, &asked, error) < 0)
        return -1;
    if (asked.deadline_ms > 0 && asked.deadline_ms < DEADLINE_LEAST_MS)
        return error_set_at(error, ERROR_INVALID, "/deadline",
                            "a deadline is at least 1s, or left out for none");
    *ret_body = asked;
    return 0;
}

/* Takes a copy of `template`. */
static void ask(struct http_request *request, const struct node_request *template)
{
    struct node_request *asked = xcalloc(1, sizeof *asked);
    *asked = *template;
    asked->request = request;
    /* What does not fit is no name, and is not found. */
    text_copy(asked->node, sizeof asked->node, http_request_parameter(request, "node"));
    http_request_on_abandoned(request, on_abandoned, asked);
    changes_decide(asked->core->changes, decide, on_decided, asked);
}

void routes_remove_node(struct http_request *request, void *data)
{
    const char *force = http_request_query(request, "force");
    ask(request, &(struct node_request){.core = data,
                                        .removes = true,
                                        .force = force != NULL && strcmp(force, "0") != 0});
}

static void change(struct http_request *request, struct core *core,
                   enum node_eligibility eligibility)
{
    struct api_node_request body = {0};
    struct error error = ERROR_INIT;
    if (read_body(request, &body, &error) < 0) {
        http_request_respond_error(request, &error);
        return;
    }
    ask(request, &(struct node_request){.core = core, .eligibility = eligibility, .body = body});
}

void routes_cordon_node(struct http_request *request, void *data)
{
    change(request, data, NODE_CORDONED);
}

void routes_uncordon_node(struct http_request *request, void *data)
{
    change(request, data, NODE_ELIGIBLE);
}

void routes_drain_node(struct http_request *request, void *data)
{
    change(request, data, NODE_DRAINING);
}

void routes_give_up_node(struct http_request *request, void *data)
{
    struct core *core = data;
    const char *name = http_request_parameter(request, "node");
    struct error error = ERROR_INIT;
    if (node_changes_give_up(core, name, &error) < 0)
        http_request_respond_error(request, &error);
    else
        http_request_respond_json(request, 200, views_node(core, model_node(&core->model, name)));
}
