/* The HTTP server's connections on lwIP's raw TCP interface. */
#include <lwip/tcp.h>

#include "http_transport.h"

#define LISTENER_LIMIT MEMP_NUM_TCP_PCB_LISTEN
/* lwIP polls in half seconds. */
#define POLL_INTERVAL 2

struct http_listener {
    struct tcp_pcb *pcb;
    shoal_http_handler *handler;
};

static struct {
    struct http_listener listeners[LISTENER_LIMIT];
    unsigned listener_count;
    bool aborted; /* during lwIP's callback in work: it has to be told */
} transport;

_Static_assert(HTTP_INPUT_SIZE == TCP_WND, "what a peer may send fits, always");
_Static_assert(TCP_SND_BUF >= 2 * HTTP_RESPONSE_LIMIT, "an answer fits the send buffer");
/* So that there is always one left to answer a SYN with. */
_Static_assert(HTTP_CONNECTION_LIMIT < MEMP_NUM_TCP_PCB, "fewer connections than lwIP has");

/* Takes the connection away from lwIP's callbacks; the slot is free after it. */
static struct tcp_pcb *release_connection(struct http_connection *connection)
{
    struct tcp_pcb *pcb = connection->transport;
    connection->transport = NULL;
    tcp_arg(pcb, NULL);
    tcp_recv(pcb, NULL);
    tcp_sent(pcb, NULL);
    tcp_err(pcb, NULL);
    tcp_poll(pcb, NULL, 0);
    return pcb;
}

void http_transport_abort(struct http_connection *connection)
{
    tcp_abort(release_connection(connection));
    transport.aborted = true;
}

void http_transport_close(struct http_connection *connection)
{
    struct tcp_pcb *pcb = release_connection(connection);
    if (tcp_close(pcb) != ERR_OK) {
        tcp_abort(pcb);
        transport.aborted = true;
    }
}

int http_transport_shut_down(struct http_connection *connection)
{
    return tcp_shutdown(connection->transport, 0, 1) == ERR_OK ? 0 : -1;
}

void http_transport_consume(struct http_connection *connection, size_t size)
{
    tcp_recved(connection->transport, (u16_t)size);
}

bool http_transport_has_room(const struct http_connection *connection)
{
    const struct tcp_pcb *pcb = connection->transport;
    return tcp_sndbuf(pcb) >= HTTP_RESPONSE_LIMIT &&
           tcp_sndqueuelen(pcb) + HTTP_RESPONSE_LIMIT / TCP_MSS + 2 < TCP_SND_QUEUELEN;
}

int http_transport_send(struct http_connection *connection, const char *data, size_t size)
{
    err_t result = tcp_write(connection->transport, data, (u16_t)size, TCP_WRITE_FLAG_COPY);
    return result == ERR_OK ? 0 : -1;
}

void http_transport_push(struct http_connection *connection)
{
    (void)tcp_output(connection->transport);
}

/* What one of lwIP's callbacks has to return. */
static err_t callback_result(void)
{
    bool aborted = transport.aborted;
    transport.aborted = false;
    return aborted ? ERR_ABRT : ERR_OK;
}

static err_t on_receive(void *argument, struct tcp_pcb *pcb, struct pbuf *data, err_t error)
{
    struct http_connection *connection = argument;
    (void)error;
    transport.aborted = false;
    if (data == NULL) {
        http_server_end_input(connection);
        return callback_result();
    }
    u16_t length = data->tot_len;
    if (connection->finishing) {
        tcp_recved(pcb, length);
    } else if (length > HTTP_INPUT_SIZE - connection->input_length) {
        http_transport_abort(connection); /* beyond the window: lwIP does not let it through */
    } else {
        (void)pbuf_copy_partial(data, connection->input + connection->input_length, length, 0);
        http_server_receive(connection, length);
    }
    pbuf_free(data);
    return callback_result();
}

static err_t on_sent(void *argument, struct tcp_pcb *pcb, u16_t length)
{
    (void)pcb;
    (void)length;
    transport.aborted = false;
    http_server_resume(argument);
    return callback_result();
}

static void on_error(void *argument, err_t error)
{
    struct http_connection *connection = argument;
    (void)error;
    if (connection != NULL) {
        connection->transport = NULL; /* lwIP has freed it already */
    }
}

static err_t on_tick(void *argument, struct tcp_pcb *pcb)
{
    (void)pcb;
    transport.aborted = false;
    http_server_tick(argument);
    return callback_result();
}

static err_t on_accept(void *argument, struct tcp_pcb *pcb, err_t error)
{
    const struct http_listener *listener = argument;
    if (error != ERR_OK || pcb == NULL) {
        return ERR_VAL;
    }
    struct http_connection *connection = http_server_accept(pcb, listener->handler);
    if (connection == NULL) {
        return ERR_MEM; /* lwIP resets the connection: the peer may try another instance */
    }
    tcp_arg(pcb, connection);
    tcp_recv(pcb, on_receive);
    tcp_sent(pcb, on_sent);
    tcp_err(pcb, on_error);
    tcp_poll(pcb, on_tick, POLL_INTERVAL);
    tcp_nagle_disable(pcb);
    return ERR_OK;
}

int http_transport_listen(uint16_t port, shoal_http_handler *handler)
{
    if (transport.listener_count == LISTENER_LIMIT) {
        return -1;
    }
    struct tcp_pcb *pcb = tcp_new();
    if (pcb == NULL || tcp_bind(pcb, IP_ADDR_ANY, port) != ERR_OK) {
        if (pcb != NULL) {
            tcp_abort(pcb);
        }
        return -1;
    }
    struct tcp_pcb *listening = tcp_listen(pcb);
    if (listening == NULL) {
        tcp_abort(pcb);
        return -1;
    }
    struct http_listener *listener = &transport.listeners[transport.listener_count++];
    *listener = (struct http_listener){listening, handler};
    tcp_arg(listening, listener);
    tcp_accept(listening, on_accept);
    return 0;
}

void http_transport_stop_listening(void)
{
    for (unsigned i = 0; i < transport.listener_count; i++) {
        (void)tcp_close(transport.listeners[i].pcb);
    }
    transport.listener_count = 0;
}
