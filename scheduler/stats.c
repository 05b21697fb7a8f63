#include "scheduler/stats.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/api/figures.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/agent_calls.h"

#define NODES_MAX   1024 /* that are asked for one answer */
#define AT_ONCE_MAX 32
/* Whoever has not answered by then is told as one that did not. */
#define DEADLINE_MS 5000
#define ANSWER_MAX  ((size_t)32 << 20) /* all answers together */

/* An agent that is being asked. */
struct question {
    LIST_ENTRY(question) link;
    struct inquiry *inquiry;
    struct http_call *call;
    char node[NAME_MAX_TEXT];
};

struct inquiry {
    uv_timer_t deadline; /* first: the close callback frees by it */
    struct core *core;
    struct http_request *request;
    char *path;                   /* what each is asked */
    char (*names)[NAME_MAX_TEXT]; /* of the nodes to ask */
    size_t count, next;           /* those from `next` on were not asked yet */
    LIST_HEAD(, question) questions;
    size_t asking;
    size_t length; /* of the answers so far */
    struct json_object *nodes, *failed;
    uint64_t left_out;
};

static void on_closed(uv_handle_t *handle)
{
    struct inquiry *inquiry = (struct inquiry *)handle;
    free(inquiry->names);
    free(inquiry->path);
    free(inquiry);
}

static void question_free(struct question *question)
{
    LIST_REMOVE(question, link);
    question->inquiry->asking--;
    free(question);
}

/* --- the end --- */

static void note_failure(struct inquiry *inquiry, const char *node, const char *message)
{
    struct json_object *failure = json_object_new_object();
    json_object_object_add(failure, "node", json_object_new_string(node));
    json_object_object_add(failure, "message", json_object_new_string(message));
    json_object_array_add(inquiry->failed, failure);
}

static void answer(struct inquiry *inquiry)
{
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "nodes", inquiry->nodes);
    json_object_object_add(document, "failed", inquiry->failed);
    json_object_object_add(document, "left_out", json_object_new_uint64(inquiry->left_out));
    http_request_respond_json(inquiry->request, 200, document);
    uv_close((uv_handle_t *)&inquiry->deadline, on_closed);
}

static void cancel_questions(struct inquiry *inquiry)
{
    while (!LIST_EMPTY(&inquiry->questions)) {
        http_client_cancel(LIST_FIRST(&inquiry->questions)->call);
        question_free(LIST_FIRST(&inquiry->questions));
    }
}

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    struct inquiry *inquiry = data;
    cancel_questions(inquiry);
    json_object_put(inquiry->nodes);
    json_object_put(inquiry->failed);
    uv_close((uv_handle_t *)&inquiry->deadline, on_closed);
}

static void on_deadline(uv_timer_t *timer)
{
    struct inquiry *inquiry = timer->data;
    const struct question *question;
    char text[64];
    snprintf(text, sizeof text, "no answer within %d s", DEADLINE_MS / 1000);
    LIST_FOREACH(question, &inquiry->questions, link)
    {
        note_failure(inquiry, question->node, text);
    }
    cancel_questions(inquiry);
    while (inquiry->next < inquiry->count)
        note_failure(inquiry, inquiry->names[inquiry->next++], "there was no time to ask it");
    answer(inquiry);
}

/* --- asking --- */

static void ask_more(struct inquiry *inquiry);

static void take_answer(struct inquiry *inquiry, const char *node,
                        const struct http_client_response *response)
{
    struct json_object *document;
    struct error error = ERROR_INIT;
    if (http_response_check(response, &error) < 0 ||
        json_parse(response->body, response->body_length, &document, &error) < 0) {
        note_failure(inquiry, node, error.message);
        return;
    }
    inquiry->length += response->body_length;
    json_object_array_add(inquiry->nodes, document);
}

static void on_answer(const struct http_client_response *response, void *data)
{
    struct question *question = data;
    struct inquiry *inquiry = question->inquiry;
    take_answer(inquiry, question->node, response);
    question_free(question);
    ask_more(inquiry);
    if (inquiry->asking == 0)
        answer(inquiry);
}

static void ask(struct inquiry *inquiry, const char *name)
{
    const struct model_node *node = model_node(&inquiry->core->model, name);
    struct error error = ERROR_INIT;
    if (node == NULL)
        return;
    if (inquiry->length > ANSWER_MAX) {
        inquiry->left_out++;
        return;
    }
    struct question *question = xcalloc(1, sizeof *question);
    struct agent_call call = {.path = inquiry->path};
    question->inquiry = inquiry;
    memcpy(question->node, name, sizeof question->node);
    question->call = agent_calls_start(inquiry->core, node, &call, on_answer, question, &error);
    if (question->call == NULL) {
        note_failure(inquiry, name, error.message);
        free(question);
        return;
    }
    LIST_INSERT_HEAD(&inquiry->questions, question, link);
    inquiry->asking++;
}

static void ask_more(struct inquiry *inquiry)
{
    while (inquiry->next < inquiry->count && inquiry->asking < AT_ONCE_MAX)
        ask(inquiry, inquiry->names[inquiry->next++]);
}

/* Takes names and path. */
static void begin(struct http_request *request, struct core *core, char *path,
                  char (*names)[NAME_MAX_TEXT], size_t count, size_t left_out)
{
    struct inquiry *inquiry = xcalloc(1, sizeof *inquiry);
    inquiry->core = core;
    inquiry->request = request;
    inquiry->path = path;
    inquiry->names = names;
    inquiry->count = count;
    inquiry->left_out = left_out;
    inquiry->nodes = json_object_new_array();
    inquiry->failed = json_object_new_array();
    LIST_INIT(&inquiry->questions);
    uv_timer_init(core->loop, &inquiry->deadline);
    inquiry->deadline.data = inquiry;
    ask_more(inquiry);
    if (inquiry->asking == 0) {
        answer(inquiry);
        return;
    }
    http_request_on_abandoned(request, on_abandoned, inquiry);
    uv_timer_start(&inquiry->deadline, on_deadline, DEADLINE_MS, 0);
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
    const struct model_service *service = model_service(&core->model, namespace_name, name);
    if (service == NULL || service->document == NULL) {
        struct error error;
        error_set(&error, ERROR_NOT_FOUND, "there is no service %.64s", name);
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
