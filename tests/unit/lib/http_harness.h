/* A server and a client on one loop, for the HTTP tests. */
#pragma once

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/http_client.h"
#include "lib/http_server.h"
#include "lib/xalloc.h"

#define PATIENCE_MS 20000

struct harness {
    uv_loop_t loop;
    struct http_server *server;
    struct http_client *client;
    bool server_closed;
    void *mine; /* the test's own */
};

struct result {
    bool done;
    bool failed;
    int status;
    enum error_code code;
    char message[ERROR_MESSAGE_MAX];
    struct buffer body;
    char allow[64];
    char type[64];
    char length[24];
};

static inline void harness_open(struct harness *harness, const struct http_server_options *wanted)
{
    memset(harness, 0, sizeof *harness);
    assert_int_equal(uv_loop_init(&harness->loop), 0);
    if (wanted != NULL) {
        struct http_server_options options = *wanted;
        struct error error = ERROR_INIT;
        options.loop = &harness->loop;
        options.address = "127.0.0.1";
        options.data = harness;
        if (http_server_create(&options, &harness->server, &error) < 0)
            fail_msg("%s", error.message);
    }
    harness->client = http_client_create(&harness->loop);
}

static inline void harness_note_closed(void *data)
{
    ((struct harness *)data)->server_closed = true;
}

static inline void harness_close(struct harness *harness)
{
    http_client_destroy(harness->client);
    http_server_destroy(harness->server, harness_note_closed, harness);
    uv_run(&harness->loop, UV_RUN_DEFAULT);
    assert_true(harness->server == NULL || harness->server_closed);
    assert_int_equal(uv_loop_close(&harness->loop), 0);
}

/* One on the heap whose test keeps `size` bytes, zeroed, as `mine`. */
static inline struct harness *harness_create(const struct http_server_options *options, size_t size)
{
    struct harness *harness = xcalloc(1, sizeof *harness);
    harness_open(harness, options);
    harness->mine = xcalloc(1, size);
    return harness;
}

static inline void harness_destroy(struct harness *harness)
{
    harness_close(harness);
    free(harness->mine);
    free(harness);
}

static inline void harness_tick(uv_timer_t *timer)
{
    (void)timer;
}

/* Runs the loop until *done, at most PATIENCE_MS. */
static inline bool harness_wait(struct harness *harness, const bool *done)
{
    uv_timer_t ticks;
    uv_timer_init(&harness->loop, &ticks);
    uv_timer_start(&ticks, harness_tick, 10, 10);
    uint64_t end = uv_hrtime() + (uint64_t)PATIENCE_MS * 1000000;
    while (!*done && uv_hrtime() < end)
        uv_run(&harness->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&ticks, NULL);
    uv_run(&harness->loop, UV_RUN_NOWAIT);
    return *done;
}

/* Lets the loop run for a while without waiting for anything. */
static inline void harness_idle(struct harness *harness, unsigned ms)
{
    uv_timer_t ticks;
    uv_timer_init(&harness->loop, &ticks);
    uv_timer_start(&ticks, harness_tick, 5, 5);
    uint64_t end = uv_hrtime() + (uint64_t)ms * 1000000;
    while (uv_hrtime() < end)
        uv_run(&harness->loop, UV_RUN_ONCE);
    uv_close((uv_handle_t *)&ticks, NULL);
    uv_run(&harness->loop, UV_RUN_NOWAIT);
}

static inline void keep_header(const struct http_client_response *response, const char *name,
                               char *ret_text, size_t size)
{
    const char *value = http_response_header(response, name);
    snprintf(ret_text, size, "%s", value != NULL ? value : "(none)");
}

static inline void keep_result(const struct http_client_response *response, void *data)
{
    struct result *result = data;
    result->done = true;
    result->failed = response->failed;
    result->status = response->status;
    result->code = response->error.code;
    snprintf(result->message, sizeof result->message, "%s", response->error.message);
    buffer_append(&result->body, response->body, response->body_length);
    keep_header(response, "allow", result->allow, sizeof result->allow);
    keep_header(response, "CONTENT-TYPE", result->type, sizeof result->type);
    keep_header(response, "Content-Length", result->length, sizeof result->length);
}

static inline void result_clear(struct result *result)
{
    buffer_finish(&result->body);
    memset(result, 0, sizeof *result);
}

static inline char *harness_url(const struct harness *harness, const char *path)
{
    return xasprintf("http://127.0.0.1:%u%s", http_server_port(harness->server), path);
}

/* One call from start to end. */
static inline void harness_fetch(struct harness *harness, struct http_client_request request,
                                 const char *path, struct result *result)
{
    AUTO_FREE char *url = path != NULL ? harness_url(harness, path) : NULL;
    struct error error = ERROR_INIT;
    if (url != NULL)
        request.url = url;
    result_clear(result);
    if (http_client_start(harness->client, &request, keep_result, result, &error) == NULL)
        fail_msg("%s", error.message);
    assert_false(result->done); /* never from within start */
    assert_true(harness_wait(harness, &result->done));
}

static inline int harness_connect(uint16_t port)
{
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    assert_int_equal(connect(descriptor, (struct sockaddr *)&address, sizeof address), 0);
    return descriptor;
}

/* Reads what the server sends until `wanted` is part of it, or until the end when NULL. */
static inline bool harness_read(struct harness *harness, int descriptor, const char *wanted,
                                struct buffer *answer)
{
    uint64_t end = uv_hrtime() + (uint64_t)PATIENCE_MS * 1000000;
    while (uv_hrtime() < end) {
        char bytes[4096];
        harness_idle(harness, 5);
        ssize_t count = recv(descriptor, bytes, sizeof bytes, MSG_DONTWAIT);
        if (count > 0)
            buffer_append(answer, bytes, (size_t)count);
        if (wanted != NULL && strstr(buffer_text(answer), wanted) != NULL)
            return true;
        if (count == 0)
            return wanted == NULL;
    }
    return false;
}

/* Sends text as it is and reads the answer. */
static inline void harness_raw(struct harness *harness, const char *text, const char *wanted,
                               struct buffer *answer)
{
    AUTO_CLOSE int descriptor = harness_connect(http_server_port(harness->server));
    assert_int_equal(send(descriptor, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    bool found = harness_read(harness, descriptor, wanted, answer);
    if (!found)
        fail_msg("no \"%s\" in \"%s\"", wanted != NULL ? wanted : "(end)", buffer_text(answer));
}
