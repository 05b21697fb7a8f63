#include "cli/session.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "lib/api/protocol.h"
#include "lib/cleanup.h"
#include "lib/http_client.h"
#include "lib/json.h"
#include "lib/registry_login.h"
#include "lib/xalloc.h"

#define CALL_TIMEOUT_MS 60000 /* a PUT may resolve and verify an image first */

struct session {
    uv_loop_t loop;
    uv_timer_t timer;
    uv_signal_t signal;
    uv_prepare_t prepare;
    const bool *awaited; /* what session_run_until waits for */
    struct http_client *http;
    const struct settings *settings;
    struct oci_client *registry;
    char registry_url[ADDRESS_TEXT_MAX];
    bool interrupted;
};

/* One call under way; lives on the stack of the function that waits for it. */
struct waiting {
    bool done;
    bool ended_by_receiver;
    int result;
    int status;
    struct error error;
    char *body;
    size_t length;
    session_receiver *receiver;
    void *receiver_data;
};

struct session *session_create(const struct settings *settings)
{
    struct session *session = xcalloc(1, sizeof *session);
    session->settings = settings;
    uv_loop_init(&session->loop);
    uv_timer_init(&session->loop, &session->timer);
    uv_signal_init(&session->loop, &session->signal);
    uv_prepare_init(&session->loop, &session->prepare);
    session->http = http_client_create(&session->loop);
    return session;
}

void session_destroy(struct session *session)
{
    if (session == NULL)
        return;
    oci_client_destroy(session->registry);
    http_client_destroy(session->http);
    uv_close((uv_handle_t *)&session->timer, NULL);
    uv_close((uv_handle_t *)&session->signal, NULL);
    uv_close((uv_handle_t *)&session->prepare, NULL);
    uv_run(&session->loop, UV_RUN_DEFAULT);
    uv_loop_close(&session->loop);
    free(session);
}

/* Between timers and polling: what a timer settled must not be waited for any more. */
static void on_prepare(uv_prepare_t *prepare)
{
    const struct session *session = prepare->data;
    if (*session->awaited || session->interrupted)
        uv_stop(prepare->loop);
}

void session_run_until(struct session *session, const bool *done)
{
    session->awaited = done;
    session->prepare.data = session;
    uv_prepare_start(&session->prepare, on_prepare);
    while (!*done && !session->interrupted)
        uv_run(&session->loop, UV_RUN_ONCE);
    uv_prepare_stop(&session->prepare);
}

static void on_answer(const struct http_client_response *response, void *data)
{
    struct waiting *waiting = data;
    waiting->done = true;
    waiting->status = response->status;
    waiting->result = http_response_check(response, &waiting->error);
    if (waiting->result == 0) {
        waiting->body = xmemdup(response->body, response->body_length + 1);
        waiting->length = response->body_length;
    }
}

static int on_bytes(const void *bytes, size_t length, void *data)
{
    struct waiting *waiting = data;
    if (waiting->receiver(bytes, length, waiting->receiver_data) == 0)
        return 0;
    waiting->ended_by_receiver = true;
    return -1;
}

static int run_call(struct session *session, const struct http_client_request *request,
                    struct waiting *waiting, struct error *error)
{
    struct http_call *call = http_client_start(session->http, request, on_answer, waiting, error);
    if (call == NULL)
        return -1;
    session_run_until(session, &waiting->done);
    if (!waiting->done) {
        http_client_cancel(call);
        return error_set(error, ERROR_TIMEOUT, "interrupted");
    }
    if (waiting->result < 0)
        return error_copy(error, &waiting->error);
    return 0;
}

/* What a scheduler that does not answer at all means for the person who asked. */
static int explain_silence(const struct session *session, const struct waiting *waiting,
                           struct error *error)
{
    if (!waiting->done || waiting->status != 0 || error == NULL ||
        (waiting->error.code != ERROR_UNAVAILABLE && waiting->error.code != ERROR_TIMEOUT))
        return -1;
    const char *reason = strstr(waiting->error.message, ": ");
    return error_set(error, waiting->error.code,
                     "the scheduler at %s (%s) cannot be reached: %s\n"
                     "Start one on this machine with `shoal up`, or name another with --address or "
                     "SHOAL_ADDRESS.",
                     session->settings->scheduler, session->settings->scheduler_source,
                     reason != NULL ? reason + 2 : waiting->error.message);
}

static int read_answer(const struct waiting *waiting, struct json_object **ret_answer,
                       struct error *error)
{
    if (ret_answer == NULL)
        return 0;
    struct json_object *answer = NULL;
    if (waiting->length > 0 && json_parse(waiting->body, waiting->length, &answer, error) < 0)
        return error_wrap(error, "the scheduler's answer");
    *ret_answer = answer;
    return 0;
}

int session_call(struct session *session, const char *method, const char *path,
                 struct json_object *body, struct json_object **ret_answer, struct error *error)
{
    static const char *const headers[] = {SHOAL_PROTOCOL_HEADER, "Content-Type: application/json",
                                          NULL};
    AUTO_FREE char *url = xasprintf("%s%s", session->settings->scheduler, path);
    AUTO_FREE char *text = body != NULL ? json_text(body) : NULL;
    struct http_client_request request = {
        .method = method,
        .url = url,
        .headers = headers,
        .body = text,
        .body_length = text != NULL ? strlen(text) : 0,
        .timeout_ms = CALL_TIMEOUT_MS,
        .response_limit = (size_t)64 << 20,
    };
    struct waiting waiting = {0};
    int result = run_call(session, &request, &waiting, error);
    if (result < 0)
        explain_silence(session, &waiting, error);
    else
        result = read_answer(&waiting, ret_answer, error);
    free(waiting.body);
    return result;
}

int session_get(struct session *session, const char *path, struct json_object **ret_answer,
                struct error *error)
{
    return session_call(session, "GET", path, NULL, ret_answer, error);
}

int session_probe(struct session *session, const char *url, unsigned timeout_ms,
                  struct error *error)
{
    struct http_client_request request = {
        .url = url, .connect_timeout_ms = timeout_ms, .timeout_ms = timeout_ms};
    struct waiting waiting = {0};
    int result = run_call(session, &request, &waiting, error);
    free(waiting.body);
    return result;
}

int session_fetch(struct session *session, const char *method, const char *url, char **ret_text,
                  struct error *error)
{
    struct http_client_request request = {.method = method, .url = url};
    struct waiting waiting = {0};
    if (run_call(session, &request, &waiting, error) < 0)
        return -1;
    if (ret_text != NULL)
        *ret_text = TAKE_POINTER(waiting.body);
    free(waiting.body);
    return 0;
}

int session_stream(struct session *session, const char *path, session_receiver *receiver,
                   void *data, struct error *error)
{
    static const char *const headers[] = {SHOAL_PROTOCOL_HEADER, NULL};
    AUTO_FREE char *url = xasprintf("%s%s", session->settings->scheduler, path);
    struct http_client_request request = {
        .url = url, .headers = headers, .timeout_ms = HTTP_NO_TIMEOUT, .on_body = on_bytes};
    struct waiting waiting = {.receiver = receiver, .receiver_data = data};
    int result = run_call(session, &request, &waiting, error);
    free(waiting.body);
    if (result == 0 || waiting.ended_by_receiver || session->interrupted)
        return 0;
    explain_silence(session, &waiting, error);
    return -1;
}

static void on_interrupt(uv_signal_t *signal, int number)
{
    (void)number;
    struct session *session = signal->data;
    session->interrupted = true;
}

void session_catch_interrupt(struct session *session)
{
    session->signal.data = session;
    uv_signal_start(&session->signal, on_interrupt, SIGINT);
}

bool session_is_interrupted(const struct session *session)
{
    return session->interrupted;
}

static void on_slept(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

bool session_sleep(struct session *session, unsigned ms)
{
    bool done = false;
    session->timer.data = &done;
    uv_update_time(&session->loop);
    uv_timer_start(&session->timer, on_slept, ms, 0);
    session_run_until(session, &done);
    uv_timer_stop(&session->timer);
    return !session->interrupted;
}

/* Whoever logged in with docker, podman or skopeo is logged in here. */
static int find_login(const char *url, struct registry_login *ret_login, struct error *error)
{
    AUTO_FREE char *path = registry_logins_default_path();
    struct registry_logins *logins = NULL;
    if (registry_logins_load(path, &logins, error) < 0)
        return -1;
    int result = registry_logins_find(logins, url, ret_login, error);
    registry_logins_destroy(logins);
    return result;
}

int session_registry(struct session *session, const char *url, struct oci_client **ret_client,
                     struct error *error)
{
    struct registry_login login = {0};
    if (session->registry == NULL || strcmp(session->registry_url, url) != 0) {
        if (find_login(url, &login, error) < 0)
            return -1;
        oci_client_destroy(session->registry);
        snprintf(session->registry_url, sizeof session->registry_url, "%s", url);
        struct oci_client_options options = {.http = session->http,
                                             .url = session->registry_url,
                                             .attempts = 2,
                                             .username = login.username,
                                             .password = login.password};
        session->registry = oci_client_create(&options);
        registry_login_release(&login);
    }
    *ret_client = session->registry;
    return 0;
}
