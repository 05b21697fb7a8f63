#include "tests/fake/network_fake.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/xalloc.h"

#define ENTRIES_MAX 256

struct entry {
    char tap[NETWORK_TAP_MAX]; /* "": free */
    bool attached;
    bool leased;
    bool is_tap;
};

struct dhcp {
    struct network *network;
};

struct network {
    pthread_mutex_t lock;
    struct entry entries[ENTRIES_MAX];
    struct dhcp dhcp;
    unsigned refusals;
};

/* network_tap_make knows no network. */
static struct network *the_network;

struct network *network_fake_create(void)
{
    struct network *network = xcalloc(1, sizeof *network);
    pthread_mutex_init(&network->lock, NULL);
    network->dhcp.network = network;
    the_network = network;
    return network;
}

void network_fake_destroy(struct network *network)
{
    the_network = NULL;
    pthread_mutex_destroy(&network->lock);
    free(network);
}

struct dhcp *network_fake_dhcp(struct network *network)
{
    return &network->dhcp;
}

static struct entry *find(struct network *network, const char *tap)
{
    for (size_t i = 0; i < ENTRIES_MAX; i++) {
        if (strcmp(network->entries[i].tap, tap) == 0)
            return &network->entries[i];
    }
    return NULL;
}

/* The lock is held. */
static struct entry *find_or_add(struct network *network, const char *tap)
{
    struct entry *entry = find(network, tap);
    if (entry == NULL && (entry = find(network, "")) != NULL)
        snprintf(entry->tap, sizeof entry->tap, "%s", tap);
    if (entry == NULL)
        abort();
    return entry;
}

/* Free again once it is neither tap nor lease. */
static void tidy(struct entry *entry)
{
    if (!entry->is_tap && !entry->leased)
        *entry = (struct entry){0};
}

static int unlock(struct network *network, int result)
{
    pthread_mutex_unlock(&network->lock);
    return result;
}

void network_fake_refuse(struct network *network, unsigned count)
{
    pthread_mutex_lock(&network->lock);
    network->refusals = count;
    pthread_mutex_unlock(&network->lock);
}

void network_fake_lose_taps(struct network *network)
{
    pthread_mutex_lock(&network->lock);
    for (size_t i = 0; i < ENTRIES_MAX; i++) {
        network->entries[i].is_tap = network->entries[i].attached = false;
        tidy(&network->entries[i]);
    }
    pthread_mutex_unlock(&network->lock);
}

bool network_fake_is_attached(struct network *network, const char *tap)
{
    pthread_mutex_lock(&network->lock);
    const struct entry *entry = find(network, tap);
    bool is = entry != NULL && entry->attached;
    pthread_mutex_unlock(&network->lock);
    return is;
}

bool network_fake_has_lease(struct network *network, const char *tap)
{
    pthread_mutex_lock(&network->lock);
    const struct entry *entry = find(network, tap);
    bool has = entry != NULL && entry->leased;
    pthread_mutex_unlock(&network->lock);
    return has;
}

static size_t count(struct network *network, bool of_leases)
{
    size_t found = 0;
    pthread_mutex_lock(&network->lock);
    for (size_t i = 0; i < ENTRIES_MAX; i++)
        found += of_leases ? network->entries[i].leased : network->entries[i].is_tap;
    pthread_mutex_unlock(&network->lock);
    return found;
}

size_t network_fake_count_taps(struct network *network)
{
    return count(network, false);
}

size_t network_fake_count_leases(struct network *network)
{
    return count(network, true);
}

/* ---- agent/host/network.h ---- */

void network_tap_name(const char *id, char ret_name[NETWORK_TAP_MAX])
{
    snprintf(ret_name, NETWORK_TAP_MAX, "sh%.12s", id);
}

int network_tap_make(const char *tap, struct error *error)
{
    struct network *network = the_network;
    pthread_mutex_lock(&network->lock);
    struct entry *entry = find_or_add(network, tap);
    if (entry->is_tap)
        return unlock(network, error_set(error, ERROR_CONFLICT, "the tap %s is there", tap));
    entry->is_tap = true;
    return unlock(network, 0);
}

int network_tap_open(struct network *network, const char *tap, const char *mac, const char *address,
                     int *ret_tap, struct error *error)
{
    int descriptor = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (network_tap_make(tap, error) < 0 ||
        network_tap_attach(network, tap, mac, address, error) < 0) {
        close(descriptor);
        return -1;
    }
    *ret_tap = descriptor;
    return 0;
}

int network_tap_attach(struct network *network, const char *tap, const char *mac,
                       const char *address, struct error *error)
{
    (void)mac;
    (void)address;
    pthread_mutex_lock(&network->lock);
    struct entry *entry = find(network, tap);
    if (network->refusals > 0) {
        network->refusals--;
        return unlock(network, error_set(error, ERROR_IO, "refused by the test"));
    }
    if (entry == NULL || !entry->is_tap)
        return unlock(network, error_set(error, ERROR_NOT_FOUND, "there is no tap %s", tap));
    entry->attached = true;
    return unlock(network, 0);
}

int network_tap_remove(struct network *network, const char *tap, const char *mac,
                       const char *address, struct error *error)
{
    (void)mac;
    (void)address;
    (void)error;
    pthread_mutex_lock(&network->lock);
    struct entry *entry = find(network, tap);
    if (entry != NULL) {
        entry->is_tap = entry->attached = false;
        tidy(entry);
    }
    return unlock(network, 0);
}

int network_address_release(struct network *network, const char *address, struct error *error)
{
    (void)network;
    (void)address;
    (void)error;
    return 0;
}

int network_list_taps(struct network *network, char (**ret_ids)[INSTANCE_ID_MAX], size_t *ret_count,
                      struct error *error)
{
    (void)error;
    char(*ids)[INSTANCE_ID_MAX] = xcalloc(ENTRIES_MAX, sizeof *ids);
    size_t found = 0;
    pthread_mutex_lock(&network->lock);
    for (size_t i = 0; i < ENTRIES_MAX; i++) {
        if (network->entries[i].attached)
            snprintf(ids[found++], sizeof *ids, "%.12s", network->entries[i].tap + 2);
    }
    *ret_ids = ids;
    *ret_count = found;
    return unlock(network, 0);
}

int network_adopt(struct network *network, const struct network_pin *pins, size_t number,
                  struct error *error)
{
    (void)network;
    (void)pins;
    (void)number;
    (void)error;
    return 0;
}

/* ---- agent/host/dhcp.h ---- */

int dhcp_lease(struct dhcp *dhcp, const struct network_pin *lease, struct error *error)
{
    (void)error;
    pthread_mutex_lock(&dhcp->network->lock);
    find_or_add(dhcp->network, lease->tap)->leased = true;
    return unlock(dhcp->network, 0);
}

int dhcp_check(struct dhcp *dhcp, struct error *error)
{
    (void)dhcp;
    (void)error;
    return 0;
}

void dhcp_forget(struct dhcp *dhcp, const char *tap)
{
    pthread_mutex_lock(&dhcp->network->lock);
    struct entry *entry = find(dhcp->network, tap);
    if (entry != NULL) {
        entry->leased = false;
        tidy(entry);
    }
    pthread_mutex_unlock(&dhcp->network->lock);
}

void dhcp_adopt(struct dhcp *dhcp, const struct network_pin *leases, size_t number)
{
    pthread_mutex_lock(&dhcp->network->lock);
    for (size_t i = 0; i < ENTRIES_MAX; i++) {
        dhcp->network->entries[i].leased = false;
        tidy(&dhcp->network->entries[i]);
    }
    for (size_t i = 0; i < number; i++)
        find_or_add(dhcp->network, leases[i].tap)->leased = true;
    pthread_mutex_unlock(&dhcp->network->lock);
}
