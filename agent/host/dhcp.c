#include "agent/host/dhcp.h"

#include <dirent.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "agent/host/dhcp_files.h"
#include "agent/host/dhcp_release.h"
#include "agent/host/dhcp_server.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/xalloc.h"

/* Gone leases that dnsmasq may remember before it is told to forget them all. */
#define STALE_MAX 1024

/* dnsmasq reads a new file by itself, and never unlearns one but by reading them all again. Until
 * then a lease whose file is gone is stale, and in the way of its address and its MAC. Reading
 * 4,000 takes it 0.3 s, so that waits until one really is in the way. */
struct lease {
    struct network_pin pin;
    bool stale;
};

struct dhcp {
    struct network *network;
    char *leases_folder;
    struct dhcp_server *server;
    pthread_mutex_t lock; /* taken before the server's */
    struct network_subnet *subnets;
    size_t subnet_count;
    struct lease *leases;
    size_t lease_count, stale_count;
};

static char *folder_of(const char *run_directory)
{
    return xasprintf("%s/d", run_directory);
}

/* ---- leases, under the lock ---- */

static void reload(struct dhcp *dhcp)
{
    size_t kept = 0;
    for (size_t i = 0; i < dhcp->lease_count; i++) {
        if (!dhcp->leases[i].stale)
            dhcp->leases[kept++] = dhcp->leases[i];
    }
    dhcp->lease_count = kept;
    dhcp->stale_count = 0;
    dhcp_server_reload(dhcp->server);
}

/* dnsmasq also remembers what it has given, by MAC, and gives that to nobody else. */
static void release(const struct dhcp *dhcp, const struct network_pin *lease)
{
    const char *gateway = dhcp_find_gateway(dhcp->subnets, dhcp->subnet_count, lease->address);
    struct error error = ERROR_INIT;
    if (gateway != NULL &&
        dhcp_release_send(network_namespace(dhcp->network), lease, gateway, &error) < 0)
        log_warn("a lease cannot be released", "name", lease->tap, "error", error.message);
}

/* Released before its file goes: who is killed in between finds the file and does both again. A
 * stale one is released once more, should the first time have been lost. */
static void withdraw(struct dhcp *dhcp, struct lease *lease)
{
    release(dhcp, &lease->pin);
    if (lease->stale)
        return;
    dhcp_lease_remove(dhcp->leases_folder, lease->pin.tap);
    lease->stale = true;
    dhcp->stale_count++;
}

static void add(struct dhcp *dhcp, const struct network_pin *pin)
{
    dhcp->leases = xreallocarray(dhcp->leases, dhcp->lease_count + 1, sizeof *dhcp->leases);
    dhcp->leases[dhcp->lease_count++] = (struct lease){.pin = *pin};
}

static int lease_locked(struct dhcp *dhcp, const struct network_pin *pin, struct error *error)
{
    bool in_the_way = false;
    for (size_t i = 0; i < dhcp->lease_count; i++) {
        struct lease *lease = &dhcp->leases[i];
        if (!lease->stale && dhcp_lease_equals(&lease->pin, pin))
            return 0;
        if (strcmp(lease->pin.tap, pin->tap) == 0 ||
            strcmp(lease->pin.address, pin->address) == 0) {
            withdraw(dhcp, lease);
            in_the_way = true;
        }
    }
    if (in_the_way || dhcp->stale_count > STALE_MAX)
        reload(dhcp);
    if (dhcp_lease_write(dhcp->leases_folder, pin, error) < 0)
        return -1;
    add(dhcp, pin);
    return 0;
}

int dhcp_lease(struct dhcp *dhcp, const struct network_pin *lease, struct error *error)
{
    if (dhcp_lease_check(lease, error) < 0)
        return -1;
    pthread_mutex_lock(&dhcp->lock);
    int result = lease_locked(dhcp, lease, error);
    pthread_mutex_unlock(&dhcp->lock);
    return result;
}

void dhcp_forget(struct dhcp *dhcp, const char *tap)
{
    pthread_mutex_lock(&dhcp->lock);
    for (size_t i = 0; i < dhcp->lease_count; i++) {
        if (!dhcp->leases[i].stale && strcmp(dhcp->leases[i].pin.tap, tap) == 0)
            withdraw(dhcp, &dhcp->leases[i]);
    }
    pthread_mutex_unlock(&dhcp->lock);
}

/* ---- after a restart ---- */

static int compare_taps(const void *left, const void *right)
{
    const struct network_pin *one = left, *other = right;
    return strcmp(one->tap, other->tap);
}

/* Files that are none of these leases' go. `leases` are sorted. */
static void sweep(struct dhcp *dhcp, const struct network_pin *leases, size_t count)
{
    DIR *folder = opendir(dhcp->leases_folder);
    if (folder == NULL)
        return;
    struct dirent *entry;
    while ((entry = readdir(folder)) != NULL) {
        const char *name = entry->d_name;
        const struct network_pin *kept = NULL;
        struct network_pin found;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (dhcp_lease_read(dhcp->leases_folder, name, &found) == 0) {
            kept = bsearch(&found, leases, count, sizeof *leases, compare_taps);
            if (kept != NULL && dhcp_lease_equals(kept, &found))
                continue;
            release(dhcp, &found);
        }
        dhcp_lease_remove(dhcp->leases_folder, name);
    }
    closedir(folder);
}

static void adopt_one(struct dhcp *dhcp, const struct network_pin *pin)
{
    struct error error = ERROR_INIT;
    struct network_pin present;
    if (dhcp_lease_check(pin, &error) == 0 &&
        (dhcp_lease_read(dhcp->leases_folder, pin->tap, &present) == 0 ||
         dhcp_lease_write(dhcp->leases_folder, pin, &error) == 0))
        add(dhcp, pin);
    else
        log_warn("an adopted guest has no lease", "error", error.message);
}

void dhcp_adopt(struct dhcp *dhcp, const struct network_pin *leases, size_t count)
{
    AUTO_FREE struct network_pin *sorted = xcalloc(count + 1, sizeof *sorted);
    memcpy(sorted, leases, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_taps);
    pthread_mutex_lock(&dhcp->lock);
    sweep(dhcp, sorted, count);
    dhcp->lease_count = dhcp->stale_count = 0;
    for (size_t i = 0; i < count; i++)
        adopt_one(dhcp, &sorted[i]);
    reload(dhcp); /* what the one before us left stale is not known */
    pthread_mutex_unlock(&dhcp->lock);
}

/* ---- the server ---- */

/* Without a bridge there is nothing to serve. */
static int configure(struct dhcp *dhcp, struct error *error)
{
    AUTO_BUFFER struct buffer config = {0};
    struct network_subnet *subnets = NULL;
    size_t count = 0;
    if (network_list_subnets(dhcp->network, &subnets, &count, error) < 0)
        return -1;
    pthread_mutex_lock(&dhcp->lock);
    free(dhcp->subnets);
    dhcp->subnets = subnets;
    dhcp->subnet_count = count;
    int result = count == 0 ? 0 : dhcp_config_render(subnets, count, &config, error);
    pthread_mutex_unlock(&dhcp->lock);
    if (result < 0 || count == 0)
        return result;
    return dhcp_server_configure(dhcp->server, buffer_text(&config), error);
}

int dhcp_serve(struct dhcp *dhcp, struct error *error)
{
    if (configure(dhcp, error) < 0)
        return -1;
    return dhcp_server_await(dhcp->server, error);
}

int dhcp_check(struct dhcp *dhcp, struct error *error)
{
    return dhcp_server_await(dhcp->server, error);
}

/* ---- life ---- */

struct dhcp *dhcp_create(const struct dhcp_options *options, struct error *error)
{
    AUTO_FREE char *folder = folder_of(options->run_directory);
    AUTO_FREE char *log_path = xasprintf("%s/dnsmasq.log", options->log_directory);
    struct dhcp *dhcp = xcalloc(1, sizeof *dhcp);
    dhcp->network = options->network;
    dhcp->leases_folder = xasprintf("%s/leases", folder);
    pthread_mutex_init(&dhcp->lock, NULL);
    struct dhcp_server_options server = {.folder = folder,
                                         .leases_folder = dhcp->leases_folder,
                                         .log_path = log_path,
                                         .namespace = network_namespace(options->network)};
    dhcp->server = dhcp_server_create(&server, error);
    if (dhcp->server == NULL || configure(dhcp, error) < 0) {
        dhcp_destroy(dhcp);
        return NULL;
    }
    return dhcp;
}

void dhcp_destroy(struct dhcp *dhcp)
{
    if (dhcp == NULL)
        return;
    dhcp_server_destroy(dhcp->server);
    pthread_mutex_destroy(&dhcp->lock);
    free(dhcp->subnets);
    free(dhcp->leases);
    free(dhcp->leases_folder);
    free(dhcp);
}

int dhcp_clean(const char *run_directory, struct error *error)
{
    AUTO_FREE char *folder = folder_of(run_directory);
    if (dhcp_server_end(folder, error) < 0)
        return -1;
    return file_remove_tree(folder, error);
}
