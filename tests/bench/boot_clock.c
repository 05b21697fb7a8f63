/*
 * A stopwatch for starting a program: microseconds from the fork on.
 *
 *     boot_clock life -- COMMAND...              until the program has ended by itself
 *     boot_clock http ADDRESS PORT -- COMMAND... until the first answer to GET / is complete
 *     boot_clock crowd COUNT PORT -- COMMAND...  COUNT of them at once, until all have answered:
 *                       %N in the command is 2, 3, ... (%H: with two hex digits), and their
 *                       addresses are 10.64.0.%N
 *
 * Printed as a number; by http also the memory that the program has then, its proportional share
 * (Pss) in KiB, as a second number. After its answer the program is killed.
 *
 * Connecting to a guest that is not up yet must not cost a retransmission's second: attempts are
 * short and many. Exits with 1 when the program fails or nothing answers in time.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* A kernel of Linux under emulation on a loaded machine takes its time. */
#define DEADLINE_MICROSECONDS 120000000
#define ATTEMPT_MILLISECONDS  2
#define ANSWER_MILLISECONDS   2000

static int64_t now_microseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static pid_t start_program(char **command)
{
    pid_t pid = fork();
    if (pid == 0) {
        /* As the agent starts QEMU, which asks for huge pages and wastes them. */
        prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
        execvp(command[0], command);
        fprintf(stderr, "boot_clock: %s: %s\n", command[0], strerror(errno));
        _exit(127);
    }
    return pid;
}

/* One short attempt; the connected socket or -1. */
static int try_connect(const struct sockaddr_in *address)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0) {
        return fd;
    }
    if (errno == EINPROGRESS) {
        struct pollfd wait = {fd, POLLOUT, 0};
        int error = 0;
        socklen_t size = sizeof(error);
        if (poll(&wait, 1, ATTEMPT_MILLISECONDS) == 1 &&
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) == 0 && error == 0) {
            return fd;
        }
    } else {
        /* No carrier, no route yet. */
        poll(NULL, 0, 1);
    }
    close(fd);
    return -1;
}

/* Sends GET / and reads the answer to its end. */
static bool ask_once(int fd)
{
    static const char request[] = "GET / HTTP/1.1\r\nHost: guest\r\nConnection: close\r\n\r\n";
    char answer[4096];
    size_t length = 0;
    if (send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL) != (ssize_t)sizeof(request) - 1) {
        return false;
    }
    for (;;) {
        struct pollfd wait = {fd, POLLIN, 0};
        if (length == sizeof(answer) - 1 || poll(&wait, 1, ANSWER_MILLISECONDS) != 1) {
            return false;
        }
        ssize_t got = recv(fd, answer + length, sizeof(answer) - 1 - length, 0);
        if (got <= 0) {
            answer[length] = '\0';
            return got == 0 && strncmp(answer, "HTTP/1.1 200 ", 13) == 0;
        }
        length += (size_t)got;
    }
}

/* KiB; 0 where the kernel does not tell. */
static long read_memory(pid_t pid)
{
    char path[64], line[256];
    long result = 0;
    snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", (int)pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && result == 0 && fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "Pss:", 4) == 0) {
            result = strtol(line + 4, NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return result;
}

static int measure_http(const char *host, const char *port, char **command)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        fprintf(stderr, "boot_clock: %s is not an address\n", host);
        return 1;
    }
    int64_t begin = now_microseconds();
    pid_t pid = start_program(command);
    bool answered = false;
    int64_t end = begin;
    while (pid > 0 && !answered && end - begin < DEADLINE_MICROSECONDS) {
        int fd = try_connect(&address);
        if (fd >= 0) {
            answered = ask_once(fd);
            close(fd);
        }
        end = now_microseconds();
        if (!answered && waitpid(pid, NULL, WNOHANG) != 0) {
            fprintf(stderr, "boot_clock: the program ended before it answered\n");
            return 1;
        }
    }
    long memory = answered ? read_memory(pid) : 0;
    if (pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    if (!answered) {
        fprintf(stderr, "boot_clock: no answer\n");
        return 1;
    }
    printf("%lld %ld\n", (long long)(end - begin), memory);
    return 0;
}

/* Starts the program and waits for its answer; the program's pid, or -1. */
static pid_t start_and_ask(const char *host, const char *port, char **command)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) {
        return -1;
    }
    int64_t begin = now_microseconds();
    pid_t pid = start_program(command);
    bool answered = false;
    while (pid > 0 && !answered && now_microseconds() - begin < DEADLINE_MICROSECONDS) {
        int fd = try_connect(&address);
        if (fd >= 0) {
            answered = ask_once(fd);
            close(fd);
        }
    }
    if (!answered && pid > 0) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return answered ? pid : -1;
}

/* The command with every %N and %H replaced; never freed, the process is a short one. */
static char **number_command(char **command, unsigned number)
{
    size_t count = 0;
    while (command[count] != NULL) {
        count++;
    }
    char **result = calloc(count + 1, sizeof(*result));
    for (size_t i = 0; result != NULL && i < count; i++) {
        char text[4096], *end = text;
        for (const char *at = command[i]; *at != '\0' && end < text + sizeof(text) - 16; at++) {
            if (at[0] == '%' && (at[1] == 'N' || at[1] == 'H')) {
                end += snprintf(end, 12, at[1] == 'N' ? "%u" : "%02x", number);
                at++;
            } else {
                *end++ = *at;
            }
        }
        *end = '\0';
        result[i] = strdup(text);
    }
    return result;
}

/* One of the crowd: tells through `told` when its program has answered, and keeps it until the
 * crowd's stopwatch has let go of `held`. */
static int join_crowd(unsigned number, const char *port, char **command, int told, int held)
{
    char host[32], byte;
    snprintf(host, sizeof(host), "10.64.0.%u", number);
    pid_t pid = start_and_ask(host, port, number_command(command, number));
    if (pid > 0 && write(told, "+", 1) == 1) {
        while (read(held, &byte, 1) > 0) {
        }
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    return pid > 0 ? 0 : 1;
}

static int measure_crowd(const char *text, const char *port, char **command)
{
    int told[2], held[2];
    int count = atoi(text), answered = 0;
    if (count < 1 || count > 250 || pipe2(told, O_CLOEXEC) < 0 || pipe2(held, O_CLOEXEC) < 0) {
        fprintf(stderr, "boot_clock: a crowd is of 1 to 250\n");
        return 1;
    }
    int64_t begin = now_microseconds();
    for (int i = 0; i < count; i++) {
        if (fork() == 0) {
            close(told[0]);
            close(held[1]);
            _exit(join_crowd((unsigned)i + 2, port, command, told[1], held[0]));
        }
    }
    close(told[1]);
    close(held[0]);
    char byte;
    while (answered < count && read(told[0], &byte, 1) == 1) {
        answered++;
    }
    int64_t end = now_microseconds();
    close(held[1]);
    for (int i = 0; i < count; i++) {
        wait(NULL);
    }
    if (answered < count) {
        fprintf(stderr, "boot_clock: %d of %d have answered\n", answered, count);
        return 1;
    }
    printf("%lld\n", (long long)(end - begin));
    return 0;
}

static int measure_life(char **command)
{
    int64_t begin = now_microseconds();
    pid_t pid = start_program(command);
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) ||
        WEXITSTATUS(status) != 0) {
        fprintf(stderr, "boot_clock: the program failed\n");
        return 1;
    }
    printf("%lld\n", (long long)(now_microseconds() - begin));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc > 3 && strcmp(argv[1], "life") == 0 && strcmp(argv[2], "--") == 0) {
        return measure_life(argv + 3);
    }
    if (argc > 5 && strcmp(argv[1], "http") == 0 && strcmp(argv[4], "--") == 0) {
        return measure_http(argv[2], argv[3], argv + 5);
    }
    if (argc > 5 && strcmp(argv[1], "crowd") == 0 && strcmp(argv[4], "--") == 0) {
        return measure_crowd(argv[2], argv[3], argv + 5);
    }
    fprintf(stderr, "usage: boot_clock life -- COMMAND...\n"
                    "       boot_clock http ADDRESS PORT -- COMMAND...\n"
                    "       boot_clock crowd COUNT PORT -- COMMAND...\n");
    return 2;
}
