#include "scheduler/volume_rules.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/text.h"

static struct model_service *service_of(struct model *model, const struct api_volume_view *volume)
{
    return model_service(model, volume->namespace_name, volume->service);
}

/* Wanted, or still ending. */
static bool has_slot(const struct model_service *service, uint32_t slot)
{
    if (!service->document->deleting && slot < service->document->replicas)
        return true;
    for (size_t i = 0; i < service->instances.count; i++) {
        const struct model_instance *instance = service->instances.items[i];
        if (instance->document->slot == slot && !model_instance_has_ended(instance))
            return true;
    }
    return false;
}

/* `name` NULL: any. What no revision names any more can be given to no instance. */
static bool names_volume(const struct model_service *service, const char *name)
{
    for (size_t i = 0; i < service->revision_count; i++) {
        const struct document_template *template = &service->revisions[i]->template;
        for (size_t j = 0; j < template->volume_count; j++) {
            if (name == NULL || strcmp(template->volumes[j].name, name) == 0)
                return true;
        }
    }
    return false;
}

/* `name` NULL: any volume of the slot. */
static bool needs_volume(const struct model_service *service, uint32_t slot, const char *name)
{
    return has_slot(service, slot) && names_volume(service, name);
}

void volume_rules_judge(struct model *model, struct api_volume_view *view)
{
    struct model_service *service = service_of(model, view);
    if (view->instance[0] != '\0') {
        view->state = VOLUME_IN_USE;
        return;
    }
    const char *node = service != NULL ? model_volume_node(service, view->slot) : NULL;
    bool is_here = node != NULL && strcmp(node, view->node) == 0;
    view->state =
        is_here && needs_volume(service, view->slot, view->name) ? VOLUME_KEPT : VOLUME_UNUSED;
}

int volume_rules_find_node(struct model *model, const struct api_volume_view *volume,
                           const char *wanted, struct model_node **ret_node, struct error *error)
{
    const struct model_service *service =
        model_service_record(model, volume->namespace_name, volume->service);
    const char *name = wanted != NULL && wanted[0] != '\0' ? wanted
                       : service != NULL ? model_volume_node(service, volume->slot)
                                         : NULL;
    struct model_node *node = name != NULL ? model_node(model, name) : NULL;
    if (node != NULL && node->document != NULL) {
        *ret_node = node;
        return 0;
    }
    if (name != NULL)
        return error_set(error, ERROR_NOT_FOUND,
                         "there is no node %.63s: `shoal node list` shows them", name);
    return error_set(error, ERROR_NOT_FOUND,
                     "which node has volume %s/%s/%" PRIu32
                     "/%s is not known: `shoal volume list` shows it, --node names it",
                     volume->namespace_name, volume->service, volume->slot, volume->name);
}

int volume_rules_check_removal(struct model *model, const struct api_volume_view *volume,
                               bool force, struct error *error)
{
    struct model_service *service = service_of(model, volume);
    if (service == NULL && !force)
        return error_set(error, ERROR_CONFLICT,
                         "service %s is no more, and this is what is left of its data: --force "
                         "removes it",
                         volume->service);
    const char *node = service != NULL ? model_volume_node(service, volume->slot) : NULL;
    bool is_elsewhere = node != NULL && strcmp(node, volume->node) != 0;
    if (service != NULL && !is_elsewhere && needs_volume(service, volume->slot, volume->name))
        return error_set(error, ERROR_CONFLICT,
                         "slot %" PRIu32 " of %s needs it: `shoal scale %s=%" PRIu32
                         "` gives the slot up, `shoal rm %s --volumes` the service with its data",
                         volume->slot, volume->service, volume->service, volume->slot,
                         volume->service);
    return 0;
}

static bool has_answered(const struct api_volumes *list, const char *node)
{
    for (size_t i = 0; i < list->node_count; i++) {
        if (strcmp(list->nodes[i].node, node) == 0)
            return list->nodes[i].reason[0] == '\0';
    }
    return false;
}

static int compare_to_record(const struct api_volume_view *view,
                             const struct document_volume *record)
{
    int order = strcmp(view->namespace_name, record->namespace_name);
    if (order == 0)
        order = strcmp(view->service, record->service);
    if (order == 0 && view->slot != record->number)
        order = view->slot < record->number ? -1 : 1;
    return order;
}

static bool lists_any(const struct api_volumes *list, const struct document_volume *record)
{
    size_t low = 0, high = list->volume_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare_to_record(&list->volumes[middle], record) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < list->volume_count && compare_to_record(&list->volumes[low], record) == 0; low++) {
        if (strcmp(list->volumes[low].node, record->node) == 0)
            return true;
    }
    return false;
}

bool volume_rules_needs_slot(struct model *model, const struct document_volume *record)
{
    const struct model_service *service =
        model_service(model, record->namespace_name, record->service);
    return service != NULL && needs_volume(service, record->number, NULL);
}

bool volume_rules_is_void(struct model *model, const struct document_volume *record,
                          const struct api_volumes *list)
{
    if (volume_rules_needs_slot(model, record))
        return false;
    return model_node(model, record->node) == NULL ||
           (has_answered(list, record->node) && !lists_any(list, record));
}

uint64_t volume_rules_bytes(const struct document_template *template)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < template->volume_count; i++)
        bytes += template->volumes[i].size;
    return bytes;
}

static const struct api_volume *find_volume(const struct document_template *template,
                                            const char *name)
{
    for (size_t i = 0; i < template->volume_count; i++) {
        if (strcmp(template->volumes[i].name, name) == 0)
            return &template->volumes[i];
    }
    return NULL;
}

int volume_rules_check_sizes(const struct model_service *service,
                             const struct api_service_spec *spec, struct error *error)
{
    const struct document_revision *target =
        service != NULL ? model_revision(service, model_target(service)) : NULL;
    for (size_t i = 0; i < spec->volume_count && target != NULL; i++) {
        const struct api_volume *wanted = &spec->volumes[i];
        const struct api_volume *present = find_volume(&target->template, wanted->name);
        char pointer[64], from[TEXT_SIZE_MAX], to[TEXT_SIZE_MAX];
        if (present == NULL || wanted->size >= present->size)
            continue;
        snprintf(pointer, sizeof pointer, "/volumes/%zu/size", i);
        text_format_size(present->size, from, sizeof from);
        text_format_size(wanted->size, to, sizeof to);
        return error_set_at(error, ERROR_INVALID, pointer,
                            "volume %s has %s and does not shrink to %s: keep its size, or name "
                            "another volume and copy what is needed",
                            wanted->name, from, to);
    }
    return 0;
}
