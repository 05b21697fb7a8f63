/* What the data plane is to look like: published ports and the servers behind each.
 * Plain values; a model belongs to one thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/host_protocol.h"
#include "lib/buffer.h"

struct proxy_server {
    char id[INSTANCE_ID_MAX];
    char address[ADDRESS_MAX];
    uint32_t port;
    uint32_t weight; /* HAProxy's: its part against that of the others */
    bool drain;      /* finishes what it has, gets nothing new */
};

struct proxy_frontend {
    char name[2 * NAME_MAX_TEXT + 1]; /* <namespace>.<service> */
    uint32_t publish;
    bool http;
    struct proxy_server *servers;
    size_t server_count;
};

struct proxy_model {
    struct proxy_frontend *frontends;
    size_t frontend_count;
};

/* Bounds of one model; more is refused. */
#define PROXY_FRONTENDS_MAX 1024
#define PROXY_SERVERS_MAX   4096

struct proxy_model *proxy_model_create(void);
void proxy_model_destroy(struct proxy_model *model);
/* From checked messages. A port or an id may come once. */
int proxy_model_add_frontend(struct proxy_model *model, const struct host_proxy_frontend *message,
                             struct error *error);
/* Behind the frontend added last. */
int proxy_model_add_server(struct proxy_model *model, const struct host_proxy_server *message,
                           struct error *error);
const struct proxy_frontend *proxy_model_find(const struct proxy_model *model, uint32_t publish);

/* One HAProxy's configuration: the port comes as descriptor DAEMON_LISTEN_DESCRIPTOR. Servers that
 * drain are left out: they are added at run time, in that state. */
struct proxy_config {
    const char *stats_socket;
    uint32_t connections_max;
    uint32_t threads;
};
void proxy_config_render(const struct proxy_frontend *frontend, const struct proxy_config *config,
                         struct buffer *buffer);
