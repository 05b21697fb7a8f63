#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "scheduler/placement.h"

#define MIB (UINT64_C(1) << 20)

static char shoal_family[] = "shoal";
static char *shoal_families[] = {shoal_family};
static const struct api_machine amd64_tcg = {"amd64", "tcg", {shoal_families, 1}};
static const struct api_machine amd64_kvm = {"amd64", "kvm", {shoal_families, 1}};
static const struct api_machine arm64_tcg = {"arm64", "tcg", {shoal_families, 1}};
static const struct placement_platform amd64 = {"amd64", "shoal"};
static const struct placement_platform both[] = {{"arm64", "shoal"}, {"amd64", "shoal"}};

static struct placement_node node(const char *name, uint64_t memory)
{
    return (struct placement_node){.name = name,
                                   .machines = &amd64_tcg,
                                   .machine_count = 1,
                                   .memory = memory,
                                   .overhead = 16 * MIB,
                                   .vcpus = 32,
                                   .addresses_free = 10};
}

static const struct placement_request small = {32 * MIB, 1, &amd64, 1, API_SPREAD_NODE};

static void takes_the_node_with_fewest_of_the_service(void **state)
{
    (void)state;
    struct placement_node nodes[] = {node("a", 1024 * MIB), node("b", 512 * MIB)};
    struct placement where;
    nodes[0].of_service = 1;
    assert_int_equal(placement_choose(&small, nodes, 2, &where, NULL), 0);
    assert_int_equal(where.node, 1);
    nodes[1].of_service = 2;
    assert_int_equal(placement_choose(&small, nodes, 2, &where, NULL), 0);
    assert_int_equal(where.node, 0);
}

static void fills_one_node_first_without_spreading(void **state)
{
    (void)state;
    struct placement_node nodes[] = {node("a", 1024 * MIB), node("b", 1024 * MIB)};
    struct placement_request request = small;
    struct placement where;
    request.spread = API_SPREAD_NONE;
    nodes[1].memory_used = 512 * MIB;
    assert_int_equal(placement_choose(&request, nodes, 2, &where, NULL), 0);
    assert_int_equal(where.node, 1);
}

static void counts_the_overhead_as_memory(void **state)
{
    (void)state;
    struct placement_node exact = node("a", 48 * MIB);
    struct placement_node less = node("a", 48 * MIB - 1);
    struct placement where;
    struct error error = ERROR_INIT;
    assert_int_equal(placement_choose(&small, &exact, 1, &where, &error), 0);
    assert_int_equal(placement_choose(&small, &less, 1, &where, &error), -1);
    assert_int_equal(error.code, ERROR_NO_CAPACITY);
}

static void promises_no_more_processors_than_the_node_does(void **state)
{
    (void)state;
    struct placement_node busy = node("a", 1024 * MIB);
    struct placement where;
    busy.vcpus_used = 31;
    assert_int_equal(placement_choose(&small, &busy, 1, &where, NULL), 0);
    busy.vcpus_used++;
    assert_int_equal(placement_choose(&small, &busy, 1, &where, NULL), -1);
}

static void passes_over_silent_nodes_and_full_subnets(void **state)
{
    (void)state;
    struct placement_node nodes[] = {node("a", 1024 * MIB), node("b", 1024 * MIB),
                                     node("c", 64 * MIB)};
    struct placement where;
    nodes[0].silent = true;
    nodes[1].addresses_free = 0;
    assert_int_equal(placement_choose(&small, nodes, 3, &where, NULL), 0);
    assert_int_equal(where.node, 2);
}

static void needs_a_machine_of_the_image_architecture_and_family(void **state)
{
    (void)state;
    struct placement_node other = node("a", 1024 * MIB);
    struct placement_platform unknown = {"amd64", "elsewhere"};
    struct placement_request request = small;
    struct placement where;
    other.machines = &arm64_tcg;
    assert_int_equal(placement_choose(&small, &other, 1, &where, NULL), -1);
    other.machines = &amd64_tcg;
    request.platforms = &unknown;
    assert_int_equal(placement_choose(&request, &other, 1, &where, NULL), -1);
}

static void prefers_an_accelerated_machine(void **state)
{
    (void)state;
    struct api_machine machines[] = {arm64_tcg, amd64_kvm};
    struct placement_node mixed = node("a", 1024 * MIB);
    struct placement_request request = small;
    struct placement where;
    mixed.machines = machines;
    mixed.machine_count = 2;
    request.platforms = both;
    request.platform_count = 2;
    assert_int_equal(placement_choose(&request, &mixed, 1, &where, NULL), 0);
    assert_int_equal(where.platform, 1);
}

static void says_what_was_asked_and_what_each_node_has_free(void **state)
{
    (void)state;
    struct placement_node nodes[] = {node("full", 64 * MIB), node("gone", 1024 * MIB)};
    struct placement where;
    struct error error = ERROR_INIT;
    nodes[0].memory_used = 48 * MIB;
    nodes[1].silent = true;
    assert_int_equal(placement_choose(&small, nodes, 2, &where, &error), -1);
    assert_non_null(strstr(error.message, "32Mi memory"));
    assert_non_null(strstr(error.message, "amd64 (shoal)"));
    assert_non_null(strstr(error.message, "node full: 16Mi and 32 vcpus free"));
    assert_non_null(strstr(error.message, "node gone: silent"));
}

static void says_so_when_no_node_has_joined(void **state)
{
    (void)state;
    struct placement where;
    struct error error = ERROR_INIT;
    assert_int_equal(placement_choose(&small, NULL, 0, &where, &error), -1);
    assert_non_null(strstr(error.message, "no node has joined"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_node_with_fewest_of_the_service),
        cmocka_unit_test(fills_one_node_first_without_spreading),
        cmocka_unit_test(counts_the_overhead_as_memory),
        cmocka_unit_test(promises_no_more_processors_than_the_node_does),
        cmocka_unit_test(passes_over_silent_nodes_and_full_subnets),
        cmocka_unit_test(needs_a_machine_of_the_image_architecture_and_family),
        cmocka_unit_test(prefers_an_accelerated_machine),
        cmocka_unit_test(says_what_was_asked_and_what_each_node_has_free),
        cmocka_unit_test(says_so_when_no_node_has_joined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
