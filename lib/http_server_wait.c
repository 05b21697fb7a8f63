/* Requests that wait for their answer on a loop: libmicrohttpd has their connection suspended, and
 * looks at neither client nor clock meanwhile.
 *
 * Thousands may wait at a time and come back a thousand times a second: a connection is watched
 * from its first wait to its end, by an epoll of ours that tells only of clients that leave; and
 * what waits at a route has the same time, so that the first is the next one due. */
#include <errno.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/http_server_internal.h"
#include "lib/xalloc.h"

#define HANGUPS_AT_ONCE 64

/* --- clients that leave --- */

/* Tells once of what happens from now on, and of what has happened. */
static void watch_client(const struct http_server *server, struct http_connection *client)
{
    struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = client};
    int operation = client->is_watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    if (client->is_watched && !client->has_left)
        return;
    client->has_left = false;
    client->is_watched = epoll_ctl(server->hangups, operation, client->descriptor, &event) == 0;
}

static void take_hangup(struct http_connection *client)
{
    struct http_request *request = client->request;
    client->has_left = true;
    if (request == NULL || !request->suspended)
        return;
    request->gone = true;
    http_request_resume(request);
    http_request_abandon(request);
}

/* Connections end only in libmicrohttpd's run, which is not within this: all of these are there. */
static void on_hangups(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    const struct http_server *server = poll->data;
    struct epoll_event found[HANGUPS_AT_ONCE];
    int count = epoll_wait(server->hangups, found, HANGUPS_AT_ONCE, 0);
    for (int i = 0; i < count; i++)
        take_hangup(found[i].data.ptr);
}

/* --- answers that take too long --- */

static void on_due(uv_timer_t *timer);

static void set_timer(struct http_server *server, uint64_t due_ms)
{
    uint64_t now = uv_now(server->loop);
    server->next_due_ms = due_ms;
    uv_timer_start(&server->deadlines, on_due, due_ms > now ? due_ms - now : 0, 0);
}

static void on_due(uv_timer_t *timer)
{
    struct http_server *server = timer->data;
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < server->route_count; i++) {
        struct http_request *request;
        while ((request = TAILQ_FIRST(&server->waiting[i])) != NULL &&
               request->due_ms <= uv_now(server->loop)) {
            http_request_refuse(request, 0, ERROR_TIMEOUT, "the answer took too long");
            http_request_abandon(request);
        }
        if (request != NULL && request->due_ms < next)
            next = request->due_ms;
    }
    server->next_due_ms = 0;
    if (next != UINT64_MAX)
        set_timer(server, next);
}

static void begin_deadline(struct http_request *request, uint64_t deadline_ms)
{
    struct http_server *server = request->server;
    request->due_ms = uv_now(server->loop) + deadline_ms;
    request->is_timed = true;
    TAILQ_INSERT_TAIL(&server->waiting[request->route - server->routes], request, waiting);
    if (server->next_due_ms == 0 || request->due_ms < server->next_due_ms)
        set_timer(server, request->due_ms);
}

/* --- life --- */

int http_waiting_init(struct http_server *server, uv_loop_t *loop, struct error *error)
{
    server->hangups = epoll_create1(EPOLL_CLOEXEC);
    if (server->hangups < 0 || uv_poll_init(loop, &server->hangup_poll, server->hangups) < 0)
        return error_set_errno(error, errno, "watch for clients that leave");
    uv_timer_init(loop, &server->deadlines);
    server->hangup_poll.data = server->deadlines.data = server;
    server->waiting = xcalloc(server->route_count, sizeof *server->waiting);
    for (size_t i = 0; i < server->route_count; i++)
        TAILQ_INIT(&server->waiting[i]);
    server->handles += 2;
    uv_poll_start(&server->hangup_poll, UV_READABLE, on_hangups);
    return 0;
}

void http_waiting_close(struct http_server *server, uv_close_cb on_closed)
{
    uv_poll_stop(&server->hangup_poll);
    uv_close((uv_handle_t *)&server->hangup_poll, on_closed);
    uv_close((uv_handle_t *)&server->deadlines, on_closed);
}

void http_waiting_finish(struct http_server *server)
{
    if (server->hangups >= 0)
        close(server->hangups);
    free(server->waiting);
}

void http_request_suspend(struct http_request *request, uint64_t deadline_ms)
{
    watch_client(request->server, request->client);
    if (deadline_ms > 0)
        begin_deadline(request, deadline_ms);
    request->suspended = true;
    MHD_suspend_connection(request->connection);
}

void http_request_resume(struct http_request *request)
{
    if (!request->suspended)
        return;
    request->suspended = false;
    http_request_stop_waiting(request);
    MHD_resume_connection(request->connection);
    http_server_wake(request->server);
}

void http_request_stop_waiting(struct http_request *request)
{
    struct http_server *server = request->server;
    if (request->is_timed)
        TAILQ_REMOVE(&server->waiting[request->route - server->routes], request, waiting);
    request->is_timed = false;
}
