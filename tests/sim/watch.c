#include "tests/sim/watch_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/xalloc.h"
#include "tests/sim/node.h"
#include "tests/sim/process.h"
#include "tests/sim/store.h"
#include "tests/sim/users.h"

/* The instances that a transaction on its way to the disk writes. */
struct pending {
    STAILQ_ENTRY(pending) link;
    const struct core *core; /* whose */
    struct document_instance **instances;
    size_t count;
};

struct watch {
    STAILQ_HEAD(, pending) pending;
    uint64_t *issued; /* ids that were ever written, as numbers */
    size_t issued_count, issued_room;
    bool restored;
    uint64_t lost_term;      /* ids of this term and before ... */
    uint64_t lost_instances; /* ... with a higher counter are of a lost history */
};

struct watch *watch_create(void)
{
    struct watch *watch = xcalloc(1, sizeof *watch);
    STAILQ_INIT(&watch->pending);
    return watch;
}

static void drop(struct watch *watch, struct pending *pending)
{
    STAILQ_REMOVE(&watch->pending, pending, pending, link);
    for (size_t i = 0; i < pending->count; i++)
        document_free(DOCUMENT_INSTANCE, pending->instances[i]);
    free(pending->instances);
    free(pending);
}

void watch_destroy(struct watch *watch)
{
    while (!STAILQ_EMPTY(&watch->pending))
        drop(watch, STAILQ_FIRST(&watch->pending));
    free(watch->issued);
    free(watch);
}

/* --- ids --- */

static uint64_t number_of(const char *id)
{
    return strtoull(id, NULL, 16);
}

static bool was_issued(const struct watch *watch, const char *id)
{
    for (size_t i = watch->issued_count; i-- > 0;) {
        if (watch->issued[i] == number_of(id))
            return true;
    }
    return false;
}

static void issue(struct watch *watch, const char *id)
{
    if (was_issued(watch, id))
        return;
    if (watch->issued_count == watch->issued_room) {
        watch->issued_room = watch->issued_room > 0 ? watch->issued_room * 2 : 64;
        watch->issued = xreallocarray(watch->issued, watch->issued_room, sizeof *watch->issued);
    }
    watch->issued[watch->issued_count++] = number_of(id);
}

/* --- the model as a decision leaves it, action by action --- */

static const struct document_instance *find_pending(const struct watch *watch,
                                                    const struct core *core, const char *id)
{
    const struct document_instance *found = NULL;
    const struct pending *pending;
    STAILQ_FOREACH(pending, &watch->pending, link)
    {
        for (size_t i = 0; i < pending->count && pending->core == core; i++) {
            if (strcmp(pending->instances[i]->id, id) == 0)
                found = pending->instances[i];
        }
    }
    return found;
}

/* As the decision has it so far. */
static const struct document_instance *current(const struct watch *watch, const struct core *core,
                                               const struct model_instance *instance)
{
    const struct document_instance *pending = find_pending(watch, core, instance->name);
    return pending != NULL ? pending : instance->document;
}

void watch_each_instance(const struct watch *watch, const struct core *core,
                         sight_callback *callback, void *data)
{
    const struct sorted *all = &core->model.instances;
    for (size_t i = 0; i < all->count; i++) {
        const struct model_instance *instance = all->items[i];
        struct sight sight = {current(watch, core, instance), instance,
                              instance->node == NULL || instance->node->silent};
        if (sight.document->ended_ms == 0)
            callback(&sight, data);
    }
    const struct pending *pending;
    STAILQ_FOREACH(pending, &watch->pending, link)
    {
        for (size_t i = 0; i < pending->count && pending->core == core; i++) {
            struct sight sight = {pending->instances[i], NULL, false};
            if (model_instance(&core->model, sight.document->id) == NULL &&
                find_pending(watch, core, sight.document->id) == sight.document &&
                sight.document->ended_ms == 0)
                callback(&sight, data);
        }
    }
}

struct tally {
    const struct document_instance *of;
    int64_t ready;
    int64_t not_stopped;
};

static bool is_ready(const struct sight *sight)
{
    return sight->document->wish == WISH_RUN && sight->instance != NULL && !sight->silent &&
           sight->instance->observed.state == INSTANCE_READY;
}

static void add_to_tally(const struct sight *sight, void *data)
{
    struct tally *tally = data;
    if (sight->document->service_uid != tally->of->service_uid || sight->document->standby)
        return;
    bool over = sight->instance != NULL && instance_state_is_over(sight->instance->observed.state);
    tally->ready += is_ready(sight);
    tally->not_stopped += !over && !sight->silent;
}

static struct tally tally_of(const struct watch *watch, const struct core *core,
                             const struct document_instance *of)
{
    struct tally tally = {.of = of};
    watch_each_instance(watch, core, add_to_tally, &tally);
    return tally;
}

/* --- promise 1: the bounds of a rollout --- */

static bool leaves(const struct model_instance *instance)
{
    return instance->node != NULL && instance->node->document->eligibility == NODE_DRAINING;
}

/* Its node's time to drain has passed: what is left is stopped. */
static bool is_past_leave(const struct core *core, const struct model_instance *instance)
{
    const struct model_node *node = instance->node;
    return leaves(instance) && node->document->drain_deadline_ms > 0 &&
           core_now(core) >= node->drain_since_ms + node->document->drain_deadline_ms;
}

static bool is_revoked(const struct model_service *service, uint32_t revision)
{
    const struct document_revision *found = model_revision(service, revision);
    return found != NULL && found->revoked[0] != '\0';
}

static void check_start(struct world *world, const struct model_service *service,
                        const struct document_instance *started, const struct tally *before)
{
    const struct document_service *document = service->document;
    const struct document_rollout *rollout = model_rollout(service);
    bool judges = rollout != NULL && !rollout_phase_is_over(rollout->phase) && !rollout->promoted;
    uint32_t surge = model_is_stop_first(service) ? 0 : document->spec.rollout.max_surge;
    if (judges && !model_is_stop_first(service))
        surge += document->spec.rollout.canary;
    int64_t most = (int64_t)document->replicas + surge;
    if (before->not_stopped >= most)
        world_fail(
            world,
            "promise 1: %s of %s starts while %lld have not stopped: %u replicas and %u more "
            "are allowed",
            started->id, service->name, (long long)before->not_stopped, document->replicas,
            document->spec.rollout.max_surge);
}

static void check_end(struct world *world, const struct model_service *service,
                      const struct document_instance *ended, const struct tally *before,
                      const struct tally *after)
{
    const struct document_service *document = service->document;
    int64_t unavailable = model_is_stop_first(service) ? 1 : document->spec.rollout.max_unavailable;
    int64_t least = (int64_t)document->replicas - unavailable;
    if (after->ready < before->ready && after->ready < least && !document->deleting &&
        !is_revoked(service, ended->revision))
        world_fail(
            world,
            "promise 1: ending %s of %s leaves %lld ready: %u replicas with %lld unavailable "
            "are promised",
            ended->id, service->name, (long long)after->ready, document->replicas,
            (long long)unavailable);
}

/* --- what should run is not ended --- */

struct rival {
    const struct document_instance *ended;
    bool found;
};

static void look_for_rival(const struct sight *sight, void *data)
{
    struct rival *rival = data;
    rival->found =
        rival->found ||
        (sight->document->service_uid == rival->ended->service_uid &&
         sight->document->slot == rival->ended->slot && !sight->document->standby &&
         sight->document->wish == WISH_RUN && strcmp(sight->document->id, rival->ended->id) != 0);
}

bool watch_same_template(const struct model_service *service, uint32_t revision, uint32_t other)
{
    const struct document_revision *left = model_revision(service, revision);
    const struct document_revision *right = model_revision(service, other);
    return left != NULL && right != NULL &&
           strcmp(left->template_digest, right->template_digest) == 0;
}

/* A ready instance of the wanted revision in a wanted slot that is its slot's only one. */
static void check_reason(struct world *world, const struct core *core,
                         const struct model_service *service, const struct model_instance *instance,
                         const struct document_instance *ended)
{
    const struct document_rollout *rollout = model_rollout(service);
    bool restarts = rollout != NULL && strcmp(rollout->kind, "restart") == 0 &&
                    rollout->phase == ROLLOUT_PROGRESSING && ended->rollout != rollout->number;
    struct rival rival = {.ended = ended};
    watch_each_instance(world->watch, core, look_for_rival, &rival);
    if (instance->observed.state == INSTANCE_READY && instance->node != NULL &&
        !instance->node->silent && !service->document->deleting &&
        ended->slot < service->document->replicas && !restarts &&
        watch_same_template(service, ended->revision, model_target(service)) &&
        !is_revoked(service, ended->revision) && !rival.found)
        world_fail(world, "%s of %s is ended (%s), which is what should run", ended->id,
                   service->name, ended->why != NULL ? ended->why : "");
}

/* --- promise 3: drained before it stops --- */

static bool is_past_drain(const struct core *core, const struct model_service *service,
                          const struct model_instance *instance)
{
    const struct document_revision *revision =
        model_revision(service, instance->document->revision);
    return instance->document->wish == WISH_DRAIN && instance->drain_since_ms != 0 &&
           (revision == NULL ||
            core_now(core) >= instance->drain_since_ms + revision->template.stop.drain_ms);
}

static void check_drained(struct world *world, const struct core *core,
                          const struct model_service *service,
                          const struct model_instance *instance)
{
    const struct model_node *own = instance->node;
    if (instance_state_is_over(instance->observed.state) || own == NULL || own->lost ||
        is_past_drain(core, service, instance) || is_revoked(service, instance->document->revision))
        return;
    for (size_t i = 0; i < world->node_count; i++) {
        const struct node *node = world->nodes[i];
        const struct model_node *known = model_node(&core->model, node->name);
        if (known == NULL || known->silent || !node->powered)
            continue;
        if (node_sends_to(node, instance->name))
            world_fail(world, "promise 3: %s of %s is stopped while %s still sends to it",
                       instance->name, service->name, node->name);
        else if (node_drains(node, instance->name) &&
                 node_open_connections(node, instance->name) > 0)
            world_fail(world,
                       "promise 3: %s of %s is stopped while %s has %zu connections open to it and "
                       "time to drain",
                       instance->name, service->name, node->name,
                       node_open_connections(node, instance->name));
    }
}

/* --- room for something more important, the one exception to promise 1 --- */

static void check_preempted(struct world *world, const struct core *core,
                            const struct model_service *victim,
                            const struct document_instance *ended)
{
    for (size_t i = 0; i < core->model.services.count; i++) {
        const struct model_service *service = core->model.services.items[i];
        if (service->document != NULL &&
            service->document->spec.priority > victim->document->spec.priority)
            return;
    }
    world_fail(world, "%s of %s makes room, and nothing is more important", ended->id,
               victim->name);
}

/* --- a transaction --- */

static void check_issued(struct world *world, const struct document_instance *made)
{
    if (was_issued(world->watch, made->id))
        world_fail(world, "id %s is handed out again", made->id);
}

static void check_new(struct world *world, const struct core *core,
                      const struct model_service *service, const struct document_instance *made,
                      const struct tally *before)
{
    check_issued(world, made);
    if (!made->standby)
        check_start(world, service, made, before);
    watch_place(world, core, service, made);
}

/* A standby that becomes a replica counts as one that starts. */
static void check_resumed(struct world *world, const struct model_service *service,
                          const struct model_instance *instance, const struct document_instance *to,
                          const struct tally *before)
{
    check_start(world, service, to, before);
    if (instance == NULL || instance->observed.state != INSTANCE_STANDBY || to->wish != WISH_RUN)
        world_fail(world, "%s of %s is resumed and is no standby", to->id, service->name);
}

static void check_changed(struct world *world, const struct core *core,
                          const struct model_service *service,
                          const struct model_instance *instance, enum instance_wish from,
                          const struct document_instance *to, const struct tally *before)
{
    struct tally after = tally_of(world->watch, core, to);
    if (to->wish < from)
        world_fail(world, "%s is wanted again after it was to end", to->id);
    if (to->wish == from)
        return;
    if (to->why == NULL || to->why[0] == '\0')
        world_fail(world, "%s of %s is ended and nobody says why", to->id, service->name);
    if (is_past_leave(core, instance))
        return;
    bool preempted = to->cause != NULL && strcmp(to->cause, "preempted") == 0;
    if (from == WISH_RUN && preempted)
        check_preempted(world, core, service, to);
    if (!preempted)
        check_end(world, service, to, before, &after);
    if (from == WISH_RUN && !preempted && !leaves(instance))
        check_reason(world, core, service, instance, to);
    if (to->wish == WISH_STOP)
        check_drained(world, core, service, instance);
}

static void take_instance(struct world *world, const struct core *core, struct pending *pending,
                          struct document_instance *document)
{
    const struct model_instance *instance = model_instance(&core->model, document->id);
    const struct document_instance *last = instance != NULL
                                               ? current(world->watch, core, instance)
                                               : find_pending(world->watch, core, document->id);
    enum instance_wish from = last != NULL ? last->wish : WISH_RUN;
    const struct model_service *service =
        model_service(&core->model, document->namespace_name, document->service);
    struct tally before = tally_of(world->watch, core, document);
    pending->instances =
        xreallocarray(pending->instances, pending->count + 1, sizeof *pending->instances);
    pending->instances[pending->count++] = document;
    world_trace(world, "decides: %s of %s, slot %u, revision %u on %s: %s%s%s", document->id,
                document->service, document->slot, document->revision, document->node,
                document->ended_ms != 0 ? "ended" : instance_wish_names[document->wish],
                document->why != NULL && document->why[0] != '\0' ? ": " : "",
                document->why != NULL ? document->why : "");
    if (service == NULL || service->document == NULL)
        return;
    if (model_is_job(service)) {
        if (last == NULL) {
            check_issued(world, document);
            watch_place(world, core, service, document);
        }
        watch_job_instance(world, core, service, last, document);
        return;
    }
    bool resumed = last != NULL && last->standby && !document->standby;
    if (last != NULL &&
        (last->service_uid != document->service_uid || (last->slot != document->slot && !resumed) ||
         (!last->standby && document->standby) || last->created_ms != document->created_ms ||
         strcmp(last->node, document->node) != 0))
        world_fail(world, "id %s is handed out again", document->id);
    if (last == NULL)
        check_new(world, core, service, document, &before);
    else if (resumed)
        check_resumed(world, service, instance, document, &before);
    else if (instance != NULL && !document->standby)
        check_changed(world, core, service, instance, from, document, &before);
}

void watch_handed_in(struct world *world, const struct core *core,
                     const struct store_transaction *transaction)
{
    struct pending *pending = xcalloc(1, sizeof *pending);
    pending->core = core;
    STAILQ_INSERT_TAIL(&world->watch->pending, pending, link);
    /* What one decides whose lease is lost is not written. */
    if (!memory_store_leads(core->store))
        return;
    for (size_t i = 0; i < transaction->write_count; i++) {
        const struct store_write *write = &transaction->writes[i];
        struct error error = ERROR_INIT;
        if (strncmp(write->key, "runs/", 5) == 0 && write->value != NULL)
            watch_run(world, core, write->value);
        if (strncmp(write->key, "instances/", 10) != 0 || write->value == NULL)
            continue;
        struct document_instance *document = document_create(DOCUMENT_INSTANCE);
        if (json_parse_record(document_record(DOCUMENT_INSTANCE), write->value,
                              strlen(write->value), JSON_LENIENT, document, &error) < 0) {
            world_fail(world, "%s is written and cannot be read: %s", write->key, error.message);
            free(document);
            continue;
        }
        take_instance(world, core, pending, document);
    }
}

/* The first that this process handed in; NULL: none. */
static struct pending *first_of(const struct watch *watch, const struct core *core)
{
    struct pending *pending;
    STAILQ_FOREACH(pending, &watch->pending, link)
    {
        if (pending->core == core)
            return pending;
    }
    return NULL;
}

void watch_settled(struct world *world, const struct core *core, bool durable)
{
    struct watch *watch = world->watch;
    struct pending *pending = first_of(watch, core);
    if (pending == NULL)
        return;
    for (size_t i = 0; i < pending->count && durable; i++)
        issue(watch, pending->instances[i]->id);
    drop(watch, pending);
}

void watch_killed(struct world *world, const struct core *core)
{
    struct pending *pending;
    while ((pending = first_of(world->watch, core)) != NULL)
        drop(world->watch, pending);
}

void watch_started(struct world *world, const struct core *core)
{
    users_check(world, core);
}

/* --- events --- */

void watch_event(struct world *world, const struct api_event *event)
{
    static const char *const bad[] = {"failed",       "given_up",     "restarted", "rollout_failed",
                                      "rolling_back", "rolled_back",  "unready",   "waiting",
                                      "no_capacity",  "silent",       "draining",  "stopping",
                                      "stranger",     "trust_revoked"};
    world_trace(world, "event: %s %s%s%s %s%s%s: %.200s", event->kind, event->name,
                event->id[0] != '\0' ? " " : "", event->id, event->what,
                event->cause[0] != '\0' ? ", " : "", event->cause, event->message);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (strcmp(event->what, bad[i]) == 0 && event->message[0] == '\0' &&
            event->cause[0] == '\0')
            world_fail(world, "%s %s %s %s, and nobody says why", event->kind, event->name,
                       event->id, event->what);
    }
}

/* --- guests --- */

void watch_booted(struct world *world, const struct guest *guest)
{
    uint64_t memory = 0;
    world_trace(world, "%s: boots %s (%s) at %s", guest->node->name, guest->id,
                guest_image_names[guest->image], guest->address);
    for (size_t i = 0; i < world->node_count; i++) {
        const struct guest *other;
        LIST_FOREACH(other, &world->nodes[i]->guests, link)
        {
            if (!guest_has_vm(other))
                continue;
            memory += other->node == guest->node ? other->memory + NODE_OVERHEAD : 0;
            if (other == guest)
                continue;
            if (strcmp(other->id, guest->id) == 0)
                world_fail(world, "%s runs on %s and on %s", guest->id, guest->node->name,
                           other->node->name);
            if (!world->watch->restored && strcmp(other->address, guest->address) == 0)
                world_fail(world, "%s and %s run with the same address %s", guest->id, other->id,
                           guest->address);
        }
    }
    if (!world->watch->restored && memory > guest->node->memory)
        world_fail(world, "guests of %s have %llu bytes, it has %llu", guest->node->name,
                   (unsigned long long)memory, (unsigned long long)guest->node->memory);
}

static void check_server(struct world *world, const struct api_server *server)
{
    for (size_t i = 0; i < world->node_count; i++) {
        const struct guest *guest;
        LIST_FOREACH(guest, &world->nodes[i]->guests, link)
        {
            if (server->state == API_SERVER_READY && strcmp(guest->id, server->id) == 0 &&
                guest_is_paused(guest))
                world_fail(world, "%s is sent traffic and is paused", guest->id);
        }
    }
}

void watch_endpoints(struct world *world, const struct api_endpoints *endpoints)
{
    for (size_t i = 0; i < endpoints->frontend_count; i++) {
        for (size_t s = 0; s < endpoints->frontends[i].server_count; s++)
            check_server(world, &endpoints->frontends[i].servers[s]);
    }
}

void watch_told_to_stop(struct world *world, const struct guest *guest)
{
    const struct watch *watch = world->watch;
    uint64_t number = number_of(guest->id);
    world_trace(world, "%s: is told to stop %s", guest->node->name, guest->id);
    char key[32];
    snprintf(key, sizeof key, "instances/%s", guest->id);
    /* What the lost history itself decided may come late. */
    if (watch->restored && guest->node->assignment.applied.term > watch->lost_term &&
        number >> 32 <= watch->lost_term && (number & UINT32_MAX) > watch->lost_instances &&
        disk_find(world->disk, key) == NULL)
        world_fail(world, "an old backup stops %s, which was made after it", guest->id);
}

void watch_restored(struct world *world, uint64_t instances_known)
{
    struct watch *watch = world->watch;
    if (!watch->restored || instances_known < watch->lost_instances)
        watch->lost_instances = instances_known;
    watch->restored = true;
    watch->lost_term = disk_term(world->disk) - 1;
}
