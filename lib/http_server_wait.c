/* Requests that wait for their answer on a loop: libmicrohttpd has their connection suspended, and
 * looks at neither client nor clock meanwhile. */
#include "lib/http_server_internal.h"
#include "lib/xalloc.h"

static void on_watch_closed(uv_handle_t *handle)
{
    struct request_watch *watch = handle->data;
    struct http_server *server = watch->server;
    if (--watch->open == 0)
        free(watch);
    http_server_handle_closed(server);
}

void http_request_stop_watching(struct http_request *request)
{
    struct request_watch *watch = request->watch;
    if (watch == NULL)
        return;
    request->watch = NULL;
    watch->request = NULL;
    uv_close((uv_handle_t *)&watch->poll, on_watch_closed);
    uv_close((uv_handle_t *)&watch->deadline, on_watch_closed);
}

static void on_hangup(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    struct request_watch *watch = poll->data;
    struct http_request *request = watch->request;
    request->gone = true;
    http_request_resume(request);
    http_request_abandon(request);
}

static void on_deadline(uv_timer_t *timer)
{
    struct request_watch *watch = timer->data;
    struct http_request *request = watch->request;
    http_request_refuse(request, 0, ERROR_TIMEOUT, "the answer took too long");
    http_request_abandon(request);
}

static struct request_watch *watch_create(struct http_request *request)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct http_server *server = request->server;
    struct request_watch *watch = xcalloc(1, sizeof *watch);
    if (info == NULL || uv_poll_init(server->loop, &watch->poll, info->connect_fd) < 0) {
        free(watch);
        return NULL;
    }
    uv_timer_init(server->loop, &watch->deadline);
    watch->poll.data = watch->deadline.data = watch;
    watch->server = server;
    watch->request = request;
    watch->open = 2;
    server->handles += 2;
    return watch;
}

void http_request_suspend(struct http_request *request, uint64_t deadline_ms)
{
    if (request->watch == NULL)
        request->watch = watch_create(request);
    if (request->watch != NULL) {
        uv_poll_start(&request->watch->poll, UV_DISCONNECT, on_hangup);
        if (deadline_ms > 0)
            uv_timer_start(&request->watch->deadline, on_deadline, deadline_ms, 0);
    }
    request->suspended = true;
    MHD_suspend_connection(request->connection);
}

void http_request_resume(struct http_request *request)
{
    if (!request->suspended)
        return;
    request->suspended = false;
    if (request->watch != NULL) {
        uv_poll_stop(&request->watch->poll);
        uv_timer_stop(&request->watch->deadline);
    }
    MHD_resume_connection(request->connection);
    http_server_wake(request->server);
}
