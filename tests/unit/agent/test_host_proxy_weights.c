/* A real HAProxy with our configuration, changed through our runtime commands: weights divide what
 * is new between servers, here two that answer with their letter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <arpa/inet.h>
#include <cmocka.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/host/daemon_process.h"
#include "agent/host/proxy_model.h"
#include "agent/host/proxy_runtime.h"
#include "lib/cleanup.h"
#include "lib/file.h"

#define REQUESTS 100

struct fixture {
    char directory[64];
    char socket_path[96];
    int listener;
    uint16_t port;
    struct server {
        int listener;
        uint16_t port;
        char letter;
        pthread_t thread;
    } servers[2];
    pid_t haproxy;
};

static int listen_anywhere(uint16_t *ret_port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 128), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    *ret_port = ntohs(address.sin_port);
    return listener;
}

/* Until its listener is shut. */
static void *serve(void *data)
{
    const struct server *server = data;
    char text[128], ignored[1024];
    int length = snprintf(text, sizeof text,
                          "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n%c",
                          server->letter);
    int connection;
    while ((connection = accept(server->listener, NULL, NULL)) >= 0) {
        if (recv(connection, ignored, sizeof ignored, 0) > 0)
            send(connection, text, (size_t)length, MSG_NOSIGNAL);
        close(connection);
    }
    return NULL;
}

static struct proxy_model *model_of(const struct fixture *fixture, const uint32_t weights[2])
{
    struct proxy_model *model = proxy_model_create();
    struct host_proxy_frontend frontend = {
        .name = "default.hello", .publish = fixture->port, .mode = API_PORT_HTTP};
    assert_int_equal(proxy_model_add_frontend(model, &frontend, NULL), 0);
    for (size_t i = 0; i < 2; i++) {
        struct host_proxy_server server = {.address = "127.0.0.1",
                                           .port = fixture->servers[i].port,
                                           .state = API_SERVER_READY,
                                           .weight = weights[i]};
        snprintf(server.id, sizeof server.id, "0001000000a%zu", i + 1);
        assert_int_equal(proxy_model_add_server(model, &server, NULL), 0);
    }
    return model;
}

static void start_haproxy(struct fixture *fixture)
{
    struct proxy_model *model = model_of(fixture, (uint32_t[2]){1, 1});
    AUTO_BUFFER struct buffer text = {0};
    char path[96];
    struct proxy_config config = {
        .stats_socket = fixture->socket_path, .connections_max = 100, .threads = 1};
    proxy_config_render(&model->frontends[0], &config, &text);
    proxy_model_destroy(model);
    snprintf(path, sizeof path, "%s/haproxy.cfg", fixture->directory);
    assert_int_equal(file_write(path, text.data, text.length, 0600, NULL), 0);
    fixture->haproxy = fork();
    if (fixture->haproxy == 0) {
        if (dup2(fixture->listener, DAEMON_LISTEN_DESCRIPTOR) >= 0)
            execlp("haproxy", "haproxy", "-db", "-f", path, (char *)NULL);
        _exit(127);
    }
    assert_true(fixture->haproxy > 0);
}

static int set_up(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);
    strcpy(fixture->directory, "/tmp/shoal-weights.XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    snprintf(fixture->socket_path, sizeof fixture->socket_path, "%s/sock", fixture->directory);
    fixture->listener = listen_anywhere(&fixture->port);
    for (size_t i = 0; i < 2; i++) {
        struct server *server = &fixture->servers[i];
        server->letter = (char)('a' + i);
        server->listener = listen_anywhere(&server->port);
        assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
    }
    start_haproxy(fixture);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    kill(fixture->haproxy, SIGKILL);
    waitpid(fixture->haproxy, NULL, 0);
    for (size_t i = 0; i < 2; i++) {
        shutdown(fixture->servers[i].listener, SHUT_RDWR);
        pthread_join(fixture->servers[i].thread, NULL);
        close(fixture->servers[i].listener);
    }
    close(fixture->listener);
    file_remove_tree(fixture->directory, NULL);
    free(fixture);
    return 0;
}

/* The letter of the server that answered; 0: none did. */
static char ask(const struct fixture *fixture)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(fixture->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char text[1024];
    size_t length = 0;
    AUTO_CLOSE int connection = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(connection, (struct sockaddr *)&address, sizeof address) < 0 ||
        send(connection, request, sizeof request - 1, MSG_NOSIGNAL) < 0)
        return 0;
    for (;;) {
        struct pollfd entry = {.fd = connection, .events = POLLIN};
        if (poll(&entry, 1, 10000) <= 0)
            return 0;
        ssize_t got = recv(connection, text + length, sizeof text - length, 0);
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    return length > 0 && strncmp(text, "HTTP/1.1 200", 12) == 0 ? text[length - 1] : 0;
}

/* Until HAProxy has taken its socket: it may take a while to start. */
static void set_weights(const struct fixture *fixture, uint32_t first, uint32_t second)
{
    struct error error = ERROR_INIT;
    bool pending;
    int result = -1;
    struct proxy_model *model = model_of(fixture, (uint32_t[2]){first, second});
    for (int i = 0; i < 3000 && result < 0; i++) {
        result = proxy_runtime_apply(fixture->socket_path, &model->frontends[0], &pending, &error);
        if (result < 0)
            usleep(10000);
    }
    proxy_model_destroy(model);
    if (result < 0)
        fail_msg("%s", error.message);
}

static size_t answers_of_second(const struct fixture *fixture)
{
    size_t counts[2] = {0};
    for (size_t i = 0; i < REQUESTS; i++) {
        char letter = ask(fixture);
        assert_true(letter == 'a' || letter == 'b');
        counts[letter - 'a']++;
    }
    return counts[1];
}

static void weights_divide_the_requests_and_change_while_it_runs(void **state)
{
    const struct fixture *fixture = *state;
    set_weights(fixture, 1, 1);
    assert_in_range(answers_of_second(fixture), 48, 52);
    set_weights(fixture, 256, 28);
    assert_in_range(answers_of_second(fixture), 8, 12);
    set_weights(fixture, 256, 0);
    assert_int_equal(answers_of_second(fixture), 0);
    set_weights(fixture, 1, 1);
    assert_in_range(answers_of_second(fixture), 48, 52);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(weights_divide_the_requests_and_change_while_it_runs,
                                        set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
