#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/host/accelerator.h"
#include "agent/host/cgroup.h"
#include "agent/host/dhcp.h"
#include "agent/host/host.h"
#include "agent/host/hypervisors.h"
#include "agent/host/mounts.h"
#include "agent/host/namespace.h"
#include "agent/host/network.h"
#include "agent/host/proxy.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define NOBODY_GROUP 65534

static void ignore_end(void *context, const char *id, enum hypervisor_end end)
{
    (void)context;
    (void)end;
    log_info("microVM ended", "id", id);
}

/* All processes are killed first, so that their ends overlap; then libvirt clears up after each. */
static int end_guests(struct hypervisor *hypervisor, struct error *error)
{
    struct hypervisor_found *found;
    size_t count;
    if (hypervisor_adopt(hypervisor, &found, &count, error) < 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (found[i].pid > 1)
            kill(found[i].pid, SIGKILL);
    }
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        const char *id = found[i].identity.id;
        result = hypervisor_destroy(hypervisor, id, error);
        if (result == 0)
            result = hypervisor_await_gone(hypervisor, id, error);
    }
    free(found);
    return result;
}

static int clean_hypervisor(const struct host_options *options, const char *name,
                            struct error *error)
{
    if (!hypervisor_was_used(name, options->run_directory))
        return 0;
    struct hypervisor_choice choice = {.name = name,
                                       .run_directory = options->run_directory,
                                       .uri = options->hypervisor_uri,
                                       .group = NOBODY_GROUP,
                                       .beside_other = true};
    struct hypervisor_listener listener = {.ended = ignore_end};
    struct hypervisor *hypervisor;
    if (hypervisor_open(&choice, &listener, &hypervisor, error) < 0)
        return -1;
    int result = end_guests(hypervisor, error);
    hypervisor_close(hypervisor);
    return result;
}

static int clean_hypervisors(const struct host_options *options, struct error *error)
{
    static const char *const names[] = {HYPERVISOR_QEMU, HYPERVISOR_LIBVIRT};
    struct accelerator accelerator;
    if (mounts_separate(error) < 0 ||
        accelerator_choose("tcg", options->state_directory, options->run_directory, &accelerator,
                           error) < 0 ||
        accelerator_hide_device(&accelerator, options->run_directory, error) < 0)
        return -1;
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        if (clean_hypervisor(options, names[i], error) < 0)
            return -1;
    }
    cgroups_clean(options->run_directory);
    return 0;
}

/* Ends nothing where the node's namespace is another agent's. */
static int check_owner(const struct host_options *options, struct error *error)
{
    struct network *network;
    if (network_create(options->node, options->state_directory, &network, error) < 0)
        return -1;
    network_destroy(network);
    return 0;
}

int host_clean(const struct host_options *options, struct error *error)
{
    /* The names go before this process gets mounts of its own; what they name
     * lives until the last process in it has ended. */
    AUTO_FREE char *namespace = xasprintf("shoal-%s", options->node);
    if (check_owner(options, error) < 0 || proxy_clean(options->run_directory, error) < 0 ||
        dhcp_clean(options->run_directory, error) < 0 || namespace_remove(namespace, error) < 0 ||
        clean_hypervisors(options, error) < 0)
        return error_wrap(error, "clean node %s", options->node);
    static const char *const names[] = {"v", "q", "b", "c", "i", "o", "g", "no-kvm", "probe.elf"};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        AUTO_FREE char *path = xasprintf("%s/%s", options->run_directory, names[i]);
        if (file_remove_tree(path, error) < 0)
            return error_wrap(error, "clean node %s", options->node);
    }
    /* Only where volumes were shown: they themselves stay. */
    AUTO_FREE char *volumes = xasprintf("%s/w", options->run_directory);
    if (rmdir(volumes) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "clean node %s: remove %s", options->node, volumes);
    AUTO_FREE char *overlays = xasprintf("%s/host/overlays", options->state_directory);
    if (file_remove_tree(overlays, error) < 0)
        return error_wrap(error, "clean node %s", options->node);
    return 0;
}
