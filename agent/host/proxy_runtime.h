/* Changing a running HAProxy through its stats socket: servers come, go and drain without a
 * reload. Blocking, with deadlines; the proxy thread. */
#pragma once

#include "agent/host/proxy_model.h"
#include "lib/error.h"

/* Sends commands ("a; b") and reads the whole answer. */
int proxy_runtime_command(const char *socket_path, const char *commands, struct buffer *ret_answer,
                          struct error *error);
/* Makes the servers those of `frontend`. `ret_pending`: some that are no longer wanted still have
 * connections and could not be deleted yet; they get nothing new, and asking again deletes them. */
int proxy_runtime_apply(const char *socket_path, const struct proxy_frontend *frontend,
                        bool *ret_pending, struct error *error);
/* Adds to `*total` the connections in use to one instance. */
int proxy_runtime_count(const char *socket_path, const char *id, uint32_t *total,
                        struct error *error);

/* One server as HAProxy knows it. */
struct proxy_runtime_server {
    char id[INSTANCE_ID_MAX];
    char address[ADDRESS_MAX];
    uint32_t port;
    uint32_t weight;
    uint32_t admin; /* HAProxy's admin state bits: 0 ready, 0x01 maintenance, 0x08 drain */
};
/* Reads one line of "show servers state"; false when it is not one of our servers. */
bool proxy_runtime_parse_server(const char *line, struct proxy_runtime_server *ret_server);
