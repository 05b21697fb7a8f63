/* One check of one guest, again and again: HTTP (status 200 to 399 passes) or a TCP connect,
 * through sockets that the host half opens in the guests' namespace. Never two at a time.
 *
 * Owns the waiting, the attempts and the counting of passes and failures. Loop thread only. */
#pragma once

#include "agent/health_state.h"
#include "agent/host_client.h"
#include "lib/http_client.h"

struct probe;

struct probe_options {
    uv_loop_t *loop;
    struct http_client *http;
    struct host_client *host;
    const char *address; /* of the guest; copied */
    uint32_t port;
    const char *path; /* NULL: a TCP connect; else an HTTP GET; copied */
    uint64_t every_ms;
    uint64_t timeout_ms;
    uint32_t rise;
    uint32_t fall;
    bool starts_healthy;
    /* The verdict changed; `message` says what was seen last. The probe may be destroyed here. */
    void (*on_change)(bool healthy, const char *message, void *data);
    void *data;
};

/* The first attempt is made at once, from the loop. */
struct probe *probe_create(const struct probe_options *options);
/* Frees itself once libuv has closed its handles; no callback comes any more. NULL is fine. */
void probe_destroy(struct probe *probe);
