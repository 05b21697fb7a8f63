#include "cli/session.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "lib/api/protocol.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/http_client.h"
#include "lib/json.h"
#include "lib/registry_login.h"
#include "lib/xalloc.h"

#define CALL_TIMEOUT_MS       60000 /* a PUT may resolve and verify an image first */
#define CONNECT_TIMEOUT_MS    2000
#define PROBE_TIMEOUT_MS      1000
#define STALL_TIMEOUT_S       5
#define NO_LEADER_PATIENCE_MS 15000
#define NO_LEADER_PAUSE_MS    500

struct session {
    uv_loop_t loop;
    uv_timer_t timer;
    uv_signal_t signal;
    uv_prepare_t prepare;
    const bool *awaited; /* what session_run_until waits for */
    struct http_client *http;
    struct settings *settings;
    struct oci_client *registry;
    char registry_url[ADDRESS_TEXT_MAX];
    bool interrupted;
};

/* One call under way; lives on the stack of the function that waits for it. */
struct waiting {
    bool done;
    bool ended_by_receiver;
    bool received; /* the receiver got some of it */
    bool unsent;
    int result;
    int status;
    struct error error;
    char *body;
    size_t length;
    session_receiver *receiver;
    void *receiver_data;
};

struct session *session_create(struct settings *settings)
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
    waiting->unsent = response->unsent;
    waiting->result = http_response_check(response, &waiting->error);
    if (waiting->result == 0) {
        waiting->body = xmemdup(response->body, response->body_length + 1);
        waiting->length = response->body_length;
    }
}

static int on_bytes(const void *bytes, size_t length, void *data)
{
    struct waiting *waiting = data;
    waiting->received = true;
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

/* --- one of several schedulers --- */

/* How far a call to one address came. */
enum outcome {
    OUTCOME_ANSWERED,
    OUTCOME_UNDONE,  /* nothing reached it, or it could do nothing: it knows of no leader */
    OUTCOME_UNKNOWN, /* it was asked, and its answer did not come */
};

static enum outcome judge(const struct session *session, const struct waiting *waiting, int result)
{
    if (result == 0 || !waiting->done || session->interrupted || waiting->ended_by_receiver)
        return OUTCOME_ANSWERED;
    if (waiting->error.code == ERROR_NO_LEADER || waiting->unsent)
        return OUTCOME_UNDONE;
    if (waiting->error.code == ERROR_UNKNOWN)
        return OUTCOME_UNKNOWN;
    /* Half a stream cannot be asked for again from here. */
    return waiting->status != 0 || waiting->received ? OUTCOME_ANSWERED : OUTCOME_UNKNOWN;
}

static const char *reason_of(const struct waiting *waiting)
{
    const char *reason = strstr(waiting->error.message, ": ");
    return reason != NULL ? reason + 2 : waiting->error.message;
}

/* What schedulers that do not answer at all mean for the person who asked. */
static int explain_silence(const struct session *session, const struct waiting *waiting,
                           struct error *error)
{
    char asked[ADDRESSES_TEXT_MAX];
    if (waiting->error.code != ERROR_UNAVAILABLE && waiting->error.code != ERROR_TIMEOUT)
        return -1;
    addresses_format(&session->settings->schedulers, asked);
    return error_set(error, waiting->error.code,
                     "the scheduler at %s (%s) cannot be reached: %s\n"
                     "Start one on this machine with `shoal up`, or name another with --address or "
                     "SHOAL_ADDRESS.",
                     asked, session->settings->scheduler_source, reason_of(waiting));
}

static int explain_lost_answer(const char *method, const char *address,
                               const struct waiting *waiting, struct error *error)
{
    return error_set(error, waiting->error.code,
                     "the answer of %s did not come (%s): what was asked may have been done or "
                     "not, and a %s is not asked for twice. See `shoal status` or `shoal events`, "
                     "then repeat it if need be.",
                     address, reason_of(waiting), method);
}

/* A change may take its time; whether anybody is there at all does not. */
static void find_awake(struct session *session)
{
    struct addresses *schedulers = &session->settings->schedulers;
    for (size_t i = 1; i < schedulers->count; i++) {
        AUTO_FREE char *url = xasprintf("%s/healthz", addresses_current(schedulers));
        if (session_probe(session, url, PROBE_TIMEOUT_MS, NULL) == 0 || session->interrupted)
            return;
        addresses_move(schedulers);
    }
}

static void waiting_begin(struct waiting *waiting)
{
    *waiting =
        (struct waiting){.receiver = waiting->receiver, .receiver_data = waiting->receiver_data};
}

/* Whether there is time to ask all of them again: a new leader takes seconds to be found. */
static bool may_wait(struct session *session, uint64_t *give_up_ms)
{
    uint64_t now = clock_monotonic_ms(clock_system());
    if (*give_up_ms == 0) {
        fprintf(stderr, "No scheduler leads at the moment: trying again for %d s.\n",
                NO_LEADER_PATIENCE_MS / 1000);
        *give_up_ms = now + NO_LEADER_PATIENCE_MS;
    }
    return now < *give_up_ms && session_sleep(session, NO_LEADER_PAUSE_MS);
}

/* Asks one address after the other, from the current one on, until one answers. */
static int call_schedulers(struct session *session, struct http_client_request *request,
                           const char *path, struct waiting *waiting, struct error *error)
{
    struct addresses *schedulers = &session->settings->schedulers;
    const char *method = request->method != NULL ? request->method : "GET";
    bool repeatable = strcmp(method, "GET") == 0 || strcmp(method, "PUT") == 0;
    uint64_t give_up_ms = 0;
    bool leaderless = false;
    for (size_t asked = 1;; asked++) {
        if (strcmp(method, "GET") != 0)
            find_awake(session);
        const char *address = addresses_current(schedulers);
        AUTO_FREE char *url = xasprintf("%s%s", address, path);
        request->url = url;
        waiting_begin(waiting);
        int result = run_call(session, request, waiting, error);
        enum outcome outcome = judge(session, waiting, result);
        if (outcome == OUTCOME_ANSWERED)
            return result;
        if (outcome == OUTCOME_UNKNOWN && !repeatable)
            return explain_lost_answer(method, address, waiting, error);
        leaderless |=
            waiting->error.code == ERROR_NO_LEADER || waiting->error.code == ERROR_UNKNOWN;
        addresses_move(schedulers);
        if (asked % schedulers->count == 0) {
            if (!leaderless || !may_wait(session, &give_up_ms))
                return explain_silence(session, waiting, error);
        } else if (outcome == OUTCOME_UNKNOWN && strcmp(method, "GET") != 0) {
            fprintf(stderr, "The answer of %s did not come (%s): asking %s for the same.\n",
                    address, reason_of(waiting), addresses_current(schedulers));
        }
    }
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

/* Where there is another address to ask, one that hangs is not waited for so long. Reading is
 * answered at once; a change may take its time. */
static void hurry(const struct session *session, struct http_client_request *request)
{
    if (session->settings->schedulers.count == 1)
        return;
    request->connect_timeout_ms = CONNECT_TIMEOUT_MS;
    if (strcmp(request->method, "GET") == 0)
        request->stall_timeout_s = STALL_TIMEOUT_S;
}

int session_call(struct session *session, const char *method, const char *path,
                 struct json_object *body, struct json_object **ret_answer, struct error *error)
{
    static const char *const headers[] = {SHOAL_PROTOCOL_HEADER, "Content-Type: application/json",
                                          NULL};
    AUTO_FREE char *text = body != NULL ? json_text(body) : NULL;
    struct http_client_request request = {
        .method = method,
        .headers = headers,
        .body = text,
        .body_length = text != NULL ? strlen(text) : 0,
        .timeout_ms = CALL_TIMEOUT_MS,
        .response_limit = (size_t)64 << 20,
    };
    struct waiting waiting = {0};
    hurry(session, &request);
    int result = call_schedulers(session, &request, path, &waiting, error);
    if (result == 0)
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

int session_fetch(struct session *session, const char *method, const char *url, unsigned timeout_ms,
                  char **ret_text, struct error *error)
{
    struct http_client_request request = {
        .method = method, .url = url, .connect_timeout_ms = timeout_ms, .timeout_ms = timeout_ms};
    struct waiting waiting = {0};
    if (run_call(session, &request, &waiting, error) < 0)
        return -1;
    if (ret_text != NULL)
        *ret_text = TAKE_POINTER(waiting.body);
    free(waiting.body);
    return 0;
}

int session_stream(struct session *session, const char *path, const char *body,
                   session_receiver *receiver, void *data, struct error *error)
{
    static const char *const headers[] = {SHOAL_PROTOCOL_HEADER, NULL};
    struct http_client_request request = {.headers = headers,
                                          .body = body,
                                          .body_length = body != NULL ? strlen(body) : 0,
                                          .timeout_ms = HTTP_NO_TIMEOUT,
                                          .on_body = on_bytes};
    struct waiting waiting = {.receiver = receiver, .receiver_data = data};
    int result = call_schedulers(session, &request, path, &waiting, error);
    free(waiting.body);
    return result == 0 || waiting.ended_by_receiver || session->interrupted ? 0 : -1;
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

struct http_client *session_http(struct session *session)
{
    return session->http;
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
