#include "scheduler/confirmation.h"

#include <stdlib.h>
#include <string.h>

#include "scheduler/model.h"

/* --- revisions --- */

static void count_holders(struct model *model)
{
    struct confirmation *confirmation = &model->confirmation;
    *confirmation =
        (struct confirmation){.live = confirmation->live, .revision = UINT64_MAX, .is_known = true};
    for (size_t i = 0; i < model->nodes.count; i++) {
        const struct model_node *node = model->nodes.items[i];
        if (node->silent || node->confirmed > confirmation->revision)
            continue;
        if (node->confirmed < confirmation->revision)
            confirmation->holders = 0;
        confirmation->revision = node->confirmed;
        confirmation->holders++;
    }
}

uint64_t confirmation_revision(struct model *model)
{
    if (!model->confirmation.is_known)
        count_holders(model);
    return model->confirmation.revision;
}

/* One that leaves the lowest revision last has the next lowest looked for: once for each revision,
 * not once for each node. */
void confirmation_apply(struct model_node *node, uint64_t revision)
{
    struct confirmation *confirmation = &node->model->confirmation;
    uint64_t before = node->confirmed;
    node->confirmed = revision;
    if (before == revision || !confirmation->is_known || node->silent)
        return;
    if (before == confirmation->revision)
        confirmation->holders--;
    if (revision == confirmation->revision)
        confirmation->holders++;
    confirmation->is_known = revision >= confirmation->revision && confirmation->holders > 0;
}

/* --- connections --- */

static int compare_draining(const void *left, const void *right)
{
    const struct api_draining *one = left, *other = right;
    int order = strcmp(one->id, other->id);
    /* The one with most connections first: it is the one that counts. */
    return order != 0
               ? order
               : (one->connections < other->connections) - (one->connections > other->connections);
}

static size_t drop_repeated(struct api_draining *draining, size_t count)
{
    size_t kept = 0;
    qsort(draining, count, sizeof *draining, compare_draining);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || strcmp(draining[i].id, draining[kept - 1].id) != 0)
            draining[kept++] = draining[i];
    }
    return kept;
}

static void count_clear(struct model_node *node, int by)
{
    for (size_t i = 0; i < node->draining_count; i++) {
        struct model_instance *instance = model_instance(node->model, node->draining[i].id);
        /* Of one that is not there yet nothing is taken back later. */
        if (instance == NULL && by > 0)
            node->draining[i].connections = 1;
        if (instance == NULL || node->draining[i].connections > 0)
            continue;
        instance->clear_nodes += (uint32_t)by;
        if (by > 0 && instance->service != NULL)
            model_touch_service(instance->service);
    }
}

static void forget_draining(struct model_node *node)
{
    count_clear(node, -1);
    free(node->draining);
    node->draining = NULL;
    node->draining_count = 0;
}

void confirmation_take_draining(struct model_node *node, struct api_draining *draining,
                                size_t count)
{
    forget_draining(node);
    node->draining = draining;
    node->draining_count = count > 0 ? drop_repeated(draining, count) : 0;
    count_clear(node, 1);
}

bool confirmation_is_clear(const struct model *model, const struct model_instance *instance)
{
    return instance->clear_nodes == model->confirmation.live;
}

/* --- nodes --- */

void confirmation_add(struct model_node *node)
{
    node->model->confirmation.live++;
    node->model->confirmation.is_known = false;
}

void confirmation_forget(struct model_node *node)
{
    forget_draining(node);
    node->model->confirmation.live--;
    node->model->confirmation.is_known = false;
}
