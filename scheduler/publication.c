#include "scheduler/publication.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/assignment.h"

#define POLL_MS 25000
/* From so many nodes on, assignments are told at a pace. */
#define PACED_FROM      100
#define ANSWERS_A_MS    1
#define FILLED_MS       250 /* without a new instance */
#define ANSWERS_AT_ONCE 100
/* Between two rounds of telling. Who is answered is looked for among all that wait: the more of
 * them there are, the more are to be answered together. */
#define PAUSE_LEAST_MS 5
#define NODES_A_MS     400
/* How long nodes are told, and of how much, before requests are answered. */
#define WALK_MS    5
#define WALK_BYTES (1 << 20)

struct document {
    uint64_t revision;
    char *text;    /* as it is sent */
    char *content; /* the same with revision 0, to see changes */
};

struct publication_wait {
    struct model_waiter waiter; /* of its node; first */
    TAILQ_ENTRY(publication_wait) link;
    struct publication *publication;
    struct publication_poll poll;
    uint64_t since_ms;
};

struct publication {
    struct core *core;
    struct wakeup *wakeup; /* for the nodes whose news wait */
    uint64_t walked_ms;    /* when they were looked through */
    uint64_t answers;      /* that may be given at once */
    size_t told_bytes;     /* in this round */
    struct assignment_texts *texts;
    bool is_settled;             /* the endpoints are told; else agents keep what they have */
    char awaited[NAME_MAX_TEXT]; /* the node whose report they wait for; "": none yet */
    uint64_t begun_ms;
    struct document endpoints;
    struct document trust;
    TAILQ_HEAD(, publication_wait) waits; /* in order of their time */
};

static void on_wakeup(void *data)
{
    publication_update(data);
}

struct publication *publication_create(struct core *core)
{
    struct publication *publication = xcalloc(1, sizeof *publication);
    publication->core = core;
    publication->begun_ms = core_now(core);
    publication->wakeup = wakeup_create(&core->wakeups, on_wakeup, publication);
    publication->texts = assignment_texts_create();
    TAILQ_INIT(&publication->waits);
    /* What the endpoints of an earlier start held, a data plane may still have: only the first of
     * this one's tell. */
    for (size_t i = 0; i < core->model.instances.count; i++)
        ((struct model_instance *)core->model.instances.items[i])->left_revision = UINT64_MAX;
    return publication;
}

void publication_forget(struct publication_wait *wait)
{
    TAILQ_REMOVE(&wait->publication->waits, wait, link);
    if (wait->waiter.node != NULL)
        LIST_REMOVE(&wait->waiter, link);
    free(wait);
}

void publication_stop(struct publication *publication)
{
    if (publication == NULL)
        return;
    wakeup_destroy(publication->wakeup);
    publication->wakeup = NULL;
}

void publication_destroy(struct publication *publication)
{
    if (publication == NULL)
        return;
    publication_stop(publication);
    while (!TAILQ_EMPTY(&publication->waits))
        publication_forget(TAILQ_FIRST(&publication->waits));
    assignment_texts_destroy(publication->texts);
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
    if (changed)
        model_touch_all_nodes(&core->model);
    core->model.trust_dirty = false;
}

/* Looks at the node that was waited for first: while a large fleet reports this is asked often. One
 * that joins again and again and never reports is waited for as long as one that is silent. */
static bool is_settled(struct publication *publication)
{
    const struct core *core = publication->core;
    const struct model *model = &core->model;
    if (core_now(core) - publication->begun_ms >= core->options->lease_ms)
        publication->is_settled = true;
    if (publication->is_settled)
        return true;
    const struct model_node *awaited = model_node(model, publication->awaited);
    if (awaited != NULL && assignment_hides_endpoints(awaited))
        return false;
    for (size_t i = 0; i < model->nodes.count; i++) {
        const struct model_node *node = model->nodes.items[i];
        if (!assignment_hides_endpoints(node))
            continue;
        if (publication->awaited[0] == '\0')
            log_info("the endpoints wait until the nodes have said who is ready", "node",
                     node->name);
        text_copy(publication->awaited, sizeof publication->awaited, node->name);
        return false;
    }
    publication->is_settled = true;
    return true;
}

static void refresh_endpoints(struct publication *publication)
{
    struct core *core = publication->core;
    struct api_endpoints endpoints = {.term = store_identity(core->store)->term, .full = true};
    if (!is_settled(publication))
        return;
    text_copy(endpoints.cluster, sizeof endpoints.cluster, store_identity(core->store)->cluster);
    assignment_fill_endpoints(&core->model, &endpoints);
    refresh(core, &publication->endpoints, &api_endpoints_record, &endpoints, &endpoints.revision);
    assignment_note_endpoints(&core->model, publication->endpoints.revision, core_now(core));
    json_record_release(&api_endpoints_record, &endpoints);
    core->model.endpoints_dirty = false;
}

/* What of a node is to have the next revision gets it. */
static bool number_changes(struct model_node *node, uint64_t revision)
{
    bool changed = node->forgot_removed || node->orphans_revision == 0;
    for (size_t i = 0; i < node->instances.count; i++) {
        struct model_instance *instance = node->instances.items[i];
        if (instance->assigned_revision != 0 || model_instance_has_ended(instance))
            continue;
        instance->assigned_revision = revision;
        changed = true;
    }
    for (size_t i = 0; i < REMOVED_KEPT; i++) {
        struct model_removed *removed = &node->removed[i];
        if (removed->id[0] == '\0' || removed->revision != 0)
            continue;
        removed->revision = revision;
        changed = true;
    }
    if (node->orphans_revision == 0)
        node->orphans_revision = revision;
    if (node->forgot_removed)
        node->whole_before = revision;
    node->forgot_removed = false;
    return changed;
}

static void refresh_assignment(struct publication *publication, struct model_node *node)
{
    uint64_t base = publication->core->revision_base;
    /* A node that was removed and came again has not forgotten what it applied. */
    if (base < node->model->removed_revision)
        base = node->model->removed_revision;
    uint64_t next = (node->assignment_revision > base ? node->assignment_revision : base) + 1;
    bool changed = number_changes(node, next) || node->prefetch_changed;
    node->prefetch_changed = false;
    model_leave_touched(node);
    if (changed || node->assignment_revision == 0 ||
        node->assigned_trust != publication->trust.revision)
        node->assignment_revision = next;
    node->assigned_trust = publication->trust.revision;
}

/* What changed since `after`, where that is known; else all of it. */
static char *assignment_text(const struct publication *publication, const struct model_node *node,
                             uint64_t after)
{
    const struct core *core = publication->core;
    bool is_whole = after <= core->revision_base || after < node->whole_before;
    struct buffer text = {0};
    struct api_assignment header = {.term = store_identity(core->store)->term,
                                    .revision = node->assignment_revision,
                                    .trust_revision = publication->trust.revision,
                                    .full = is_whole};
    text_copy(header.cluster, sizeof header.cluster, store_identity(core->store)->cluster);
    text_copy(header.registry, sizeof header.registry, core->options->registry);
    assignment_fill_prefetch(node, &header);
    assignment_append(&text, publication->texts, node, is_whole ? 0 : after, &header);
    free(header.prefetch);
    return buffer_take(&text);
}

/* --- polls --- */

static uint64_t revision_of(const struct publication *publication, const struct model_node *node,
                            enum publication_kind kind)
{
    switch (kind) {
    case PUBLICATION_ASSIGNMENT:
        return node->assignment_revision;
    case PUBLICATION_ENDPOINTS:
        return publication->endpoints.revision;
    case PUBLICATION_TRUST:
        break;
    }
    return publication->trust.revision;
}

static void answer(struct publication *publication, const struct publication_poll *poll,
                   struct model_node *node)
{
    if (poll->kind != PUBLICATION_ASSIGNMENT) {
        poll->answer(PUBLICATION_DOCUMENT,
                     poll->kind == PUBLICATION_ENDPOINTS ? publication->endpoints.text
                                                         : publication->trust.text,
                     poll->data);
        return;
    }
    AUTO_FREE char *text = assignment_text(publication, node, poll->has_after ? poll->after : 0);
    publication->told_bytes += strlen(text);
    model_note_told(node, core_now(publication->core));
    poll->answer(PUBLICATION_DOCUMENT, text, poll->data);
}

static bool is_told(const struct publication *publication, enum publication_kind kind)
{
    return kind != PUBLICATION_ENDPOINTS || publication->is_settled;
}

/* Who waits at the node for something that came. */
static void answer_node(struct publication *publication, struct model_node *node)
{
    struct model_waiter *next;
    for (struct model_waiter *waiter = LIST_FIRST(&node->waiters); waiter != NULL; waiter = next) {
        struct publication_wait *wait = (struct publication_wait *)waiter;
        next = LIST_NEXT(waiter, link);
        if (!is_told(publication, wait->poll.kind) ||
            revision_of(publication, node, wait->poll.kind) == wait->poll.after)
            continue;
        answer(publication, &wait->poll, node);
        publication_forget(wait);
    }
}

/* While a fleet is filled every node has news all the time. Each is told in its turn, of all that
 * came meanwhile: in all it is some thousands of answers a second, however many nodes there are. */
static bool is_paced(const struct model *model)
{
    return model->nodes.count >= PACED_FROM;
}

/* Between two answers to a node, while the fleet is being filled. */
static uint64_t pause_of(const struct model *model, uint64_t now_ms)
{
    bool is_filled = now_ms >= model->placed_ms + FILLED_MS;
    return is_filled || !is_paced(model) ? 0 : model->nodes.count / ANSWERS_A_MS;
}

/* Between two rounds, from the end of one to the beginning of the next. */
static uint64_t round_pause(const struct model *model)
{
    uint64_t pause = model->nodes.count / NODES_A_MS;
    return pause > PAUSE_LEAST_MS ? pause : PAUSE_LEAST_MS;
}

static void wake_in(struct publication *publication, uint64_t wait_ms)
{
    if (publication->wakeup != NULL)
        wakeup_set(publication->wakeup, wait_ms);
}

/* How many nodes this round may tell. While a fleet is filled they are told evenly: else all would
 * be told in a burst, and then all rest. */
static uint64_t answers_now(struct publication *publication, uint64_t now_ms, uint64_t rest_ms)
{
    uint64_t since = now_ms - publication->walked_ms;
    publication->answers += since < ANSWERS_AT_ONCE ? since * ANSWERS_A_MS : ANSWERS_AT_ONCE;
    if (publication->answers > ANSWERS_AT_ONCE || rest_ms == 0)
        publication->answers = ANSWERS_AT_ONCE;
    return publication->answers;
}

static void update_assignments(struct publication *publication)
{
    struct model *model = &publication->core->model;
    uint64_t now = core_now(publication->core);
    uint64_t pause = pause_of(model, now);
    struct model_node *node;
    uint64_t next_round = publication->walked_ms + round_pause(model);
    if (is_paced(model) && now < next_round) {
        wake_in(publication, next_round - now);
        return;
    }
    uint64_t most = answers_now(publication, now, pause);
    publication->told_bytes = 0;
    while ((node = model_next_touched(model, now, pause)) != NULL) {
        if (is_paced(model) && (most == 0 || publication->told_bytes > WALK_BYTES ||
                                core_now(publication->core) >= now + WALK_MS))
            break;
        most -= most > 0;
        refresh_assignment(publication, node);
        answer_node(publication, node);
    }
    publication->answers = most;
    /* From its end on: many commits that come back together would else make one walk of many. */
    publication->walked_ms = core_now(publication->core);
    uint64_t rest_ends = node != NULL ? 0 : model_rest_ends(model, pause);
    if (rest_ends == UINT64_MAX)
        return;
    uint64_t wait = rest_ends > now ? rest_ends - now : 0;
    wait = wait < FILLED_MS ? wait : FILLED_MS;
    wake_in(publication, wait < round_pause(model) ? round_pause(model) : wait);
}

void publication_update(struct publication *publication)
{
    struct core *core = publication->core;
    uint64_t endpoints = publication->endpoints.revision, trust = publication->trust.revision;
    if (core->model.trust_dirty)
        refresh_trust(publication);
    if (core->model.endpoints_dirty)
        refresh_endpoints(publication);
    bool is_for_all =
        endpoints != publication->endpoints.revision || trust != publication->trust.revision;
    update_assignments(publication);
    for (size_t i = 0; is_for_all && i < core->model.nodes.count; i++)
        answer_node(publication, core->model.nodes.items[i]);
}

static struct publication_wait *wait_at(struct publication *publication, struct model_node *node,
                                        const struct publication_poll *poll)
{
    struct publication_wait *wait = xcalloc(1, sizeof *wait);
    wait->publication = publication;
    wait->poll = *poll;
    wait->since_ms = core_now(publication->core);
    wait->waiter.node = node;
    LIST_INSERT_HEAD(&node->waiters, &wait->waiter, link);
    TAILQ_INSERT_TAIL(&publication->waits, wait, link);
    return wait;
}

struct publication_wait *publication_poll(struct publication *publication, struct model_node *node,
                                          const struct publication_poll *poll)
{
    struct core *core = publication->core;
    if (core->model.trust_dirty || core->model.endpoints_dirty)
        publication_update(publication);
    if (node->assignment_revision == 0 || !poll->has_after ||
        (node->is_touched && !is_paced(&core->model)))
        refresh_assignment(publication, node);
    if (poll->term != store_identity(core->store)->term) {
        poll->answer(PUBLICATION_COMPACTED, NULL, poll->data);
        return NULL;
    }
    if (!is_told(publication, poll->kind))
        return wait_at(publication, node, poll);
    uint64_t current = revision_of(publication, node, poll->kind);
    if (poll->has_after && poll->after > current) {
        poll->answer(PUBLICATION_COMPACTED, NULL, poll->data);
        return NULL;
    }
    if (!poll->has_after || poll->after < current) {
        answer(publication, poll, node);
        return NULL;
    }
    return wait_at(publication, node, poll);
}

void publication_expire(struct publication *publication)
{
    uint64_t now = core_now(publication->core);
    struct publication_wait *wait;
    while ((wait = TAILQ_FIRST(&publication->waits)) != NULL && now >= wait->since_ms + POLL_MS) {
        struct publication_poll poll = wait->poll;
        publication_forget(wait);
        poll.answer(PUBLICATION_UNCHANGED, NULL, poll.data);
    }
}

/* --- draining --- */

bool publication_is_excluded(const struct publication *publication,
                             const struct model_instance *instance)
{
    if (instance->in_endpoints || instance->left_revision == 0)
        return !instance->in_endpoints;
    return confirmation_revision(&publication->core->model) >= instance->left_revision;
}

/* A node that has only just applied the endpoints has not counted yet: silence is not zero. */
bool publication_is_drained(const struct publication *publication,
                            const struct model_instance *instance)
{
    struct model *model = &publication->core->model;
    if (instance->drain_since_ms == 0)
        return false;
    if (!instance->in_endpoints)
        return publication_is_excluded(publication, instance);
    return confirmation_revision(model) >= instance->drain_revision &&
           confirmation_is_clear(model, instance);
}
