/* The index of places against looking at all nodes: on random clusters both find a place or both
 * none, and one that is as good. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"
#include "scheduler/placement_index.h"

#define MIB       (UINT64_C(1) << 20)
#define NODES_MAX 60

struct cluster {
    uint32_t random;
    struct placement_index index;
    struct placement_entry entries[NODES_MAX];
    const struct placement_node *list[NODES_MAX];
    char names[NODES_MAX][8];
    struct api_observed_frontend frontends[NODES_MAX];
    size_t count;
};

static char shoal_family[] = "shoal";
static char *shoal_families[] = {shoal_family};
static const struct api_machine machines[] = {{"amd64", "tcg", NULL, {shoal_families, 1}},
                                              {"amd64", "kvm", NULL, {shoal_families, 1}},
                                              {"arm64", "tcg", NULL, {shoal_families, 1}}};
static const struct placement_platform platforms[] = {{"amd64", "shoal"}, {"arm64", "shoal"}};
static struct json_map zones[4];
static const uint32_t port = 80;

static uint32_t below(struct cluster *cluster, uint32_t limit)
{
    cluster->random = cluster->random * 1664525u + 1013904223u;
    return (cluster->random >> 8) % limit;
}

static void set_facts(struct cluster *cluster, size_t i)
{
    struct placement_node *node = &cluster->entries[i].node;
    node->name = cluster->names[i];
    node->ready = below(cluster, 10) > 0;
    node->eligibility = below(cluster, 10) > 0 ? NODE_ELIGIBLE : NODE_CORDONED;
    node->machines = &machines[below(cluster, 2)];
    node->machine_count = 1 + below(cluster, 2);
    node->labels = &zones[below(cluster, 4)];
    node->memory = (32 + below(cluster, 512)) * MIB;
    node->overhead = below(cluster, 3) * 8 * MIB;
    node->memory_used = below(cluster, 256) * MIB;
    node->vcpus = 1 + below(cluster, 16);
    node->vcpus_used = below(cluster, 16);
    node->address_ms = below(cluster, 6) > 0 ? 0 : below(cluster, 2) > 0 ? 500 : UINT64_MAX;
    cluster->frontends[i] = (struct api_observed_frontend){.publish = port};
    cluster->frontends[i].bound = below(cluster, 5) > 0;
    node->frontends = &cluster->frontends[i];
    node->frontend_count = 1;
}

static void make(struct cluster *cluster, uint32_t seed)
{
    *cluster = (struct cluster){.random = seed};
    cluster->count = 1 + below(cluster, NODES_MAX);
    for (size_t i = 0; i < cluster->count; i++) {
        snprintf(cluster->names[i], sizeof cluster->names[i], "n%zu", i % 100);
        set_facts(cluster, i);
        cluster->list[i] = &cluster->entries[i].node;
        placement_index_put(&cluster->index, &cluster->entries[i]);
    }
}

/* Nodes come, go, change what they are and what they hold. */
static void disturb(struct cluster *cluster)
{
    for (uint32_t times = below(cluster, 8); times > 0; times--) {
        size_t i = below(cluster, (uint32_t)cluster->count);
        struct placement_entry *entry = &cluster->entries[i];
        if (below(cluster, 3) == 0)
            placement_index_remove(&cluster->index, entry);
        if (below(cluster, 2) == 0) {
            entry->node.memory_used = below(cluster, 256) * MIB;
            placement_index_refresh(entry);
        }
        if (entry->class == NULL || below(cluster, 2) == 0) {
            set_facts(cluster, i);
            placement_index_put(&cluster->index, entry);
        }
    }
}

static struct api_constraint constraints[2];
static struct placement_affinity affinities[1];

static struct placement_request ask(struct cluster *cluster)
{
    static const char *const texts[] = {"label.zone == z1", "label.zone != z2",
                                        "accel == kvm",     "node ~ n1*",
                                        "node != n3",       "label.zone in (z1, z3)"};
    struct placement_request request = {.memory = (1 + below(cluster, 64)) * MIB,
                                        .vcpus = 1 + below(cluster, 3),
                                        .platforms = platforms,
                                        .platform_count = 1 + below(cluster, 2),
                                        .spread = (enum placement_spread)below(cluster, 3),
                                        .spread_label = "zone",
                                        .constraints = constraints,
                                        .constraint_count = below(cluster, 3),
                                        .affinities = affinities,
                                        .affinity_count = below(cluster, 2),
                                        .distinct_nodes = below(cluster, 6) == 0,
                                        .max_per_node = below(cluster, 4),
                                        .ports = &port,
                                        .port_count = below(cluster, 2),
                                        .now_ms = below(cluster, 2) * 1000};
    for (size_t i = 0; i < ARRAY_LENGTH(constraints); i++)
        assert_int_equal(api_constraint_parse(texts[below(cluster, 6)], &constraints[i], NULL), 0);
    assert_int_equal(
        api_constraint_parse(texts[below(cluster, 3)], &affinities[0].constraint, NULL), 0);
    affinities[0].weight = 1 + below(cluster, 100);
    return request;
}

static void forget(void)
{
    for (size_t i = 0; i < ARRAY_LENGTH(constraints); i++)
        api_constraint_release(&constraints[i]);
    api_constraint_release(&affinities[0].constraint);
}

static void expect_same(struct cluster *cluster, struct placement_search *search, uint32_t seed)
{
    const struct placement_request *request = search->request;
    struct placement where;
    struct placement_verdict verdict;
    size_t platform = 0;
    int64_t points = 0;
    struct placement_entry *entry = placement_search_best(search, &platform, &points);
    int result =
        placement_choose(request, cluster->list, cluster->count, &search->counts, &where, NULL);
    if ((entry != NULL) != (result == 0))
        fail_msg("seed %u: one finds a place, the other none", seed);
    if (entry == NULL)
        return;
    struct placement_entry *other = &cluster->entries[where.node];
    assert_int_equal(placement_check(&other->node, request, &verdict), PLACEMENT_FITS);
    int64_t best = placement_search_points(search, other, &verdict);
    assert_int_equal(placement_check(&entry->node, request, &verdict), PLACEMENT_FITS);
    if (points != best || placement_search_points(search, entry, &verdict) != best)
        fail_msg("seed %u: a place for %lld points, where one for %lld is", seed, (long long)points,
                 (long long)best);
    assert_int_equal(verdict.platform, platform);
    entry->node.memory_used += request->memory + entry->node.overhead;
    entry->node.vcpus_used += request->vcpus;
    placement_search_count(search, entry);
}

static void finds_what_looking_at_all_finds(void **state)
{
    (void)state;
    char zone[3] = "z0";
    struct cluster *cluster = xcalloc(1, sizeof *cluster);
    for (size_t i = 1; i < 4; i++) {
        zone[1] = (char)('0' + i);
        json_map_set(&zones[i], "zone", zone);
    }
    for (uint32_t seed = 1; seed <= 1500; seed++) {
        make(cluster, seed);
        for (int requests = 0; requests < 4; requests++) {
            struct placement_request request = ask(cluster);
            struct placement_search search;
            placement_search_begin(&search, &cluster->index, &request);
            for (uint32_t i = below(cluster, 4); i > 0; i--)
                placement_search_like(&search,
                                      &cluster->entries[below(cluster, (uint32_t)cluster->count)],
                                      (int32_t)below(cluster, 8000) - 4000);
            for (int places = 0; places < 12; places++)
                expect_same(cluster, &search, seed);
            placement_search_end(&search);
            forget();
            disturb(cluster);
            for (size_t i = 0; i < cluster->count; i++) {
                if (cluster->entries[i].class == NULL)
                    placement_index_put(&cluster->index, &cluster->entries[i]);
            }
        }
        placement_index_finish(&cluster->index);
    }
    for (size_t i = 0; i < ARRAY_LENGTH(zones); i++)
        json_map_release(&zones[i]);
    free(cluster);
}

/* Spread over a label whose value each node has for itself, placing costs no more than without. */
static void a_label_may_have_as_many_values_as_there_are_nodes(void **state)
{
    (void)state;
    enum { NODES = 2000, PLACES = 1500 };
    struct placement_index index = {0};
    struct placement_entry *entries = xcalloc(NODES, sizeof *entries);
    struct json_map *labels = xcalloc(NODES, sizeof *labels);
    struct placement_request request = {.memory = MIB,
                                        .vcpus = 1,
                                        .platforms = platforms,
                                        .platform_count = 1,
                                        .spread = PLACEMENT_SPREAD_LABEL,
                                        .spread_label = "host"};
    struct placement_search search;
    size_t platform;
    int64_t points;
    for (size_t i = 0; i < NODES; i++) {
        char host[16];
        snprintf(host, sizeof host, "h%zu", i);
        json_map_set(&labels[i], "host", host);
        entries[i].node = (struct placement_node){.name = "n",
                                                  .ready = true,
                                                  .machines = machines,
                                                  .machine_count = 1,
                                                  .labels = &labels[i],
                                                  .memory = 100 * MIB,
                                                  .vcpus = 100};
        placement_index_put(&index, &entries[i]);
    }
    placement_search_begin(&search, &index, &request);
    assert_int_equal(search.counts.count, NODES);
    for (size_t i = 0; i < PLACES; i++)
        placement_search_count(&search, placement_search_best(&search, &platform, &points));
    for (size_t i = 0; i < NODES; i++)
        assert_true(entries[i].node.of_service <= 1);
    placement_search_end(&search);
    /* What no node is any more is not kept. */
    for (size_t i = 0; i < NODES; i++) {
        entries[i].node.labels = &labels[0];
        placement_index_put(&index, &entries[i]);
    }
    assert_int_equal(index.class_count, 1);
    for (size_t i = 0; i < NODES; i++) {
        placement_index_remove(&index, &entries[i]);
        json_map_release(&labels[i]);
    }
    assert_int_equal(index.class_count, 0);
    placement_index_finish(&index);
    free(entries);
    free(labels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_label_may_have_as_many_values_as_there_are_nodes),
        cmocka_unit_test(finds_what_looking_at_all_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
