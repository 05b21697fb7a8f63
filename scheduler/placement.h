/* Where an instance goes. Pure: values in, a node or an explanation out.
 *
 * Memory is never promised twice: an instance needs its own and the node's overhead. Virtual
 * processors are as many as the node says may be promised. */
#pragma once

#include "lib/api/agent.h"

struct placement_node {
    const char *name;
    bool silent;
    enum node_eligibility eligibility;
    const struct api_machine *machines;
    size_t machine_count;
    uint64_t memory;   /* bytes for guests with their overhead */
    uint64_t overhead; /* bytes for each instance */
    uint32_t vcpus;
    uint64_t memory_used; /* promised, overhead included */
    uint32_t vcpus_used;
    uint32_t addresses_free;
    uint32_t of_service; /* instances of the same service that are there */
};

/* An architecture the image has, and the family that boots it there. */
struct placement_platform {
    const char *arch;
    const char *family;
};

struct placement_request {
    uint64_t memory;
    uint32_t vcpus;
    const struct placement_platform *platforms; /* in order of preference */
    size_t platform_count;
    enum api_spread spread;
};

struct placement {
    size_t node;
    size_t platform;
};

/* -1 with ERROR_NO_CAPACITY, whose message says what was asked and what each node has free. */
int placement_choose(const struct placement_request *request, const struct placement_node *nodes,
                     size_t node_count, struct placement *ret_placement, struct error *error);
