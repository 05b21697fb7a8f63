#include "scheduler/publication.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/assignment.h"

#define POLL_MS 25000

struct document {
    uint64_t revision;
    char *text;    /* as it is sent */
    char *content; /* the same with revision 0, to see changes */
};

struct poll {
    LIST_ENTRY(poll) link;
    struct publication *publication;
    struct http_request *request;
    char node[NAME_MAX_TEXT];
    enum publication_kind kind;
    uint64_t after;
    uint64_t since_ms;
};

struct publication {
    struct core *core;
    struct document endpoints;
    struct document trust;
    LIST_HEAD(, poll) polls;
};

struct publication *publication_create(struct core *core)
{
    struct publication *publication = xcalloc(1, sizeof *publication);
    publication->core = core;
    LIST_INIT(&publication->polls);
    return publication;
}

static void poll_free(struct poll *poll)
{
    LIST_REMOVE(poll, link);
    free(poll);
}

void publication_destroy(struct publication *publication)
{
    if (publication == NULL)
        return;
    while (!LIST_EMPTY(&publication->polls))
        poll_free(LIST_FIRST(&publication->polls));
    free(publication->endpoints.text);
    free(publication->endpoints.content);
    free(publication->trust.text);
    free(publication->trust.content);
    free(publication);
}

/* --- making documents --- */

/* Takes a new revision when the content is another one. `revision` is a member of `value`. */
static bool refresh(struct core *core, struct document *document, const struct json_record *record,
                    const void *value, uint64_t *revision)
{
    AUTO_FREE char *content = NULL;
    *revision = 0;
    content = json_record_text(record, value);
    if (document->content != NULL && strcmp(content, document->content) == 0)
        return false;
    if (document->revision < core->revision_base)
        document->revision = core->revision_base;
    *revision = ++document->revision;
    free(document->text);
    free(document->content);
    document->text = json_record_text(record, value);
    document->content = TAKE_POINTER(content);
    return true;
}

static void refresh_trust(struct publication *publication)
{
    struct core *core = publication->core;
    struct api_trust trust = {.term = store_identity(core->store)->term};
    text_copy(trust.cluster, sizeof trust.cluster, store_identity(core->store)->cluster);
    trust.keys = xcalloc(core->model.keys.count + 1, sizeof *trust.keys);
    for (size_t i = 0; i < core->model.keys.count; i++)
        trust.keys[trust.key_count++] = *((struct model_key *)core->model.keys.items[i])->document;
    trust.policies = model_policies(&core->model, &trust.policy_count);
    bool changed = refresh(core, &publication->trust, &api_trust_record, &trust, &trust.revision);
    free(trust.keys);
    free(trust.policies);
    for (size_t i = 0; changed && i < core->model.nodes.count; i++)
        ((struct model_node *)core->model.nodes.items[i])->assignment_dirty = true;
    core->model.trust_dirty = false;
}

static void refresh_endpoints(struct publication *publication)
{
    struct core *core = publication->core;
    struct api_endpoints endpoints = {.term = store_identity(core->store)->term, .full = true};
    text_copy(endpoints.cluster, sizeof endpoints.cluster, store_identity(core->store)->cluster);
    assignment_fill_endpoints(&core->model, &endpoints);
    refresh(core, &publication->endpoints, &api_endpoints_record, &endpoints, &endpoints.revision);
    assignment_note_draining(&core->model, publication->endpoints.revision, core_now(core));
    json_record_release(&api_endpoints_record, &endpoints);
    core->model.endpoints_dirty = false;
}

static void refresh_assignment(struct publication *publication, struct model_node *node)
{
    struct core *core = publication->core;
    struct api_assignment assignment = {.term = store_identity(core->store)->term,
                                        .trust_revision = publication->trust.revision,
                                        .full = true};
    text_copy(assignment.cluster, sizeof assignment.cluster, store_identity(core->store)->cluster);
    text_copy(assignment.registry, sizeof assignment.registry, core->options->registry);
    assignment_fill_instances(node, &assignment);
    struct document document = {node->assignment_revision, NULL, node->assignment_content};
    if (refresh(core, &document, &api_assignment_record, &assignment, &assignment.revision)) {
        free(node->assignment);
        node->assignment = document.text;
        node->assignment_content = document.content;
        node->assignment_revision = document.revision;
    }
    json_record_release(&api_assignment_record, &assignment);
    node->assignment_dirty = false;
}

/* --- polls --- */

static const char *document_of(const struct publication *publication, const struct model_node *node,
                               enum publication_kind kind, uint64_t *ret_revision)
{
    switch (kind) {
    case PUBLICATION_ASSIGNMENT:
        *ret_revision = node->assignment_revision;
        return node->assignment;
    case PUBLICATION_ENDPOINTS:
        *ret_revision = publication->endpoints.revision;
        return publication->endpoints.text;
    case PUBLICATION_TRUST:
        break;
    }
    *ret_revision = publication->trust.revision;
    return publication->trust.text;
}

static void answer(const struct publication *publication, struct http_request *request,
                   const struct model_node *node, enum publication_kind kind)
{
    uint64_t revision;
    const char *text = document_of(publication, node, kind, &revision);
    http_request_respond(request, 200, "application/json", text, strlen(text));
}

static uint64_t revision_of(const struct publication *publication, const struct model_node *node,
                            enum publication_kind kind)
{
    uint64_t revision;
    document_of(publication, node, kind, &revision);
    return revision;
}

void publication_update(struct publication *publication)
{
    struct core *core = publication->core;
    uint64_t endpoints = publication->endpoints.revision, trust = publication->trust.revision;
    if (core->model.trust_dirty)
        refresh_trust(publication);
    if (core->model.endpoints_dirty)
        refresh_endpoints(publication);
    bool changed =
        endpoints != publication->endpoints.revision || trust != publication->trust.revision;
    for (size_t i = 0; i < core->model.nodes.count; i++) {
        struct model_node *node = core->model.nodes.items[i];
        uint64_t before = node->assignment_revision;
        if (node->assignment_dirty)
            refresh_assignment(publication, node);
        changed = changed || before != node->assignment_revision;
    }
    if (!changed)
        return;
    struct poll *next;
    for (struct poll *poll = LIST_FIRST(&publication->polls); poll != NULL; poll = next) {
        next = LIST_NEXT(poll, link);
        const struct model_node *node = model_node(&core->model, poll->node);
        if (node == NULL || revision_of(publication, node, poll->kind) == poll->after)
            continue;
        answer(publication, poll->request, node, poll->kind);
        poll_free(poll);
    }
}

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    poll_free(data);
}

static void answer_compacted(struct http_request *request)
{
    struct json_object *error = json_object_new_object();
    struct json_object *body = json_object_new_object();
    json_object_object_add(error, "code", json_object_new_string("compacted"));
    json_object_object_add(error, "message",
                           json_object_new_string("this revision is not of our history: fetch the "
                                                  "whole document, without `after`"));
    json_object_object_add(body, "error", error);
    http_request_respond_json(request, 410, body);
}

void publication_poll(struct publication *publication, struct http_request *request,
                      struct model_node *node, enum publication_kind kind)
{
    struct core *core = publication->core;
    const char *text = http_request_query(request, "after");
    const char *term = http_request_query(request, "term");
    uint64_t after = 0, of_term = store_identity(core->store)->term;
    publication_update(publication);
    uint64_t current = revision_of(publication, node, kind);
    if ((text != NULL && !text_parse_u64(text, UINT64_MAX, &after)) ||
        (term != NULL && !text_parse_u64(term, UINT64_MAX, &of_term))) {
        struct error error;
        error_set(&error, ERROR_INVALID, "after and term are numbers");
        http_request_respond_error(request, &error);
        return;
    }
    if (after > current || of_term != store_identity(core->store)->term) {
        answer_compacted(request);
        return;
    }
    if (text == NULL || after < current) {
        answer(publication, request, node, kind);
        return;
    }
    struct poll *poll = xcalloc(1, sizeof *poll);
    *poll = (struct poll){.publication = publication,
                          .request = request,
                          .kind = kind,
                          .after = after,
                          .since_ms = core_now(core)};
    text_copy(poll->node, sizeof poll->node, node->name);
    LIST_INSERT_HEAD(&publication->polls, poll, link);
    http_request_on_abandoned(request, on_abandoned, poll);
}

void publication_expire(struct publication *publication)
{
    uint64_t now = core_now(publication->core);
    struct poll *next;
    for (struct poll *poll = LIST_FIRST(&publication->polls); poll != NULL; poll = next) {
        next = LIST_NEXT(poll, link);
        if (now - poll->since_ms < POLL_MS)
            continue;
        http_request_respond(poll->request, 204, NULL, NULL, 0);
        poll_free(poll);
    }
}

/* --- draining --- */

static uint32_t open_connections(const struct model_node *node, const char *id)
{
    for (size_t i = 0; i < node->draining_count; i++) {
        if (strcmp(node->draining[i].id, id) == 0)
            return node->draining[i].connections;
    }
    return 0;
}

bool publication_is_drained(const struct publication *publication,
                            const struct model_instance *instance)
{
    const struct model *model = &publication->core->model;
    uint64_t term = store_identity(publication->core->store)->term;
    if (instance->drain_since_ms == 0)
        return false;
    if (!instance->in_endpoints)
        return true;
    for (size_t i = 0; i < model->nodes.count; i++) {
        const struct model_node *node = model->nodes.items[i];
        /* What was applied of an earlier term's endpoints says nothing of ours. */
        if (!node->silent &&
            (node->term != term || node->endpoints_applied < instance->drain_revision ||
             open_connections(node, instance->name) > 0))
            return false;
    }
    return true;
}
