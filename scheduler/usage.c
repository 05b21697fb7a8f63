#include "scheduler/usage.h"

#include <string.h>

#include "scheduler/model.h"

bool usage_has_address(const struct usage *usage, size_t place)
{
    return (usage->addresses[place / 64] >> (place % 64) & 1) != 0;
}

void usage_set_address(struct usage *usage, size_t place, bool taken)
{
    uint64_t bit = UINT64_C(1) << (place % 64);
    if (taken)
        usage->addresses[place / 64] |= bit;
    else
        usage->addresses[place / 64] &= ~bit;
}

void usage_touch(struct model_node *node, bool kind)
{
    node->kind_changed = node->kind_changed || kind;
    if (node->place_changed)
        return;
    node->place_changed = true;
    LIST_INSERT_HEAD(&node->model->changed_places, node, changed_link);
}

static void change_volumes(struct model *model, const struct document_volume *volume, bool taken)
{
    struct model_node *node = model_node(model, volume->node);
    if (node == NULL || volume->bytes == 0)
        return;
    node->used.volumes += taken ? volume->bytes : -volume->bytes;
    usage_touch(node, false);
}

void usage_take_volumes(struct model *model, const struct document_volume *volume)
{
    change_volumes(model, volume, true);
}

void usage_give_back_volumes(struct model *model, const struct document_volume *volume)
{
    change_volumes(model, volume, false);
}

void usage_count_volumes(struct model_node *node)
{
    const struct sorted *services = &node->model->services;
    node->used.volumes = 0;
    for (size_t i = 0; i < services->count; i++) {
        const struct model_service *service = services->items[i];
        for (size_t j = 0; j < service->volume_count; j++) {
            if (strcmp(service->volumes[j]->node, node->name) == 0)
                node->used.volumes += service->volumes[j]->bytes;
        }
    }
}

void usage_keep_room(struct model_service *service, struct model_node *node, uint64_t memory,
                     uint32_t vcpus, uint64_t until_ms)
{
    usage_release_room(service);
    service->kept =
        (struct usage_kept){.node = node, .memory = memory, .vcpus = vcpus, .until_ms = until_ms};
    LIST_INSERT_HEAD(&node->kept, &service->kept, link);
    usage_touch(node, false);
}

void usage_release_room(struct model_service *service)
{
    if (service->kept.node == NULL)
        return;
    LIST_REMOVE(&service->kept, link);
    usage_touch(service->kept.node, false);
    service->kept.node = NULL;
}

void usage_forget_node(struct model_node *node)
{
    for (struct usage_kept *kept; (kept = LIST_FIRST(&node->kept)) != NULL;) {
        LIST_REMOVE(kept, link);
        kept->node = NULL;
    }
    if (node->place_changed)
        LIST_REMOVE(node, changed_link);
    placement_index_remove(&node->model->places, &node->place);
}

static struct usage_share share_of(const struct model_instance *instance)
{
    const struct document_revision *revision =
        instance->service != NULL ? model_revision(instance->service, instance->document->revision)
                                  : NULL;
    struct usage_share share = {.is_taken = true};
    share.memory = revision != NULL ? revision->template.resources.memory : 0;
    share.vcpus = revision != NULL ? revision->template.resources.vcpus : 0;
    return share;
}

static void take(struct model_instance *instance)
{
    struct usage *used = &instance->node->used;
    struct usage_share *share = &instance->share;
    *share = share_of(instance);
    used->memory += share->memory;
    used->vcpus += share->vcpus;
    used->instances++;
    usage_set_address(used, model_address_place(instance->document->address), true);
}

static void give_back(struct model_instance *instance)
{
    struct usage *used = &instance->node->used;
    struct usage_share *share = &instance->share;
    share->is_taken = false;
    used->memory -= share->memory;
    used->vcpus -= share->vcpus;
    used->instances--;
    usage_set_address(used, model_address_place(instance->document->address), false);
}

void usage_follow(struct model_instance *instance)
{
    bool takes = instance->node != NULL && !model_instance_has_ended(instance);
    bool took = instance->share.is_taken;
    struct usage_share share = share_of(instance);
    /* Read while others write, it may come before its revision, and then once more. */
    if (takes == took && (!takes || (share.memory == instance->share.memory &&
                                     share.vcpus == instance->share.vcpus)))
        return;
    if (took)
        give_back(instance);
    if (takes)
        take(instance);
    usage_touch(instance->node, false);
}

void usage_release(struct model_instance *instance)
{
    if (!instance->share.is_taken)
        return;
    give_back(instance);
    usage_touch(instance->node, false);
}
