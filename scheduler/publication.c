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

struct publication_wait {
    LIST_ENTRY(publication_wait) link;
    struct publication_poll poll;
    char node[NAME_MAX_TEXT];
    uint64_t since_ms;
};

struct publication {
    struct core *core;
    struct document endpoints;
    struct document trust;
    LIST_HEAD(, publication_wait) waits;
};

struct publication *publication_create(struct core *core)
{
    struct publication *publication = xcalloc(1, sizeof *publication);
    publication->core = core;
    LIST_INIT(&publication->waits);
    return publication;
}

void publication_forget(struct publication_wait *wait)
{
    LIST_REMOVE(wait, link);
    free(wait);
}

void publication_destroy(struct publication *publication)
{
    if (publication == NULL)
        return;
    while (!LIST_EMPTY(&publication->waits))
        publication_forget(LIST_FIRST(&publication->waits));
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

static void answer(const struct publication *publication, const struct publication_poll *poll,
                   const struct model_node *node)
{
    uint64_t revision;
    poll->answer(PUBLICATION_DOCUMENT, document_of(publication, node, poll->kind, &revision),
                 poll->data);
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
    struct publication_wait *next;
    for (struct publication_wait *wait = LIST_FIRST(&publication->waits); wait != NULL;
         wait = next) {
        next = LIST_NEXT(wait, link);
        const struct model_node *node = model_node(&core->model, wait->node);
        if (node == NULL || revision_of(publication, node, wait->poll.kind) == wait->poll.after)
            continue;
        answer(publication, &wait->poll, node);
        publication_forget(wait);
    }
}

struct publication_wait *publication_poll(struct publication *publication,
                                          const struct model_node *node,
                                          const struct publication_poll *poll)
{
    struct core *core = publication->core;
    publication_update(publication);
    uint64_t current = revision_of(publication, node, poll->kind);
    if (poll->after > current || poll->term != store_identity(core->store)->term) {
        poll->answer(PUBLICATION_COMPACTED, NULL, poll->data);
        return NULL;
    }
    if (!poll->has_after || poll->after < current) {
        answer(publication, poll, node);
        return NULL;
    }
    struct publication_wait *wait = xcalloc(1, sizeof *wait);
    wait->poll = *poll;
    wait->since_ms = core_now(core);
    text_copy(wait->node, sizeof wait->node, node->name);
    LIST_INSERT_HEAD(&publication->waits, wait, link);
    return wait;
}

void publication_expire(struct publication *publication)
{
    uint64_t now = core_now(publication->core);
    struct publication_wait *next;
    for (struct publication_wait *wait = LIST_FIRST(&publication->waits); wait != NULL;
         wait = next) {
        next = LIST_NEXT(wait, link);
        if (now - wait->since_ms < POLL_MS)
            continue;
        wait->poll.answer(PUBLICATION_UNCHANGED, NULL, wait->poll.data);
        publication_forget(wait);
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
