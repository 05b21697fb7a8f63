#include "agent/host/channel.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/xalloc.h"

/* More than this waiting to be read means that the other half hangs. */
#define CHANNEL_QUEUE_MAX 8192

/* Requests that have not been answered yet: no more are read. */
#define CHANNEL_REQUESTS_MAX 2048

struct outgoing {
    struct outgoing *next;
    int descriptor;
    struct host_message message;
};

struct channel {
    uv_poll_t poll;
    int descriptor;
    struct channel_listener listener;
    struct outgoing *first;
    struct outgoing **last;
    size_t queued;
    size_t requests; /* each is answered once */
    bool started, gone;
};

static void on_ready(uv_poll_t *poll, int status, int events);

static void watch(struct channel *channel)
{
    bool reads = channel->started && channel->requests < CHANNEL_REQUESTS_MAX;
    int events = (reads ? UV_READABLE : 0) | (channel->first != NULL ? UV_WRITABLE : 0);
    if (channel->gone || events == 0)
        uv_poll_stop(&channel->poll);
    else
        uv_poll_start(&channel->poll, events, on_ready);
}

static void lose(struct channel *channel)
{
    if (channel->gone)
        return;
    channel->gone = true;
    watch(channel);
    channel->listener.gone(channel->listener.context);
}

static bool is_writable(int descriptor)
{
    struct pollfd state = {.fd = descriptor, .events = POLLOUT};
    return poll(&state, 1, 0) == 1 && (state.revents & (POLLOUT | POLLERR | POLLHUP)) != 0;
}

static void drop_first(struct channel *channel)
{
    struct outgoing *first = channel->first;
    channel->first = first->next;
    if (channel->first == NULL)
        channel->last = &channel->first;
    channel->queued--;
    if (first->descriptor >= 0)
        close(first->descriptor);
    free(first);
}

static void flush(struct channel *channel)
{
    while (channel->first != NULL && is_writable(channel->descriptor)) {
        if (host_message_send(channel->descriptor, &channel->first->message,
                              channel->first->descriptor, NULL) < 0) {
            lose(channel);
            return;
        }
        drop_first(channel);
    }
}

/* One message, so that a chatty other half does not keep the loop. */
static void receive(struct channel *channel)
{
    struct host_message message;
    struct error error = ERROR_INIT;
    int descriptor = -1;
    int result = host_message_receive(channel->descriptor, &message, &descriptor, &error);
    if (descriptor >= 0)
        close(descriptor); /* none of the requests carries one */
    if (result < 0 && error.code == ERROR_TIMEOUT)
        return;
    if (result < 0)
        log_error("the channel to the deciding half broke", "error", error.message);
    if (result <= 0) {
        lose(channel);
        return;
    }
    channel->requests++;
    if (message.type >= HOST_ANSWER)
        error_set(&error, ERROR_PROTOCOL, "message of type %u is not a request", message.type);
    else if (host_message_check(&message, &error) == 0) {
        channel->listener.received(channel->listener.context, &message);
        return;
    }
    log_warn("a request of the deciding half is refused", "error", error.message);
    channel_answer(channel, message.sequence, &error);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct channel *channel = poll->data;
    if (status < 0) {
        lose(channel);
        return;
    }
    if ((events & UV_WRITABLE) != 0)
        flush(channel);
    if ((events & UV_READABLE) != 0 && !channel->gone)
        receive(channel);
    watch(channel);
}

struct channel *channel_create(uv_loop_t *loop, int descriptor,
                               const struct channel_listener *listener)
{
    struct channel *channel = xcalloc(1, sizeof *channel);
    channel->descriptor = descriptor;
    channel->listener = *listener;
    channel->last = &channel->first;
    fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK);
    uv_poll_init(loop, &channel->poll, descriptor);
    channel->poll.data = channel;
    return channel;
}

void channel_start(struct channel *channel)
{
    channel->started = true;
    watch(channel);
}

void channel_send(struct channel *channel, const struct host_message *message, int descriptor)
{
    struct outgoing *outgoing = xcalloc(1, sizeof *outgoing);
    outgoing->message = *message;
    outgoing->descriptor = descriptor;
    *channel->last = outgoing;
    channel->last = &outgoing->next;
    channel->queued++;
    if (message->type == HOST_ANSWER && channel->requests > 0)
        channel->requests--;
    if (!channel->gone && channel->queued > CHANNEL_QUEUE_MAX) {
        log_error("the deciding half does not read its messages");
        lose(channel);
    }
    if (!channel->gone)
        flush(channel);
    watch(channel);
}

void channel_copy_text(char *ret_text, size_t size, const char *text)
{
    size_t length = strnlen(text, size - 1);
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        ret_text[i] = byte < 0x20 || byte == 0x7f ? ' ' : text[i];
    }
    ret_text[length] = '\0';
}

void channel_answer(struct channel *channel, uint64_t sequence, const struct error *error)
{
    struct host_message message = {.type = HOST_ANSWER, .sequence = sequence};
    if (error != NULL) {
        message.answer.code = error->code;
        channel_copy_text(message.answer.message, sizeof message.answer.message, error->message);
    }
    channel_send(channel, &message, -1);
}

static void on_closed(uv_handle_t *handle)
{
    struct channel *channel = handle->data;
    close(channel->descriptor);
    while (channel->first != NULL)
        drop_first(channel);
    free(channel);
}

void channel_destroy(struct channel *channel)
{
    if (channel == NULL)
        return;
    channel->gone = true;
    uv_close((uv_handle_t *)&channel->poll, on_closed);
}
