#include "agent/long_poll.h"

#include <inttypes.h>
#include <stdlib.h>

#include "lib/api/protocol.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/xalloc.h"

/* The scheduler answers within 30 s. */
#define ANSWER_TIMEOUT_MS 45000
#define ANSWER_LIMIT      ((size_t)64 << 20)
#define BACKOFF_FIRST_MS  50
#define BACKOFF_MOST_MS   2000

struct long_poll {
    struct long_poll_options options;
    char *url;
    uv_timer_t wait;
    struct http_call *call; /* NULL: none under way */
    bool is_whole;          /* asks without `after` */
    uint64_t after;
    uint64_t backoff_ms;
    bool is_silent; /* told the log that nobody answers, or only with errors */
};

static void ask(struct long_poll *poll);

static void on_wait(uv_timer_t *timer)
{
    ask(timer->data);
}

static void pause_then_ask(struct long_poll *poll)
{
    uint64_t delay = poll->backoff_ms * 2;
    if (delay < BACKOFF_FIRST_MS)
        delay = BACKOFF_FIRST_MS;
    poll->backoff_ms = delay > BACKOFF_MOST_MS ? BACKOFF_MOST_MS : delay;
    uv_timer_start(&poll->wait, on_wait, poll->backoff_ms, 0);
}

static void take(struct long_poll *poll, const struct http_client_response *response)
{
    uint64_t revision = poll->after;
    switch (poll->options.on_answer(response->body, response->body_length, &revision,
                                    poll->options.data)) {
    case LONG_POLL_TAKEN: {
        /* An answer that is not newer would be asked for without end. */
        bool is_newer = poll->is_whole || revision != poll->after;
        poll->is_whole = false;
        poll->after = revision;
        if (!is_newer) {
            pause_then_ask(poll);
            return;
        }
        break;
    }
    case LONG_POLL_WHOLE:
        poll->is_whole = true;
        pause_then_ask(poll);
        return;
    case LONG_POLL_REFUSED:
        pause_then_ask(poll);
        return;
    }
    poll->backoff_ms = 0;
    ask(poll);
}

static void note_answer(struct long_poll *poll)
{
    if (poll->is_silent)
        log_info("the scheduler answers again", "url", poll->url);
    poll->is_silent = false;
}

/* It may go on for hours. */
static void note_trouble(struct long_poll *poll, const struct error *error)
{
    if (!poll->is_silent)
        log_warn("the scheduler cannot be asked, trying again", "url", poll->url, "reason",
                 error->message);
    else
        log_debug("the scheduler cannot be asked yet", "url", poll->url, "reason", error->message);
    poll->is_silent = true;
}

static void on_response(const struct http_client_response *response, void *data)
{
    struct long_poll *poll = data;
    poll->call = NULL;
    struct error error = ERROR_INIT;
    bool is_answer = http_response_check(response, &error) == 0;
    if (is_answer || response->status == 410)
        note_answer(poll);
    if (is_answer && response->status == 204) {
        poll->backoff_ms = 0;
        ask(poll);
        return;
    }
    if (is_answer) {
        take(poll, response);
        return;
    }
    if (response->status == 410) {
        poll->is_whole = true;
        pause_then_ask(poll);
        return;
    }
    note_trouble(poll, &error);
    pause_then_ask(poll);
    if (http_response_is_absence(response))
        poll->options.on_failed(poll->options.data);
    if (response->status == 404 || response->status == 409 || response->status == 412)
        poll->options.on_unknown(&error, poll->options.data);
}

static void ask(struct long_poll *poll)
{
    static const char *const headers[] = {SHOAL_PROTOCOL_HEADER, NULL};
    AUTO_FREE char *url = poll->is_whole ? xstrdup(poll->url)
                                         : xasprintf("%s?after=%" PRIu64, poll->url, poll->after);
    struct http_client_request request = {
        .url = url,
        .headers = headers,
        .timeout_ms = ANSWER_TIMEOUT_MS,
        .response_limit = ANSWER_LIMIT,
    };
    struct error error = ERROR_INIT;
    poll->call = http_client_start(poll->options.http, &request, on_response, poll, &error);
    if (poll->call == NULL) {
        log_error("the scheduler cannot be asked", "url", url, "reason", error.message);
        pause_then_ask(poll);
    }
}

void long_poll_hurry(struct long_poll *poll)
{
    if (poll->call == NULL && uv_is_active((uv_handle_t *)&poll->wait))
        uv_timer_start(&poll->wait, on_wait, 0, 0);
}

void long_poll_move(struct long_poll *poll, const char *url)
{
    free(poll->url);
    poll->url = xstrdup(url);
    if (poll->call == NULL)
        return;
    http_client_cancel(poll->call);
    poll->call = NULL;
    pause_then_ask(poll);
}

void long_poll_restart(struct long_poll *poll)
{
    if (poll->call != NULL)
        http_client_cancel(poll->call);
    poll->call = NULL;
    poll->is_whole = true;
    poll->backoff_ms = 0;
    uv_timer_start(&poll->wait, on_wait, 0, 0);
}

struct long_poll *long_poll_create(const struct long_poll_options *options)
{
    struct long_poll *poll = xcalloc(1, sizeof *poll);
    poll->options = *options;
    poll->url = xstrdup(options->url);
    poll->is_whole = true;
    uv_timer_init(options->loop, &poll->wait);
    poll->wait.data = poll;
    return poll;
}

static void on_closed(uv_handle_t *handle)
{
    struct long_poll *poll = handle->data;
    free(poll->url);
    free(poll);
}

void long_poll_destroy(struct long_poll *poll)
{
    if (poll == NULL)
        return;
    if (poll->call != NULL)
        http_client_cancel(poll->call);
    uv_close((uv_handle_t *)&poll->wait, on_closed);
}
