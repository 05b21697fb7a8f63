#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/host/cgroup_internal.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define GUEST_SHARES   1024   /* version 1's weight of one among the guests */
#define STARTER_SHARES 262144 /* the most there is */
#define NEXT_PREFIX    "next-"

static void name_next(char ret_name[CGROUP_NAME_MAX])
{
    snprintf(ret_name, CGROUP_NAME_MAX, NEXT_PREFIX "%d", (int)gettid());
}

static bool has_threads(const struct cgroups *cgroups)
{
    for (size_t i = 0; i < cgroups->count; i++) {
        if (cgroups->hierarchies[i].unified)
            return false;
    }
    return cgroups->count > 0;
}

/* A thread that starts microVMs must not wait behind those that run. */
static int enter_in(const struct cgroup_hierarchy *hierarchy, const char *name, struct error *error)
{
    AUTO_FREE char *folder = xasprintf("%s/%s", hierarchy->folder, name);
    if (mkdir(folder, 0755) < 0 && errno != EEXIST)
        return error_set_errno(error, errno, "make the control group %s", folder);
    if (hierarchy->has[CGROUP_CPU])
        cgroup_write_number(folder, "cpu.shares", STARTER_SHARES, NULL);
    return cgroup_write_file(folder, "tasks", "0", error);
}

int cgroups_enter_next(struct cgroups *cgroups, struct error *error)
{
    char name[CGROUP_NAME_MAX];
    if (!has_threads(cgroups))
        return error_set(error, ERROR_UNSUPPORTED, "threads have no control groups here");
    name_next(name);
    for (size_t i = 0; i < cgroups->count; i++) {
        const struct cgroup_hierarchy *hierarchy = &cgroups->hierarchies[i];
        if (enter_in(hierarchy, name, error) == 0)
            continue;
        for (i = 0; i < cgroups->count; i++) /* not in a microVM's, whatever comes */
            cgroup_write_file(cgroups->hierarchies[i].folder, "tasks", "0", NULL);
        cgroups_remove(cgroups, name, NULL);
        return -1;
    }
    return 0;
}

static int take_in(const struct cgroup_hierarchy *hierarchy, const char *next, const char *name,
                   const struct cgroup_limits *limits, struct error *error)
{
    AUTO_FREE char *from = xasprintf("%s/%s", hierarchy->folder, next);
    AUTO_FREE char *to = xasprintf("%s/%s", hierarchy->folder, name);
    if (rename(from, to) < 0)
        return error_set_errno(error, errno, "make the control group %s", to);
    if (hierarchy->has[CGROUP_CPU])
        cgroup_write_number(to, "cpu.shares", GUEST_SHARES, NULL);
    return cgroup_set_limits(hierarchy, to, limits, error);
}

int cgroups_take_next(struct cgroups *cgroups, const char *name, const struct cgroup_limits *limits,
                      struct error *error)
{
    char next[CGROUP_NAME_MAX];
    if (!has_threads(cgroups))
        return error_set(error, ERROR_UNSUPPORTED, "threads have no control groups here");
    name_next(next);
    AUTO_FREE char *folder = xasprintf("%s/%s", cgroups->hierarchies[0].folder, next);
    if (cgroups_remove(cgroups, name, error) < 0 ||
        (access(folder, F_OK) < 0 && cgroups_enter_next(cgroups, error) < 0))
        return -1;
    for (size_t i = 0; i < cgroups->count; i++) {
        if (take_in(&cgroups->hierarchies[i], next, name, limits, error) < 0)
            return -1;
    }
    return 0;
}

/* Of threads that are gone, of an earlier agent perhaps: a thread of today may have such a number
 * without being in the group. */
void cgroups_remove_next(struct cgroups *cgroups)
{
    char(*names)[CGROUP_NAME_MAX] = NULL;
    size_t count = cgroups_list(cgroups, &names);
    for (size_t i = 0; i < count; i++) {
        if (strncmp(names[i], NEXT_PREFIX, strlen(NEXT_PREFIX)) == 0)
            cgroups_remove(cgroups, names[i], NULL);
    }
    free(names);
}
