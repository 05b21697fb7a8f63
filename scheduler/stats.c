#include "scheduler/stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/api/figures.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/agent_survey.h"

#define NODES_MAX 1024 /* that are asked for one answer */
/* Whoever has not answered by then is told as one that did not. */
#define DEADLINE_MS 5000
#define ANSWER_MAX  ((size_t)32 << 20) /* all answers together */

struct inquiry {
    struct http_request *request;
    struct agent_survey *survey;
    struct json_object *nodes, *failed;
    uint64_t left_out;
};

static void note_failure(struct inquiry *inquiry, const char *node, const char *message)
{
    struct json_object *failure = json_object_new_object();
    json_object_object_add(failure, "node", json_object_new_string(node));
    json_object_object_add(failure, "message", json_object_new_string(message));
    json_object_array_add(inquiry->failed, failure);
}

static void on_answer(const char *node, const char *body, size_t length, const struct error *error,
                      void *data)
{
    struct inquiry *inquiry = data;
    struct json_object *document;
    struct error reason = ERROR_INIT;
    if (error != NULL)
        note_failure(inquiry, node, error->message);
    else if (json_parse(body, length, &document, &reason) < 0)
        note_failure(inquiry, node, reason.message);
    else
        json_object_array_add(inquiry->nodes, document);
}

static void on_done(void *data)
{
    AUTO_FREE struct inquiry *inquiry = data;
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "nodes", inquiry->nodes);
    json_object_object_add(document, "failed", inquiry->failed);
    json_object_object_add(document, "left_out", json_object_new_uint64(inquiry->left_out));
    http_request_respond_json(inquiry->request, 200, document);
}

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    AUTO_FREE struct inquiry *inquiry = data;
    agent_survey_cancel(inquiry->survey);
    json_object_put(inquiry->nodes);
    json_object_put(inquiry->failed);
}

/* Takes names and path. */
static void begin(struct http_request *request, struct core *core, char *path,
                  char (*names)[NAME_MAX_TEXT], size_t count, size_t left_out)
{
    struct inquiry *inquiry = xcalloc(1, sizeof *inquiry);
    const struct agent_survey_options options = {
        .core = core,
        .path = path,
        .names = names,
        .count = count,
        .deadline_ms = DEADLINE_MS,
        .limit = ANSWER_MAX,
        .on_answer = on_answer,
        .on_done = on_done,
        .data = inquiry,
    };
    inquiry->request = request;
    inquiry->left_out = left_out;
    inquiry->nodes = json_object_new_array();
    inquiry->failed = json_object_new_array();
    inquiry->survey = agent_survey_create(&options);
    http_request_on_abandoned(request, on_abandoned, inquiry);
    agent_survey_begin(inquiry->survey);
}

/* --- what is asked for --- */

/* What the agents are asked, or NULL: the request was refused. The caller frees it. */
static char *path_of(struct http_request *request, const char *namespace_name, const char *service)
{
    enum api_stats_of of;
    struct error error = ERROR_INIT;
    if (api_stats_read_of(http_request_query(request, "of"), &of, &error) < 0) {
        http_request_respond_error(request, &error);
        return NULL;
    }
    const char *kind = api_stats_of_names[of];
    if (namespace_name == NULL)
        return xasprintf("/v1/stats?of=%s", kind);
    AUTO_FREE char *space = http_encode_segment(namespace_name);
    if (service == NULL)
        return xasprintf("/v1/stats?of=%s&namespace=%s", kind, space);
    AUTO_FREE char *name = http_encode_segment(service);
    return xasprintf("/v1/stats?of=%s&namespace=%s&service=%s", kind, space, name);
}

static void add_name(char (*names)[NAME_MAX_TEXT], size_t *count, const struct model_node *node)
{
    text_copy(names[(*count)++], sizeof *names, node->name);
}

void stats_handle_all(struct http_request *request, void *data)
{
    struct core *core = data;
    const struct sorted *nodes = &core->model.nodes;
    char *path = path_of(request, http_request_query(request, "namespace"), NULL);
    if (path == NULL)
        return;
    size_t most = nodes->count < NODES_MAX ? nodes->count : NODES_MAX, count = 0;
    char(*names)[NAME_MAX_TEXT] = xcalloc(most + 1, sizeof *names);
    for (size_t i = 0; i < most; i++)
        add_name(names, &count, nodes->items[i]);
    begin(request, core, path, names, count, nodes->count - most);
}

static int compare_nodes(const void *left, const void *right)
{
    const struct model_node *const *one = left, *const *other = right;
    return *one < *other ? -1 : *one > *other;
}

/* The nodes that have instances of it, each once; the caller frees. */
static const struct model_node **nodes_of(const struct model_service *service, size_t *ret_count)
{
    const struct sorted *instances = &service->instances;
    const struct model_node **nodes = xcalloc(instances->count + 1, sizeof *nodes);
    size_t count = 0, kept = 0;
    for (size_t i = 0; i < instances->count; i++) {
        const struct model_instance *instance = instances->items[i];
        if (instance->node != NULL && !model_instance_has_ended(instance))
            nodes[count++] = instance->node;
    }
    qsort(nodes, count, sizeof *nodes, compare_nodes);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || nodes[i] != nodes[i - 1])
            nodes[kept++] = nodes[i];
    }
    *ret_count = kept;
    return nodes;
}

void stats_handle_service(struct http_request *request, void *data)
{
    struct core *core = data;
    const char *namespace_name = http_request_parameter(request, "namespace");
    const char *name = http_request_parameter(request, "service");
    struct error error;
    const struct model_service *service =
        model_find_service(&core->model, namespace_name, name, &error);
    if (service == NULL) {
        http_request_respond_error(request, &error);
        return;
    }
    char *path = path_of(request, namespace_name, name);
    if (path == NULL)
        return;
    size_t found, count = 0;
    AUTO_FREE const struct model_node **nodes = nodes_of(service, &found);
    size_t most = found < NODES_MAX ? found : NODES_MAX;
    char(*names)[NAME_MAX_TEXT] = xcalloc(most + 1, sizeof *names);
    for (size_t i = 0; i < most; i++)
        add_name(names, &count, nodes[i]);
    begin(request, core, path, names, count, found - most);
}

void stats_handle_node(struct http_request *request, void *data)
{
    struct core *core = data;
    const char *name = http_request_parameter(request, "node");
    const struct model_node *node = model_node(&core->model, name);
    if (node == NULL) {
        struct error error;
        error_set(&error, ERROR_NOT_FOUND, "there is no node %.63s: `shoal node list` shows them",
                  name);
        http_request_respond_error(request, &error);
        return;
    }
    AUTO_FREE char *path = path_of(request, NULL, NULL);
    if (path != NULL)
        agent_calls_pass(request, core, node, path, NULL);
}

void stats_handle_instance(struct http_request *request, void *data)
{
    AUTO_FREE char *id = http_encode_segment(http_request_parameter(request, "instance"));
    AUTO_FREE char *path = xasprintf("/v1/instances/%s/stats", id);
    agent_calls_pass_instance(request, data, path, NULL);
}
