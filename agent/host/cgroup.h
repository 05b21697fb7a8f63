/* Control groups, of versions 1 and 2 alike: those that microVMs of ours are started in, and what
 * the group of any process says.
 *
 * Those of one agent are <hierarchy>/shoal/<8 hex of its run folder>/<name>, in the hierarchies of
 * the controllers memory and cpu where the host has them. Blocking for a moment; any thread, one at
 * a time for one name. Knows nothing of guests and hypervisors. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/error.h"

/* ---- groups of ours ---- */

#define CGROUP_NAME_MAX  32
#define CGROUP_DOORS_MAX 2 /* version 1 has a hierarchy for each controller */

struct cgroups;

struct cgroup_limits {
    uint64_t memory;            /* bytes */
    uint32_t processor_percent; /* of one processor: 200 is two of them */
};

/* A process that writes "0" to each of these joins a group; close-on-exec. */
struct cgroup_doors {
    int descriptors[CGROUP_DOORS_MAX]; /* -1: none */
};
#define CGROUP_DOORS_NONE ((struct cgroup_doors){{-1, -1}})

/* Finds the hierarchies and makes the agent's own folder in them. A host without control groups is
 * fine: then nothing is limited. */
int cgroups_open(const char *run_directory, struct cgroups **ret_cgroups, struct error *error);
void cgroups_close(struct cgroups *cgroups);
bool cgroups_limit_memory(const struct cgroups *cgroups);
bool cgroups_limit_processors(const struct cgroups *cgroups);

/* Makes an empty group, anew where there is one. The caller closes the doors. ERROR_CONFLICT while
 * somebody is in it. */
int cgroups_make(struct cgroups *cgroups, const char *name, const struct cgroup_limits *limits,
                 struct cgroup_doors *ret_doors, struct error *error);
void cgroup_doors_close(struct cgroup_doors *doors);
/* Joining a group waits for a grace period of the kernel: 3 ms on an idle host, 20 on a busy one.
 * Under version 1 a thread can be in a group by itself, and what it forks begins there: so a thread
 * joins its next group beforehand, and gives it limits and a name when it is needed. */
/* The calling thread goes on in a new group that is nobody's yet. */
int cgroups_enter_next(struct cgroups *cgroups, struct error *error);
/* That group becomes `name`; what the calling thread forks now is in it. It has to leave soon, by
 * cgroups_enter_next. ERROR_UNSUPPORTED with version 2. */
int cgroups_take_next(struct cgroups *cgroups, const char *name, const struct cgroup_limits *limits,
                      struct error *error);
/* One that is not there is fine; ERROR_CONFLICT while somebody is in it. */
int cgroups_remove(struct cgroups *cgroups, const char *name, struct error *error);
/* The oldest process in it; -1: nobody. The kernel's word, which no process can alter. */
pid_t cgroups_find_process(const struct cgroups *cgroups, const char *name);
/* The names of all groups there are; the caller frees. */
size_t cgroups_list(const struct cgroups *cgroups, char (**ret_names)[CGROUP_NAME_MAX]);
/* Removes the agent's folder with the groups that nobody is in. */
void cgroups_clean(const char *run_directory);

/* ---- the group of any process: libvirt's microVMs have groups of libvirt's ---- */

#define CGROUP_PATH_MAX 512

struct cgroup {
    char memory[CGROUP_PATH_MAX]; /* its folder where its memory is counted */
    bool unified;                 /* of version 2 */
};

struct cgroup_memory {
    uint64_t bytes; /* that the group holds now, cached files included */
    uint64_t peak;  /* the most that it has held; 0 where the kernel does not say */
    uint64_t limit; /* 0: none */
    uint64_t oom_kills;
};

/* ERROR_NOT_FOUND when its memory is not counted apart from everybody's. */
int cgroup_of_process(pid_t pid, struct cgroup *ret_cgroup, struct error *error);
/* The group of ours with that name, whether it is there or not; ERROR_NOT_FOUND without a memory
 * controller. */
int cgroups_get(const struct cgroups *cgroups, const char *name, struct cgroup *ret_cgroup,
                struct error *error);
int cgroup_read_memory(const struct cgroup *cgroup, struct cgroup_memory *ret_memory,
                       struct error *error);
/* What all its threads have used since it began, in nanoseconds. ERROR_NOT_FOUND when it is gone.
 * The process's own clock: exact, and needs no control group. */
int cgroup_read_processor_time(pid_t pid, uint64_t *ret_nanoseconds, struct error *error);

/* ---- pure; for tests ---- */

/* Where a controller's hierarchy is mounted, and which part of it. */
struct cgroup_mount {
    char folder[CGROUP_PATH_MAX];
    char root[CGROUP_PATH_MAX]; /* "/": all of it */
    bool unified;
};

/* From /proc/self/mountinfo (proc_pid_mountinfo(5)). The hierarchy of version 1 that has the
 * controller, else the one of version 2, whose controllers this does not say. -1: none. */
int cgroup_parse_mounts(const char *mountinfo, const char *controller,
                        struct cgroup_mount *ret_mount);
/* From /proc/PID/cgroup (cgroups(7)): the path in the hierarchy of a controller of version 1, or
 * of version 2 (`unified`). -1: none, or it does not fit. */
int cgroup_parse_membership(const char *text, const char *controller, bool unified,
                            char ret_path[CGROUP_PATH_MAX]);
/* The value of "<key> <number>" on a line of its own; 0: none. */
uint64_t cgroup_parse_key(const char *text, const char *key);
