/* What all live nodes have confirmed, against counting it anew after every step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/model.h"

#define NODES     7
#define INSTANCES 5

static uint32_t draw(uint32_t *seed, uint32_t below)
{
    *seed = *seed * 1103515245 + 12345;
    return (*seed >> 16) % below;
}

static void add_node(struct model *model, unsigned number)
{
    struct document_node *node = document_create(DOCUMENT_NODE);
    snprintf(node->name, sizeof node->name, "n%u", number);
    model_apply(model, DOCUMENT_NODE, node, false, 1000);
}

static void add_instance(struct model *model, unsigned number)
{
    struct document_instance *instance = document_create(DOCUMENT_INSTANCE);
    snprintf(instance->id, sizeof instance->id, "%012u", number);
    instance->wish = WISH_DRAIN;
    model_apply(model, DOCUMENT_INSTANCE, instance, false, 1000);
}

static bool says_clear(const struct model_node *node, const char *id)
{
    for (size_t i = 0; i < node->draining_count; i++) {
        if (strcmp(node->draining[i].id, id) == 0)
            return node->draining[i].connections == 0;
    }
    return false;
}

static void check(struct model *model)
{
    uint64_t lowest = UINT64_MAX;
    for (size_t i = 0; i < model->nodes.count; i++) {
        const struct model_node *node = model->nodes.items[i];
        if (!node->silent && node->confirmed < lowest)
            lowest = node->confirmed;
    }
    assert_int_equal(confirmation_revision(model), lowest);
    for (size_t i = 0; i < model->instances.count; i++) {
        const struct model_instance *instance = model->instances.items[i];
        bool clear = true;
        for (size_t j = 0; j < model->nodes.count; j++) {
            const struct model_node *node = model->nodes.items[j];
            clear = clear && (node->silent || says_clear(node, instance->name));
        }
        assert_int_equal(confirmation_is_clear(model, instance), clear);
    }
}

static void say(struct model_node *node, uint32_t *seed)
{
    size_t count = draw(seed, 2 * INSTANCES);
    struct api_draining *draining = xcalloc(count + 1, sizeof *draining);
    for (size_t i = 0; i < count; i++) {
        snprintf(draining[i].id, sizeof draining[i].id, "%012u", draw(seed, INSTANCES + 1));
        draining[i].connections = draw(seed, 3) == 0;
    }
    confirmation_take_draining(node, draining, count);
}

/* An id may be told of before there is such an instance, by an agent that makes it up. */
static void add_another(struct model *model, unsigned number)
{
    char id[INSTANCE_ID_MAX];
    snprintf(id, sizeof id, "%012u", number);
    if (model_instance(model, id) == NULL)
        add_instance(model, number);
}

static void step(struct model *model, uint32_t *seed)
{
    if (draw(seed, 1000) == 0)
        add_another(model, draw(seed, INSTANCES));
    unsigned number = draw(seed, NODES);
    char name[8];
    snprintf(name, sizeof name, "n%u", number);
    struct model_node *node = model_node(model, name);
    if (node == NULL) {
        add_node(model, number);
        return;
    }
    switch (draw(seed, 8)) {
    case 0:
        model_move_node(model, node, NODE_SUSPECT, 1000);
        break;
    case 1:
        if (node->silent)
            model_move_node(model, node, NODE_LOST, 1000);
        break;
    case 2:
        model_apply(model, DOCUMENT_NODE, document_copy(DOCUMENT_NODE, node->document), true, 1000);
        break;
    case 3:
    case 4:
        model_hear_node(model, node, 1000);
        say(node, seed);
        break;
    default:
        if (!node->silent)
            confirmation_apply(node, node->confirmed + draw(seed, 3));
        break;
    }
}

static void what_is_kept_is_what_counting_finds(void **state)
{
    (void)state;
    uint32_t seed = 20261125;
    struct model model;
    model_init(&model);
    for (unsigned i = 0; i < 20000; i++) {
        step(&model, &seed);
        check(&model);
    }
    model_finish(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_kept_is_what_counting_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
