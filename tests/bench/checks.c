/* What checks cost the agent's loop: COUNT of them (5000), each every second, HTTP and then TCP,
 * against a server that a child process plays, through sockets that the child opens like the host
 * half. Prints one line a kind: processor time of this process for a check, and how many there
 * were.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/probe.h"
#include "lib/error.h"
#include "lib/http_server.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define WARM_UP_MS 3000
#define MEASURE_MS 10000

/* --- the child: server and host half --- */

struct peer {
    uv_loop_t loop;
    uv_poll_t poll;
    int channel;
};

static void answer(struct http_request *request, void *data)
{
    (void)data;
    http_request_respond(request, 200, "text/plain", "ok", 2);
}

static void on_request(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    const struct peer *peer = poll->data;
    struct host_message message;
    int none;
    for (int i = 0; i < 64; i++) {
        if (host_message_receive(peer->channel, &message, &none, NULL) != 1)
            return;
        struct host_message reply = {.type = HOST_ANSWER, .sequence = message.sequence};
        int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        host_message_send(peer->channel, &reply, descriptor, NULL);
        close(descriptor);
    }
}

static void play_peer(int channel, int tell)
{
    static const struct http_route routes[] = {
        {.method = "GET", .pattern = "/healthz", .handler = answer}};
    struct peer peer = {.channel = channel};
    struct http_server *server;
    uv_loop_init(&peer.loop);
    struct http_server_options options = {.mode = HTTP_SERVER_LOOP,
                                          .loop = &peer.loop,
                                          .address = "127.0.0.1",
                                          .routes = routes,
                                          .route_count = 1};
    struct error error = ERROR_INIT;
    if (http_server_create(&options, &server, &error) < 0) {
        fprintf(stderr, "%s\n", error.message);
        _exit(1);
    }
    uint32_t port = http_server_port(server);
    if (write(tell, &port, sizeof port) != sizeof port)
        _exit(1);
    uv_poll_init(&peer.loop, &peer.poll, channel);
    peer.poll.data = &peer;
    uv_poll_start(&peer.poll, UV_READABLE, on_request);
    uv_run(&peer.loop, UV_RUN_DEFAULT);
    _exit(0);
}

/* --- the agent's side --- */

struct side {
    uv_loop_t loop;
    struct host_client *host;
    struct http_client *http;
    uint32_t port;
    size_t count;
    struct probe **probes;
    size_t passing;
};

static void on_change(bool healthy, const char *message, void *data)
{
    (void)message;
    struct side *side = data;
    side->passing += healthy ? 1 : (size_t)-1;
}

static void ignore_instance(const struct host_instance *instance, void *data)
{
    (void)instance;
    (void)data;
}

static void ignore_frontend(const struct host_frontend *frontend, void *data)
{
    (void)frontend;
    (void)data;
}

static void ignore_lost(void *data)
{
    (void)data;
}

static void start_all(struct side *side, bool is_http)
{
    struct api_probe check = {.has_http = is_http, .has_tcp = !is_http};
    api_probe_set_defaults(&check);
    check.timeout_ms = 10000;
    check.fall = 100;
    strcpy(check.http.path, "/healthz");
    for (size_t i = 0; i < side->count; i++) {
        char name[40];
        snprintf(name, sizeof name, "0001%08zx/readiness", i);
        struct probe_options options = {.loop = &side->loop,
                                        .http = side->http,
                                        .host = side->host,
                                        .name = name,
                                        .address = "127.0.0.1",
                                        .port = side->port,
                                        .check = &check,
                                        .starts_healthy = true,
                                        .on_change = on_change,
                                        .data = side};
        side->probes[i] = probe_create(&options);
    }
    side->passing = side->count;
}

static void on_time(uv_timer_t *timer)
{
    uv_stop(timer->loop);
}

static void run_for(struct side *side, uint64_t ms)
{
    uv_timer_t timer;
    uv_timer_init(&side->loop, &timer);
    uv_timer_start(&timer, on_time, ms, 0);
    uv_run(&side->loop, UV_RUN_DEFAULT);
    uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&side->loop, UV_RUN_NOWAIT);
}

static double processor_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static uint64_t attempts_of(const struct side *side)
{
    uint64_t attempts = 0;
    for (size_t i = 0; i < side->count; i++)
        attempts += probe_attempts(side->probes[i]);
    return attempts;
}

static void measure(struct side *side, bool is_http)
{
    start_all(side, is_http);
    run_for(side, WARM_UP_MS);
    uint64_t attempts = attempts_of(side), began = uv_hrtime();
    double used = processor_seconds();
    run_for(side, MEASURE_MS);
    used = processor_seconds() - used;
    double wall = (double)(uv_hrtime() - began) / 1e9;
    attempts = attempts_of(side) - attempts;
    printf("%s: %zu checks every 1s: %.0f a second, %.1f us of processor each, %.1f %% of one "
           "processor; %zu pass\n",
           is_http ? "http" : "tcp ", side->count, (double)attempts / wall,
           attempts > 0 ? used * 1e6 / (double)attempts : 0, 100 * used / wall, side->passing);
    for (size_t i = 0; i < side->count; i++)
        probe_destroy(side->probes[i]);
    run_for(side, 100);
}

int main(int count, char **arguments)
{
    struct side side = {.count = count > 1 ? strtoul(arguments[1], NULL, 10) : 5000};
    struct rlimit files = {65536, 65536};
    int channel[2], tell[2];
    log_open("checks", LOG_LEVEL_ERROR);
    setrlimit(RLIMIT_NOFILE, &files);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0 || pipe(tell) < 0)
        return 1;
    pid_t peer = fork();
    if (peer == 0) {
        close(channel[0]);
        play_peer(channel[1], tell[1]);
    }
    close(channel[1]);
    if (peer < 0 || read(tell[0], &side.port, sizeof side.port) != sizeof side.port)
        return 1;
    uv_loop_init(&side.loop);
    struct host_client_options options = {.loop = &side.loop,
                                          .channel = channel[0],
                                          .on_instance = ignore_instance,
                                          .on_frontend = ignore_frontend,
                                          .on_lost = ignore_lost};
    if (host_client_create(&options, &side.host, NULL) < 0)
        return 1;
    side.http = http_client_create(&side.loop);
    side.probes = xcalloc(side.count + 1, sizeof(struct probe *));
    measure(&side, true);
    measure(&side, false);
    free(side.probes);
    kill(peer, SIGKILL);
    waitpid(peer, NULL, 0);
    return 0;
}
