#include "tests/sim/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "lib/xalloc.h"
#include "tests/sim/plane.h"
#include "tests/sim/watch.h"

/* As in agent/scheduler_link.c and agent/long_poll.c. */
#define JOIN_BACKOFF_FIRST_MS 100
#define JOIN_BACKOFF_MOST_MS  3000
#define POLL_BACKOFF_FIRST_MS 50
#define POLL_BACKOFF_MOST_MS  2000
#define STATUS_GAP_MS         50
#define HEARTBEAT_MS_SIM      1000
#define STATUS_RETRY_MS       500

static void ask(struct node_document *document);
static void status_within(struct node *node, uint64_t delay_ms);
static void join_later(struct node *node);

struct world *node_world(const struct node *node)
{
    return node->world;
}

const char *node_name(const struct node *node)
{
    return node->name;
}

bool node_is_cut(const struct node *node)
{
    return node->cut || !node->powered;
}

void node_set_cut(struct node *node, bool cut)
{
    node->cut = cut;
}

static void wait_for(struct node *node, struct world_event **event, uint64_t wait_ms,
                     world_callback *run, void *data)
{
    world_cancel(event);
    *event = world_after(node->world, wait_ms, run, NULL, data);
}

static uint64_t back_off(uint64_t *backoff_ms, uint64_t first, uint64_t most)
{
    uint64_t delay = *backoff_ms * 2;
    if (delay < first)
        delay = first;
    *backoff_ms = delay > most ? most : delay;
    return *backoff_ms;
}

/* --- documents --- */

static struct guest *find_guest(const struct node *node, const char *id)
{
    struct guest *guest;
    LIST_FOREACH(guest, &node->guests, link)
    {
        if (strcmp(guest->id, id) == 0)
            return guest;
    }
    return NULL;
}

static void forget_over(struct node *node)
{
    struct guest *next;
    for (struct guest *guest = LIST_FIRST(&node->guests); guest != NULL; guest = next) {
        next = LIST_NEXT(guest, link);
        if (guest->machine.is_listed || !instance_is_over(&guest->machine))
            continue;
        if (guest_has_vm(guest))
            world_fail(node->world, "%s: %s is forgotten, and runs", node->name, guest->id);
        guest_destroy(guest);
    }
}

/* As instance_table_apply. */
static void apply_assignment(struct node *node, const struct api_assignment *assignment)
{
    struct guest *guest;
    if (assignment->full) {
        LIST_FOREACH(guest, &node->guests, link)
        {
            guest->machine.is_listed = false;
        }
    }
    for (size_t i = 0; i < assignment->instance_count; i++) {
        const struct api_assigned_instance *assigned = &assignment->instances[i];
        guest_assign(node, find_guest(node, assigned->id), assigned);
    }
    for (size_t i = 0; i < assignment->removed.count; i++) {
        guest = find_guest(node, assignment->removed.items[i]);
        if (guest != NULL)
            guest->machine.is_listed = false;
    }
    if (assignment->full || assignment->removed.count > 0)
        forget_over(node);
}

static void ask_now(void *data)
{
    ask(data);
}

static void ask_later(struct node_document *document)
{
    wait_for(document->node, &document->wait,
             back_off(&document->backoff_ms, POLL_BACKOFF_FIRST_MS, POLL_BACKOFF_MOST_MS), ask_now,
             document);
}

/* True when `offered` is to be applied; sets `ret_taken` when it need not be asked for again. */
static bool judge(struct node_document *document, const char *cluster, uint64_t term,
                  uint64_t revision, bool full, bool *ret_whole, bool *ret_refused)
{
    struct freshness offered = {.term = term, .revision = revision};
    text_copy(offered.cluster, sizeof offered.cluster, cluster);
    int verdict = freshness_judge(&document->applied, &offered, "document", NULL);
    *ret_refused = verdict < 0;
    *ret_whole = verdict >= 0 && !full && term != document->applied.term;
    if (*ret_refused || *ret_whole || (verdict == 0 && !full))
        return false;
    document->applied = offered;
    return true;
}

enum verdict { TAKEN, WHOLE, REFUSED };

static enum verdict take_text(struct node_document *document, const char *text,
                              uint64_t *ret_revision)
{
    struct node *node = document->node;
    struct error error = ERROR_INIT;
    bool whole, refused;
    if (document->kind == PUBLICATION_ASSIGNMENT) {
        struct api_assignment assignment = {0};
        if (json_parse_record(&api_assignment_record, text, strlen(text), JSON_LENIENT, &assignment,
                              &error) < 0) {
            world_fail(node->world, "an assignment cannot be read: %s", error.message);
            return REFUSED;
        }
        *ret_revision = assignment.revision;
        if (judge(document, assignment.cluster, assignment.term, assignment.revision,
                  assignment.full, &whole, &refused))
            apply_assignment(node, &assignment);
        json_record_release(&api_assignment_record, &assignment);
    } else {
        struct api_endpoints endpoints = {0};
        if (json_parse_record(&api_endpoints_record, text, strlen(text), JSON_LENIENT, &endpoints,
                              &error) < 0) {
            world_fail(node->world, "endpoints cannot be read: %s", error.message);
            return REFUSED;
        }
        *ret_revision = endpoints.revision;
        if (judge(document, endpoints.cluster, endpoints.term, endpoints.revision, endpoints.full,
                  &whole, &refused))
            plane_apply(node, &endpoints);
        json_record_release(&api_endpoints_record, &endpoints);
    }
    return refused ? REFUSED : whole ? WHOLE : TAKEN;
}

static void take(struct node_document *document, const char *text)
{
    uint64_t revision = document->after;
    enum verdict verdict = take_text(document, text, &revision);
    world_trace(document->node->world, "%s: %s %llx %s", document->node->name,
                document->kind == PUBLICATION_ASSIGNMENT ? "assignment" : "endpoints",
                (unsigned long long)revision,
                verdict == TAKEN   ? "taken"
                : verdict == WHOLE ? "has to be whole"
                                   : "refused");
    switch (verdict) {
    case TAKEN: {
        bool is_newer = document->whole || revision != document->after;
        document->whole = false;
        document->after = revision;
        node_changed(document->node);
        if (!is_newer) {
            ask_later(document);
            return;
        }
        break;
    }
    case WHOLE:
        document->whole = true;
        ask_later(document);
        return;
    case REFUSED:
        ask_later(document);
        return;
    }
    document->backoff_ms = 0;
    ask(document);
}

static void join_again(struct node *node)
{
    if (!node->joined)
        return;
    world_trace(node->world, "%s: has to join again", node->name);
    node->joined = false;
    join_later(node);
}

static void on_poll_answer(const struct wire_answer *answer, void *data)
{
    struct node_document *document = data;
    document->call = NULL;
    if (answer->code == ERROR_NONE && !answer->failed && answer->text != NULL) {
        take(document, answer->text);
        return;
    }
    if (answer->code == ERROR_NONE && !answer->failed) {
        document->backoff_ms = 0;
        ask(document);
        return;
    }
    document->whole = document->whole || answer->compacted;
    ask_later(document);
    if (!answer->failed && !answer->compacted)
        join_again(document->node);
}

static void ask(struct node_document *document)
{
    document->wait = NULL;
    document->call = wire_poll(document->node, document->kind, !document->whole, document->after,
                               on_poll_answer, document);
}

static void ask_anew(struct node_document *document)
{
    wire_give_up(&document->call);
    document->whole = true;
    document->backoff_ms = 0;
    wait_for(document->node, &document->wait, 0, ask_now, document);
}

static void stop_asking(struct node_document *document)
{
    wire_give_up(&document->call);
    world_cancel(&document->wait);
}

/* --- joining --- */

/* The next status is a whole one. */
static void forget_base(struct node *node)
{
    json_record_release(&api_status_record, &node->base);
    node->base = (struct api_status){0};
}

static void on_join_answer(const struct wire_answer *answer, void *data)
{
    struct node *node = data;
    node->join_call = NULL;
    if (answer->failed || answer->join == NULL ||
        answer->join->term < node->assignment.applied.term ||
        answer->join->term < node->endpoints.applied.term) {
        join_later(node);
        return;
    }
    const struct api_join_answer *joined = answer->join;
    world_trace(node->world, "%s: joined, term %llu, subnet %s", node->name,
                (unsigned long long)joined->term, joined->subnet);
    if (node->subnet[0] != '\0' && strcmp(node->subnet, joined->subnet) != 0 &&
        LIST_FIRST(&node->guests) != NULL)
        world_fail(node->world, "%s had subnet %s and gets %s while it has guests", node->name,
                   node->subnet, joined->subnet);
    text_copy(node->cluster, sizeof node->cluster, joined->cluster);
    text_copy(node->subnet, sizeof node->subnet, joined->subnet);
    text_copy(node->assignment.applied.cluster, CLUSTER_ID_MAX, joined->cluster);
    text_copy(node->endpoints.applied.cluster, CLUSTER_ID_MAX, joined->cluster);
    node->joined = true;
    node->takes_changes = joined->takes_changes;
    forget_base(node);
    node->join_backoff_ms = 0;
    ask_anew(&node->assignment);
    ask_anew(&node->endpoints);
    node_changed(node);
}

static void join(void *data)
{
    struct node *node = data;
    node->join_wait = NULL;
    if (node->join_call != NULL)
        return;
    struct api_join join = {.memory = node->memory, .vcpus = 32, .overhead = NODE_OVERHEAD};
    text_copy(join.node, sizeof join.node, node->name);
    text_copy(join.epoch, sizeof join.epoch, node->epoch);
    text_copy(join.cluster, sizeof join.cluster, node->cluster);
    text_copy(join.subnet, sizeof join.subnet, node->subnet);
    text_copy(join.address, sizeof join.address, "127.0.0.1:7001");
    join.machines = xcalloc(1, sizeof *join.machines);
    join.machine_count = 1;
    text_copy(join.machines[0].arch, sizeof join.machines[0].arch, "amd64");
    text_copy(join.machines[0].accel, sizeof join.machines[0].accel, "tcg");
    if (node->has_volumes)
        json_strings_add(&join.features, "volumes");
    if (node->has_standbys)
        json_strings_add(&join.features, API_FEATURE_STANDBY);
    json_map_set(&join.labels, "zone", node->name[4] % 2 == 0 ? "even" : "odd");
    node->join_call = wire_join(node, &join, on_join_answer, node);
}

static void join_later(struct node *node)
{
    wait_for(node, &node->join_wait,
             back_off(&node->join_backoff_ms, JOIN_BACKOFF_FIRST_MS, JOIN_BACKOFF_MOST_MS), join,
             node);
}

/* --- status --- */

static void on_status_answer(const struct wire_answer *answer, void *data)
{
    struct node *node = data;
    node->status_call = NULL;
    if (!answer->failed && answer->code == ERROR_NONE) {
        forget_base(node);
        if (answer->whole) {
            node->changed = true;
        } else {
            node->base = node->sent;
            node->sent = (struct api_status){0};
        }
        status_within(node, node->changed ? 0 : HEARTBEAT_MS_SIM);
        return;
    }
    node->changed = true;
    status_within(node, STATUS_RETRY_MS);
    if (!answer->failed)
        join_again(node);
}

static void send_status(void *data)
{
    struct node *node = data;
    node->status_wait = NULL;
    if (!node->joined || node->status_call != NULL)
        return;
    struct api_status status = {.sequence = ++node->sequence,
                                .term = node->assignment.applied.term,
                                .assignment_revision = node->assignment.applied.revision};
    size_t count = 0;
    struct guest *guest;
    LIST_FOREACH(guest, &node->guests, link)
    {
        count++;
    }
    status.instances = xcalloc(count + 1, sizeof *status.instances);
    LIST_FOREACH(guest, &node->guests, link)
    {
        instance_observe(&guest->machine, "tcg", &status.instances[status.instance_count++]);
    }
    plane_observe(node, &status);
    text_copy(status.cluster, sizeof status.cluster, node->cluster);
    text_copy(status.node, sizeof status.node, node->name);
    text_copy(status.epoch, sizeof status.epoch, node->epoch);
    if (node->endpoints.applied.term != node->assignment.applied.term)
        status.endpoints_revision = 0;
    json_record_release(&api_status_record, &node->sent);
    node->sent = (struct api_status){0};
    if (node->takes_changes) {
        status_changes_keep(&status, &node->sent);
        status_changes_reduce(&status, &node->base);
    }
    node->changed = false;
    node->last_status_ms = node->world->now_ms;
    node->status_call = wire_status(node, &status, on_status_answer, node);
}

static void status_within(struct node *node, uint64_t delay_ms)
{
    uint64_t now = node->world->now_ms, earliest = node->last_status_ms + STATUS_GAP_MS;
    if (now + delay_ms < earliest)
        delay_ms = earliest - now;
    if (node->status_wait != NULL && node->status_at_ms <= now + delay_ms)
        return;
    node->status_at_ms = now + delay_ms;
    wait_for(node, &node->status_wait, delay_ms, send_status, node);
}

void node_changed(struct node *node)
{
    node->changed = true;
    if (node->agent_runs && node->joined && node->status_call == NULL)
        status_within(node, 0);
}

/* --- its life --- */

static void on_vm_ended(void *context, const char *id, enum hypervisor_end end)
{
    struct guest *guest = find_guest(context, id);
    if (guest != NULL)
        guest_ended(guest, end);
}

static const struct hypervisor_found *find_found(const struct hypervisor_found *found, size_t count,
                                                 const char *id)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(found[i].identity.id, id) == 0)
            return &found[i];
    }
    return NULL;
}

/* What runs is met again; whoever runs and is nobody's is an orphan. */
static void open_hypervisor(struct node *node)
{
    struct hypervisor_listener listener = {.ended = on_vm_ended, .context = node};
    struct hypervisor_found *found;
    struct guest *guest;
    size_t count;
    node->hypervisor = hypervisor_fake_open(node->machines, &listener);
    hypervisor_adopt(node->hypervisor, &found, &count, NULL);
    for (size_t i = 0; i < count; i++) {
        if (find_guest(node, found[i].identity.id) == NULL)
            world_fail(node->world, "%s: the microVM %s is nobody's", node->name,
                       found[i].identity.id);
    }
    LIST_FOREACH(guest, &node->guests, link)
    {
        guest_meet_agent(guest, find_found(found, count, guest->id));
    }
    free(found);
}

void node_start_agent(struct node *node)
{
    if (node->agent_runs || !node->powered)
        return;
    world_trace(node->world, "%s: agent starts", node->name);
    node->agent_runs = true;
    snprintf(node->epoch, sizeof node->epoch, "%016llx",
             (unsigned long long)draw_next(&node->world->draw));
    node->sequence = 0;
    node->last_status_ms = 0;
    node->join_backoff_ms = 0;
    open_hypervisor(node);
    plane_meet_agent(node);
    wait_for(node, &node->join_wait, 0, join, node);
}

void node_kill_agent(struct node *node)
{
    if (!node->agent_runs)
        return;
    world_trace(node->world, "%s: agent is killed", node->name);
    node->agent_runs = false;
    node->joined = false;
    wire_give_up(&node->join_call);
    wire_give_up(&node->status_call);
    world_cancel(&node->join_wait);
    world_cancel(&node->status_wait);
    stop_asking(&node->assignment);
    stop_asking(&node->endpoints);
    plane_lose_agent(node);
    forget_base(node);
    json_record_release(&api_status_record, &node->sent);
    node->sent = (struct api_status){0};
    struct guest *guest;
    LIST_FOREACH(guest, &node->guests, link)
    {
        guest_lose_agent(guest);
    }
    hypervisor_close(node->hypervisor);
    node->hypervisor = NULL;
}

void node_set_power(struct node *node, bool powered)
{
    if (node->powered == powered)
        return;
    world_trace(node->world, "%s: power %s", node->name, powered ? "on" : "off");
    if (!powered) {
        node_kill_agent(node);
        struct guest *guest;
        LIST_FOREACH(guest, &node->guests, link)
        {
            guest_lose_power(guest);
        }
        plane_lose_power(node);
    }
    node->powered = powered;
    if (!powered)
        return;
    plane_meet_power(node);
    node_start_agent(node);
}

struct node *node_create(struct world *world, size_t index)
{
    struct node *node = xcalloc(1, sizeof *node);
    node->world = world;
    snprintf(node->name, sizeof node->name, "node%zu", index);
    node->memory = draw_between(&world->draw, 6, 24) * (UINT64_C(64) << 20);
    node->has_volumes = draw_chance(&world->draw, 700);
    node->has_standbys = draw_chance(&world->draw, 800);
    node->machines = hypervisor_fake_create();
    hypervisor_fake_be_light(node->machines);
    LIST_INIT(&node->guests);
    LIST_INIT(&node->connections);
    node->assignment =
        (struct node_document){.node = node, .kind = PUBLICATION_ASSIGNMENT, .whole = true};
    node->endpoints =
        (struct node_document){.node = node, .kind = PUBLICATION_ENDPOINTS, .whole = true};
    return node;
}

void node_destroy(struct node *node)
{
    node_set_power(node, false);
    while (!LIST_EMPTY(&node->guests))
        guest_destroy(LIST_FIRST(&node->guests));
    hypervisor_fake_destroy(node->machines);
    json_record_release(&api_endpoints_record, &node->wanted);
    free(node);
}
