#include "agent/host/network_owner.h"

#include <linux/if.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/host/namespace.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/xalloc.h"

static int refuse(struct error *error, int result, const char *what)
{
    return error_set(error, ERROR_IO, "%s: %s", what, nl_geterror(result));
}

static int write_owner(struct nl_sock *socket, struct rtnl_link *loopback, const char *owner,
                       struct error *error)
{
    struct rtnl_link *change = rtnl_link_alloc();
    rtnl_link_set_ifalias(change, owner);
    int result = rtnl_link_change(socket, loopback, change, 0);
    rtnl_link_put(change);
    return result < 0 ? refuse(error, result, "mark the namespace's owner") : 0;
}

static int claim(struct nl_sock *socket, struct rtnl_link *loopback, const char *node,
                 const char *owner, struct error *error)
{
    const char *present = rtnl_link_get_ifalias(loopback);
    if (present != NULL && strcmp(present, owner) == 0)
        return 0;
    if (present != NULL && access(present, F_OK) == 0)
        return error_set(error, ERROR_CONFLICT,
                         "node name %s belongs on this machine to the agent with the state folder "
                         "%s: choose another --node, or end that one's guests first with "
                         "shoal-agent --clean",
                         node, present);
    if (present != NULL)
        log_warn("the namespace of an agent whose state folder is gone is taken over", "node", node,
                 "folder", present);
    return write_owner(socket, loopback, owner, error);
}

static int claim_here(const char *node, const char *owner, struct error *error)
{
    struct nl_sock *socket = nl_socket_alloc();
    if (socket == NULL)
        return error_set(error, ERROR_IO, "netlink: out of memory");
    struct rtnl_link *loopback = NULL;
    int result = nl_connect(socket, NETLINK_ROUTE);
    if (result >= 0)
        result = rtnl_link_get_kernel(socket, 0, "lo", &loopback);
    result = result < 0 ? refuse(error, result, "read the namespace's owner")
                        : claim(socket, loopback, node, owner, error);
    if (loopback != NULL)
        rtnl_link_put(loopback);
    nl_socket_free(socket);
    return result;
}

int network_owner_claim(int namespace, const char *node, const char *state_directory,
                        struct error *error)
{
    AUTO_FREE char *owner = realpath(state_directory, NULL);
    if (owner == NULL || strlen(owner) >= IFALIASZ)
        return error_set(error, ERROR_INVALID,
                         "state folder %s: it must exist, and its path have less than %d bytes",
                         state_directory, IFALIASZ);
    int previous;
    if (namespace_enter(namespace, &previous, error) < 0)
        return -1;
    int result = claim_here(node, owner, error);
    namespace_leave(previous);
    return result;
}
