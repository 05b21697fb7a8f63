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
static const struct api_machine amd64_tcg = {"amd64", "tcg", NULL, {shoal_families, 1}};
static const struct api_machine amd64_kvm = {"amd64", "kvm", NULL, {shoal_families, 1}};
static const struct api_machine arm64_tcg = {"arm64", "tcg", NULL, {shoal_families, 1}};
static const struct placement_platform amd64 = {"amd64", "shoal"};
static const struct placement_platform both[] = {{"arm64", "shoal"}, {"amd64", "shoal"}};

static struct placement_node node(const char *name, uint64_t memory)
{
    return (struct placement_node){.name = name,
                                   .ready = true,
                                   .machines = &amd64_tcg,
                                   .machine_count = 1,
                                   .memory = memory,
                                   .overhead = 16 * MIB,
                                   .vcpus = 32};
}

static const struct placement_request small = {
    .memory = 32 * MIB, .vcpus = 1, .platforms = &amd64, .platform_count = 1};

/* Among nodes that lie one behind the other. */
static int choose(const struct placement_request *request, const struct placement_node *nodes,
                  size_t count, struct placement *ret_where, struct error *error)
{
    const struct placement_node *list[16];
    for (size_t i = 0; i < count; i++)
        list[i] = &nodes[i];
    return placement_choose(request, list, count, NULL, ret_where, error);
}

static void takes_the_node_with_fewest_of_the_service(void **state)
{
    (void)state;
    struct placement_node nodes[] = {node("a", 1024 * MIB), node("b", 512 * MIB)};
    struct placement where;
    nodes[0].of_service = 1;
    assert_int_equal(choose(&small, nodes, 2, &where, NULL), 0);
    assert_int_equal(where.node, 1);
    nodes[1].of_service = 2;
    assert_int_equal(choose(&small, nodes, 2, &where, NULL), 0);
    assert_int_equal(where.node, 0);
}

static void fills_one_node_first_without_spreading(void **state)
{
    (void)state;
    struct placement_node nodes[] = {node("a", 1024 * MIB), node("b", 1024 * MIB)};
    struct placement_request request = small;
    struct placement where;
    request.spread = PLACEMENT_SPREAD_NONE;
    nodes[1].memory_used = 512 * MIB;
    assert_int_equal(choose(&request, nodes, 2, &where, NULL), 0);
    assert_int_equal(where.node, 1);
}

static void counts_the_overhead_as_memory(void **state)
{
    (void)state;
    struct placement_node exact = node("a", 48 * MIB);
    struct placement_node less = node("a", 48 * MIB - 1);
    struct placement where;
    struct error error = ERROR_INIT;
    assert_int_equal(choose(&small, &exact, 1, &where, &error), 0);
    assert_int_equal(choose(&small, &less, 1, &where, &error), -1);
    assert_int_equal(error.code, ERROR_NO_CAPACITY);
}

static void promises_no_more_processors_than_the_node_does(void **state)
{
    (void)state;
    struct placement_node busy = node("a", 1024 * MIB);
    struct placement where;
    busy.vcpus_used = 31;
    assert_int_equal(choose(&small, &busy, 1, &where, NULL), 0);
    busy.vcpus_used++;
    assert_int_equal(choose(&small, &busy, 1, &where, NULL), -1);
}

static void passes_over_silent_nodes_and_full_subnets(void **state)
{
    (void)state;
    struct placement_node nodes[] = {node("a", 1024 * MIB), node("b", 1024 * MIB),
                                     node("c", 64 * MIB)};
    struct placement where;
    nodes[0].ready = false;
    nodes[1].address_ms = UINT64_MAX;
    assert_int_equal(choose(&small, nodes, 3, &where, NULL), 0);
    assert_int_equal(where.node, 2);
    struct error error = ERROR_INIT;
    assert_int_equal(choose(&small, nodes, 2, &where, &error), -1);
    assert_non_null(strstr(error.message, "no free address: a node's subnet has 253"));
}

static void needs_a_machine_of_the_image_architecture_and_family(void **state)
{
    (void)state;
    struct placement_node other = node("a", 1024 * MIB);
    struct placement_platform unknown = {"amd64", "elsewhere"};
    struct placement_request request = small;
    struct placement where;
    other.machines = &arm64_tcg;
    assert_int_equal(choose(&small, &other, 1, &where, NULL), -1);
    other.machines = &amd64_tcg;
    request.platforms = &unknown;
    assert_int_equal(choose(&request, &other, 1, &where, NULL), -1);
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
    assert_int_equal(choose(&request, &mixed, 1, &where, NULL), 0);
    assert_int_equal(where.platform, 1);
}

static void says_what_was_asked_and_what_each_node_has_free(void **state)
{
    (void)state;
    struct placement_node nodes[] = {node("full", 64 * MIB), node("gone", 1024 * MIB)};
    struct placement where;
    struct error error = ERROR_INIT;
    nodes[0].memory_used = 48 * MIB;
    nodes[1].ready = false;
    assert_int_equal(choose(&small, nodes, 2, &where, &error), -1);
    assert_non_null(strstr(error.message, "32Mi memory"));
    assert_non_null(strstr(error.message, "amd64 (shoal)"));
    assert_non_null(strstr(error.message, "1 node: memory: 16Mi free of 48Mi asked (full)"));
    assert_non_null(strstr(error.message, "1 node: silent: no report of it (gone)"));
}

static void says_so_when_no_node_has_joined(void **state)
{
    (void)state;
    struct placement where;
    struct error error = ERROR_INIT;
    assert_int_equal(placement_choose(&small, NULL, 0, NULL, &where, &error), -1);
    assert_non_null(strstr(error.message, "no node has joined"));
}

/* --- constraints, one after the other --- */

static struct api_constraint parsed(const char *text)
{
    struct api_constraint constraint = {0};
    assert_int_equal(api_constraint_parse(text, &constraint, NULL), 0);
    return constraint;
}

/* Why the node cannot, with one constraint. */
static enum placement_reason asked_of(const struct placement_node *candidate, const char *text)
{
    struct api_constraint constraint = parsed(text);
    struct placement_request request = small;
    struct placement_verdict verdict;
    request.constraints = &constraint;
    request.constraint_count = 1;
    enum placement_reason reason = placement_check(candidate, &request, &verdict);
    api_constraint_release(&constraint);
    return reason;
}

static void constraints_ask_about_name_labels_and_machines(void **state)
{
    (void)state;
    struct placement_node candidate = node("a", 1024 * MIB);
    struct json_map labels = {0};
    json_map_set(&labels, "zone", "eu-1");
    candidate.labels = &labels;
    assert_int_equal(asked_of(&candidate, "label.zone == eu-1"), PLACEMENT_FITS);
    assert_int_equal(asked_of(&candidate, "label.zone ~ eu-*"), PLACEMENT_FITS);
    assert_int_equal(asked_of(&candidate, "label.zone in us-1, eu-1"), PLACEMENT_FITS);
    assert_int_equal(asked_of(&candidate, "label.zone != eu-1"), PLACEMENT_CONSTRAINT);
    assert_int_equal(asked_of(&candidate, "label.rack != r1"), PLACEMENT_FITS);
    assert_int_equal(asked_of(&candidate, "label.rack == r1"), PLACEMENT_CONSTRAINT);
    assert_int_equal(asked_of(&candidate, "node == a"), PLACEMENT_FITS);
    assert_int_equal(asked_of(&candidate, "node in (b, c)"), PLACEMENT_CONSTRAINT);
    assert_int_equal(asked_of(&candidate, "accel == kvm"), PLACEMENT_MACHINE);
    assert_int_equal(asked_of(&candidate, "arch == amd64"), PLACEMENT_FITS);
    assert_int_equal(asked_of(&candidate, "family == linux"), PLACEMENT_MACHINE);
    json_map_release(&labels);
}

/* An arm64 machine with KVM does not make an emulated amd64 one accelerated. */
static void constraints_on_machines_hold_for_one_and_the_same(void **state)
{
    (void)state;
    struct api_machine machines[] = {{"arm64", "kvm", NULL, {shoal_families, 1}}, amd64_tcg};
    struct placement_node mixed = node("a", 1024 * MIB);
    mixed.machines = machines;
    mixed.machine_count = 2;
    assert_int_equal(asked_of(&mixed, "accel == kvm"), PLACEMENT_MACHINE);
}

static void tells_every_reason_apart(void **state)
{
    (void)state;
    struct placement_node candidate = node("a", 1024 * MIB);
    struct placement_request request = small;
    struct placement_verdict verdict;
    uint32_t port = 80;
    struct api_observed_frontend unbound = {.publish = 80};
    char volumes[] = "volumes";
    char *features[] = {volumes};
    struct json_strings with_volumes = {features, 1};
    candidate.eligibility = NODE_DRAINING;
    assert_int_equal(placement_check(&candidate, &small, &verdict), PLACEMENT_NOT_ELIGIBLE);
    assert_int_equal(verdict.eligibility, NODE_DRAINING);
    candidate.eligibility = NODE_ELIGIBLE;
    request.ports = &port;
    request.port_count = 1;
    candidate.frontends = &unbound;
    candidate.frontend_count = 1;
    assert_int_equal(placement_check(&candidate, &request, &verdict), PLACEMENT_PORT);
    unbound.bound = true;
    candidate.of_service = 2;
    request.max_per_node = 3;
    assert_int_equal(placement_check(&candidate, &request, &verdict), PLACEMENT_FITS);
    request.max_per_node = 2;
    assert_int_equal(placement_check(&candidate, &request, &verdict), PLACEMENT_MAX_PER_NODE);
    request.distinct_nodes = true;
    assert_int_equal(placement_check(&candidate, &request, &verdict), PLACEMENT_DISTINCT_NODES);
    request.has_volumes = true;
    assert_int_equal(placement_check(&candidate, &request, &verdict), PLACEMENT_NO_VOLUMES);
    candidate.features = &with_volumes;
    request.volume_node = "b";
    assert_int_equal(placement_check(&candidate, &request, &verdict), PLACEMENT_VOLUME_ELSEWHERE);
    request.volume_node = NULL;
    request.volume_bytes = 64 * MIB;
    assert_int_not_equal(placement_check(&candidate, &request, &verdict), PLACEMENT_VOLUME_ROOM);
    candidate.volumes = 100 * MIB; /* said to be no more */
    candidate.volumes_used = 36 * MIB;
    assert_int_not_equal(placement_check(&candidate, &request, &verdict), PLACEMENT_VOLUME_ROOM);
    candidate.volumes_used = 37 * MIB;
    assert_int_equal(placement_check(&candidate, &request, &verdict), PLACEMENT_VOLUME_ROOM);
    assert_int_equal(verdict.free, 63 * MIB);
    assert_int_equal(verdict.asked, 64 * MIB);
    candidate.volumes = 1 * MIB; /* less than before */
    assert_int_equal(placement_check(&candidate, &request, &verdict), PLACEMENT_VOLUME_ROOM);
    assert_int_equal(verdict.free, 0);
    candidate.volumes = candidate.volumes_used = request.volume_bytes = 0;
    request.volume_node = "b";
}

static void groups_nodes_by_reason_and_names_some(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"};
    struct placement_node nodes[10];
    struct placement where;
    struct error error = ERROR_INIT;
    for (size_t i = 0; i < 10; i++)
        nodes[i] = node(names[i], (i + 1) * MIB);
    nodes[0].machines = &arm64_tcg;
    assert_int_equal(choose(&small, nodes, 10, &where, &error), -1);
    assert_non_null(strstr(error.message, "9 nodes: memory: at most 10Mi free of 48Mi asked "
                                          "(b, c, d, e, f, g, h, i and 1 more)"));
    assert_non_null(strstr(error.message, "1 node: no machine for this image"));
}

/* --- scores --- */

static void spreads_over_the_values_of_a_label(void **state)
{
    (void)state;
    struct placement_node nodes[] = {node("a", 1024 * MIB), node("b", 1024 * MIB),
                                     node("c", 512 * MIB)};
    const struct placement_node *list[] = {&nodes[0], &nodes[1], &nodes[2]};
    struct json_map east = {0}, west = {0};
    struct placement_counts counts = {0};
    struct placement_request request = small;
    struct placement where;
    json_map_set(&east, "zone", "east");
    json_map_set(&west, "zone", "west");
    nodes[0].labels = &east;
    nodes[1].labels = &east;
    nodes[2].labels = &west;
    nodes[2].memory_used = 256 * MIB;
    request.spread = PLACEMENT_SPREAD_LABEL;
    request.spread_label = "zone";
    placement_counts_add(&counts, "east");
    assert_int_equal(placement_choose(&request, list, 3, &counts, &where, NULL), 0);
    assert_int_equal(where.node, 2);
    placement_counts_add(&counts, "west");
    nodes[0].of_service = 1;
    assert_int_equal(placement_choose(&request, list, 3, &counts, &where, NULL), 0);
    assert_int_equal(where.node, 1);
    placement_counts_finish(&counts);
    json_map_release(&east);
    json_map_release(&west);
}

static void an_affinity_draws_as_much_as_it_weighs(void **state)
{
    (void)state;
    struct placement_node nodes[] = {node("a", 1024 * MIB), node("b", 1024 * MIB)};
    struct json_map labels = {0};
    struct placement_affinity ssd = {parsed("label.disk == ssd"), 50};
    struct placement_request request = small;
    struct placement where;
    json_map_set(&labels, "disk", "ssd");
    nodes[1].labels = &labels;
    nodes[1].memory_used = 512 * MIB;
    request.affinities = &ssd;
    request.affinity_count = 1;
    assert_int_equal(choose(&request, nodes, 2, &where, NULL), 0);
    assert_int_equal(where.node, 1);
    /* One more instance there is worth 100. */
    nodes[1].of_service = 1;
    assert_int_equal(choose(&request, nodes, 2, &where, NULL), 0);
    assert_int_equal(where.node, 0);
    api_constraint_release(&ssd.constraint);
    json_map_release(&labels);
}

static void prefers_an_accelerated_node_and_one_that_has_not_failed_it(void **state)
{
    (void)state;
    struct placement_node nodes[] = {node("a", 1024 * MIB), node("b", 1024 * MIB)};
    struct placement where;
    nodes[1].machines = &amd64_kvm;
    nodes[1].memory_used = 512 * MIB;
    assert_int_equal(choose(&small, nodes, 2, &where, NULL), 0);
    assert_int_equal(where.node, 1);
    nodes[1].liking = -placement_failure_points(0);
    assert_int_equal(choose(&small, nodes, 2, &where, NULL), 0);
    assert_int_equal(where.node, 0);
    nodes[1].liking = -placement_failure_points(PLACEMENT_FAILURE_FORGET_MS - 1000);
    assert_int_equal(choose(&small, nodes, 2, &where, NULL), 0);
    assert_int_equal(where.node, 1);
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
        cmocka_unit_test(constraints_ask_about_name_labels_and_machines),
        cmocka_unit_test(constraints_on_machines_hold_for_one_and_the_same),
        cmocka_unit_test(tells_every_reason_apart),
        cmocka_unit_test(groups_nodes_by_reason_and_names_some),
        cmocka_unit_test(spreads_over_the_values_of_a_label),
        cmocka_unit_test(an_affinity_draws_as_much_as_it_weighs),
        cmocka_unit_test(prefers_an_accelerated_node_and_one_that_has_not_failed_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
