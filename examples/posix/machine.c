/* The machine: clock, random numbers and sleep from the kernel; the console is standard output. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <shoal/runtime.h>

#include "../runtime/machine.h"
#include "internal.h"

#define EVENT_BATCH 64
/* What the runtime gives out: untouched pages of it cost nothing. */
#define MEMORY_SIZE (4 * 1024 * 1024)

static struct {
    int epoll;
    int typed; /* a byte on the console, -1: none */
} machine = {.epoll = -1, .typed = -1};

static char machine_memory[MEMORY_SIZE] __attribute__((aligned(64)));

uintptr_t machine_image_end(void)
{
    return (uintptr_t)machine_memory;
}

static void change_event(int operation, struct machine_event *event, uint32_t what)
{
    struct epoll_event wanted = {.events = what, .data.ptr = event};
    if (epoll_ctl(machine.epoll, operation, event->fd, &wanted) != 0) {
        shoal_panic("epoll: descriptor %d: %s", event->fd, strerror(errno));
    }
}

void machine_event_add(struct machine_event *event, uint32_t what)
{
    change_event(EPOLL_CTL_ADD, event, what);
}

void machine_event_change(struct machine_event *event, uint32_t what)
{
    change_event(EPOLL_CTL_MOD, event, what);
}

/* The runtime ends lines as terminals want it; here the kernel does that where there is one. */
void machine_console_write(const char *text, size_t length)
{
    char line[600];
    if (length >= 2 && length <= sizeof(line) && memcmp(text + length - 2, "\r\n", 2) == 0) {
        memcpy(line, text, length - 2);
        line[length - 2] = '\n';
        text = line;
        length--;
    }
    while (length > 0) {
        ssize_t written = write(STDOUT_FILENO, text, length);
        if (written < 0 && errno != EINTR) {
            return; /* nobody listens */
        }
        text += written > 0 ? written : 0;
        length -= written > 0 ? (size_t)written : 0;
    }
}

void machine_console_put(int byte)
{
    machine.typed = byte;
}

int machine_console_read(void)
{
    int byte = machine.typed;
    machine.typed = -1;
    return byte;
}

bool machine_console_is_waiting(void)
{
    return machine.typed >= 0;
}

uint64_t machine_clock_nanoseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t machine_random_seed(void)
{
    uint64_t seed;
    if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed)) {
        seed = machine_clock_nanoseconds();
    }
    return seed;
}

/* What has happened stays readable until it is handled: no wake-up can be lost. */
void machine_interrupts_disable(void)
{
}

void machine_interrupts_enable(void)
{
}

void machine_sleep(uint64_t nanoseconds)
{
    struct epoll_event ready[EVENT_BATCH];
    uint64_t milliseconds = nanoseconds / 1000000 + (nanoseconds % 1000000 != 0);
    int timeout = milliseconds < INT32_MAX ? (int)milliseconds : -1;
    int count = epoll_wait(machine.epoll, ready, EVENT_BATCH, timeout);
    for (int i = 0; i < count; i++) {
        struct machine_event *event = ready[i].data.ptr;
        event->ready(event, ready[i].events);
    }
}

_Noreturn void machine_hang(void)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    for (;;) {
        pause();
    }
}

_Noreturn void machine_start(char **words, char **environment)
{
    struct machine_boot_information information = {
        .words = words,
        .environment = environment,
        .memory_end = machine_image_end() + MEMORY_SIZE,
    };
    machine.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (machine.epoll < 0) {
        shoal_panic("epoll: %s", strerror(errno));
    }
    machine_prepare();
    runtime_start(&information);
}
