/* The node's dnsmasq as a process: unprivileged, in the guests' namespace, answering from one
 * configuration and one folder of leases.
 *
 * Owns its files but the leases; a thread of its own starts it, watches it, starts it again and
 * keeps its log short. It outlives this process, and the next start finds it. Knows nothing of what
 * the files say. Any thread; calls block briefly where they do not say otherwise. */
#pragma once

#include "lib/error.h"

struct dhcp_server;

struct dhcp_server_options {
    const char *folder;        /* root's: configuration and pid */
    const char *leases_folder; /* a file a lease, read by dnsmasq's user */
    const char *log_path;      /* and, when it grew long, <log_path>.1 */
    int namespace;             /* the guests'; stays the caller's */
};

/* Finds what runs already and starts the thread. The strings are copied. */
struct dhcp_server *dhcp_server_create(const struct dhcp_server_options *options,
                                       struct error *error);
/* Ends the thread; dnsmasq goes on. NULL is fine. */
void dhcp_server_destroy(struct dhcp_server *server);

/* What runs from now on runs with this configuration. */
int dhcp_server_configure(struct dhcp_server *server, const char *config, struct error *error);
/* Waits until it runs so, or why it does not. One that does not run is started at once, which takes
 * 5 s at most, and is tried again after that. */
int dhcp_server_await(struct dhcp_server *server, struct error *error);
/* Leases that are gone or changed are to be known: new ones are by themselves. */
void dhcp_server_reload(struct dhcp_server *server);

/* Ends the one that the folder tells of. Without a struct dhcp_server. */
int dhcp_server_end(const char *folder, struct error *error);
