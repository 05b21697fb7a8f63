#include "agent/host/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "agent/host/cgroup_internal.h"
#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define FOLDER          "shoal"
#define TEXT_MAX        ((size_t)1 << 20)
#define PERIOD_US       100000 /* within which a limit of processor time holds */
#define GUESTS_WEIGHT   10
#define MOUNTINFO_WORDS 32
#define MAKE_TRIES      16

static const char *const controllers[] = {[CGROUP_MEMORY] = "memory", [CGROUP_CPU] = "cpu"};

/* ---- what the kernel's texts say ---- */

/* Whether `list` ("cpu,cpuacct") names it. */
static bool list_names(const char *list, const char *name, const char *separators)
{
    size_t length = strlen(name);
    for (const char *at = list; *at != '\0';) {
        size_t word = strcspn(at, separators);
        if (word == length && strncmp(at, name, length) == 0)
            return true;
        at += word + (at[word] != '\0' ? 1 : 0);
    }
    return false;
}

/* The words of one line; "\040" and the like stay as they are: no hierarchy has such a path. */
static size_t split(char *line, char *ret_words[MOUNTINFO_WORDS])
{
    size_t count = 0;
    for (char *rest = line, *word; count < MOUNTINFO_WORDS && (word = strsep(&rest, " ")) != NULL;)
        ret_words[count++] = word;
    return count;
}

/* ID PARENT MAJOR:MINOR ROOT FOLDER OPTIONS [TAG...] - TYPE SOURCE SUPER-OPTIONS */
static bool read_mount(char *line, const char *controller, struct cgroup_mount *ret_mount)
{
    char *words[MOUNTINFO_WORDS];
    size_t count = split(line, words), dash = 6;
    while (dash < count && strcmp(words[dash], "-") != 0)
        dash++;
    if (dash + 3 >= count)
        return false;
    struct cgroup_mount mount = {.unified = strcmp(words[dash + 1], "cgroup2") == 0};
    bool is_one = mount.unified || (strcmp(words[dash + 1], "cgroup") == 0 &&
                                    list_names(words[dash + 3], controller, ","));
    if (!is_one || !text_copy(mount.root, sizeof mount.root, words[3]) ||
        !text_copy(mount.folder, sizeof mount.folder, words[4]))
        return false;
    *ret_mount = mount;
    return true;
}

int cgroup_parse_mounts(const char *mountinfo, const char *controller,
                        struct cgroup_mount *ret_mount)
{
    AUTO_FREE char *copy = xstrdup(mountinfo);
    struct cgroup_mount unified = {0};
    for (char *rest = copy, *line; (line = strsep(&rest, "\n")) != NULL;) {
        struct cgroup_mount mount;
        if (!read_mount(line, controller, &mount))
            continue;
        if (!mount.unified) {
            *ret_mount = mount;
            return 0;
        }
        if (!unified.unified)
            unified = mount;
    }
    if (!unified.unified)
        return -1;
    *ret_mount = unified;
    return 0;
}

/* HIERARCHY:CGROUP_CONTROLLERS:PATH; version 2 is "0::PATH". */
int cgroup_parse_membership(const char *text, const char *controller, bool unified,
                            char ret_path[CGROUP_PATH_MAX])
{
    AUTO_FREE char *copy = xstrdup(text);
    for (char *rest = copy, *line; (line = strsep(&rest, "\n")) != NULL;) {
        strsep(&line, ":");
        const char *names = line != NULL ? strsep(&line, ":") : NULL;
        if (names == NULL || line == NULL || line[0] != '/')
            continue;
        if (unified ? names[0] == '\0' : list_names(names, controller, ","))
            return text_copy(ret_path, CGROUP_PATH_MAX, line) ? 0 : -1;
    }
    return -1;
}

uint64_t cgroup_parse_key(const char *text, const char *key)
{
    size_t length = strlen(key);
    for (const char *at = text; at != NULL; at = strchr(at, '\n')) {
        at += *at == '\n' ? 1 : 0;
        if (strncmp(at, key, length) != 0 || at[length] != ' ')
            continue;
        char number[24] = "";
        size_t digits = strspn(at + length + 1, "0123456789");
        uint64_t value = 0;
        if (digits < sizeof number)
            memcpy(number, at + length + 1, digits);
        text_parse_u64(number, UINT64_MAX, &value);
        return value;
    }
    return 0;
}

/* ---- small files ---- */

static int read_file(const char *folder, const char *name, char **ret_text)
{
    AUTO_FREE char *path = xasprintf("%s/%s", folder, name);
    return file_read(path, TEXT_MAX, ret_text, NULL, NULL);
}

/* `otherwise` for what is no number ("max") or not there. */
static uint64_t read_number(const char *folder, const char *name, uint64_t otherwise)
{
    AUTO_FREE char *text = NULL;
    uint64_t value;
    if (read_file(folder, name, &text) < 0)
        return otherwise;
    text[strcspn(text, "\n")] = '\0';
    return text_parse_u64(text, UINT64_MAX, &value) ? value : otherwise;
}

int cgroup_write_file(const char *folder, const char *name, const char *text, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/%s", folder, name);
    AUTO_CLOSE int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0 || write(file, text, strlen(text)) < 0)
        return error_set_errno(error, errno, "write \"%s\" to %s", text, path);
    return 0;
}

int cgroup_write_number(const char *folder, const char *name, uint64_t value, struct error *error)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return cgroup_write_file(folder, name, text, error);
}

/* ---- the group of any process ---- */

/* libvirt moves threads below the group that their memory is counted in (version 2). */
static void leave_thread_groups(char *path)
{
    static const char *const names[] = {"/emulator", "/libvirt", "/vcpu", "/iothread"};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        char *last = strrchr(path, '/');
        if (last != NULL && strncmp(last, names[i], strlen(names[i])) == 0)
            *last = '\0';
    }
}

int cgroup_of_process(pid_t pid, struct cgroup *ret_cgroup, struct error *error)
{
    AUTO_FREE char *mounts = NULL;
    AUTO_FREE char *membership = NULL;
    AUTO_FREE char *path = xasprintf("/proc/%d/cgroup", (int)pid);
    struct cgroup_mount mount;
    struct cgroup cgroup;
    char inside[CGROUP_PATH_MAX];
    if (file_read("/proc/self/mountinfo", TEXT_MAX, &mounts, NULL, error) < 0 ||
        file_read(path, TEXT_MAX, &membership, NULL, error) < 0)
        return -1;
    if (cgroup_parse_mounts(mounts, controllers[CGROUP_MEMORY], &mount) < 0 ||
        cgroup_parse_membership(membership, controllers[CGROUP_MEMORY], mount.unified, inside) < 0)
        return error_set(error, ERROR_NOT_FOUND, "this host has no memory controller");
    leave_thread_groups(inside);
    size_t root = strcmp(mount.root, "/") == 0 ? 0 : strlen(mount.root);
    if (strncmp(inside, mount.root, root) != 0 || strlen(inside + root) < 2)
        return error_set(error, ERROR_NOT_FOUND, "process %d is in no group of its own", (int)pid);
    size_t length =
        (size_t)snprintf(cgroup.memory, sizeof cgroup.memory, "%s%s", mount.folder, inside + root);
    if (length >= sizeof cgroup.memory)
        return error_set(error, ERROR_TOO_LARGE, "the path of a group is too long: %s", inside);
    cgroup.unified = mount.unified;
    *ret_cgroup = cgroup;
    return 0;
}

int cgroup_read_memory(const struct cgroup *cgroup, struct cgroup_memory *ret_memory,
                       struct error *error)
{
    const char *folder = cgroup->memory;
    bool unified = cgroup->unified;
    AUTO_FREE char *events = NULL;
    struct cgroup_memory memory = {0};
    memory.bytes =
        read_number(folder, unified ? "memory.current" : "memory.usage_in_bytes", UINT64_MAX);
    if (memory.bytes == UINT64_MAX)
        return error_set(error, ERROR_NOT_FOUND, "there is no group %s", folder);
    memory.peak = read_number(folder, unified ? "memory.peak" : "memory.max_usage_in_bytes", 0);
    memory.limit = read_number(folder, unified ? "memory.max" : "memory.limit_in_bytes", 0);
    if (memory.limit >= INT64_MAX - (1 << 20)) /* how version 1 says that there is none */
        memory.limit = 0;
    if (read_file(folder, unified ? "memory.events" : "memory.oom_control", &events) == 0)
        memory.oom_kills = cgroup_parse_key(events, "oom_kill");
    *ret_memory = memory;
    return 0;
}

int cgroup_read_processor_time(pid_t pid, uint64_t *ret_nanoseconds, struct error *error)
{
    clockid_t clock;
    struct timespec used;
    int number = clock_getcpuclockid(pid, &clock);
    if (number == 0 && clock_gettime(clock, &used) < 0)
        number = errno;
    if (number != 0)
        return error_set(error, ERROR_NOT_FOUND, "there is no process %d", (int)pid);
    *ret_nanoseconds = (uint64_t)used.tv_sec * 1000000000 + (uint64_t)used.tv_nsec;
    return 0;
}

/* ---- groups of ours ---- */

/* Of the run folder, so that two agents on a host keep apart. */
static void name_folder(const char *run_directory, char ret_name[9])
{
    char digest[DIGEST_TEXT_MAX];
    digest_of_bytes(run_directory, strlen(run_directory), digest);
    snprintf(ret_name, 9, "%.8s", digest_hex(digest));
}

/* Version 2 gives a folder only the controllers that its parent hands down, and only the root may
 * have processes beside. */
static bool hand_down(const char *folder, const char *controller)
{
    AUTO_FREE char *available = NULL;
    AUTO_FREE char *wish = xasprintf("+%s", controller);
    if (read_file(folder, "cgroup.controllers", &available) < 0 ||
        !list_names(available, controller, " \n"))
        return false;
    return cgroup_write_file(folder, "cgroup.subtree_control", wish, NULL) == 0;
}

/* All guests together weigh as much as this many single processes of the host. Best effort. */
static void weigh(const struct cgroup_mount *mount, const char *folder)
{
    if (mount->unified)
        cgroup_write_number(folder, "cpu.weight", (uint64_t)GUESTS_WEIGHT * 100, NULL);
    else
        cgroup_write_number(folder, "cpu.shares", (uint64_t)GUESTS_WEIGHT * 1024, NULL);
}

/* Another agent's clean may take the shared one away in between: it is empty then. */
static bool make_both(const char *shared, const char *own)
{
    for (int i = 0; i < MAKE_TRIES; i++) {
        if (mkdir(shared, 0755) < 0 && errno != EEXIST)
            return false;
        if (mkdir(own, 0755) == 0 || errno == EEXIST)
            return true;
        if (errno != ENOENT)
            return false;
    }
    return false;
}

static bool make_folder(const struct cgroup_mount *mount, const char *name, const char *controller)
{
    AUTO_FREE char *shared = xasprintf("%s/" FOLDER, mount->folder);
    AUTO_FREE char *own = xasprintf("%s/%s", shared, name);
    if (!make_both(shared, own))
        return false;
    bool handed = !mount->unified || (hand_down(mount->folder, controller) &&
                                      hand_down(shared, controller) && hand_down(own, controller));
    if (handed && strcmp(controller, controllers[CGROUP_CPU]) == 0) {
        weigh(mount, shared);
        weigh(mount, own);
    }
    return handed;
}

static void add_controller(struct cgroups *cgroups, const char *mounts, const char *name,
                           size_t controller)
{
    struct cgroup_mount mount;
    if (cgroup_parse_mounts(mounts, controllers[controller], &mount) < 0 ||
        !make_folder(&mount, name, controllers[controller])) {
        log_warn("microVMs run without a limit: the host has no control groups for it",
                 "controller", controllers[controller]);
        return;
    }
    AUTO_FREE char *folder = xasprintf("%s/" FOLDER "/%s", mount.folder, name);
    for (size_t i = 0; i < cgroups->count; i++) {
        if (strcmp(cgroups->hierarchies[i].folder, folder) == 0) {
            cgroups->hierarchies[i].has[controller] = true;
            return;
        }
    }
    struct cgroup_hierarchy *hierarchy = &cgroups->hierarchies[cgroups->count++];
    hierarchy->folder = TAKE_POINTER(folder);
    hierarchy->unified = mount.unified;
    hierarchy->has[controller] = true;
}

int cgroups_open(const char *run_directory, struct cgroups **ret_cgroups, struct error *error)
{
    AUTO_FREE char *mounts = NULL;
    char name[9];
    if (file_read("/proc/self/mountinfo", TEXT_MAX, &mounts, NULL, error) < 0)
        return -1;
    struct cgroups *cgroups = xcalloc(1, sizeof *cgroups);
    name_folder(run_directory, name);
    for (size_t controller = 0; controller < CGROUP_CONTROLLERS; controller++)
        add_controller(cgroups, mounts, name, controller);
    cgroups_remove_next(cgroups);
    *ret_cgroups = cgroups;
    return 0;
}

void cgroups_close(struct cgroups *cgroups)
{
    if (cgroups == NULL)
        return;
    cgroups_remove_next(cgroups);
    for (size_t i = 0; i < cgroups->count; i++)
        free(cgroups->hierarchies[i].folder);
    free(cgroups);
}

static bool has(const struct cgroups *cgroups, size_t controller)
{
    for (size_t i = 0; i < cgroups->count; i++) {
        if (cgroups->hierarchies[i].has[controller])
            return true;
    }
    return false;
}

bool cgroups_limit_memory(const struct cgroups *cgroups)
{
    return has(cgroups, CGROUP_MEMORY);
}

bool cgroups_limit_processors(const struct cgroups *cgroups)
{
    return has(cgroups, CGROUP_CPU);
}

int cgroup_set_limits(const struct cgroup_hierarchy *hierarchy, const char *folder,
                      const struct cgroup_limits *limits, struct error *error)
{
    uint64_t quota = (uint64_t)limits->processor_percent * PERIOD_US / 100;
    char both[48];
    if (hierarchy->has[CGROUP_MEMORY] &&
        cgroup_write_number(folder, hierarchy->unified ? "memory.max" : "memory.limit_in_bytes",
                            limits->memory, error) < 0)
        return -1;
    if (!hierarchy->has[CGROUP_CPU])
        return 0;
    if (!hierarchy->unified)
        return cgroup_write_number(folder, "cpu.cfs_period_us", PERIOD_US, error) < 0
                   ? -1
                   : cgroup_write_number(folder, "cpu.cfs_quota_us", quota, error);
    snprintf(both, sizeof both, "%" PRIu64 " %d", quota, PERIOD_US);
    return cgroup_write_file(folder, "cpu.max", both, error);
}

static int make_in(const struct cgroup_hierarchy *hierarchy, const char *name,
                   const struct cgroup_limits *limits, int *ret_door, struct error *error)
{
    AUTO_FREE char *folder = xasprintf("%s/%s", hierarchy->folder, name);
    AUTO_FREE char *door = xasprintf("%s/cgroup.procs", folder);
    if (mkdir(folder, 0755) < 0)
        return error_set_errno(error, errno, "make the control group %s", folder);
    if (cgroup_set_limits(hierarchy, folder, limits, error) < 0)
        return -1;
    *ret_door = open(door, O_WRONLY | O_CLOEXEC);
    if (*ret_door < 0)
        return error_set_errno(error, errno, "open %s", door);
    return 0;
}

int cgroups_make(struct cgroups *cgroups, const char *name, const struct cgroup_limits *limits,
                 struct cgroup_doors *ret_doors, struct error *error)
{
    struct cgroup_doors doors = CGROUP_DOORS_NONE;
    if (cgroups_remove(cgroups, name, error) < 0) /* an old one has counted already */
        return -1;
    for (size_t i = 0; i < cgroups->count; i++) {
        if (make_in(&cgroups->hierarchies[i], name, limits, &doors.descriptors[i], error) < 0) {
            cgroup_doors_close(&doors);
            cgroups_remove(cgroups, name, NULL);
            return -1;
        }
    }
    *ret_doors = doors;
    return 0;
}

void cgroup_doors_close(struct cgroup_doors *doors)
{
    for (size_t i = 0; i < CGROUP_DOORS_MAX; i++) {
        if (doors->descriptors[i] >= 0)
            close(doors->descriptors[i]);
    }
    *doors = CGROUP_DOORS_NONE;
}

int cgroups_remove(struct cgroups *cgroups, const char *name, struct error *error)
{
    for (size_t i = 0; i < cgroups->count; i++) {
        AUTO_FREE char *folder = xasprintf("%s/%s", cgroups->hierarchies[i].folder, name);
        if (rmdir(folder) == 0 || errno == ENOENT)
            continue;
        if (errno == EBUSY)
            return error_set(error, ERROR_CONFLICT, "a process is in the control group %s", folder);
        return error_set_errno(error, errno, "remove the control group %s", folder);
    }
    return 0;
}

pid_t cgroups_find_process(const struct cgroups *cgroups, const char *name)
{
    for (size_t i = 0; i < cgroups->count; i++) {
        AUTO_FREE char *folder = xasprintf("%s/%s", cgroups->hierarchies[i].folder, name);
        AUTO_FREE char *text = NULL;
        uint64_t pid;
        if (read_file(folder, "cgroup.procs", &text) < 0)
            continue;
        text[strcspn(text, "\n")] = '\0';
        if (text_parse_u64(text, INT32_MAX, &pid) && pid > 0)
            return (pid_t)pid;
    }
    return -1;
}

/* Groups that are folders of the first hierarchy; a half made one may be in that only. */
size_t cgroups_list(const struct cgroups *cgroups, char (**ret_names)[CGROUP_NAME_MAX])
{
    char(*names)[CGROUP_NAME_MAX] = NULL;
    size_t count = 0;
    DIR *folder = cgroups->count > 0 ? opendir(cgroups->hierarchies[0].folder) : NULL;
    struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL) {
        char name[CGROUP_NAME_MAX];
        if (entry->d_type != DT_DIR || entry->d_name[0] == '.' ||
            !text_copy(name, sizeof name, entry->d_name))
            continue;
        names = xreallocarray(names, count + 1, sizeof *names);
        memcpy(names[count++], name, sizeof name);
    }
    if (folder != NULL)
        closedir(folder);
    *ret_names = names;
    return count;
}

int cgroups_get(const struct cgroups *cgroups, const char *name, struct cgroup *ret_cgroup,
                struct error *error)
{
    for (size_t i = 0; i < cgroups->count; i++) {
        const struct cgroup_hierarchy *hierarchy = &cgroups->hierarchies[i];
        if (!hierarchy->has[CGROUP_MEMORY])
            continue;
        struct cgroup cgroup = {.unified = hierarchy->unified};
        size_t length =
            (size_t)snprintf(cgroup.memory, sizeof cgroup.memory, "%s/%s", hierarchy->folder, name);
        if (length >= sizeof cgroup.memory)
            break;
        *ret_cgroup = cgroup;
        return 0;
    }
    return error_set(error, ERROR_NOT_FOUND, "this host has no memory controller");
}

void cgroups_clean(const char *run_directory)
{
    AUTO_FREE char *mounts = NULL;
    char name[9];
    name_folder(run_directory, name);
    if (file_read("/proc/self/mountinfo", TEXT_MAX, &mounts, NULL, NULL) < 0)
        return;
    for (size_t controller = 0; controller < CGROUP_CONTROLLERS; controller++) {
        struct cgroup_mount mount;
        if (cgroup_parse_mounts(mounts, controllers[controller], &mount) < 0)
            continue;
        AUTO_FREE char *shared = xasprintf("%s/" FOLDER, mount.folder);
        AUTO_FREE char *own = xasprintf("%s/%s", shared, name);
        struct cgroups cgroups = {.count = 1, .hierarchies = {{.folder = own}}};
        char(*names)[CGROUP_NAME_MAX] = NULL;
        size_t count = cgroups_list(&cgroups, &names);
        for (size_t i = 0; i < count; i++)
            cgroups_remove(&cgroups, names[i], NULL);
        free(names);
        rmdir(own);
        rmdir(shared); /* the last agent's clean removes it */
    }
}
