#include "agent/host/hypervisors.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/host/libvirt_leftovers.h"
#include "agent/host/qemu_process.h"
#include "agent/host/qemu_record.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/process.h"
#include "lib/text.h"
#include "lib/xalloc.h"

static bool is_qemu(const char *name)
{
    return strcmp(name, HYPERVISOR_QEMU) == 0;
}

bool hypervisor_is_known(const char *name)
{
    return is_qemu(name) || strcmp(name, HYPERVISOR_LIBVIRT) == 0;
}

static char *folder_of(const char *name, const char *run_directory)
{
    return xasprintf("%s/%s", run_directory, is_qemu(name) ? "q" : "v");
}

bool hypervisor_was_used(const char *name, const char *run_directory)
{
    AUTO_FREE char *folder = folder_of(name, run_directory);
    return access(folder, F_OK) == 0;
}

/* ---- whether one has microVMs that run; without opening it ---- */

static bool qemu_has_microvms(const char *folder)
{
    char(*ids)[INSTANCE_ID_MAX];
    size_t count = qemu_record_list(folder, &ids), running = 0;
    for (size_t i = 0; i < count; i++) {
        struct qemu_record record;
        if (qemu_record_read(folder, ids[i], &record, NULL) == 0 &&
            process_start_time((pid_t)record.pid) == record.started)
            running++;
    }
    free(ids);
    return running > 0;
}

static bool is_running_file(const char *folder, const char *file)
{
    AUTO_FREE char *path = xasprintf("%s/%s", folder, file);
    AUTO_FREE char *text = NULL;
    size_t length = strlen(file);
    uint64_t pid;
    if (length < 5 || strcmp(file + length - 4, ".pid") != 0 ||
        file_read(path, 64, &text, NULL, NULL) < 0)
        return false;
    AUTO_FREE char *name = xstrndup(file, length - 4);
    text[strcspn(text, "\n")] = '\0';
    return text_parse_u64(text, INT32_MAX, &pid) && libvirt_pid_is_of(name, (pid_t)pid);
}

static bool libvirt_has_microvms(const char *root)
{
    AUTO_FREE char *folder = xasprintf("%s/run/qemu", root);
    DIR *all = opendir(folder);
    struct dirent *entry;
    bool running = false;
    while (all != NULL && !running && (entry = readdir(all)) != NULL)
        running = is_running_file(folder, entry->d_name);
    if (all != NULL)
        closedir(all);
    return running;
}

static int check_other(const struct hypervisor_choice *choice, struct error *error)
{
    const char *other = is_qemu(choice->name) ? HYPERVISOR_LIBVIRT : HYPERVISOR_QEMU;
    AUTO_FREE char *folder = folder_of(other, choice->run_directory);
    bool running = is_qemu(other) ? qemu_has_microvms(folder) : libvirt_has_microvms(folder);
    if (!running)
        return 0;
    return error_set(error, ERROR_CONFLICT,
                     "microVMs of this node run under hypervisor %s: start the agent with "
                     "--hypervisor %s and drain the node, or end them with --clean (shoal down), "
                     "then change to %s",
                     other, other, choice->name);
}

/* ---- opening ---- */

int hypervisor_open(const struct hypervisor_choice *choice,
                    const struct hypervisor_listener *listener, struct hypervisor **ret_hypervisor,
                    struct error *error)
{
    if (!choice->beside_other && check_other(choice, error) < 0)
        return -1;
    if (is_qemu(choice->name))
        return hypervisor_qemu_open(choice->run_directory, listener, ret_hypervisor, error);
    AUTO_FREE char *root = folder_of(choice->name, choice->run_directory);
    if (file_make_directory(root, 0755, error) < 0) /* also the mark that it was used */
        return -1;
    struct hypervisor_libvirt_options options = {
        .uri = choice->uri, .root = root, .gid = choice->group};
    return hypervisor_libvirt_open(&options, listener, ret_hypervisor, error);
}
