#include "agent/host/checkup.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "agent/host/accelerator.h"
#include "agent/host/cgroup.h"
#include "agent/host/domain_xml.h"
#include "agent/host/guest_user.h"
#include "agent/host/hypervisors.h"
#include "agent/host/namespace.h"
#include "agent/host/network.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

#define DISK_NEEDED   ((uint64_t)512 << 20)
#define DISK_WANTED   ((uint64_t)4 << 30)
#define MEMORY_WANTED ((uint64_t)1 << 30)
/* A network of nobody's: what is tried never meets what runs. */
#define TRIED_SUBNET  "10.64.0.0/24"
#define TRIED_ADDRESS "10.64.0.2"
#define AS_ROOT       "run it as root (sudo shoal doctor)"

static void skip(struct api_checks *checks, const char *name)
{
    api_checks_add(checks, name, API_CHECK_SKIPPED, AS_ROOT, "only root can try it");
}

/* ---- programs ---- */

static bool has_program(const char *path)
{
    return access(path, X_OK) == 0;
}

static void check_programs(struct api_checks *checks)
{
    static const struct {
        const char *name, *path, *remedy;
        enum api_check_state otherwise;
        const char *missing;
    } programs[] = {
        {"qemu-arm64", DOMAIN_EMULATOR_ARM64, "apt install qemu-system-arm", API_CHECK_WARNING,
         "not installed: no arm64 guests run here"},
        {"qemu-img", "/usr/bin/qemu-img", "apt install qemu-utils", API_CHECK_WARNING,
         "not installed: images with disks do not boot here"},
        {"haproxy", "/usr/sbin/haproxy", "apt install haproxy", API_CHECK_FAILED,
         "not installed: no service can be reached through this node"},
        {"dnsmasq", "/usr/sbin/dnsmasq", "apt install dnsmasq-base", API_CHECK_WARNING,
         "not installed: guests that ask for their address by DHCP do not boot here"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(programs); i++) {
        if (has_program(programs[i].path))
            api_checks_add(checks, programs[i].name, API_CHECK_OK, NULL, "%s", programs[i].path);
        else
            api_checks_add(checks, programs[i].name, programs[i].otherwise, programs[i].remedy,
                           "%s", programs[i].missing);
    }
}

/* ---- QEMU ---- */

static void check_translation(const char *folder, struct api_checks *checks)
{
    static const char remedy[] = "apt install qemu-system-x86";
    struct error error = ERROR_INIT;
    if (!has_program(DOMAIN_EMULATOR_AMD64))
        api_checks_add(checks, "qemu", API_CHECK_FAILED, remedy,
                       DOMAIN_EMULATOR_AMD64 " is not installed: no guest runs here");
    else if (geteuid() != 0)
        skip(checks, "qemu");
    else if (accelerator_probe("tcg", folder, GUEST_USER_PROBE, GUEST_USER_PROBE, &error) < 0)
        api_checks_add(checks, "qemu", API_CHECK_FAILED, remedy, "%s", error.message);
    else
        api_checks_add(checks, "qemu", API_CHECK_OK, NULL, "a guest boots by translation");
}

/* What most often stands in the way, from the device itself. */
static const char *name_remedy(const struct accelerator *accelerator)
{
    struct stat device;
    if (accelerator->tries > 0)
        return "run it again when the machine is less busy";
    if (stat("/dev/kvm", &device) == 0 && (device.st_mode & 0060) != 0060)
        return "give the device to a group that may use it: chgrp kvm /dev/kvm; chmod 660 /dev/kvm";
    return "turn on virtualization in the firmware, or nested virtualization where this is a "
           "virtual machine; without it guests run, but slower";
}

static void check_accelerator(const struct host_options *options, const char *folder,
                              struct api_checks *checks)
{
    struct accelerator accelerator = {0};
    struct error error = ERROR_INIT;
    if (geteuid() != 0)
        skip(checks, "accelerator");
    else if (accelerator_choose_again(options->state_directory, folder, &accelerator, &error) < 0)
        api_checks_add(checks, "accelerator", API_CHECK_WARNING, name_remedy(&accelerator), "%s",
                       error.message);
    else if (accelerator.kvm)
        api_checks_add(checks, "accelerator", API_CHECK_OK, NULL, "kvm: a guest runs on it");
    else
        api_checks_add(checks, "accelerator", API_CHECK_WARNING, name_remedy(&accelerator),
                       "tcg: %s", accelerator.reason);
}

/* libvirt's QEMU driver does not start without its user. */
static void check_libvirt(const struct host_options *options, struct api_checks *checks)
{
    bool is_used = strcmp(options->hypervisor, HYPERVISOR_LIBVIRT) == 0;
    if (getpwnam("libvirt-qemu") != NULL)
        api_checks_add(checks, "libvirt", API_CHECK_OK, NULL, "its user libvirt-qemu is there");
    else
        api_checks_add(checks, "libvirt", is_used ? API_CHECK_FAILED : API_CHECK_WARNING,
                       "make deps, or useradd --system --user-group libvirt-qemu",
                       "its user libvirt-qemu is missing: --hypervisor libvirt does not start");
}

/* ---- the kernel ---- */

static void check_groups(struct api_checks *checks)
{
    static const char remedy[] = "mount the controller (cgroups(7)); with version 1 boot with "
                                 "cgroup_enable=memory";
    AUTO_FREE char *mounts = NULL;
    struct cgroup_mount memory, processors;
    if (file_read("/proc/self/mountinfo", 1 << 20, &mounts, NULL, NULL) < 0)
        mounts = xstrdup("");
    bool has_memory = cgroup_parse_mounts(mounts, "memory", &memory) == 0;
    bool has_processors = cgroup_parse_mounts(mounts, "cpu", &processors) == 0;
    if (has_memory && has_processors)
        api_checks_add(checks, "cgroups", API_CHECK_OK, NULL,
                       "memory and processors are limited, version %d", memory.unified ? 2 : 1);
    else
        api_checks_add(checks, "cgroups", API_CHECK_WARNING, remedy,
                       "no controller for %s: guests run without this limit",
                       has_memory       ? "cpu"
                       : has_processors ? "memory"
                                        : "memory and cpu");
}

static int try_tap(struct network *network, struct error *error)
{
    char id[INSTANCE_ID_MAX], tap[NETWORK_TAP_MAX], mac[18];
    snprintf(id, sizeof id, "ffff%08x", (unsigned)getpid());
    network_tap_name(id, tap);
    host_mac_of_instance(id, mac);
    int result = network_tap_make(tap, error);
    if (result == 0)
        result = network_tap_attach(network, tap, mac, TRIED_ADDRESS, error);
    network_tap_remove(network, tap, mac, "", NULL);
    return result;
}

/* A namespace with bridge, filter and tap, as guests have one. */
static int try_network(const char *folder, struct error *error)
{
    AUTO_FREE char *node = xasprintf("doctor-%d", (int)getpid());
    AUTO_FREE char *name = xasprintf("shoal-%s", node);
    struct network *network = NULL;
    int result = network_create(node, folder, &network, error);
    if (result == 0)
        result = network_configure(network, TRIED_SUBNET, error);
    if (result == 0)
        result = try_tap(network, error);
    network_destroy(network);
    namespace_remove(name, NULL);
    return result;
}

static void check_network(const char *folder, struct api_checks *checks)
{
    static const char remedy[] = "load the kernel's modules tun, bridge, nf_tables and "
                                 "nft_meta_bridge, and allow network namespaces";
    struct error error = ERROR_INIT;
    if (geteuid() != 0)
        skip(checks, "network");
    else if (try_network(folder, &error) < 0)
        api_checks_add(checks, "network", API_CHECK_FAILED, remedy, "%s", error.message);
    else
        api_checks_add(checks, "network", API_CHECK_OK, NULL,
                       "namespace, bridge, tap and filter can be made");
}

/* ---- room ---- */

/* Of the folder, or of the nearest above it that exists. */
static int find_room(const char *folder, uint64_t *ret_free)
{
    AUTO_FREE char *path = xstrdup(folder);
    struct statvfs status;
    char *slash;
    while (statvfs(path, &status) < 0) {
        if (errno != ENOENT || (slash = strrchr(path, '/')) == NULL)
            return -1;
        if (slash == path)
            slash++;
        if (*slash == '\0')
            return -1;
        *slash = '\0';
    }
    *ret_free = (uint64_t)status.f_bavail * status.f_frsize;
    return 0;
}

static void check_disk(const struct host_options *options, struct api_checks *checks)
{
    const char *folder = options->state_directory;
    uint64_t room;
    if (find_room(folder, &room) < 0) {
        api_checks_add(checks, "disk", API_CHECK_FAILED, "choose another folder by --state",
                       "%s: %s", folder, strerror(errno));
        return;
    }
    enum api_check_state state = room < DISK_NEEDED   ? API_CHECK_FAILED
                                 : room < DISK_WANTED ? API_CHECK_WARNING
                                                      : API_CHECK_OK;
    api_checks_add(checks, "disk", state,
                   state == API_CHECK_OK ? NULL
                                         : "make room: images, volumes and logs of guests are "
                                           "kept there (shoal image rm, shoal volume rm)",
                   "%" PRIu64 " MiB free for %s", room >> 20, folder);
}

static void check_memory(struct api_checks *checks)
{
    uint64_t bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    bool enough = bytes >= MEMORY_WANTED;
    api_checks_add(checks, "memory", enough ? API_CHECK_OK : API_CHECK_WARNING,
                   enough ? NULL : "give the machine 1 GiB or more",
                   "%" PRIu64 " MiB, %ld processors", bytes >> 20, sysconf(_SC_NPROCESSORS_ONLN));
}

void checkup_run(const struct host_options *options, struct api_checks *ret_checks)
{
    struct api_checks checks = {0};
    /* QEMU's users have to get to the probe guest. */
    char folder[] = "/tmp/shoal-probe.XXXXXX";
    bool has_folder = mkdtemp(folder) != NULL && chmod(folder, 0711) == 0;
    check_accelerator(options, folder, &checks);
    check_translation(folder, &checks);
    check_libvirt(options, &checks);
    check_programs(&checks);
    check_groups(&checks);
    check_network(folder, &checks);
    check_disk(options, &checks);
    check_memory(&checks);
    if (has_folder)
        file_remove_tree(folder, NULL);
    *ret_checks = checks;
}
