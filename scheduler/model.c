#include "scheduler/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* Taking one out of so many moves the rest: those of one change go together. */
#define GONE_TOGETHER_FROM 10000

void model_init(struct model *model)
{
    *model = (struct model){.has_strays = true, .endpoints_dirty = true, .trust_dirty = true};
    TAILQ_INIT(&model->heard);
    TAILQ_INIT(&model->suspects);
    TAILQ_INIT(&model->returned);
    TAILQ_INIT(&model->touched_services);
    TAILQ_INIT(&model->touched_nodes);
    TAILQ_INIT(&model->told_nodes);
}

/* --- finding --- */

/* By hand: it is done for every instance that is loaded. What is too long is nobody's name. */
static void name_service(const char *namespace_name, const char *service,
                         char ret_name[OBJECT_NAME_MAX])
{
    size_t first = strnlen(namespace_name, NAME_MAX_TEXT);
    size_t second = strnlen(service, NAME_MAX_TEXT);
    ret_name[0] = '\0';
    if (first == NAME_MAX_TEXT || second == NAME_MAX_TEXT)
        return;
    memcpy(ret_name, namespace_name, first);
    ret_name[first] = '/';
    memcpy(ret_name + first + 1, service, second);
    ret_name[first + 1 + second] = '\0';
}

struct model_service *model_service_record(const struct model *model, const char *namespace_name,
                                           const char *service)
{
    char name[OBJECT_NAME_MAX];
    name_service(namespace_name, service, name);
    return sorted_find(&model->services, name);
}

static struct model_instance *unless_gone(struct model_instance *instance)
{
    return instance != NULL && !instance->is_gone ? instance : NULL;
}

struct model_instance *model_instance(const struct model *model, const char *id)
{
    return unless_gone(sorted_find(&model->instances, id));
}

struct model_instance *model_node_instance(const struct model_node *node, const char *id)
{
    return unless_gone(sorted_find(&node->instances, id));
}

struct model_node *model_node(const struct model *model, const char *name)
{
    return sorted_find(&model->nodes, name);
}

static uint32_t number_of(enum document_kind kind, const void *document)
{
    if (kind == DOCUMENT_VOLUME)
        return ((const struct document_volume *)document)->number;
    if (kind == DOCUMENT_RUN)
        return ((const struct document_run *)document)->number;
    return kind == DOCUMENT_REVISION ? ((const struct document_revision *)document)->number
                                     : ((const struct document_rollout *)document)->number;
}

/* Where one of that number is in a list in order of number, or would be. */
static size_t place_of(enum document_kind kind, void *const *list, size_t count, uint32_t number)
{
    size_t low = 0, high = count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (number_of(kind, list[middle]) < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct document_revision *model_revision(const struct model_service *service, uint32_t number)
{
    size_t place = place_of(DOCUMENT_REVISION, (void *const *)service->revisions,
                            service->revision_count, number);
    bool found = place < service->revision_count && service->revisions[place]->number == number;
    return found ? service->revisions[place] : NULL;
}

struct document_run *model_run(const struct model_service *service, uint32_t number)
{
    size_t place = place_of(DOCUMENT_RUN, (void *const *)service->runs, service->run_count, number);
    bool found = place < service->run_count && service->runs[place]->number == number;
    return found ? service->runs[place] : NULL;
}

bool model_is_job(const struct model_service *service)
{
    return service->document != NULL && service->document->spec.type == API_TYPE_JOB;
}

const struct document_rollout *model_rollout(const struct model_service *service)
{
    return service->rollout_count > 0 ? service->rollouts[service->rollout_count - 1] : NULL;
}

uint32_t model_target(const struct model_service *service)
{
    const struct document_rollout *rollout = model_rollout(service);
    return rollout != NULL ? rollout_target(rollout->phase, rollout->from, rollout->to) : 0;
}

bool model_same_template(const struct model_service *service, uint32_t number,
                         const struct document_revision *other)
{
    if (other == NULL || number == other->number)
        return other != NULL;
    const struct document_revision *revision = model_revision(service, number);
    return revision != NULL && strcmp(revision->template_digest, other->template_digest) == 0;
}

bool model_is_stop_first(const struct model_service *service)
{
    const struct document_revision *target = model_revision(service, model_target(service));
    const struct document_revision *good = model_revision(service, service->document->good);
    return (target != NULL && target->template.volume_count > 0) ||
           (good != NULL && good->template.volume_count > 0);
}

uint32_t model_canaries(const struct model_service *service)
{
    const struct document_rollout *rollout = model_rollout(service);
    const struct document_service *document = service->document;
    const struct document_revision *good = model_revision(service, document->good);
    uint32_t canary = document->spec.rollout.canary;
    if (rollout == NULL || rollout->promoted || good == NULL || good->revoked[0] != '\0' ||
        model_is_stop_first(service) || strcmp(rollout->kind, "deploy") != 0 ||
        model_same_template(service, rollout->to, good))
        return 0;
    return canary < document->replicas ? canary : document->replicas;
}

/* --- making and unmaking --- */

static struct model_service *want_service(struct model *model, const char *namespace_name,
                                          const char *name)
{
    struct model_service *service = model_service_record(model, namespace_name, name);
    if (service != NULL)
        return service;
    service = xcalloc(1, sizeof *service);
    snprintf(service->name_text, sizeof service->name_text, "%s/%s", namespace_name, name);
    service->name = service->name_text;
    service->model = model;
    service->next_ms = UINT64_MAX;
    service->in_endpoints = true; /* as was written of its instances */
    model_touch_service(service);
    sorted_insert(&model->services, service);
    return service;
}

static void free_documents(enum document_kind kind, void **documents, size_t count)
{
    for (size_t i = 0; i < count; i++)
        document_free(kind, documents[i]);
    free(documents);
}

static void free_service(struct model_service *service)
{
    service->model->has_strays = service->model->has_strays || service->instances.count > 0;
    for (size_t i = 0; i < service->instances.count; i++) {
        struct model_instance *instance = service->instances.items[i];
        instance->service = NULL;
        model_touch_assignment(instance);
    }
    service->model->draining -= service->draining;
    model_leave_queues(service);
    sorted_finish(&service->instances);
    free_documents(DOCUMENT_REVISION, (void **)service->revisions, service->revision_count);
    free_documents(DOCUMENT_ROLLOUT, (void **)service->rollouts, service->rollout_count);
    free_documents(DOCUMENT_VOLUME, (void **)service->volumes, service->volume_count);
    free_documents(DOCUMENT_RUN, (void **)service->runs, service->run_count);
    document_free(DOCUMENT_SERVICE, service->document);
    free(service->no_capacity);
    json_record_release(&api_obstacles_record, &service->obstacles);
    usage_release_room(service);
    free(service);
}

static void free_instance(struct model_instance *instance)
{
    json_record_release(document_record(DOCUMENT_OBSERVED), &instance->observed);
    document_free(DOCUMENT_INSTANCE, instance->document);
    free(instance);
}

void model_finish(struct model *model)
{
    model_settle(model);
    for (size_t i = 0; i < model->services.count; i++)
        free_service(model->services.items[i]);
    for (size_t i = 0; i < model->nodes.count; i++)
        model_free_node(model->nodes.items[i]);
    for (size_t i = 0; i < model->instances.count; i++)
        free_instance(model->instances.items[i]);
    model_free_trust(model);
    free(model->waiting);
    placement_index_finish(&model->places);
    sorted_finish(&model->services);
    sorted_finish(&model->nodes);
    sorted_finish(&model->draining_nodes);
    model_free_removed_nodes(model);
    rescheduling_finish(&model->rescheduling);
    sorted_finish(&model->instances);
}

/* --- applying, one function a kind --- */

/* Services that publish nothing are in no endpoints; but what drains waits for the next ones. */
void model_touch_endpoints(const struct model_service *service)
{
    bool publishes = service->in_endpoints || service->draining > 0;
    for (size_t i = 0; service->document != NULL && i < service->document->spec.port_count; i++)
        publishes = publishes || service->document->spec.ports[i].publish != 0;
    service->model->endpoints_dirty = service->model->endpoints_dirty || publishes;
}

/* An instance that has ended is in no assignment, whatever becomes of its service. */
static void touch_running(struct model_instance *instance)
{
    if (!model_instance_has_ended(instance))
        model_touch_assignment(instance);
}

static void drop_service(struct model_service *service)
{
    sorted_remove(&service->model->services, service);
    free_service(service);
}

/* Of a service that was removed, whose data stays. */
static bool is_only_volumes(const struct model_service *service)
{
    return service->document == NULL && service->revision_count == 0 &&
           service->rollout_count == 0 && service->run_count == 0 && service->instances.count == 0;
}

/* Where its volumes are stays known, for one that is deployed again under its name. */
static void leave_volumes(struct model_service *service, const struct document_service *document)
{
    struct model *model = service->model;
    struct document_volume **volumes = TAKE_POINTER(service->volumes);
    size_t count = service->volume_count;
    service->volume_count = 0;
    drop_service(service);
    if (count == 0)
        return;
    service = want_service(model, document->namespace_name, document->service);
    service->volumes = volumes;
    service->volume_count = count;
}

static void apply_service(struct model *model, struct document_service *document, bool removed)
{
    struct model_service *service =
        want_service(model, document->namespace_name, document->service);
    model->endpoints_dirty = true;
    if (removed) {
        leave_volumes(service, document);
        document_free(DOCUMENT_SERVICE, document);
        return;
    }
    document_free(DOCUMENT_SERVICE, service->document);
    service->document = document;
    service->edition = ++model->editions;
    service->retire_ms = 0;
    model_touch_service(service);
    for (size_t i = 0; i < service->instances.count; i++) /* health and restart apply in place */
        touch_running(service->instances.items[i]);
}

/* Puts, replaces or removes in a list in order of number. */
static void apply_numbered(enum document_kind kind, void ***list, size_t *count, void *document,
                           bool removed)
{
    uint32_t number = number_of(kind, document);
    size_t at = place_of(kind, *list, *count, number);
    bool found = at < *count && number_of(kind, (*list)[at]) == number;
    if (found)
        document_free(kind, (*list)[at]);
    if (removed) {
        document_free(kind, document);
        if (!found)
            return;
        (*count)--;
        memmove(*list + at, *list + at + 1, (*count - at) * sizeof **list);
        return;
    }
    if (!found) {
        *list = xreallocarray(*list, *count + 1, sizeof **list);
        memmove(*list + at + 1, *list + at, (*count - at) * sizeof **list);
        (*count)++;
    }
    (*list)[at] = document;
}

static void apply_revision(struct model *model, struct document_revision *document, bool removed)
{
    struct model_service *service =
        want_service(model, document->namespace_name, document->service);
    void **list = (void **)service->revisions;
    uint32_t number = document->number;
    apply_numbered(DOCUMENT_REVISION, &list, &service->revision_count, document, removed);
    service->revisions = (struct document_revision **)list;
    service->edition = ++model->editions;
    service->retire_ms = 0;
    model_touch_service(service);
    for (size_t i = 0; i < service->instances.count; i++) {
        struct model_instance *instance = service->instances.items[i];
        if (instance->document->revision == number)
            touch_running(instance);
    }
}

static void apply_rollout(struct model *model, struct document_rollout *document, bool removed)
{
    struct model_service *service =
        want_service(model, document->namespace_name, document->service);
    uint32_t target = model_target(service);
    void **list = (void **)service->rollouts;
    apply_numbered(DOCUMENT_ROLLOUT, &list, &service->rollout_count, document, removed);
    service->rollouts = (struct document_rollout **)list;
    service->retire_ms = 0;
    if (model_target(service) != target)
        model_touch_prefetch(service);
    model_touch_service(service);
    model_touch_endpoints(service);
}

static bool is_draining(const struct document_instance *document)
{
    return document->wish == WISH_DRAIN && document->ended_ms == 0;
}

/* `change` is 1 or -1. */
static void count_draining(struct model *model, const struct model_instance *instance, int change)
{
    if (instance->service == NULL || !is_draining(instance->document))
        return;
    instance->service->draining += (size_t)change;
    model->draining += (size_t)change;
}

static void apply_run(struct model *model, struct document_run *document, bool removed)
{
    struct model_service *service =
        want_service(model, document->namespace_name, document->service);
    const struct document_run *before = model_run(service, document->number);
    document->begun_ms = before != NULL ? before->begun_ms : 0;
    void **list = (void **)service->runs;
    apply_numbered(DOCUMENT_RUN, &list, &service->run_count, document, removed);
    service->runs = (struct document_run **)list;
    service->retire_ms = 0;
    model_touch_service(service);
}

static void apply_volume(struct model *model, struct document_volume *document, bool removed)
{
    struct model_service *service =
        want_service(model, document->namespace_name, document->service);
    const struct document_volume *before = model_volume(service, document->number);
    if (before != NULL)
        usage_give_back_volumes(model, before);
    if (!removed)
        usage_take_volumes(model, document);
    void **list = (void **)service->volumes;
    apply_numbered(DOCUMENT_VOLUME, &list, &service->volume_count, document, removed);
    service->volumes = (struct document_volume **)list;
    if (removed && is_only_volumes(service) && service->volume_count == 0)
        drop_service(service);
}

size_t model_address_place(const char *address)
{
    uint64_t place = 0;
    const char *dot = strrchr(address, '.');
    if (dot != NULL)
        text_parse_u64(dot + 1, SUBNET_ADDRESSES - 1, &place);
    return (size_t)place;
}

static void join_instance(struct model *model, struct model_instance *instance)
{
    const struct document_instance *document = instance->document;
    char name[OBJECT_NAME_MAX];
    name_service(document->namespace_name, document->service, name);
    struct model_service *service =
        instance->service == NULL ? sorted_find_near(&model->services, name) : NULL;
    /* Not one of an earlier service of that name, whose volumes are left. */
    if (service != NULL && service->document != NULL &&
        service->document->uid == document->service_uid) {
        instance->service = service;
        sorted_insert(&service->instances, instance);
    }
    if (instance->node == NULL && (instance->node = model_node(model, document->node)) != NULL)
        sorted_insert(&instance->node->instances, instance);
    if (instance->node == NULL && document->ended_ms == 0)
        model->has_homeless = true;
}

static void remove_instance(struct model *model, struct model_instance *instance)
{
    count_draining(model, instance, -1);
    if (instance->node != NULL && !model_instance_has_ended(instance))
        model_note_removed(instance->node, instance->name);
    usage_release(instance);
    if (instance->service != NULL)
        sorted_remove(&instance->service->instances, instance);
    if (instance->node != NULL)
        sorted_remove(&instance->node->instances, instance);
    instance->service = NULL;
    instance->node = NULL;
    instance->is_gone = true;
    model->gone = xreallocarray(model->gone, model->gone_count + 1, sizeof *model->gone);
    model->gone[model->gone_count++] = instance;
    if (model->instances.count < GONE_TOGETHER_FROM)
        model_settle(model);
}

void model_settle(struct model *model)
{
    sorted_remove_all(&model->instances, (void *const *)model->gone, model->gone_count);
    for (size_t i = 0; i < model->gone_count; i++)
        free_instance(model->gone[i]);
    free(model->gone);
    model->gone = NULL;
    model->gone_count = 0;
}

/* That an instance has ended is written at once, what was seen of it later: after a crash in
 * between nobody would report its end again. */
static void settle_ended(struct model_instance *instance)
{
    if (model_instance_has_ended(instance) && !instance_state_is_over(instance->observed.state))
        instance->observed.state =
            instance->document->outcome == JOB_OUTCOME_FAILED ? INSTANCE_FAILED : INSTANCE_STOPPED;
}

/* Whether a node is told the same of both. */
static bool is_assigned_alike(const struct document_instance *one,
                              const struct document_instance *other)
{
    return (one->wish == WISH_STOP) == (other->wish == WISH_STOP) &&
           one->standby == other->standby &&
           document_text_equals(one->cause, document_text(other->cause));
}

static void replace_document(struct model *model, struct model_instance *instance,
                             struct document_instance *document)
{
    struct document_instance *before = instance->document;
    bool ends = document->ended_ms != 0 && before->ended_ms == 0;
    count_draining(model, instance, -1);
    instance->name = document->id;
    instance->document = document;
    if (ends && instance->node != NULL)
        model_note_removed(instance->node, instance->name);
    else if (document->ended_ms == 0 && !is_assigned_alike(before, document))
        model_touch_assignment(instance);
    document_free(DOCUMENT_INSTANCE, before);
}

static struct model_instance *add_instance(struct model *model, struct document_instance *document)
{
    if (model->gone_count > 0)
        model_settle(model);
    struct model_instance *instance = xcalloc(1, sizeof *instance);
    instance->name = document->id;
    instance->document = document;
    text_copy(instance->observed.id, sizeof instance->observed.id, document->id);
    sorted_insert(&model->instances, instance);
    return instance;
}

static void apply_instance(struct model *model, struct document_instance *document, bool removed,
                           uint64_t now_ms)
{
    struct model_instance *instance = model_instance(model, document->id);
    if (removed) {
        if (instance != NULL)
            remove_instance(model, instance);
        document_free(DOCUMENT_INSTANCE, document);
        return;
    }
    bool is_new = instance == NULL;
    if (is_new)
        model->placed_ms = now_ms;
    if (is_new)
        instance = add_instance(model, document);
    else
        replace_document(model, instance, document);
    settle_ended(instance);
    join_instance(model, instance);
    usage_follow(instance);
    count_draining(model, instance, 1);
    if (is_new)
        touch_running(instance);
    if (instance->service != NULL) {
        model_touch_endpoints(instance->service);
        model_touch_service(instance->service);
    }
    if (instance->service != NULL && document->ended_ms != 0)
        instance->service->retire_ms = 0;
    if (instance->node != NULL && document->ended_ms != 0)
        instance->node->freed_ms[model_address_place(document->address)] = now_ms;
}

/* Only at start: later the reports are newer than what was written of them. */
static void apply_observed(struct model *model, struct document_observed *document, bool removed,
                           uint64_t now_ms)
{
    struct model_instance *instance =
        unless_gone(sorted_find_near(&model->instances, document->id));
    if (instance != NULL && !removed && !instance->reported) {
        json_record_release(document_record(DOCUMENT_OBSERVED), &instance->observed);
        instance->observed = *document;
        *document = (struct document_observed){0};
        settle_ended(instance);
        instance->over_since_ms = now_ms;
        instance->ready_since_ms = now_ms;
        if (instance->service != NULL)
            model_touch_endpoints(instance->service);
    }
    document_free(DOCUMENT_OBSERVED, document);
}

void model_apply(struct model *model, enum document_kind kind, void *document, bool removed,
                 uint64_t now_ms)
{
    switch (kind) {
    case DOCUMENT_COUNTERS:
        model->counters = *(struct document_counters *)document;
        break;
    case DOCUMENT_SERVICE:
        apply_service(model, document, removed);
        return;
    case DOCUMENT_REVISION:
        apply_revision(model, document, removed);
        return;
    case DOCUMENT_ROLLOUT:
        apply_rollout(model, document, removed);
        return;
    case DOCUMENT_VOLUME:
        apply_volume(model, document, removed);
        return;
    case DOCUMENT_RUN:
        apply_run(model, document, removed);
        return;
    case DOCUMENT_INSTANCE:
        apply_instance(model, document, removed, now_ms);
        return;
    case DOCUMENT_OBSERVED:
        apply_observed(model, document, removed, now_ms);
        return;
    case DOCUMENT_NODE:
        model_apply_node(model, document, removed, now_ms);
        return;
    case DOCUMENT_REMOVED_NODE:
        model_apply_removed_node(model, document, removed, now_ms);
        return;
    case DOCUMENT_KEY:
        model_apply_key(model, document, removed);
        return;
    case DOCUMENT_POLICY:
        model_apply_policy(model, document, removed);
        return;
    case DOCUMENT_EVENT:
        if (!removed && model->on_event != NULL)
            model->on_event(document, model->data);
        break;
    case DOCUMENT_KINDS:
        break;
    }
    document_free(kind, document);
}
