/* Between a store and etcd: passes everything on, but transactions as the test says: some are lost
 * on the way there, of some the answer is or becomes another one, some arrive late. A thread for
 * each connection. */
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/xalloc.h"

enum lossy_fate {
    FATE_PASS,
    FATE_LOSE_REQUEST,
    FATE_LOSE_ANSWER,
    FATE_SPOIL_ANSWER,
    FATE_DELAY,
};

struct lossy_proxy {
    int listener;
    unsigned port, target;
    pthread_t acceptor;
    atomic_bool ending;
    atomic_uint connections;
    atomic_uint fate;     /* of the next transactions */
    atomic_uint left;     /* so many of them */
    atomic_uint met;      /* so many have met it */
    atomic_uint delay_ms; /* of FATE_DELAY */
};

struct lossy_connection {
    struct lossy_proxy *proxy;
    int client, server;
    struct buffer request;
};

static inline struct sockaddr_in loopback_address(unsigned port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static inline bool send_all(int descriptor, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(descriptor, bytes, length, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        bytes += sent;
        length -= (size_t)sent;
    }
    return true;
}

/* The length of the first whole request that came; 0: not yet. */
static inline size_t whole_request(const struct buffer *request)
{
    const char *text = buffer_text(request);
    const char *end = strstr(text, "\r\n\r\n");
    const char *length = strcasestr(text, "content-length:");
    if (end == NULL || length == NULL || length > end)
        return 0;
    size_t whole = (size_t)(end + 4 - text) + strtoul(length + 15, NULL, 10);
    return request->length >= whole ? whole : 0;
}

static inline enum lossy_fate next_fate(struct lossy_proxy *proxy, const char *request)
{
    if (strncmp(request, "POST /v3/kv/txn", 15) != 0)
        return FATE_PASS;
    unsigned left = atomic_load(&proxy->left);
    while (left > 0 && !atomic_compare_exchange_weak(&proxy->left, &left, left - 1))
        ;
    if (left == 0)
        return FATE_PASS;
    atomic_fetch_add(&proxy->met, 1);
    return (enum lossy_fate)atomic_load(&proxy->fate);
}

/* False: the connection is over. */
static inline bool pass_requests(struct lossy_connection *connection)
{
    static const char spoilt[] = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nWelcome!\n";
    size_t whole;
    char answer[4096];
    while ((whole = whole_request(&connection->request)) > 0) {
        enum lossy_fate fate = next_fate(connection->proxy, connection->request.data);
        if (fate == FATE_LOSE_REQUEST)
            return false;
        if (fate == FATE_DELAY)
            usleep(atomic_load(&connection->proxy->delay_ms) * 1000);
        if (!send_all(connection->server, connection->request.data, whole))
            return false;
        buffer_consume(&connection->request, whole);
        if (fate == FATE_PASS)
            continue;
        (void)!recv(connection->server, answer, sizeof answer, 0);
        if (fate == FATE_SPOIL_ANSWER)
            send_all(connection->client, spoilt, sizeof spoilt - 1);
        return false;
    }
    return true;
}

static inline bool pass_once(struct lossy_connection *connection)
{
    struct pollfd both[] = {{connection->client, POLLIN, 0}, {connection->server, POLLIN, 0}};
    char bytes[65536];
    if (poll(both, 2, 50) < 0 || atomic_load(&connection->proxy->ending))
        return false;
    if (both[1].revents != 0) {
        ssize_t got = recv(connection->server, bytes, sizeof bytes, 0);
        if (got <= 0 || !send_all(connection->client, bytes, (size_t)got))
            return false;
    }
    if (both[0].revents != 0) {
        ssize_t got = recv(connection->client, bytes, sizeof bytes, 0);
        if (got <= 0)
            return false;
        buffer_append(&connection->request, bytes, (size_t)got);
        return pass_requests(connection);
    }
    return true;
}

static inline void *pass_connection(void *data)
{
    struct lossy_connection *connection = data;
    struct sockaddr_in address = loopback_address(connection->proxy->target);
    connection->server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(connection->server, (struct sockaddr *)&address, sizeof address) == 0) {
        while (pass_once(connection))
            ;
    }
    close(connection->client);
    close(connection->server);
    buffer_finish(&connection->request);
    atomic_fetch_sub(&connection->proxy->connections, 1);
    free(connection);
    return NULL;
}

static inline void *accept_connections(void *data)
{
    struct lossy_proxy *proxy = data;
    int client;
    while ((client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct lossy_connection *connection = xcalloc(1, sizeof *connection);
        connection->proxy = proxy;
        connection->client = client;
        atomic_fetch_add(&proxy->connections, 1);
        pthread_t thread;
        pthread_create(&thread, NULL, pass_connection, connection);
        pthread_detach(thread);
    }
    return NULL;
}

static inline void lossy_proxy_start(struct lossy_proxy *proxy, unsigned target)
{
    struct sockaddr_in address = loopback_address(0);
    socklen_t length = sizeof address;
    proxy->target = target;
    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bind(proxy->listener, (struct sockaddr *)&address, sizeof address);
    listen(proxy->listener, 16);
    getsockname(proxy->listener, (struct sockaddr *)&address, &length);
    proxy->port = ntohs(address.sin_port);
    pthread_create(&proxy->acceptor, NULL, accept_connections, proxy);
}

static inline void lossy_proxy_stop(struct lossy_proxy *proxy)
{
    atomic_store(&proxy->ending, true);
    shutdown(proxy->listener, SHUT_RDWR);
    pthread_join(proxy->acceptor, NULL);
    close(proxy->listener);
    while (atomic_load(&proxy->connections) > 0)
        usleep(10 * 1000);
}

/* The next `count` transactions meet this. */
static inline void lossy_proxy_set(struct lossy_proxy *proxy, enum lossy_fate fate, unsigned count)
{
    atomic_store(&proxy->fate, fate);
    atomic_store(&proxy->met, 0);
    atomic_store(&proxy->left, count);
}
