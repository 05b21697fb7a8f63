/* HTTP for a load: connections of many, each with one request at a time, on a libuv loop. It does
 * as little as it can, since it shares the processors with what it measures. What goes wrong ends
 * the process with a message. Loop thread only; knows nothing of what is asked. */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "lib/buffer.h"

struct connection;
/* `body` ends with a NUL and lives during the call. The connection may ask again. */
typedef void connection_answer(struct connection *connection, int status, const char *body,
                               size_t length);

/* Whom all of them ask. */
struct load_target {
    uv_loop_t *loop;
    struct sockaddr_in address;
};

/* Zeroed but for target, owner and asker. Is never closed: it ends with the process. */
struct connection {
    const struct load_target *target;
    void *owner;
    void *asker;
    bool may_end; /* while it asks, too */
    /* Its own. */
    uv_tcp_t tcp;
    uv_connect_t connect;
    struct buffer in, out;
    connection_answer *on_answer;
    uint64_t sent_us; /* when it asked */
    bool is_open, is_busy, is_over;
};

/* Opens the connection when it is not yet. It must not be busy. */
void connection_ask(struct connection *connection, connection_answer *answer, const char *method,
                    const char *path, const char *body);

uint64_t load_now_us(void);
__attribute__((noreturn, format(printf, 1, 2))) void load_fail(const char *format, ...);
