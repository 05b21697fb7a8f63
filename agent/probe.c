#include "agent/probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/probe_console.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* A guest whose network is not up yet drops what comes; the kernel would ask again after a second,
 * so attempts are short until the first pass. */
#define BOOT_CONNECT_TIMEOUT_MS 100

/* A TCP connect under way. */
struct connection {
    uv_poll_t poll; /* first: the close callback frees by it */
    int descriptor;
};

#define BODY_MAX ((size_t)1 << 20)

struct probe {
    struct probe_options options;
    char *name;
    char address[ADDRESS_MAX];
    struct api_probe check;
    char *headers[API_PROBE_HEADERS_MAX + 2]; /* as they are sent; ends with NULL */
    struct probe_console *console;            /* NULL: another kind of check */
    uint64_t grace_until_ms;                  /* by the loop's clock */
    uint64_t attempts;
    char last_miss[REASON_MAX];
    struct health_state state;
    uv_timer_t wait;     /* for the next attempt */
    uv_timer_t deadline; /* of a TCP connect */
    unsigned open_handles;
    bool is_destroyed;
    uint64_t socket_request; /* 0: none under way */
    struct http_call *call;
    struct connection *connection;
};

static void on_wait(uv_timer_t *timer);

/* --- the result --- */

static void finish_attempt(struct probe *probe, bool passed, const char *message)
{
    struct probe_options *options = &probe->options;
    const struct api_probe *check = &probe->check;
    probe->attempts++;
    bool counts = passed || uv_now(options->loop) >= probe->grace_until_ms;
    enum health_change change =
        counts ? health_state_record(&probe->state, passed, check->rise, check->fall) : HEALTH_SAME;
    uint64_t delay = health_state_next_delay(&probe->state, check->every_ms);
    if (probe->state.ever_passed)
        delay = health_state_spread(uv_now(options->loop), check->every_ms, probe->name);
    uv_timer_start(&probe->wait, on_wait, delay, 0);
    if (change != HEALTH_SAME)
        options->on_change(change == HEALTH_ROSE, message, options->data);
}

static void fail_attempt(struct probe *probe, const char *reason)
{
    char message[REASON_MAX];
    if (probe->check.has_http)
        snprintf(message, sizeof message, "GET http://%s:%" PRIu32 "%s: %.200s", probe->address,
                 probe->options.port, probe->check.http.path, reason);
    else if (probe->console != NULL)
        snprintf(message, sizeof message, "console: %.200s", reason);
    else
        snprintf(message, sizeof message, "connect to %s:%" PRIu32 ": %.200s", probe->address,
                 probe->options.port, reason);
    text_copy(probe->last_miss, sizeof probe->last_miss, message);
    finish_attempt(probe, false, message);
}

static uint64_t connect_timeout(const struct probe *probe)
{
    uint64_t timeout = probe->check.timeout_ms;
    if (!probe->state.ever_passed && timeout > BOOT_CONNECT_TIMEOUT_MS)
        timeout = BOOT_CONNECT_TIMEOUT_MS;
    return timeout;
}

/* --- TCP --- */

static void on_connection_closed(uv_handle_t *handle)
{
    struct connection *connection = (struct connection *)handle;
    close(connection->descriptor);
    free(connection);
}

static void drop_connection(struct probe *probe)
{
    if (probe->connection == NULL)
        return;
    uv_timer_stop(&probe->deadline);
    uv_close((uv_handle_t *)&probe->connection->poll, on_connection_closed);
    probe->connection = NULL;
}

static void on_connected(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct probe *probe = poll->data;
    int number = 0;
    socklen_t length = sizeof number;
    if (status < 0 ||
        getsockopt(probe->connection->descriptor, SOL_SOCKET, SO_ERROR, &number, &length) < 0)
        number = EIO;
    drop_connection(probe);
    if (number == 0)
        finish_attempt(probe, true, "connected");
    else
        fail_attempt(probe, strerror(number));
}

static void on_deadline(uv_timer_t *timer)
{
    struct probe *probe = timer->data;
    drop_connection(probe);
    fail_attempt(probe, "no answer in time");
}

static void start_connect(struct probe *probe, int descriptor)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)probe->options.port)};
    inet_pton(AF_INET, probe->address, &address.sin_addr);
    struct connection *connection = xcalloc(1, sizeof *connection);
    if (uv_poll_init(probe->options.loop, &connection->poll, descriptor) < 0) {
        close(descriptor);
        free(connection);
        fail_attempt(probe, "the socket cannot be watched");
        return;
    }
    /* uv_poll_init has made the socket non-blocking. */
    connection->descriptor = descriptor;
    connection->poll.data = probe;
    probe->connection = connection;
    if (connect(descriptor, (struct sockaddr *)&address, sizeof address) < 0 &&
        errno != EINPROGRESS) {
        int number = errno;
        drop_connection(probe);
        fail_attempt(probe, strerror(number));
        return;
    }
    uv_poll_start(&connection->poll, UV_WRITABLE, on_connected);
    uv_timer_start(&probe->deadline, on_deadline, connect_timeout(probe), 0);
}

/* --- HTTP --- */

static bool has_body(const struct probe *probe, const struct http_client_response *response)
{
    const char *wanted = probe->check.http.body;
    return wanted == NULL ||
           memmem(response->body, response->body_length, wanted, strlen(wanted)) != NULL;
}

static void on_response(const struct http_client_response *response, void *data)
{
    struct probe *probe = data;
    probe->call = NULL;
    if (response->failed) {
        fail_attempt(probe, response->error.message);
    } else if (!api_status_matches(probe->check.http.status, response->status)) {
        char reason[64];
        snprintf(reason, sizeof reason, "status %d", response->status);
        fail_attempt(probe, reason);
    } else if (!has_body(probe, response)) {
        char reason[API_PROBE_TEXT_MAX + 64];
        snprintf(reason, sizeof reason, "status %d, but the body has no \"%s\"", response->status,
                 probe->check.http.body);
        fail_attempt(probe, reason);
    } else {
        finish_attempt(probe, true, "answered");
    }
}

static void start_get(struct probe *probe, int descriptor)
{
    AUTO_FREE char *url = xasprintf("http://%s:%" PRIu32 "%s", probe->address, probe->options.port,
                                    probe->check.http.path);
    /* No "Connection: close": the side that closes first waits in TIME_WAIT with the port, which is
     * better held here, where it is not used again meanwhile, than in the guest. */
    struct http_client_request request = {
        .url = url,
        .headers = (const char *const *)probe->headers,
        .response_limit = BODY_MAX,
        .connect_timeout_ms = (unsigned)connect_timeout(probe),
        .timeout_ms = (unsigned)probe->check.timeout_ms,
        .has_socket = true,
        .socket_descriptor = descriptor,
    };
    struct error error = ERROR_INIT;
    probe->call = http_client_start(probe->options.http, &request, on_response, probe, &error);
    if (probe->call == NULL)
        fail_attempt(probe, error.message);
}

/* --- an attempt --- */

static void on_socket(const struct host_answer *answer, int descriptor, void *data)
{
    struct probe *probe = data;
    AUTO_CLOSE int owned = descriptor;
    probe->socket_request = 0;
    if (answer->code != ERROR_NONE || descriptor < 0) {
        /* That says nothing about the guest. */
        uv_timer_start(&probe->wait, on_wait, probe->check.every_ms, 0);
        return;
    }
    if (probe->check.has_http)
        start_get(probe, TAKE_DESCRIPTOR(owned));
    else
        start_connect(probe, TAKE_DESCRIPTOR(owned));
}

/* What was written stays written: nothing is looked at any more. */
static void look_at_console(struct probe *probe)
{
    char reason[API_PROBE_TEXT_MAX + 64];
    if (probe_console_look(probe->console)) {
        probe->state.healthy = true;
        probe->options.on_change(true, "written", probe->options.data);
        return;
    }
    snprintf(reason, sizeof reason, "no line so far has \"%s\"", probe->check.console.pattern);
    fail_attempt(probe, reason);
}

static void on_wait(uv_timer_t *timer)
{
    struct probe *probe = timer->data;
    if (probe->console != NULL) {
        look_at_console(probe);
        return;
    }
    struct host_message message = {.type = HOST_SOCKET};
    probe->socket_request = host_client_request(probe->options.host, &message, on_socket, probe);
}

static void compose_headers(struct probe *probe)
{
    const struct json_map *own = &probe->check.http.headers;
    size_t count = 0;
    bool has_agent = false;
    for (size_t i = 0; i < own->count && i < API_PROBE_HEADERS_MAX; i++) {
        /* A value of nothing is sent by a semicolon: curl takes a bare colon for "leave it out". */
        const char *form = own->items[i].value[0] != '\0' ? "%s: %s" : "%s;";
        has_agent = has_agent || strcasecmp(own->items[i].key, "user-agent") == 0;
        probe->headers[count++] = xasprintf(form, own->items[i].key, own->items[i].value);
    }
    if (!has_agent)
        probe->headers[count] = xstrdup("User-Agent: shoal-health");
}

struct probe *probe_create(const struct probe_options *options)
{
    struct probe *probe = xcalloc(1, sizeof *probe);
    probe->options = *options;
    snprintf(probe->address, sizeof probe->address, "%s", options->address);
    json_record_copy(&api_probe_record, options->check, &probe->check);
    probe->name = xstrdup(options->name);
    probe->grace_until_ms = uv_now(options->loop) + options->grace_ms;
    if (probe->check.has_http)
        compose_headers(probe);
    if (probe->check.has_console)
        probe->console =
            probe_console_create(options->console_folder, options->instance,
                                 probe->check.console.pattern, options->console_since_ms);
    health_state_init(&probe->state, options->starts_healthy);
    uv_timer_init(options->loop, &probe->wait);
    uv_timer_init(options->loop, &probe->deadline);
    probe->wait.data = probe;
    probe->deadline.data = probe;
    probe->open_handles = 2;
    uv_timer_start(&probe->wait, on_wait, 0, 0);
    return probe;
}

const char *probe_last_miss(const struct probe *probe)
{
    return probe->last_miss;
}

uint64_t probe_attempts(const struct probe *probe)
{
    return probe->attempts;
}

static void on_closed(uv_handle_t *handle)
{
    struct probe *probe = handle->data;
    if (--probe->open_handles > 0)
        return;
    for (size_t i = 0; probe->headers[i] != NULL; i++)
        free(probe->headers[i]);
    probe_console_destroy(probe->console);
    json_record_release(&api_probe_record, &probe->check);
    free(probe->name);
    free(probe);
}

void probe_destroy(struct probe *probe)
{
    if (probe == NULL || probe->is_destroyed)
        return;
    probe->is_destroyed = true;
    if (probe->socket_request != 0)
        host_client_forget(probe->options.host, probe->socket_request);
    if (probe->call != NULL)
        http_client_cancel(probe->call);
    drop_connection(probe);
    uv_close((uv_handle_t *)&probe->wait, on_closed);
    uv_close((uv_handle_t *)&probe->deadline, on_closed);
}
