/* A guest's serial console: its output goes to a bounded log file, single bytes go to the guest.
 * Loop thread, except console_connect. */
#pragma once

#include <sys/types.h>
#include <uv.h>

#include "lib/error.h"

/* A log is rotated at this size: <id>.log and <id>.log.1 hold at most twice as much. */
#define CONSOLE_LOG_LIMIT (1024 * 1024)

struct console;

/* Connects to the socket that the hypervisor listens on. Any thread. */
int console_connect(const char *socket_path, int *ret_descriptor, struct error *error);

/* Starts to log what comes from `descriptor`, which is taken over. The log belongs to root and can
 * be read by `reader` (a group). */
struct console *console_create(uv_loop_t *loop, int descriptor, const char *folder, const char *id,
                               gid_t reader);
/* Calls `found` when the guest writes `text` (at most CONSOLE_WATCH_MAX bytes, kept by reference)
 * from now on; also from console_destroy, which reads the rest. */
#define CONSOLE_WATCH_MAX 64
void console_watch(struct console *console, const char *text, void (*found)(void *context),
                   void *context);
/* ERROR_UNAVAILABLE when the guest's end is closed or does not take it now. */
int console_send(struct console *console, char byte, struct error *error);
/* Reads what is still there and closes. NULL is fine. */
void console_destroy(struct console *console);

/* Of an instance that is forgotten: what it wrote last stays readable as <id>.ended, for people who
 * look at what a job has done or why something failed. The newest CONSOLE_ENDED_KEPT of them stay.
 * Any thread. */
#define CONSOLE_ENDED_KEPT 32
void console_retire_logs(const char *folder, const char *id);
