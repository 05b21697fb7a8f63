#include "agent/host_client.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/host_silence.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* Requests that may wait, unsent or unanswered; each takes about 2 KB while unsent. */
#define REQUESTS_MAX 8192
/* Messages taken in before other parts of the loop get their turn. */
#define MESSAGES_A_TURN 64

struct request {
    uint64_t sequence;
    host_answer_callback *callback;
    void *data;
    void (*release)(void *data);  /* of `data`, without an answer; NULL: it is the caller's */
    struct host_message *message; /* until it is sent */
    bool is_refused;
    TAILQ_ENTRY(request) link;
};

struct host_client {
    struct host_client_options options;
    uv_poll_t poll;
    uv_timer_t refusals; /* answers those that were never sent, from the loop */
    uv_timer_t look;     /* whether it still speaks */
    struct host_silence silence;
    unsigned open_handles;
    uint64_t last_sequence;
    TAILQ_HEAD(request_list, request) waiting; /* in the order of their sequences */
    struct request *unsent;                    /* the first of them that is not sent; NULL: none */
    size_t waiting_count;
    bool is_lost;
    bool is_destroyed;
};

int host_answer_check(const struct host_answer *answer, struct error *error)
{
    if (answer->code == ERROR_NONE)
        return 0;
    return error_set(error, (enum error_code)answer->code, "%s", answer->message);
}

static void request_free(struct host_client *client, struct request *request)
{
    if (client->unsent == request)
        client->unsent = TAILQ_NEXT(request, link);
    TAILQ_REMOVE(&client->waiting, request, link);
    client->waiting_count--;
    free(request->message);
    free(request);
}

static void answer_request(struct host_client *client, struct request *request,
                           const struct host_answer *answer, int descriptor)
{
    host_answer_callback *callback = request->callback;
    void *data = request->data;
    request_free(client, request);
    if (callback != NULL)
        callback(answer, descriptor, data);
    else if (descriptor >= 0)
        close(descriptor);
}

static void fail_requests(struct host_client *client, bool all, const char *message)
{
    struct host_answer answer = {.code = ERROR_UNAVAILABLE};
    strncpy(answer.message, message, sizeof answer.message - 1);
    struct request *request = TAILQ_FIRST(&client->waiting);
    while (request != NULL && !client->is_destroyed) {
        if (all || request->is_refused) {
            answer_request(client, request, &answer, -1);
            request = TAILQ_FIRST(&client->waiting); /* the callback may have changed the list */
        } else {
            request = TAILQ_NEXT(request, link);
        }
    }
}

static void on_refusals(uv_timer_t *timer)
{
    fail_requests(timer->data, false, "too many requests wait for the host half");
}

static void lose(struct host_client *client)
{
    if (client->is_lost)
        return;
    client->is_lost = true;
    uv_poll_stop(&client->poll);
    uv_timer_stop(&client->look);
    /* First: who ends now must not take a boot that nobody answered for one that failed. */
    client->options.on_lost(client->options.data);
    fail_requests(client, true, "the agent's host half is gone");
}

/* --- out --- */

/* 1: sent; 0: the peer does not read just now; -1: it is gone. */
static int send_message(struct host_client *client, const struct host_message *message)
{
    ssize_t sent =
        send(client->options.channel, message, sizeof *message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent == (ssize_t)sizeof *message)
        return 1;
    if (sent < 0 && (errno == EAGAIN || errno == EINTR || errno == ENOBUFS))
        return 0;
    return -1;
}

static void on_poll(uv_poll_t *poll, int status, int events);

static void flush(struct host_client *client)
{
    while (client->unsent != NULL && !client->is_lost) {
        struct request *request = client->unsent;
        int sent = request->is_refused ? 1 : send_message(client, request->message);
        if (sent < 0) {
            /* Its end is seen, and told, by the poll handle. */
            break;
        }
        if (sent == 0)
            break;
        free(request->message);
        request->message = NULL;
        client->unsent = TAILQ_NEXT(request, link);
    }
    if (client->is_lost)
        return;
    int events = UV_READABLE | (client->unsent != NULL ? UV_WRITABLE : 0);
    uv_poll_start(&client->poll, events, on_poll);
}

uint64_t host_client_request(struct host_client *client, const struct host_message *message,
                             host_answer_callback *callback, void *data)
{
    return host_client_request_held(client, message, callback, data, NULL);
}

uint64_t host_client_request_held(struct host_client *client, const struct host_message *message,
                                  host_answer_callback *callback, void *data,
                                  void (*release)(void *data))
{
    struct request *request = xcalloc(1, sizeof *request);
    request->sequence = ++client->last_sequence;
    request->callback = callback;
    request->data = data;
    request->release = release;
    request->message = xmemdup(message, sizeof *message);
    request->message->sequence = request->sequence;
    uint64_t sequence = request->sequence;
    bool refused = client->is_lost || client->waiting_count >= REQUESTS_MAX;
    TAILQ_INSERT_TAIL(&client->waiting, request, link);
    client->waiting_count++;
    if (client->unsent == NULL)
        client->unsent = request;
    if (refused) {
        request->is_refused = true;
        uv_timer_start(&client->refusals, on_refusals, 0, 0);
    }
    flush(client);
    return sequence;
}

static struct request *find(struct host_client *client, uint64_t sequence)
{
    struct request *request;
    TAILQ_FOREACH(request, &client->waiting, link)
    {
        if (request->sequence == sequence)
            return request;
    }
    return NULL;
}

void host_client_forget(struct host_client *client, uint64_t sequence)
{
    struct request *request = find(client, sequence);
    if (request != NULL)
        request->callback = NULL;
}

/* --- whether it speaks --- */

static void tell_silence(const struct host_client *client)
{
    if (client->options.on_silence != NULL)
        client->options.on_silence(client->options.data);
}

static void on_look(uv_timer_t *timer)
{
    struct host_client *client = timer->data;
    /* Its answer comes from its loop: figures may be late, because a disk is. */
    struct host_message message = {.type = HOST_SOCKET};
    switch (host_silence_look(&client->silence, uv_now(timer->loop))) {
    case HOST_SILENCE_NOTHING:
        break;
    case HOST_SILENCE_ASK:
        host_client_request(client, &message, NULL, NULL);
        break;
    case HOST_SILENCE_BEGINS:
        log_error("the host half says nothing: it is stopped, or waits for a disk; guests go on, "
                  "and nothing can be changed here until it speaks",
                  "seconds", LOG_NUMBER(host_client_silence(client) / 1000));
        tell_silence(client);
        break;
    }
}

static void hear(struct host_client *client)
{
    uint64_t silence = host_silence_hear(&client->silence, uv_now(client->look.loop));
    if (silence == 0)
        return;
    log_info("the host half speaks again", "seconds", LOG_NUMBER(silence / 1000));
    tell_silence(client);
}

uint64_t host_client_silence(const struct host_client *client)
{
    return host_silence_length(&client->silence, uv_now(client->look.loop));
}

int host_client_check(const struct host_client *client, const char *node, struct error *error)
{
    char span[TEXT_DURATION_MAX];
    uint64_t silence = host_client_silence(client);
    if (silence == 0)
        return 0;
    text_format_duration(silence / 1000 * 1000, span, sizeof span);
    return error_set(error, ERROR_UNAVAILABLE,
                     "the host half of the agent on node %s has said nothing for %s: it is "
                     "stopped, or waits for a disk (the agent's log there says since when)",
                     node, span);
}

/* --- in --- */

static void dispatch(struct host_client *client, const struct host_message *message, int descriptor)
{
    AUTO_CLOSE int owned = descriptor;
    switch (message->type) {
    case HOST_ANSWER: {
        struct request *request = find(client, message->sequence);
        if (request == NULL) {
            log_warn("an answer of the host half that nobody waits for", "sequence",
                     LOG_NUMBER(message->sequence));
            break;
        }
        answer_request(client, request, &message->answer, TAKE_DESCRIPTOR(owned));
        break;
    }
    case HOST_INSTANCE:
        client->options.on_instance(&message->instance, client->options.data);
        break;
    case HOST_FRONTEND:
        client->options.on_frontend(&message->frontend, client->options.data);
        break;
    case HOST_USAGE:
        if (client->options.on_usage != NULL && host_message_check(message, NULL) == 0)
            client->options.on_usage(&message->usage, client->options.data);
        break;
    case HOST_IMAGES:
        if (client->options.on_images != NULL && host_message_check(message, NULL) == 0)
            client->options.on_images(&message->images, client->options.data);
        break;
    case HOST_BOOT_STEPS:
        if (client->options.on_boot_steps != NULL && host_message_check(message, NULL) == 0)
            client->options.on_boot_steps(&message->boot_steps, client->options.data);
        break;
    case HOST_NODE:
        if (client->options.on_node != NULL && host_message_check(message, NULL) == 0)
            client->options.on_node(&message->node, client->options.data);
        break;
    default:
        log_error("a message of the host half that only it may get", "type",
                  LOG_NUMBER(message->type));
        break;
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct host_client *client = poll->data;
    if (status < 0) {
        lose(client);
        return;
    }
    for (int i = 0; (events & UV_READABLE) && i < MESSAGES_A_TURN && !client->is_destroyed; i++) {
        struct host_message message;
        struct error error = ERROR_INIT;
        int descriptor = -1;
        int received = host_message_receive(client->options.channel, &message, &descriptor, &error);
        if (received < 0 && error.code == ERROR_TIMEOUT)
            break;
        if (received <= 0) {
            if (received < 0)
                log_error("the channel to the host half failed", "reason", error.message);
            lose(client);
            return;
        }
        hear(client);
        dispatch(client, &message, descriptor);
    }
    if ((events & UV_WRITABLE) && !client->is_destroyed)
        flush(client);
}

/* --- life --- */

static void on_closed(uv_handle_t *handle)
{
    struct host_client *client = handle->data;
    if (--client->open_handles > 0)
        return;
    close(client->options.channel);
    free(client);
}

int host_client_create(const struct host_client_options *options, struct host_client **ret_client,
                       struct error *error)
{
    int flags = fcntl(options->channel, F_GETFL);
    if (flags < 0 || fcntl(options->channel, F_SETFL, flags | O_NONBLOCK) < 0)
        return error_set_errno(error, errno, "the channel to the host half");
    struct host_client *client = xcalloc(1, sizeof *client);
    client->options = *options;
    TAILQ_INIT(&client->waiting);
    int status = uv_poll_init(options->loop, &client->poll, options->channel);
    if (status < 0) {
        free(client);
        return error_set(error, ERROR_IO, "the channel to the host half: %s", uv_strerror(status));
    }
    client->poll.data = client;
    uv_timer_init(options->loop, &client->refusals);
    client->refusals.data = client;
    uv_timer_init(options->loop, &client->look);
    client->look.data = client;
    uv_timer_start(&client->look, on_look, HOST_SILENCE_LOOK_MS, HOST_SILENCE_LOOK_MS);
    client->open_handles = 3;
    uv_poll_start(&client->poll, UV_READABLE, on_poll);
    *ret_client = client;
    return 0;
}

void host_client_destroy(struct host_client *client)
{
    if (client == NULL || client->is_destroyed)
        return;
    client->is_destroyed = true;
    struct request *request;
    while ((request = TAILQ_FIRST(&client->waiting)) != NULL) {
        if (request->release != NULL)
            request->release(request->data);
        request_free(client, request);
    }
    uv_close((uv_handle_t *)&client->poll, on_closed);
    uv_close((uv_handle_t *)&client->refusals, on_closed);
    uv_close((uv_handle_t *)&client->look, on_closed);
}
