/* Shared by cgroup.c (groups) and cgroup_next.c (those that threads have ready). */
#pragma once

#include "agent/host/cgroup.h"

enum cgroup_controller { CGROUP_MEMORY, CGROUP_CPU, CGROUP_CONTROLLERS };

struct cgroup_hierarchy {
    char *folder; /* this agent's own in it */
    bool unified;
    bool has[CGROUP_CONTROLLERS];
};

struct cgroups {
    struct cgroup_hierarchy hierarchies[CGROUP_DOORS_MAX];
    size_t count;
};

int cgroup_write_file(const char *folder, const char *name, const char *text, struct error *error);
int cgroup_write_number(const char *folder, const char *name, uint64_t value, struct error *error);
int cgroup_set_limits(const struct cgroup_hierarchy *hierarchy, const char *folder,
                      const struct cgroup_limits *limits, struct error *error);
/* Of threads that are gone. */
void cgroups_remove_next(struct cgroups *cgroups);
