#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "scheduler/subnets.h"

static void join(struct model *model, const char *name, const char *subnet)
{
    struct document_node *node = document_create(DOCUMENT_NODE);
    text_copy(node->name, sizeof node->name, name);
    text_copy(node->subnet, sizeof node->subnet, subnet);
    model_apply(model, DOCUMENT_NODE, node, false, 0);
}

static const char *lease(struct model *model, const char *network, const char *node,
                         const char *claimed)
{
    static char subnet[24];
    struct error error = ERROR_INIT;
    if (subnets_lease(model, NULL, network, node, claimed, subnet, sizeof subnet, &error) < 0)
        return NULL;
    return subnet;
}

static void each_node_gets_the_first_free_one(void **state)
{
    (void)state;
    struct model model;
    model_init(&model);
    assert_string_equal(lease(&model, "10.64.0.0/10", "a", ""), "10.64.0.0/24");
    join(&model, "a", "10.64.0.0/24");
    join(&model, "c", "10.64.2.0/24");
    assert_string_equal(lease(&model, "10.64.0.0/10", "b", ""), "10.64.1.0/24");
    model_finish(&model);
}

static void a_node_keeps_its_own(void **state)
{
    (void)state;
    struct model model;
    model_init(&model);
    join(&model, "a", "10.64.7.0/24");
    assert_string_equal(lease(&model, "10.64.0.0/10", "a", "10.64.9.0/24"), "10.64.7.0/24");
    model_finish(&model);
}

static void a_claim_counts_when_it_is_free_and_within(void **state)
{
    (void)state;
    struct model model;
    model_init(&model);
    join(&model, "a", "10.64.7.0/24");
    assert_string_equal(lease(&model, "10.64.0.0/10", "b", "10.64.9.0/24"), "10.64.9.0/24");
    assert_string_equal(lease(&model, "10.64.0.0/10", "b", "10.64.7.0/24"), "10.64.0.0/24");
    assert_string_equal(lease(&model, "10.64.0.0/10", "b", "192.168.1.0/24"), "10.64.0.0/24");
    assert_string_equal(lease(&model, "10.64.0.0/10", "b", "10.64.9.0/16"), "10.64.0.0/24");
    assert_string_equal(lease(&model, "10.64.0.0/10", "b", "10.64.9.0/32"), "10.64.0.0/24");
    model_finish(&model);
}

static void a_full_network_says_so(void **state)
{
    (void)state;
    struct model model;
    model_init(&model);
    join(&model, "a", "10.64.0.0/24");
    assert_null(lease(&model, "10.64.0.0/24", "b", ""));
    model_finish(&model);
}

static void what_is_no_network_is_refused(void **state)
{
    (void)state;
    const char *const bad[] = {"10.64.0.0",    "10.64.0.0/33", "10.64.0.1/10", "x/10",
                               "10.64.0.0/30", "10.64.0.0/32", "10.64.0.0/0"};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        assert_int_equal(subnets_check_network(bad[i], NULL), -1);
    assert_int_equal(subnets_check_network("10.64.0.0/10", NULL), 0);
    assert_int_equal(subnets_check_network("192.168.4.0/24", NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_node_gets_the_first_free_one),
        cmocka_unit_test(a_node_keeps_its_own),
        cmocka_unit_test(a_claim_counts_when_it_is_free_and_within),
        cmocka_unit_test(a_full_network_says_so),
        cmocka_unit_test(what_is_no_network_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
