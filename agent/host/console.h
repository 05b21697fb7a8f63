/* Guests' serial consoles: what they write goes to logs (console_lines.h, console_file.h), and to
 * whoever is attached; bytes go to the guest.
 *
 * `struct consoles` is what all of them share, and knows since when nobody read them. Loop thread,
 * except console_connect and console_retire_logs. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

#include "agent/host/console_file.h"
#include "lib/error.h"

struct console;
struct consoles;

/* `options`' folder is copied. */
struct consoles *consoles_create(uv_loop_t *loop, const struct console_file_options *options);
/* After every console's console_destroy. NULL is fine. */
void consoles_destroy(struct consoles *consoles);
/* Says something in the log of an instance whose console is not open. */
void consoles_mark(struct consoles *consoles, const char *id, const char *what, const char *detail);

/* Connects to the socket that the hypervisor listens on. Any thread. */
int console_connect(const char *socket_path, int *ret_descriptor, struct error *error);

/* Starts to log what comes from `descriptor`, which is taken over. One that is adopted was not read
 * for a while, which its log says. */
struct console *console_create(struct consoles *consoles, int descriptor, const char *id,
                               bool is_adopted);
/* Calls `found` when the guest writes `text` (at most CONSOLE_WATCH_MAX bytes, kept by reference)
 * from now on; also from console_destroy, which reads the rest. */
#define CONSOLE_WATCH_MAX 64
void console_watch(struct console *console, const char *text, void (*found)(void *context),
                   void *context);
/* Attaches somebody: `ret_peer` is a stream socket on which the guest's output comes and its input
 * goes, until the console is destroyed or the socket closed. At most CONSOLE_READERS_MAX. */
#define CONSOLE_READERS_MAX 8
int console_attach(struct console *console, int *ret_peer, struct error *error);
/* ERROR_UNAVAILABLE when the guest's end is closed or does not take it now. */
int console_send(struct console *console, char byte, struct error *error);
/* Reads what is still there and closes. NULL is fine. */
void console_destroy(struct console *console);

/* Of an instance that is forgotten: what it wrote last, two files of it, stays readable as
 * <id>.ended and <id>.ended.1, for people who look at what a job has done or why something failed.
 * The newest CONSOLE_ENDED_KEPT instances stay. Any thread. */
#define CONSOLE_ENDED_KEPT 32
void console_retire_logs(const char *folder, const char *id);
