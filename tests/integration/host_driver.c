/* Plays the deciding half against the real host half, for tests/integration/host_*.sh.
 *
 *   host_driver NODE STATE RUN LOG ACCELERATOR      commands on standard input, one a line
 *   host_driver --clean NODE STATE RUN LOG
 *
 * Each command prints what the host half said meanwhile ("event ...") and then one line "ok ..." or
 * "error CODE MESSAGE". The host half is the parent, as in the agent. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/host/host.h"
#include "agent/host/hypervisors.h"
#include "agent/host_protocol.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/text.h"

#define WORDS_MAX 16

struct driver {
    int channel;
    uint64_t sequence;
    struct host_boot form; /* how the next guests boot: "as", "initrd", "disk" */
};

static void print_event(const struct host_message *message)
{
    static const char *const causes[] = {"guest_exit",  "guest_panic", "killed", "stopped",
                                         "stop_killed", "guest_reset", "oom",    "hung"};
    if (message->type == HOST_INSTANCE && message->instance.state == HOST_INSTANCE_RUNNING)
        printf("event running %s %llu\n", message->instance.id,
               (unsigned long long)message->instance.uptime_ms);
    else if (message->type == HOST_INSTANCE && message->instance.state == HOST_INSTANCE_HANGS)
        printf("event hangs %s %s\n", message->instance.id, message->instance.message);
    else if (message->type == HOST_INSTANCE)
        printf("event ended %s %s %s\n", message->instance.id, causes[message->instance.cause],
               message->instance.message);
    else if (message->type == HOST_FRONTEND)
        printf("event frontend %u %u %s\n", message->frontend.publish, message->frontend.bound,
               message->frontend.message);
}

/* The next message, checked; ends the program when the host half is gone. */
static void receive(struct driver *driver, struct host_message *message, int *descriptor)
{
    struct error error = ERROR_INIT;
    int result = host_message_receive(driver->channel, message, descriptor, &error);
    if (result > 0 && host_message_check(message, &error) == 0)
        return;
    printf("error channel %s\n", result == 0 ? "the host half is gone" : error.message);
    fflush(stdout);
    exit(1);
}

/* Sends and waits for the answer; its descriptor, or -1, is the caller's. */
static int ask(struct driver *driver, struct host_message *message, struct host_message *answer)
{
    message->sequence = ++driver->sequence;
    if (host_message_send(driver->channel, message, -1, NULL) < 0)
        exit(1);
    for (;;) {
        int descriptor = -1;
        receive(driver, answer, &descriptor);
        if (answer->type == HOST_ANSWER && answer->sequence == message->sequence)
            return descriptor;
        print_event(answer);
    }
}

static void print_welcome(const struct host_welcome *welcome)
{
    printf("ok");
    for (uint32_t i = 0; i < welcome->machine_count; i++)
        printf(" %s/%s", welcome->machines[i].arch, welcome->machines[i].accel);
    printf(" %s\n", welcome->accel_reason);
}

static void ask_and_print(struct driver *driver, struct host_message *message)
{
    struct host_message answer;
    ask(driver, message, &answer);
    if (answer.answer.code != ERROR_NONE)
        printf("error %s %s\n", error_code_name(answer.answer.code), answer.answer.message);
    else if (message->type == HOST_HELLO)
        print_welcome(&answer.answer.welcome);
    else
        printf("ok %u\n", answer.answer.number);
}

static void copy(char *to, size_t size, const char *from)
{
    if (from == NULL || !text_copy(to, size, from))
        to[0] = '\0';
}

static uint32_t number_of(const char *const names[], const char *name)
{
    uint32_t number = 0;
    while (name != NULL && names[number] != NULL && strcmp(names[number], name) != 0)
        number++;
    return number;
}

/* as FAMILY ARCH PROTOCOL MACHINE: without initrd and disks */
static void as(struct driver *driver, char **words)
{
    struct host_boot form = {0};
    copy(form.family, sizeof form.family, words[1]);
    copy(form.arch, sizeof form.arch, words[2]);
    form.protocol = number_of(boot_protocol_names, words[3]);
    form.machine = number_of(boot_machine_names, words[4]);
    driver->form = form;
    printf("ok\n");
}

/* initrd DIGEST, disk DIGEST */
static void add_part(struct driver *driver, char **words)
{
    struct host_boot *form = &driver->form;
    bool is_disk = strcmp(words[0], "disk") == 0;
    if (is_disk && form->disk_count < HOST_DISKS_MAX)
        copy(form->disks[form->disk_count++], sizeof form->disks[0], words[1]);
    else if (!is_disk)
        copy(form->initrd, sizeof form->initrd, words[1]);
    printf("ok\n");
}

/* boot ID KERNEL|- ADDRESS MEMORY COMMAND-LINE... */
static void boot(struct driver *driver, char **words, const char *rest)
{
    struct host_message message = {.type = HOST_BOOT, .boot = driver->form};
    struct host_boot *boot = &message.boot;
    bool has_kernel = words[2] != NULL && strcmp(words[2], "-") != 0;
    copy(boot->id, sizeof boot->id, words[1]);
    copy(boot->kernel, sizeof boot->kernel, has_kernel ? words[2] : "");
    copy(boot->image, sizeof boot->image, has_kernel ? words[2] : boot->disks[0]);
    copy(boot->address, sizeof boot->address, words[3]);
    copy(boot->command_line, sizeof boot->command_line, rest);
    host_mac_of_instance(boot->id, boot->mac);
    boot->memory = words[4] != NULL ? strtoull(words[4], NULL, 10) : 0;
    boot->vcpus = 1;
    ask_and_print(driver, &message);
}

/* get ADDRESS PORT PATH: one HTTP request through a socket of the guests' namespace. */
static void get(struct driver *driver, char **words)
{
    struct host_message message = {.type = HOST_SOCKET}, answer;
    AUTO_CLOSE int connection = ask(driver, &message, &answer);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)atoi(words[2]))};
    inet_pton(AF_INET, words[1], &address.sin_addr);
    if (connection < 0) {
        printf("error socket %s\n", answer.answer.message);
        return;
    }
    fcntl(connection, F_SETFL, 0);
    struct timeval limit = {.tv_sec = 5};
    setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    char text[4096];
    int length = snprintf(text, sizeof text,
                          "GET %s HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n", words[3]);
    if (connect(connection, (struct sockaddr *)&address, sizeof address) < 0 ||
        send(connection, text, (size_t)length, MSG_NOSIGNAL) != length) {
        printf("error connect %s\n", strerror(errno));
        return;
    }
    size_t got = 0;
    ssize_t part;
    while (got < sizeof text - 1 &&
           (part = read(connection, text + got, sizeof text - 1 - got)) > 0)
        got += (size_t)part;
    text[got] = '\0';
    char *body = strstr(text, "\r\n\r\n");
    for (char *at = text; *at != '\0'; at++) {
        if (*at == '\r' || *at == '\n')
            *at = ' ';
    }
    printf("ok %.12s %s\n", text, body != NULL ? body + 4 : "");
}

/* wait WORD SECONDS: prints events until one contains the word. */
static void wait_event(struct driver *driver, char **words)
{
    uint64_t deadline = clock_monotonic_ms(clock_system()) + strtoull(words[2], NULL, 10) * 1000;
    for (;;) {
        uint64_t now = clock_monotonic_ms(clock_system());
        struct pollfd readable = {.fd = driver->channel, .events = POLLIN};
        if (now >= deadline || poll(&readable, 1, (int)(deadline - now)) <= 0) {
            printf("error timeout no event %s\n", words[1]);
            return;
        }
        struct host_message message;
        int descriptor = -1;
        receive(driver, &message, &descriptor);
        print_event(&message);
        if ((message.type == HOST_INSTANCE && strcmp(message.instance.id, words[1]) == 0) ||
            (message.type == HOST_FRONTEND &&
             message.frontend.publish == strtoul(words[1], NULL, 10) && words[3] != NULL &&
             message.frontend.bound == strtoul(words[3], NULL, 10))) {
            printf("ok\n");
            return;
        }
    }
}

static void proxy_frontend(struct driver *driver, char **words)
{
    struct host_message message = {.type = HOST_PROXY_FRONTEND};
    copy(message.proxy_frontend.name, sizeof message.proxy_frontend.name, words[1]);
    message.proxy_frontend.publish = (uint32_t)strtoul(words[2], NULL, 10);
    message.proxy_frontend.mode = strcmp(words[3], "http") == 0 ? API_PORT_HTTP : API_PORT_TCP;
    ask_and_print(driver, &message);
}

static void proxy_server(struct driver *driver, char **words)
{
    struct host_message message = {.type = HOST_PROXY_SERVER};
    copy(message.proxy_server.id, sizeof message.proxy_server.id, words[1]);
    copy(message.proxy_server.address, sizeof message.proxy_server.address, words[2]);
    message.proxy_server.port = (uint32_t)strtoul(words[3], NULL, 10);
    message.proxy_server.weight = 1;
    message.proxy_server.state =
        strcmp(words[4], "ready") == 0 ? API_SERVER_READY : API_SERVER_DRAIN;
    ask_and_print(driver, &message);
}

static void run_command(struct driver *driver, char **words, const char *rest)
{
    static const char *const stop_methods[] = {"kill", "console", "acpi", NULL};
    struct host_message message = {0};
    if (strcmp(words[0], "hello") == 0) {
        message.type = HOST_HELLO;
    } else if (strcmp(words[0], "network") == 0) {
        message.type = HOST_NETWORK;
        copy(message.network.subnet, sizeof message.network.subnet, words[1]);
    } else if (strcmp(words[0], "import") == 0) {
        message.type = HOST_IMPORT;
        copy(message.import.digest, sizeof message.import.digest, words[1]);
        message.import.size = strtoull(words[2], NULL, 10);
    } else if (strcmp(words[0], "stop") == 0) {
        message.type = HOST_STOP;
        copy(message.stop.id, sizeof message.stop.id, words[1]);
        message.stop.method = number_of(stop_methods, words[2]);
        message.stop.grace_ms = strtoull(words[3], NULL, 10);
    } else if (strcmp(words[0], "forget") == 0) {
        message.type = HOST_FORGET;
        copy(message.forget.id, sizeof message.forget.id, words[1]);
    } else if (strcmp(words[0], "begin") == 0) {
        message.type = HOST_PROXY_BEGIN;
        message.proxy.revision = 1;
    } else if (strcmp(words[0], "commit") == 0) {
        message.type = HOST_PROXY_COMMIT;
    } else if (strcmp(words[0], "count") == 0) {
        message.type = HOST_PROXY_COUNT;
        copy(message.proxy_count.id, sizeof message.proxy_count.id, words[1]);
    }
    if (message.type != 0)
        ask_and_print(driver, &message);
    else if (strcmp(words[0], "as") == 0)
        as(driver, words);
    else if (strcmp(words[0], "initrd") == 0 || strcmp(words[0], "disk") == 0)
        add_part(driver, words);
    else if (strcmp(words[0], "boot") == 0)
        boot(driver, words, rest);
    else if (strcmp(words[0], "get") == 0)
        get(driver, words);
    else if (strcmp(words[0], "wait") == 0)
        wait_event(driver, words);
    else if (strcmp(words[0], "frontend") == 0)
        proxy_frontend(driver, words);
    else if (strcmp(words[0], "server") == 0)
        proxy_server(driver, words);
    else
        printf("error usage unknown command %s\n", words[0]);
}

/* Splits in place: at most five words (a boot's rest is its command line). */
static void run_line(struct driver *driver, char *line)
{
    char *words[WORDS_MAX] = {0}, *at = line;
    size_t count = 0;
    while (count < 5 && *at != '\0') {
        words[count++] = at;
        at += strcspn(at, " ");
        if (*at == ' ')
            *at++ = '\0';
    }
    if (count > 0)
        run_command(driver, words, at);
}

static void read_commands(struct driver *driver)
{
    char line[4096];
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        run_line(driver, line);
        fflush(stdout);
    }
}

int main(int count, char **arguments)
{
    bool clean = count > 1 && strcmp(arguments[1], "--clean") == 0;
    if (count != 6) {
        fprintf(stderr, "usage: host_driver [--clean] NODE STATE RUN LOG [ACCELERATOR]\n");
        return 2;
    }
    const char *uri = getenv("HYPERVISOR_URI");
    char **first = arguments + (clean ? 2 : 1);
    struct host_options options = {.node = first[0],
                                   .state_directory = first[1],
                                   .run_directory = first[2],
                                   .log_directory = first[3],
                                   .publish_address = "127.0.0.1",
                                   .accelerator = clean ? "tcg" : first[4],
                                   .hypervisor = getenv("SHOAL_HYPERVISOR"),
                                   .hypervisor_uri = uri != NULL ? uri : "qemu:///embed"};
    if (uri != NULL || options.hypervisor == NULL)
        options.hypervisor = uri != NULL ? HYPERVISOR_LIBVIRT : HYPERVISOR_DEFAULT;
    log_open("host-driver", LOG_LEVEL_INFO);
    if (clean) {
        struct error error = ERROR_INIT;
        if (host_clean(&options, &error) == 0)
            return 0;
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return 1;
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        struct driver driver = {.channel = ends[1],
                                .form = {.family = "shoal",
                                         .arch = "amd64",
                                         .protocol = BOOT_PVH,
                                         .machine = MACHINE_MICROVM}};
        read_commands(&driver);
        return 0;
    }
    close(ends[1]);
    close(STDIN_FILENO);
    options.decider = pid;
    options.channel = ends[0];
    return host_run(&options);
}
