#include "lib/http_server.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/http_server_internal.h"
#include "lib/xalloc.h"

#define DEFAULT_CONNECTIONS    1024
#define DEFAULT_IDLE_TIMEOUT_S 120
#define STOP_PATIENCE_MS       1000
/* More makes small answers slower: by a fifth at 128 KiB. */
#define DEFAULT_MEMORY ((size_t)32 << 10)
#define THREAD_STACK   ((size_t)1 << 20)
#define PEM_LIMIT      ((size_t)1 << 20)

#define TLS_PRIORITIES "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

/* --- the loop under libmicrohttpd --- */

static void run(struct http_server *server);

static void free_server(struct http_server *server)
{
    void (*on_closed)(void *) = server->on_closed;
    void *data = server->closed_data;
    if (server->unix_path != NULL)
        unlink(server->unix_path);
    free(server->unix_path);
    http_watch_finish(&server->watch);
    http_waiting_finish(server);
    http_identity_release(server->identity);
    pthread_mutex_destroy(&server->identity_lock);
    free(server->routes);
    free(server->patterns);
    free(server);
    if (on_closed != NULL)
        on_closed(data);
}

void http_server_handle_closed(struct http_server *server)
{
    if (--server->handles == 0)
        free_server(server);
}

static void on_handle_closed(uv_handle_t *handle)
{
    http_server_handle_closed(handle->data);
}

static void stop_daemon(struct http_server *server)
{
    uv_poll_stop(&server->poll);
    MHD_stop_daemon(server->daemon);
    if (server->quiesced_socket >= 0)
        close(server->quiesced_socket);
    uv_close((uv_handle_t *)&server->poll, on_handle_closed);
    uv_close((uv_handle_t *)&server->timer, on_handle_closed);
    http_waiting_close(server, on_handle_closed);
}

static void on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

void http_server_wake(struct http_server *server)
{
    server->resumed = true;
    uv_timer_start(&server->timer, on_timer, 0, 0);
}

static void run(struct http_server *server)
{
    server->resumed = false;
    MHD_run(server->daemon);
    bool stopping = atomic_load(&server->stopping);
    if (stopping &&
        (atomic_load(&server->active) == 0 || uv_now(server->loop) >= server->stop_deadline)) {
        stop_daemon(server);
        return;
    }
    MHD_UNSIGNED_LONG_LONG wait;
    if (MHD_get_timeout(server->daemon, &wait) != MHD_YES)
        wait = stopping ? STOP_PATIENCE_MS : UINT64_MAX;
    if (server->resumed)
        wait = 0;
    if (stopping && wait > STOP_PATIENCE_MS / 20)
        wait = STOP_PATIENCE_MS / 20;
    if (wait == UINT64_MAX)
        uv_timer_stop(&server->timer);
    else
        uv_timer_start(&server->timer, on_timer, wait, 0);
}

static int start_on_loop(struct http_server *server, uv_loop_t *loop, struct error *error)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (http_waiting_init(server, loop, error) < 0)
        return -1;
    if (info == NULL || uv_poll_init(loop, &server->poll, info->epoll_fd) < 0)
        return error_set(error, ERROR_INTERNAL, "the loop cannot watch the HTTP server");
    uv_timer_init(loop, &server->timer);
    server->loop = loop;
    server->poll.data = server->timer.data = server;
    server->handles += 2;
    uv_poll_start(&server->poll, UV_READABLE, on_poll);
    return 0;
}

/* --- the interface --- */

/* Before the first byte of a connection, and after its last. */
static void on_connection(void *data, struct MHD_Connection *mhd, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = data;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        struct http_connection *connection = xcalloc(1, sizeof *connection);
        http_connection_begin_tls(connection, server, mhd);
        http_watch_add(&server->watch, connection, mhd);
        *context = connection;
    } else if (*context != NULL) {
        struct http_connection *connection = *context;
        if (connection->request != NULL)
            http_request_end(connection->request, MHD_REQUEST_TERMINATED_WITH_ERROR);
        http_watch_remove(&server->watch, connection);
        http_identity_release(connection->identity);
        free(connection);
        *context = NULL;
    }
}

/* libmicrohttpd wants a certificate of its own, though no session keeps it. */
static int read_pem(const struct http_server_tls *tls, char **ret_certificate, char **ret_key,
                    struct error *error)
{
    AUTO_FREE char *certificate = NULL;
    if (tls == NULL)
        return 0;
    if (file_read(tls->certificate, PEM_LIMIT, &certificate, NULL, error) < 0 ||
        file_read(tls->key, PEM_LIMIT, ret_key, NULL, error) < 0)
        return -1;
    *ret_certificate = TAKE_POINTER(certificate);
    return 0;
}

static struct MHD_Daemon *start_daemon(struct http_server *server,
                                       const struct http_server_options *options, int listener,
                                       char *certificate, char *key)
{
    const struct MHD_OptionItem tls[] = {
        {MHD_OPTION_HTTPS_MEM_CERT, 0, certificate},
        {MHD_OPTION_HTTPS_MEM_KEY, 0, key},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES},
        {MHD_OPTION_END, 0, NULL},
    };
    static const struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};
    bool on_loop = options->mode == HTTP_SERVER_LOOP;
    unsigned flags = on_loop ? MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME
                             : MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD |
                                   MHD_USE_POLL | MHD_USE_ITC;
    if (options->tls != NULL)
        flags |= MHD_USE_TLS;
    unsigned connections =
        options->max_connections > 0 ? options->max_connections : DEFAULT_CONNECTIONS;
    return MHD_start_daemon(
        flags, 0, http_watch_on_accept, server, http_request_on_step, server,
        MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_CONNECTION_LIMIT, connections,
        MHD_OPTION_CONNECTION_TIMEOUT, server->idle_timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        options->connection_memory > 0 ? options->connection_memory : DEFAULT_MEMORY,
        MHD_OPTION_THREAD_STACK_SIZE, THREAD_STACK, MHD_OPTION_URI_LOG_CALLBACK,
        http_request_on_target, server, MHD_OPTION_NOTIFY_COMPLETED, http_request_on_completed,
        server, MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_ARRAY,
        options->tls != NULL ? tls : none, MHD_OPTION_STRICT_FOR_CLIENT, 1,
        MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, MHD_OPTION_END);
}

/* sendfile to a client that left raises it. */
static void ignore_broken_pipes(void)
{
    struct sigaction action;
    if (sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

int http_server_create(const struct http_server_options *options, struct http_server **ret_server,
                       struct error *error)
{
    AUTO_CLOSE int listener = -1;
    AUTO_FREE char *certificate = NULL;
    AUTO_FREE char *key = NULL;
    struct http_identity *identity = NULL;
    if ((options->tls != NULL && http_identity_load(options->tls, &identity, error) < 0))
        return -1;
    if (read_pem(options->tls, &certificate, &key, error) < 0 ||
        http_server_listen(options, &listener, error) < 0) {
        http_identity_release(identity);
        return -1;
    }
    ignore_broken_pipes();
    struct http_server *server = xcalloc(1, sizeof *server);
    server->mode = options->mode;
    server->routes = xmemdup(options->routes, options->route_count * sizeof *options->routes);
    server->route_count = options->route_count;
    server->patterns = xcalloc(options->route_count, sizeof *server->patterns);
    for (size_t i = 0; i < options->route_count; i++)
        http_pattern_parse(options->routes[i].pattern, &server->patterns[i]);
    server->data = options->data;
    server->protocol = options->protocol;
    server->respond_error = options->respond_error;
    server->admit = options->admit;
    server->on_answer = options->on_answer;
    server->on_finished = options->on_finished;
    server->idle_timeout_s =
        options->idle_timeout_s > 0 ? options->idle_timeout_s : DEFAULT_IDLE_TIMEOUT_S;
    server->unix_path = xstrdup(options->listen_unix);
    server->quiesced_socket = server->hangups = -1;
    server->port = http_server_port_of(listener);
    LIST_INIT(&server->requests);
    server->identity = identity;
    server->speaks_tls = identity != NULL;
    pthread_mutex_init(&server->identity_lock, NULL);
    int result = http_watch_init(&server->watch, options, error);
    if (result == 0)
        server->daemon = start_daemon(server, options, listener, certificate, key);
    if (result == 0 && server->daemon == NULL) {
        result = error_set(error, ERROR_INTERNAL, "the HTTP server on %s:%u did not start",
                           options->address != NULL ? options->address : options->listen_unix,
                           server->port);
    } else if (result == 0) {
        listener = -1; /* libmicrohttpd's */
        if (options->mode == HTTP_SERVER_LOOP)
            result = start_on_loop(server, options->loop, error);
    }
    if (result < 0) {
        if (server->daemon != NULL)
            MHD_stop_daemon(server->daemon);
        free_server(server);
        return -1;
    }
    *ret_server = server;
    return 0;
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

/* What runs gets a moment to end by itself; then libmicrohttpd cuts the connections and joins. */
static void stop_threads(struct http_server *server)
{
    const struct timespec step = {.tv_nsec = 10 * 1000 * 1000};
    for (int i = 0; i < STOP_PATIENCE_MS / 10 && atomic_load(&server->active) > 0; i++)
        nanosleep(&step, NULL);
    MHD_stop_daemon(server->daemon);
    if (server->quiesced_socket >= 0)
        close(server->quiesced_socket);
    free_server(server);
}

/* Requests are told at once, since the handlers' world may end with this call; the connections
 * are closed from the loop. */
static void stop_loop(struct http_server *server)
{
    struct http_request *request, *next;
    for (request = LIST_FIRST(&server->requests); request != NULL; request = next) {
        next = LIST_NEXT(request, link);
        if (request->handled && request->answer.kind == ANSWER_NONE)
            http_request_refuse(request, 0, ERROR_UNAVAILABLE, "the server is stopping");
        request->answer.ended = true;
        http_request_resume(request);
        http_request_abandon(request);
    }
    uv_update_time(server->loop);
    server->stop_deadline = uv_now(server->loop) + STOP_PATIENCE_MS;
    uv_timer_start(&server->timer, on_timer, 0, 0);
}

void http_server_abandon(struct http_server *server,
                         const struct error *(*why)(const struct http_request *request, void *data),
                         void *data)
{
    struct http_request *request, *next;
    for (request = LIST_FIRST(&server->requests); request != NULL; request = next) {
        next = LIST_NEXT(request, link);
        if (!request->handled || !request->held || request->answer.kind != ANSWER_NONE)
            continue;
        const struct error *error = why(request, data);
        if (error == NULL)
            continue;
        http_request_refuse(request, 0, error->code, error->message);
        http_request_abandon(request);
    }
}

void http_server_destroy(struct http_server *server, void (*on_closed)(void *data), void *data)
{
    if (server == NULL || atomic_exchange(&server->stopping, true))
        return;
    server->on_closed = on_closed;
    server->closed_data = data;
    server->quiesced_socket = MHD_quiesce_daemon(server->daemon);
    if (server->mode == HTTP_SERVER_LOOP)
        stop_loop(server);
    else
        stop_threads(server);
}
