#include "agent/console_sessions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define TOKEN_MIN   16
#define TOKEN_MAX   65 /* with NUL */
#define WHO_MAX     128
#define PIECE_MAX   16384
#define TICK_MS     1000
#define SLOW_MS     100
#define OUTPUT_TYPE "application/octet-stream"

struct session {
    uv_poll_t poll; /* first: the close callback frees by it */
    struct console_sessions *sessions;
    struct http_request *request;
    LIST_ENTRY(session) link;
    char instance[INSTANCE_ID_MAX];
    char token[TOKEN_MAX];
    char who[WHO_MAX];
    bool writes;
    bool is_slow;      /* its reader takes nothing just now */
    uint64_t heard_ms; /* by uv_now */
    uint64_t asked;    /* sequence of the request to the host half; 0: answered */
    int descriptor;    /* -1: not yet */
    struct buffer unsent;
};

struct console_sessions {
    uv_timer_t timer; /* first: the close callback frees by it */
    struct host_client *host;
    const struct instance_table *instances;
    const char *node;
    size_t count;
    LIST_HEAD(, session) all;
};

/* --- life of one --- */

static void on_session_closed(uv_handle_t *handle)
{
    struct session *session = (struct session *)handle;
    close(session->descriptor);
    buffer_finish(&session->unsent);
    free(session);
}

/* Its request is answered, or gone. */
static void close_session(struct session *session)
{
    LIST_REMOVE(session, link);
    session->sessions->count--;
    if (session->asked != 0)
        host_client_forget(session->sessions->host, session->asked);
    if (session->descriptor >= 0) {
        uv_close((uv_handle_t *)&session->poll, on_session_closed);
        return;
    }
    buffer_finish(&session->unsent);
    free(session);
}

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    close_session(data);
}

static void end_session(struct session *session)
{
    http_request_stream_end(session->request);
    close_session(session);
}

/* --- output --- */

static bool send_unsent(struct session *session)
{
    if (session->unsent.length == 0)
        return true;
    if (http_request_stream_write(session->request, session->unsent.data, session->unsent.length) <
        0)
        return false;
    buffer_clear(&session->unsent);
    return true;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct session *session = (struct session *)poll;
    char bytes[PIECE_MAX];
    ssize_t got = status < 0 ? 0 : recv(session->descriptor, bytes, sizeof bytes, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        send_unsent(session);
        end_session(session);
        return;
    }
    buffer_append(&session->unsent, bytes, (size_t)got);
    session->is_slow = !send_unsent(session);
    if (session->is_slow)
        uv_poll_stop(poll);
}

static void on_tick(uv_timer_t *timer)
{
    struct console_sessions *sessions = (struct console_sessions *)timer;
    uint64_t now = uv_now(timer->loop);
    struct session *session, *next;
    bool is_slow = false;
    for (session = LIST_FIRST(&sessions->all); session != NULL; session = next) {
        next = LIST_NEXT(session, link);
        if (session->descriptor < 0)
            continue;
        if (session->is_slow && send_unsent(session)) {
            session->is_slow = false;
            uv_poll_start(&session->poll, UV_READABLE, on_readable);
        }
        is_slow |= session->is_slow;
        if (now - session->heard_ms >= CONSOLE_SESSION_MS)
            end_session(session);
    }
    if (LIST_EMPTY(&sessions->all))
        uv_timer_stop(timer);
    else
        uv_timer_set_repeat(timer, is_slow ? SLOW_MS : TICK_MS);
}

static void on_opened(const struct host_answer *answer, int descriptor, void *data)
{
    struct session *session = data;
    struct console_sessions *sessions = session->sessions;
    struct error error = ERROR_INIT;
    session->asked = 0;
    if (host_answer_check(answer, &error) == 0 && descriptor < 0)
        error_set(&error, ERROR_INTERNAL, "the host half gave no socket for the console");
    if (error.code != ERROR_NONE) {
        if (descriptor >= 0)
            close(descriptor);
        http_request_respond_error(session->request, &error);
        close_session(session);
        return;
    }
    session->descriptor = descriptor;
    session->heard_ms = uv_now(sessions->timer.loop);
    uv_poll_init(sessions->timer.loop, &session->poll, descriptor);
    uv_poll_start(&session->poll, UV_READABLE, on_readable);
    http_request_stream_begin(session->request, OUTPUT_TYPE);
    http_request_stream_write(session->request, CONSOLE_ATTACHED, strlen(CONSOLE_ATTACHED));
    if (!uv_is_active((const uv_handle_t *)&sessions->timer))
        uv_timer_start(&sessions->timer, on_tick, TICK_MS, TICK_MS);
}

/* --- requests --- */

static bool is_token(const char *text)
{
    size_t length = text != NULL ? strlen(text) : 0;
    return length >= TOKEN_MIN && length < TOKEN_MAX && strspn(text, "0123456789abcdef") == length;
}

static struct session *find(const struct console_sessions *sessions, const char *instance,
                            const char *token)
{
    struct session *session;
    LIST_FOREACH(session, &sessions->all, link)
    {
        if (strcmp(session->instance, instance) == 0 && strcmp(session->token, token) == 0)
            return session;
    }
    return NULL;
}

static int check_writer(const struct console_sessions *sessions, const char *instance,
                        struct error *error)
{
    const struct session *session;
    LIST_FOREACH(session, &sessions->all, link)
    {
        if (session->writes && strcmp(session->instance, instance) == 0)
            return error_set(error, ERROR_CONFLICT,
                             "%s writes to the console of %s already: attach with --read-only, or "
                             "when they have detached",
                             session->who, instance);
    }
    return 0;
}

/* Reads what is asked for into `session`. */
static int read_request(const struct console_sessions *sessions, struct http_request *request,
                        struct session *session, struct error *error)
{
    const char *id = http_request_parameter(request, "id");
    const char *token = http_request_query(request, "session");
    const char *write = http_request_query(request, "write");
    const char *who = http_request_query(request, "by");
    if (!text_copy(session->instance, sizeof session->instance, id) ||
        !instance_table_has(sessions->instances, id))
        return error_set(error, ERROR_NOT_FOUND, "no instance %.32s on node %s", id,
                         sessions->node);
    if (!is_token(token) || find(sessions, id, token) != NULL)
        return error_set(error, ERROR_INVALID, "session is 16 to 64 hex digits, of nobody else's");
    text_copy(session->token, sizeof session->token, token);
    snprintf(session->who, sizeof session->who, "%s",
             who != NULL && who[0] != '\0' ? who : "somebody");
    text_make_line(session->who);
    session->writes = write != NULL && strcmp(write, "0") != 0;
    if (sessions->count >= CONSOLE_SESSIONS_MAX)
        return error_set(error, ERROR_NO_CAPACITY,
                         "%d are attached to consoles of node %s, no more are let in",
                         CONSOLE_SESSIONS_MAX, sessions->node);
    return session->writes ? check_writer(sessions, id, error) : 0;
}

void console_sessions_attach(struct console_sessions *sessions, struct http_request *request)
{
    struct error error = ERROR_INIT;
    struct session *session = xcalloc(1, sizeof *session);
    *session = (struct session){.sessions = sessions, .request = request, .descriptor = -1};
    if (read_request(sessions, request, session, &error) < 0) {
        http_request_respond_error(request, &error);
        free(session);
        return;
    }
    LIST_INSERT_HEAD(&sessions->all, session, link);
    sessions->count++;
    http_request_on_abandoned(request, on_abandoned, session);
    struct host_message message = {.type = HOST_CONSOLE};
    memcpy(message.console.id, session->instance, sizeof message.console.id);
    session->asked = host_client_request(sessions->host, &message, on_opened, session);
}

/* The bytes that were taken; -1: the console is not open. */
static ssize_t take_input(const struct session *session, const char *bytes, size_t length)
{
    if (length == 0)
        return 0;
    ssize_t sent = send(session->descriptor, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return sent;
}

void console_sessions_write(struct console_sessions *sessions, struct http_request *request)
{
    struct error error = ERROR_INIT;
    const char *token = http_request_query(request, "session");
    const char *id = http_request_parameter(request, "id");
    size_t length;
    const char *bytes = http_request_body(request, &length);
    struct session *session = token != NULL ? find(sessions, id, token) : NULL;
    ssize_t taken = 0;
    if (session == NULL || session->descriptor < 0)
        error_set(&error, ERROR_NOT_FOUND, "nobody is attached to the console of %.32s as that",
                  id);
    else if (length > 0 && !session->writes)
        error_set(&error, ERROR_DENIED, "this session only reads the console of %s", id);
    else if ((taken = take_input(session, bytes, length)) < 0)
        error_set(&error, ERROR_UNAVAILABLE, "the console of %s is closed", id);
    if (error.code != ERROR_NONE) {
        http_request_respond_error(request, &error);
        return;
    }
    const char *end = http_request_query(request, "end");
    session->heard_ms = uv_now(sessions->timer.loop);
    if (end != NULL && strcmp(end, "0") != 0)
        end_session(session);
    struct json_object *answer = json_object_new_object();
    json_object_object_add(answer, "taken", json_object_new_int64(taken));
    http_request_respond_json(request, 200, answer);
}

/* --- life --- */

struct console_sessions *console_sessions_create(uv_loop_t *loop, struct host_client *host,
                                                 const struct instance_table *instances,
                                                 const char *node)
{
    struct console_sessions *sessions = xcalloc(1, sizeof *sessions);
    sessions->host = host;
    sessions->instances = instances;
    sessions->node = node;
    LIST_INIT(&sessions->all);
    uv_timer_init(loop, &sessions->timer);
    return sessions;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

void console_sessions_destroy(struct console_sessions *sessions)
{
    if (sessions != NULL)
        uv_close((uv_handle_t *)&sessions->timer, on_closed);
}
