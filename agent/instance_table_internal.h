/* Shared by instance_table.c (what happens to instances) and instance_table_look.c (what others ask
 * about them). Loop thread. */
#pragma once

#include <sys/queue.h>

#include "agent/health.h"
#include "agent/image_preparation.h"
#include "agent/instance_table.h"

struct instance_table {
    struct instance_table_options options;
    const struct host_welcome *welcome; /* NULL until the guests' network is there */
    struct trust_need trust_needed;     /* by the assignment applied last */
    size_t count;
    LIST_HEAD(, member) members;
};

/* An instance and what works for it just now. */
struct member {
    struct instance instance;
    struct instance_table *table;
    struct image_preparation *preparation; /* NULL: none runs */
    struct health *health;                 /* NULL: not watched */
    struct host_boot boot;                 /* of the last preparation */
    uint64_t boot_request;                 /* 0: none under way */
    uint64_t stop_request;                 /* the same */
    uint64_t pause_request;                /* the same */
    uv_timer_t timer;
    LIST_ENTRY(member) link;
};

/* NULL: there is none. */
struct member *instance_table_find_member(const struct instance_table *table, const char *id);
