/* The open connections: how many an address has, and which of them are too slow.
 *
 * A thread of its own looks at every connection some times a window. What the client has moved
 * comes from the kernel (TCP_INFO of tcp(7)), so that reading, sending and sendfile cost nothing
 * more; who is waiting for whom is the connection's phase. A slow connection's socket is shut down,
 * which libmicrohttpd notices as it would the client's leaving. */
#include <arpa/inet.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#include "lib/http_server_internal.h"
#include "lib/http_server_tcp.h"
#include "lib/xalloc.h"

#define LOOKS_PER_WINDOW 10
#define LOOK_MS_MIN      10
#define LOOK_MS_MAX      1000
/* Connections over an address's limit that still get their 503; more are closed at once. */
#define REFUSALS_AT_ONCE 8
/* So long one of those may take to ask. */
#define REFUSED_TIMEOUT_S 5

/* --- addresses --- */

/* Of an IPv6 address its /64 counts, of which one host has as many as it likes. */
static void read_address(const struct sockaddr *address, struct http_address *ret_address)
{
    *ret_address = (struct http_address){0};
    ret_address->family = address->sa_family;
    if (address->sa_family == AF_INET)
        memcpy(ret_address->bytes, &((const struct sockaddr_in *)address)->sin_addr, 4);
    else if (address->sa_family == AF_INET6)
        memcpy(ret_address->bytes, &((const struct sockaddr_in6 *)address)->sin6_addr, 8);
}

static void write_peer(const struct sockaddr *address, char *ret_peer)
{
    if (address->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, ret_peer,
                  INET6_ADDRSTRLEN);
    else if (address->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, ret_peer,
                  INET6_ADDRSTRLEN);
}

/* Locked. */
static unsigned count_connections(const struct http_watch *watch,
                                  const struct http_address *address)
{
    unsigned count = 0;
    const struct http_connection *connection;
    LIST_FOREACH(connection, &watch->connections, link)
    {
        if (connection->address.family == address->family &&
            memcmp(connection->address.bytes, address->bytes, sizeof address->bytes) == 0)
            count++;
    }
    return count;
}

enum MHD_Result http_watch_on_accept(void *data, const struct sockaddr *from, socklen_t length)
{
    (void)length;
    struct http_server *server = data;
    struct http_watch *watch = &server->watch;
    struct http_address address;
    if (watch->per_address == 0 || from == NULL || from->sa_family == AF_UNIX)
        return MHD_YES;
    read_address(from, &address);
    pthread_mutex_lock(&watch->lock);
    unsigned count = count_connections(watch, &address);
    pthread_mutex_unlock(&watch->lock);
    return count < watch->per_address + REFUSALS_AT_ONCE ? MHD_YES : MHD_NO;
}

void http_watch_add(struct http_watch *watch, struct http_connection *connection,
                    struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    connection->descriptor = info != NULL ? info->connect_fd : -1;
    info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info != NULL && info->client_addr != NULL) {
        read_address(info->client_addr, &connection->address);
        write_peer(info->client_addr, connection->peer);
    }
    pthread_mutex_lock(&watch->lock);
    connection->is_refused = watch->per_address > 0 && connection->peer[0] != '\0' &&
                             count_connections(watch, &connection->address) >= watch->per_address;
    LIST_INSERT_HEAD(&watch->connections, connection, link);
    pthread_mutex_unlock(&watch->lock);
    if (connection->is_refused)
        MHD_set_connection_option(mhd, MHD_CONNECTION_OPTION_TIMEOUT, REFUSED_TIMEOUT_S);
}

void http_watch_remove(struct http_watch *watch, struct http_connection *connection)
{
    pthread_mutex_lock(&watch->lock);
    LIST_REMOVE(connection, link);
    pthread_mutex_unlock(&watch->lock);
}

/* --- phases --- */

bool http_connection_enter(struct http_connection *connection, enum http_phase phase)
{
    int before = atomic_load_explicit(&connection->phase, memory_order_relaxed);
    while (before != HTTP_PHASE_CUT) {
        if (atomic_compare_exchange_weak(&connection->phase, &before, (int)phase))
            return true;
    }
    return false;
}

bool http_connection_is_cut(const struct http_connection *connection)
{
    return atomic_load(&connection->phase) == HTTP_PHASE_CUT;
}

/* Not while another thread goes on with it: then it is not slow. */
static void cut(struct http_connection *connection, enum http_phase phase, bool speaks_tls)
{
    static const char text[] =
        "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    const struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    int before = (int)phase;
    if (!atomic_compare_exchange_strong(&connection->phase, &before, HTTP_PHASE_CUT))
        return;
    /* Reset at once: what the kernel holds for the client goes, and is never followed by an end
     * that might be taken for that of the answer. */
    if (phase == HTTP_PHASE_SENDING)
        connect(connection->descriptor, &nobody, sizeof nobody);
    else if (phase != HTTP_PHASE_DROPPING && !speaks_tls)
        send(connection->descriptor, text, sizeof text - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    shutdown(connection->descriptor, SHUT_RDWR);
}

static void look_at(struct http_watch *watch, struct http_connection *connection)
{
    struct http_progress *progress = &connection->progress;
    enum http_phase phase = (enum http_phase)atomic_load(&connection->phase);
    unsigned requests = atomic_load(&connection->requests);
    struct http_tcp_counts counts;
    if (phase == HTTP_PHASE_CUT || !http_tcp_count(connection->descriptor, &counts))
        return;
    uint64_t moved = phase == HTTP_PHASE_SENDING ? counts.acked : counts.received;
    bool is_new = phase != progress->phase || requests != progress->requests;
    bool waits = phase != HTTP_PHASE_WORKING;
    if (phase == HTTP_PHASE_HEAD) /* idle until its first byte, and then there is one window */
        waits = moved != progress->moved;
    else if (moved - progress->moved >= watch->slow_bytes)
        waits = false;
    if (is_new || !waits) {
        *progress = (struct http_progress){.phase = phase, .requests = requests, .moved = moved};
        return;
    }
    progress->waited_ms += watch->look_ms;
    if (progress->waited_ms >= watch->slow_window_ms)
        cut(connection, phase, watch->speaks_tls);
}

static void *run(void *data)
{
    struct http_watch *watch = data;
    pthread_mutex_lock(&watch->lock);
    while (!watch->stopping) {
        struct timespec next;
        clock_gettime(CLOCK_MONOTONIC, &next);
        uint64_t nanoseconds = (uint64_t)next.tv_nsec + watch->look_ms * 1000000;
        next.tv_sec += (time_t)(nanoseconds / 1000000000);
        next.tv_nsec = (long)(nanoseconds % 1000000000);
        if (pthread_cond_timedwait(&watch->wake, &watch->lock, &next) == 0)
            continue;
        struct http_connection *connection;
        LIST_FOREACH(connection, &watch->connections, link) look_at(watch, connection);
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

/* --- life --- */

static void choose_times(struct http_watch *watch, const struct http_server_options *options)
{
    watch->slow_window_ms = options->slow_window_ms;
    watch->slow_bytes = options->slow_bytes > 0 ? options->slow_bytes : 1;
    watch->look_ms = options->slow_window_ms / LOOKS_PER_WINDOW;
    if (watch->look_ms < LOOK_MS_MIN)
        watch->look_ms = LOOK_MS_MIN;
    if (watch->look_ms > LOOK_MS_MAX)
        watch->look_ms = LOOK_MS_MAX;
}

int http_watch_init(struct http_watch *watch, const struct http_server_options *options,
                    struct error *error)
{
    pthread_condattr_t clock;
    sigset_t all, before;
    pthread_mutex_init(&watch->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&watch->wake, &clock);
    pthread_condattr_destroy(&clock);
    LIST_INIT(&watch->connections);
    watch->per_address = options->max_connections_per_address;
    watch->speaks_tls = options->tls != NULL;
    /* Only its owner connects to a UNIX socket, and it has no TCP_INFO. */
    if (options->slow_window_ms == 0 || options->listen_unix != NULL)
        return 0;
    choose_times(watch, options);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(&watch->thread, NULL, run, watch);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failure != 0)
        return error_set_errno(error, failure, "start the thread that watches for slow clients");
    watch->is_running = true;
    return 0;
}

void http_watch_finish(struct http_watch *watch)
{
    if (watch->is_running) {
        pthread_mutex_lock(&watch->lock);
        watch->stopping = true;
        pthread_cond_signal(&watch->wake);
        pthread_mutex_unlock(&watch->lock);
        pthread_join(watch->thread, NULL);
    }
    pthread_cond_destroy(&watch->wake);
    pthread_mutex_destroy(&watch->lock);
}
