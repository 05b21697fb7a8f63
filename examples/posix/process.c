/* An ordinary process: its arguments and environment are the service's, SIGTERM and SIGINT begin
 * the end as the byte 0x04 on a guest's console does, a panic is the exit status 1. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <shoal/runtime.h>

#include "../runtime/machine.h"
#include "internal.h"

extern char **environ;

_Noreturn void machine_power_off(void)
{
    _exit(EXIT_SUCCESS);
}

_Noreturn void machine_crash(void)
{
    _exit(EXIT_FAILURE);
}

static void on_signal(struct machine_event *event, uint32_t what)
{
    struct signalfd_siginfo information;
    (void)what;
    if (read(event->fd, &information, sizeof(information)) == sizeof(information)) {
        machine_console_put(MACHINE_CONSOLE_STOP);
    }
}

void machine_prepare(void)
{
    static struct machine_event signals = {.ready = on_signal};
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signals.fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (signals.fd < 0) {
        shoal_panic("signals: %s", strerror(errno));
    }
    machine_event_add(&signals, EPOLLIN);
}

int main(int argc, char **argv)
{
    machine_start(argc > 0 ? argv + 1 : argv, environ);
}
