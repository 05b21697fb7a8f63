/*
 * The first process of a Linux microVM, which is the service itself: loads virtio's modules, sets
 * the address that the kernel's command line tells, and hands over to the runtime. What it needs
 * lies in the initramfs beside it (make-initramfs.sh).
 *
 *     ip=ADDRESS::GATEWAY:MASK:INSTANCE:eth0:off [NAME=value ...] [-- ARGUMENT ...]
 *
 * The kernel makes words with '=' that it does not know this process's environment, and what
 * follows
 * "--" its arguments. The console is the first serial port; the byte 0x04 on it begins the end. A
 * normal end powers the machine off; a panic is one of the kernel's, which the device pvpanic
 * reports.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include <shoal/runtime.h>

#include "../posix/internal.h"
#include "../runtime/arguments.h"
#include "../runtime/machine.h"
#include "address.h"

#define MODULE_LIST "/modules/order" /* names, a line each, in the order to load them in */

extern char **environ;

_Noreturn void machine_power_off(void)
{
    (void)tcdrain(STDOUT_FILENO);
    (void)reboot(RB_POWER_OFF);
    _exit(EXIT_FAILURE);
}

/* The kernel panics when its first process ends. */
_Noreturn void machine_crash(void)
{
    (void)tcdrain(STDOUT_FILENO);
    _exit(EXIT_FAILURE);
}

static void on_console(struct machine_event *event, uint32_t what)
{
    unsigned char byte;
    if (read(event->fd, &byte, 1) == 1) {
        machine_console_put(byte);
    } else if ((what & (EPOLLHUP | EPOLLERR)) != 0) {
        machine_event_change(event, 0); /* no console: nothing will come */
    }
}

/* Bytes as they come, not lines. */
void machine_prepare(void)
{
    static struct machine_event console = {.ready = on_console, .fd = STDIN_FILENO};
    struct termios settings;
    if (tcgetattr(STDIN_FILENO, &settings) != 0) {
        return; /* a machine without a serial port is ended by other means */
    }
    settings.c_lflag &= ~(tcflag_t)(ICANON | ECHO | ISIG);
    settings.c_iflag &= ~(tcflag_t)(IXON | ICRNL);
    (void)tcsetattr(STDIN_FILENO, TCSANOW, &settings);
    machine_event_add(&console, EPOLLIN);
}

static void load_module(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "/modules/%s.ko", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST)) {
        shoal_panic("module %s: %s", path, strerror(errno));
    }
    close(fd);
}

static void load_modules(void)
{
    static char list[1024];
    int fd = open(MODULE_LIST, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, list, sizeof(list) - 1);
    if (length < 0) {
        shoal_panic("%s: %s", MODULE_LIST, strerror(errno));
    }
    close(fd);
    char *rest = NULL;
    for (char *name = strtok_r(list, "\n", &rest); name != NULL;
         name = strtok_r(NULL, "\n", &rest)) {
        load_module(name);
    }
}

/* The runtime's own options from the kernel's; behind them the service's arguments. */
static char **make_words(const struct address *address, char **arguments)
{
    static char ip[sizeof("--ip=255.255.255.255/32")];
    static char instance[sizeof("--instance=") + ADDRESS_NAME_SIZE];
    static char *words[ARGUMENTS_MAX + 4];
    size_t count = 0;
    snprintf(ip, sizeof(ip), "--ip=%s/%u", inet_ntoa(address->address), address->prefix);
    words[count++] = ip;
    if (address->name[0] != '\0') {
        snprintf(instance, sizeof(instance), "--instance=%s", address->name);
        words[count++] = instance;
        (void)sethostname(address->name, strlen(address->name));
    }
    words[count++] = "--";
    while (*arguments != NULL && count < ARGUMENTS_MAX + 3) {
        words[count++] = *arguments++;
    }
    return words;
}

int main(int argc, char **argv)
{
    struct address address;
    char message[256];
    /* Where to announce the address is asked for; without it the neighbours learn it later. */
    (void)mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    load_modules();
    const char *text = getenv("ip");
    if (text == NULL) {
        shoal_panic("command line: ip=ADDRESS::GATEWAY:MASK:NAME:DEVICE:off is missing");
    }
    if (address_parse(&address, text, message, sizeof(message)) != 0 ||
        address_apply(&address, message, sizeof(message)) != 0) {
        shoal_panic("network: %s", message);
    }
    machine_start(make_words(&address, argc > 0 ? argv + 1 : argv), environ);
}
