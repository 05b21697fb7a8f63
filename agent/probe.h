/* One check of one guest, again and again: an HTTP request or a TCP connect, through sockets that
 * the host half opens in the guests' namespace, or a look at what it wrote on its console. An
 * attempt begins when the one before it is over: never two at a time.
 *
 * Owns the waiting, the attempts and the counting of passes and failures. Loop thread only. */
#pragma once

#include "agent/health_state.h"
#include "agent/host_client.h"
#include "lib/api/health_spec.h"
#include "lib/http_client.h"

struct probe;

struct probe_options {
    uv_loop_t *loop;
    struct http_client *http;
    struct host_client *host;
    const char *name;              /* the moments of its attempts follow from it; copied */
    const char *address;           /* of the guest; copied */
    uint32_t port;                 /* of http and tcp */
    const struct api_probe *check; /* copied */
    /* For how long from now on failures do not count. */
    uint64_t grace_ms;
    /* Of a console's check: where its log is, and since when it counts (wall clock); copied. */
    const char *console_folder;
    const char *instance;
    uint64_t console_since_ms;
    bool starts_healthy;
    /* The verdict changed; `message` says what was seen last. The probe may be destroyed here. */
    void (*on_change)(bool healthy, const char *message, void *data);
    void *data;
};

/* The first attempt is made at once, from the loop. */
struct probe *probe_create(const struct probe_options *options);
/* What the last attempt that failed saw; "": none did. Valid until the next one. */
const char *probe_last_miss(const struct probe *probe);
/* How many attempts are over. */
uint64_t probe_attempts(const struct probe *probe);
/* Frees itself once libuv has closed its handles; no callback comes any more. NULL is fine. */
void probe_destroy(struct probe *probe);
