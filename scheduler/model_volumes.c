/* Services as far as they are there, and which node has the volumes of a slot. */
#include <stdlib.h>
#include <string.h>

#include "scheduler/model.h"

struct model_service *model_service(const struct model *model, const char *namespace_name,
                                    const char *service)
{
    struct model_service *record = model_service_record(model, namespace_name, service);
    return record != NULL && record->document != NULL ? record : NULL;
}

struct model_service *model_find_service(const struct model *model, const char *namespace_name,
                                         const char *service, struct error *error)
{
    struct model_service *found = model_service(model, namespace_name, service);
    if (found == NULL)
        error_set(error, ERROR_NOT_FOUND,
                  "there is no service %.63s in namespace %.63s: `shoal service list` shows them, "
                  "-n NAMESPACE those of another namespace",
                  service, namespace_name);
    return found;
}

static int compare_slots(const void *slot_pointer, const void *element)
{
    const uint32_t *slot = slot_pointer;
    const struct document_volume *const *volume = element;
    return *slot < (*volume)->number ? -1 : *slot > (*volume)->number;
}

const struct document_volume *model_volume(const struct model_service *service, uint32_t slot)
{
    if (service->volume_count == 0)
        return NULL;
    struct document_volume **found = bsearch(&slot, service->volumes, service->volume_count,
                                             sizeof(struct document_volume *), compare_slots);
    return found != NULL ? *found : NULL;
}

const char *model_volume_node(const struct model_service *service, uint32_t slot)
{
    const struct document_volume *volume = model_volume(service, slot);
    if (volume == NULL || model_node(service->model, volume->node) == NULL)
        return NULL;
    return volume->node;
}

static uint32_t wanted_slots(const struct model_service *service, const char *node)
{
    uint32_t count = 0;
    if (service->volume_count == 0 || service->document == NULL || service->document->deleting ||
        !model_is_stop_first(service))
        return 0;
    for (size_t i = 0; i < service->volume_count; i++)
        count += service->volumes[i]->number < service->document->replicas &&
                 strcmp(service->volumes[i]->node, node) == 0;
    return count;
}

uint32_t model_node_volume_slots(const struct model_node *node)
{
    const struct sorted *services = &node->model->services;
    uint32_t count = 0;
    for (size_t i = 0; node->used.volumes > 0 && i < services->count; i++)
        count += wanted_slots(services->items[i], node->name);
    return count;
}
