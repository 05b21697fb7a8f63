/* What a start of the host half finds beside the microVMs that run: things of nobody, which it
 * removes, and microVMs that are of no use to anybody, which it ends. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/host/guest_pulse.h"
#include "agent/host/guests_internal.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/xalloc.h"

static void sweep_taps(struct guests *guests)
{
    char(*ids)[INSTANCE_ID_MAX] = NULL;
    size_t count = 0;
    if (network_list_taps(guests->options.network, &ids, &count, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        char tap[NETWORK_TAP_MAX], mac[18];
        if (guests_find(guests, ids[i]) != NULL)
            continue;
        network_tap_name(ids[i], tap);
        host_mac_of_instance(ids[i], mac);
        log_info("a tap without an instance is removed", "tap", tap);
        network_tap_remove(guests->options.network, tap, mac, "", NULL);
    }
    free(ids);
}

/* What an instance that ended in our absence had is nobody's. */
static void repin(struct guests *guests)
{
    struct error error = ERROR_INIT;
    struct network_pin *pins = xcalloc(guests->count + 1, sizeof *pins);
    size_t count = 0;
    for (struct guest *guest = guests->first; guest != NULL; guest = guest->next, count++) {
        memcpy(pins[count].tap, guest->tap, sizeof pins[count].tap);
        memcpy(pins[count].mac, guest->mac, sizeof pins[count].mac);
        memcpy(pins[count].address, guest->address, sizeof pins[count].address);
    }
    if (network_adopt(guests->options.network, pins, count, &error) < 0)
        log_warn("the adopted guests' addresses cannot be pinned", "error", error.message);
    dhcp_adopt(guests->options.dhcp, pins, count);
    free(pins);
}

/* Sockets of microVMs that are gone; those of `guests` stay. */
static void sweep_consoles(struct guests *guests)
{
    AUTO_FREE char *path = xasprintf("%s/c", guests->options.run_directory);
    DIR *folder = opendir(path);
    if (folder == NULL)
        return;
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        char id[INSTANCE_ID_MAX];
        size_t length = strcspn(entry->d_name, ".");
        if (length != sizeof id - 1 || strcmp(entry->d_name + length, ".sock") != 0)
            continue;
        memcpy(id, entry->d_name, length);
        id[length] = '\0';
        if (guests_find(guests, id) == NULL)
            unlinkat(dirfd(folder), entry->d_name, 0);
    }
    closedir(folder);
}

static bool is_known(void *context, const char *id)
{
    return guests_find(context, id) != NULL;
}

static bool has_tap(const struct guest *guest, char (*ids)[INSTANCE_ID_MAX], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(ids[i], guest->id) == 0)
            return true;
    }
    return false;
}

/* Those whose end was told of before there was anybody to hear it, and those that nobody can reach
 * since the namespace was removed. */
static void end_broken(struct guests *guests)
{
    char(*ids)[INSTANCE_ID_MAX] = NULL;
    size_t count = 0;
    bool listed = network_list_taps(guests->options.network, &ids, &count, NULL) == 0;
    for (struct guest *guest = guests->first; guest != NULL; guest = guest->next) {
        if (guest->pid > 0 && guest_process_look(guest->pid) == GUEST_PROCESS_GONE) {
            guest_begin_end(guest, HYPERVISOR_END_DEATH);
        } else if (guest->pid <= 0 || (listed && !has_tap(guest, ids, count))) {
            log_warn("an adopted microVM without its process or tap is ended", "id", guest->id);
            guest_begin_destroy(guest);
        }
    }
    free(ids);
}

void guests_sweep(struct guests *guests)
{
    sweep_taps(guests);
    sweep_consoles(guests);
    guests_sweep_debuggers(guests);
    overlays_sweep(guests->options.overlays, is_known, guests);
    volumes_adopt(guests->options.volumes, guest_id_of_user, guests);
    repin(guests);
    end_broken(guests);
}
