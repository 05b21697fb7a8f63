/* What of the model has to be looked at: services that changed or whose time comes, nodes whose
 * assignment changed. Each costs what is in it, not what exists. */
#include "lib/xalloc.h"
#include "scheduler/model.h"

/* --- services that changed --- */

void model_touch_service(struct model_service *service)
{
    if (service->is_touched)
        return;
    service->is_touched = true;
    TAILQ_INSERT_TAIL(&service->model->touched_services, service, touched);
}

void model_touch_all_services(struct model *model)
{
    for (size_t i = 0; i < model->services.count; i++)
        model_touch_service(model->services.items[i]);
}

/* --- services that wait: a heap, the earliest first --- */

static void set_place(struct model *model, size_t at, struct model_service *service)
{
    model->waiting[at] = service;
    service->waits_at = at + 1;
}

static void move_up(struct model *model, size_t at)
{
    struct model_service *service = model->waiting[at];
    for (; at > 0; at = (at - 1) / 2) {
        struct model_service *parent = model->waiting[(at - 1) / 2];
        if (parent->next_ms <= service->next_ms)
            break;
        set_place(model, at, parent);
    }
    set_place(model, at, service);
}

static void move_down(struct model *model, size_t at)
{
    struct model_service *service = model->waiting[at];
    for (size_t child; (child = 2 * at + 1) < model->waiting_count; at = child) {
        if (child + 1 < model->waiting_count &&
            model->waiting[child + 1]->next_ms < model->waiting[child]->next_ms)
            child++;
        if (service->next_ms <= model->waiting[child]->next_ms)
            break;
        set_place(model, at, model->waiting[child]);
    }
    set_place(model, at, service);
}

static void stop_waiting(struct model *model, struct model_service *service)
{
    if (service->waits_at == 0)
        return;
    size_t at = service->waits_at - 1;
    service->waits_at = 0;
    struct model_service *last = model->waiting[--model->waiting_count];
    if (last == service)
        return;
    set_place(model, at, last);
    move_up(model, at);
    move_down(model, last->waits_at - 1);
}

void model_wait_for_service(struct model_service *service)
{
    struct model *model = service->model;
    stop_waiting(model, service);
    if (service->next_ms == UINT64_MAX)
        return;
    if (model->waiting_count == model->waiting_capacity) {
        model->waiting_capacity = model->waiting_capacity > 0 ? 2 * model->waiting_capacity : 16;
        model->waiting =
            xreallocarray(model->waiting, model->waiting_capacity, sizeof *model->waiting);
    }
    set_place(model, model->waiting_count++, service);
    move_up(model, service->waits_at - 1);
}

uint64_t model_wake_services(struct model *model, uint64_t now_ms)
{
    while (model->waiting_count > 0 && model->waiting[0]->next_ms <= now_ms) {
        struct model_service *service = model->waiting[0];
        stop_waiting(model, service);
        model_touch_service(service);
    }
    return model->waiting_count > 0 ? model->waiting[0]->next_ms : UINT64_MAX;
}

struct model_service *model_take_service(struct model *model)
{
    struct model_service *service = TAILQ_FIRST(&model->touched_services);
    if (service == NULL)
        return NULL;
    model_leave_queues(service);
    service->next_ms = UINT64_MAX;
    return service;
}

void model_leave_queues(struct model_service *service)
{
    if (service->is_touched)
        TAILQ_REMOVE(&service->model->touched_services, service, touched);
    service->is_touched = false;
    stop_waiting(service->model, service);
}

/* --- assignments --- */

void model_touch_node(struct model_node *node)
{
    if (node->is_touched)
        return;
    node->is_touched = true;
    TAILQ_INSERT_TAIL(&node->model->touched_nodes, node, touched);
}

void model_leave_touched(struct model_node *node)
{
    if (node->is_resting)
        node->model->resting_nodes--;
    else if (node->is_touched)
        TAILQ_REMOVE(&node->model->touched_nodes, node, touched);
    node->is_touched = node->is_resting = false;
}

/* The latest is the last one, whatever it was told before. */
void model_note_told(struct model_node *node, uint64_t now_ms)
{
    if (node->is_told)
        TAILQ_REMOVE(&node->model->told_nodes, node, told);
    node->is_told = true;
    node->told_ms = now_ms;
    TAILQ_INSERT_TAIL(&node->model->told_nodes, node, told);
}

/* Those whose rest is over go among the touched ones, or are just told no more. */
static void end_rests(struct model *model, uint64_t now_ms, uint64_t rest_ms)
{
    struct model_node *node;
    while ((node = TAILQ_FIRST(&model->told_nodes)) != NULL && now_ms >= node->told_ms + rest_ms) {
        TAILQ_REMOVE(&model->told_nodes, node, told);
        node->is_told = false;
        if (!node->is_resting)
            continue;
        model_leave_touched(node);
        model_touch_node(node);
    }
}

struct model_node *model_next_touched(struct model *model, uint64_t now_ms, uint64_t rest_ms)
{
    struct model_node *node;
    end_rests(model, now_ms, rest_ms);
    while ((node = TAILQ_FIRST(&model->touched_nodes)) != NULL && node->is_told) {
        TAILQ_REMOVE(&model->touched_nodes, node, touched);
        node->is_resting = true;
        model->resting_nodes++;
    }
    return node;
}

uint64_t model_rest_ends(const struct model *model, uint64_t rest_ms)
{
    const struct model_node *first = TAILQ_FIRST(&model->told_nodes);
    return model->resting_nodes > 0 && first != NULL ? first->told_ms + rest_ms : UINT64_MAX;
}

void model_touch_all_nodes(struct model *model)
{
    for (size_t i = 0; i < model->nodes.count; i++)
        model_touch_node(model->nodes.items[i]);
}

void model_touch_prefetch(const struct model_service *service)
{
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *instance = service->instances.items[i];
        if (instance->node == NULL || model_instance_has_ended(instance))
            continue;
        instance->node->prefetch_changed = true;
        model_touch_node(instance->node);
    }
}

void model_touch_assignment(struct model_instance *instance)
{
    instance->assigned_revision = 0;
    if (instance->node != NULL)
        model_touch_node(instance->node);
}

void model_note_removed(struct model_node *node, const char *id)
{
    struct model_removed *removed = &node->removed[node->removed_count++ % REMOVED_KEPT];
    if (removed->id[0] != '\0') {
        /* What is forgotten here can be told only by the whole. */
        node->forgot_removed = node->forgot_removed || removed->revision == 0;
        if (removed->revision > node->whole_before)
            node->whole_before = removed->revision;
    }
    removed->revision = 0;
    for (size_t i = 0; i < sizeof removed->id; i++) {
        removed->id[i] = id[i];
        if (id[i] == '\0')
            break;
    }
    model_touch_node(node);
}
