/* What a placement costs: instances of one service placed in one decision on 100, 1,000 and 10,000
 * nodes of six kinds, without a store. `placement 10000`: only that many nodes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/xalloc.h"
#include "scheduler/capacity.h"

#define MIB (UINT64_C(1) << 20)

static void add_node(struct model *model, unsigned number)
{
    static const char *const zones[] = {"a", "b", "c"};
    struct document_node *node = document_create(DOCUMENT_NODE);
    snprintf(node->name, sizeof node->name, "node-%05u", number);
    snprintf(node->subnet, sizeof node->subnet, "10.%u.%u.0/24", 64 + number / 256 % 64,
             number % 256);
    node->machines = xcalloc(1, sizeof *node->machines);
    node->machine_count = 1;
    strcpy(node->machines[0].arch, "amd64");
    strcpy(node->machines[0].accel, number % 2 == 0 ? "kvm" : "tcg");
    json_map_set(&node->labels, "zone", zones[number % 3]);
    node->memory = (16384 + number % 7 * 1024) * MIB;
    node->overhead = 16 * MIB;
    node->vcpus = 1024;
    model_apply(model, DOCUMENT_NODE, node, false, 1);
    model_node(model, node->name)->reported = true;
}

static struct model_service *add_service(struct model *model, const char *spread)
{
    struct document_service *service = document_create(DOCUMENT_SERVICE);
    struct document_revision *revision = document_create(DOCUMENT_REVISION);
    strcpy(service->namespace_name, "default");
    strcpy(service->service, "s");
    strcpy(service->spec.placement.spread, spread);
    strcpy(revision->namespace_name, "default");
    strcpy(revision->service, "s");
    revision->number = 1;
    revision->template.resources = (struct api_resources){32 * MIB, 1};
    revision->platforms = xcalloc(1, sizeof *revision->platforms);
    revision->platform_count = 1;
    strcpy(revision->platforms[0].arch, "amd64");
    strcpy(revision->platforms[0].family, "shoal");
    model_apply(model, DOCUMENT_SERVICE, service, false, 1);
    model_apply(model, DOCUMENT_REVISION, revision, false, 1);
    return model_service(model, "default", "s");
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* One decision that places so many; nanoseconds of processor for each. */
static double place(struct model *model, struct model_service *service, unsigned count)
{
    struct capacity capacity;
    struct document_instance instance = {0};
    unsigned placed = 0;
    uint64_t start = now_ns();
    capacity_init(&capacity, model, 100000);
    struct capacity_search *search =
        capacity_search_begin(&capacity, service, model_revision(service, 1), 0);
    for (unsigned i = 0; i < count; i++)
        placed += capacity_search_place(search, &instance, NULL) == 0;
    capacity_search_end(search);
    capacity_finish(&capacity);
    if (placed != count)
        fprintf(stderr, "only %u of %u found a place\n", placed, count);
    return (double)(now_ns() - start) / count;
}

static double best_of(struct model *model, struct model_service *service, unsigned count)
{
    double best = place(model, service, count);
    for (int i = 0; i < 20; i++) {
        double again = place(model, service, count);
        best = again < best ? again : best;
    }
    return best;
}

int main(int argument_count, char **arguments)
{
    static const unsigned sizes[] = {100, 1000, 10000};
    static const unsigned counts[] = {1, 100, 1000, 10000};
    static const char *const spreads[] = {"node", "none", "label.zone"};
    unsigned only = argument_count > 1 ? (unsigned)strtoul(arguments[1], NULL, 10) : 0;
    printf("nanoseconds of processor for each placement\n%-12s %8s", "spread", "nodes");
    for (size_t c = 0; c < 4; c++)
        printf(" %7u at once", counts[c]);
    printf("\n");
    for (size_t s = 0; s < 3; s++) {
        for (size_t n = 0; n < 3; n++) {
            if (only != 0 && only != sizes[n])
                continue;
            struct model model;
            model_init(&model);
            for (unsigned i = 0; i < sizes[n]; i++)
                add_node(&model, i);
            struct model_service *service = add_service(&model, spreads[s]);
            printf("%-12s %8u", spreads[s], sizes[n]);
            for (size_t c = 0; c < 4; c++)
                printf(" %15.0f", best_of(&model, service, counts[c]));
            printf("\n");
            model_finish(&model);
        }
    }
    return 0;
}
