#include "tests/integration/raw_http.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

enum { READ_SECONDS = 30 };

void raw_client_init(struct raw_client *client, uint16_t port)
{
    *client = (struct raw_client){.port = port, .socket = -1};
}

int raw_client_connect(struct raw_client *client)
{
    if (client->socket >= 0)
        return 0;
    const struct sockaddr_in address = {
        .sin_family = AF_INET,
        .sin_port = htons(client->port),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
    };
    const struct timeval limit = {.tv_sec = READ_SECONDS};
    const int on = 1;
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0)
        return -1;
    if (connect(descriptor, (const struct sockaddr *)&address, sizeof address) < 0) {
        close(descriptor);
        return -1;
    }
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    client->socket = descriptor;
    return 0;
}

void raw_client_close(struct raw_client *client, bool is_reset)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    if (client->socket < 0)
        return;
    if (is_reset)
        setsockopt(client->socket, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(client->socket);
    client->socket = -1;
}

int raw_client_send(struct raw_client *client, const void *bytes, size_t length)
{
    const char *at = bytes;
    while (length > 0) {
        ssize_t sent = send(client->socket, at, length, MSG_NOSIGNAL);
        if (sent <= 0) {
            raw_client_close(client, false);
            return -1;
        }
        at += sent;
        length -= (size_t)sent;
    }
    return 0;
}

/* Reads until `buffer` holds `wanted` bytes. */
static int fill(struct raw_client *client, struct buffer *buffer, size_t wanted)
{
    char chunk[16384];
    while (buffer->length < wanted) {
        size_t missing = wanted - buffer->length;
        ssize_t got =
            recv(client->socket, chunk, missing < sizeof chunk ? missing : sizeof chunk, 0);
        if (got <= 0)
            return -1;
        buffer_append(buffer, chunk, (size_t)got);
    }
    return 0;
}

/* Byte by byte, so that nothing of the body is taken: heads are short, and tests patient. */
static int fill_to(struct raw_client *client, struct buffer *buffer, const char *ending)
{
    size_t length = strlen(ending);
    do {
        if (fill(client, buffer, buffer->length + 1) < 0)
            return -1;
    } while (buffer->length < length ||
             memcmp(buffer_text(buffer) + buffer->length - length, ending, length) != 0);
    return 0;
}

static int read_chunks(struct raw_client *client, struct buffer *body)
{
    size_t size;
    do {
        struct buffer line AUTO_BUFFER = {0};
        if (fill_to(client, &line, "\r\n") < 0)
            return -1;
        size = strtoul(buffer_text(&line), NULL, 16);
        if (fill(client, body, body->length + size + 2) < 0)
            return -1;
        body->length -= 2;
        body->data[body->length] = '\0';
    } while (size > 0);
    return 0;
}

static int read_body(struct raw_client *client, struct raw_answer *answer)
{
    struct buffer body = {0};
    AUTO_FREE char *length = raw_answer_header(answer, "Content-Length");
    AUTO_FREE char *encoding = raw_answer_header(answer, "Transfer-Encoding");
    int result = 0;
    if (encoding != NULL && strcasecmp(encoding, "chunked") == 0)
        result = read_chunks(client, &body);
    else if (length != NULL)
        result = fill(client, &body, strtoull(length, NULL, 10));
    answer->length = body.length;
    answer->body = buffer_take(&body);
    return result;
}

static int read_head(struct raw_client *client, struct raw_answer *answer)
{
    do {
        struct buffer head = {0};
        if (fill_to(client, &head, "\r\n\r\n") < 0) {
            buffer_finish(&head);
            return -1;
        }
        free(answer->head);
        answer->head = buffer_take(&head);
        answer->status = strncmp(answer->head, "HTTP/1.", 7) == 0 ? atoi(answer->head + 9) : 0;
    } while (answer->status == 100);
    return 0;
}

int raw_client_receive(struct raw_client *client, bool is_head, struct raw_answer *ret_answer)
{
    struct raw_answer answer = {0};
    bool has_body = !is_head;
    if (read_head(client, &answer) < 0 ||
        (has_body && answer.status != 204 && answer.status != 304 &&
         read_body(client, &answer) < 0)) {
        raw_answer_finish(&answer);
        raw_client_close(client, false);
        return -1;
    }
    if (answer.body == NULL)
        answer.body = xstrdup("");
    AUTO_FREE char *connection = raw_answer_header(&answer, "Connection");
    if (connection != NULL && strcasecmp(connection, "close") == 0)
        raw_client_close(client, false);
    *ret_answer = answer;
    return 0;
}

int raw_client_ask(struct raw_client *client, const char *method, const char *target,
                   const char *headers, const void *body, size_t length,
                   struct raw_answer *ret_answer)
{
    struct buffer head AUTO_BUFFER = {0};
    buffer_printf(&head, "%s %s HTTP/1.1\r\nHost: registry\r\n%s", method, target, headers);
    if (body != NULL)
        buffer_printf(&head, "Content-Length: %zu\r\n", length);
    buffer_append_text(&head, "\r\n");
    if (raw_client_connect(client) < 0 ||
        raw_client_send(client, buffer_text(&head), head.length) < 0 ||
        (body != NULL && raw_client_send(client, body, length) < 0))
        return -1;
    return raw_client_receive(client, strcmp(method, "HEAD") == 0, ret_answer);
}

char *raw_answer_header(const struct raw_answer *answer, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = strstr(answer->head, "\r\n"); line != NULL;
         line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, length) == 0 && strncmp(line + 2 + length, ": ", 2) == 0) {
            const char *value = line + 2 + length + 2;
            return xstrndup(value, strcspn(value, "\r"));
        }
    }
    return NULL;
}

void raw_answer_finish(struct raw_answer *answer)
{
    free(answer->head);
    free(answer->body);
    *answer = (struct raw_answer){0};
}
