/* The HTTP server's connections on the kernel's sockets. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/sockios.h>

#include "../runtime/http_transport.h"
#include "../runtime/memory.h"
#include "internal.h"

#define LISTENER_LIMIT 8
#define BACKLOG        128
/* Closed with something still to send, which the peer does not take. */
#define LINGER_TICKS 10

struct listener {
    struct machine_event event; /* first: what epoll gives back is this */
    shoal_http_handler *handler;
};

/*
 * A peer whose connection is gone is closing: the server is done with it, and the rest of its
 * output is on the way.
 */
struct peer {
    struct machine_event event;         /* first, as above */
    struct http_connection *connection; /* NULL: closing */
    uint32_t watched;                   /* what epoll watches it for */
    unsigned ticks;                     /* while closing */
    bool shut_down;                     /* our side, behind the output */
    bool used;
    size_t output_begin;
    size_t output_end;
    char output[HTTP_RESPONSE_LIMIT];
};

static struct {
    struct listener listeners[LISTENER_LIMIT];
    unsigned listener_count;
    struct peer *peers; /* HTTP_CONNECTION_LIMIT of them, from memory_take */
    unsigned peer_count;
    bool stopping;
} transport;

static void free_peer(struct peer *peer)
{
    close(peer->event.fd);
    peer->used = false;
    transport.peer_count--;
}

static void reset_peer(struct peer *peer)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(peer->event.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    free_peer(peer);
}

static bool has_output(const struct peer *peer)
{
    return peer->output_begin < peer->output_end;
}

static void watch_peer(struct peer *peer)
{
    const struct http_connection *connection = peer->connection;
    uint32_t wanted = has_output(peer) ? EPOLLOUT : 0;
    if (connection != NULL && !connection->peer_closed &&
        (connection->finishing || connection->input_length < HTTP_INPUT_SIZE)) {
        wanted |= EPOLLIN;
    }
    if (wanted != peer->watched) {
        peer->watched = wanted;
        machine_event_change(&peer->event, wanted);
    }
}

/* Sends what the kernel takes. Returns 0, or -1 when the peer is gone. */
static int send_output(struct peer *peer)
{
    while (has_output(peer)) {
        ssize_t sent = send(peer->event.fd, peer->output + peer->output_begin,
                            peer->output_end - peer->output_begin, MSG_NOSIGNAL);
        if (sent < 0) {
            return errno == EAGAIN || errno == EINTR ? 0 : -1;
        }
        peer->output_begin += (size_t)sent;
    }
    peer->output_begin = peer->output_end = 0;
    if (peer->shut_down) {
        (void)shutdown(peer->event.fd, SHUT_WR);
    }
    return 0;
}

/* Takes the peer away from the server; the slot there is free after it. */
static struct peer *release_connection(struct http_connection *connection)
{
    struct peer *peer = connection->transport;
    connection->transport = NULL;
    peer->connection = NULL;
    return peer;
}

void http_transport_abort(struct http_connection *connection)
{
    reset_peer(release_connection(connection));
}

void http_transport_close(struct http_connection *connection)
{
    struct peer *peer = release_connection(connection);
    if (has_output(peer)) {
        peer->ticks = 0;
        watch_peer(peer);
    } else {
        free_peer(peer);
    }
}

int http_transport_shut_down(struct http_connection *connection)
{
    struct peer *peer = connection->transport;
    peer->shut_down = true;
    return send_output(peer);
}

void http_transport_consume(struct http_connection *connection, size_t size)
{
    (void)connection; /* the kernel's window follows what is read */
    (void)size;
}

bool http_transport_has_room(const struct http_connection *connection)
{
    return !has_output(connection->transport);
}

int http_transport_send(struct http_connection *connection, const char *data, size_t size)
{
    struct peer *peer = connection->transport;
    if (size > sizeof(peer->output) - peer->output_end) {
        return -1;
    }
    memcpy(peer->output + peer->output_end, data, size);
    peer->output_end += size;
    return send_output(peer);
}

/* Everything goes to the kernel at once. */
void http_transport_push(struct http_connection *connection)
{
    (void)connection;
}

/* What a finishing connection receives belongs to nobody. */
static void receive(struct peer *peer)
{
    struct http_connection *connection = peer->connection;
    char scratch[1024];
    size_t room = HTTP_INPUT_SIZE - connection->input_length;
    if (room == 0) {
        return;
    }
    ssize_t received =
        connection->finishing
            ? recv(peer->event.fd, scratch, sizeof(scratch), 0)
            : recv(peer->event.fd, connection->input + connection->input_length, room, 0);
    if (received < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            http_transport_abort(connection);
        }
    } else if (received == 0) {
        http_server_end_input(connection);
    } else if (!connection->finishing) {
        http_server_receive(connection, (size_t)received);
    }
}

static void on_peer(struct machine_event *event, uint32_t what)
{
    struct peer *peer = (struct peer *)event;
    if (has_output(peer) && send_output(peer) != 0) {
        if (peer->connection != NULL) {
            http_transport_abort(peer->connection);
        } else {
            free_peer(peer);
        }
        return;
    }
    if (peer->connection == NULL) {
        if (!has_output(peer)) {
            free_peer(peer);
        }
        return;
    }
    if ((what & EPOLLOUT) != 0 && !has_output(peer)) {
        http_server_resume(peer->connection);
    }
    if (peer->connection != NULL && (what & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        receive(peer);
    }
    if (peer->connection != NULL) {
        watch_peer(peer);
    }
}

static struct peer *take_peer(void)
{
    for (unsigned i = 0; i < HTTP_CONNECTION_LIMIT; i++) {
        if (!transport.peers[i].used) {
            return &transport.peers[i];
        }
    }
    return NULL;
}

/* A peer for whom there is no room is reset: it may try another instance. */
static void on_listener(struct machine_event *event, uint32_t what)
{
    struct listener *listener = (struct listener *)event;
    (void)what;
    int fd = accept4(listener->event.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        return;
    }
    struct peer *peer = take_peer();
    struct http_connection *connection =
        peer != NULL ? http_server_accept(peer, listener->handler) : NULL;
    if (connection == NULL) {
        const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
        close(fd);
        return;
    }
    memset(peer, 0, offsetof(struct peer, output));
    peer->event = (struct machine_event){.ready = on_peer, .fd = fd};
    peer->connection = connection;
    peer->used = true;
    peer->watched = EPOLLIN;
    transport.peer_count++;
    machine_event_add(&peer->event, EPOLLIN);
}

static int open_listener(uint16_t port)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons(port),
                                        .sin_addr.s_addr = htonl(network_listen_address())};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    /* Connections inherit that small answers are not held back. */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, BACKLOG) != 0) {
        shoal_log("port %u: %s", (unsigned)port, strerror(errno));
        close(fd);
        return -1;
    }
    return fd;
}

int http_transport_listen(uint16_t port, shoal_http_handler *handler)
{
    if (transport.listener_count == LISTENER_LIMIT) {
        return -1;
    }
    if (transport.peers == NULL) {
        transport.peers = memory_take(HTTP_CONNECTION_LIMIT * sizeof(*transport.peers), "sockets");
    }
    int fd = open_listener(port);
    if (fd < 0) {
        return -1;
    }
    struct listener *listener = &transport.listeners[transport.listener_count++];
    *listener = (struct listener){.event = {.ready = on_listener, .fd = fd}, .handler = handler};
    machine_event_add(&listener->event, EPOLLIN);
    return 0;
}

void http_transport_stop_listening(void)
{
    for (unsigned i = 0; i < transport.listener_count; i++) {
        close(transport.listeners[i].event.fd);
    }
    transport.listener_count = 0;
    transport.stopping = true;
}

bool http_sockets_are_stopping(void)
{
    return transport.stopping;
}

unsigned http_sockets_count(void)
{
    return transport.peer_count;
}

unsigned http_sockets_count_unacknowledged(void)
{
    unsigned count = 0;
    for (unsigned i = 0; transport.peer_count > 0 && i < HTTP_CONNECTION_LIMIT; i++) {
        const struct peer *peer = &transport.peers[i];
        int bytes = 0;
        if (peer->used &&
            (has_output(peer) || (ioctl(peer->event.fd, SIOCOUTQ, &bytes) == 0 && bytes > 0))) {
            count++;
        }
    }
    return count;
}

void http_sockets_tick(void)
{
    for (unsigned i = 0; transport.peer_count > 0 && i < HTTP_CONNECTION_LIMIT; i++) {
        struct peer *peer = &transport.peers[i];
        if (!peer->used) {
            continue;
        }
        if (peer->connection != NULL) {
            http_server_tick(peer->connection);
        } else if (++peer->ticks >= LINGER_TICKS) {
            reset_peer(peer);
        }
    }
}
