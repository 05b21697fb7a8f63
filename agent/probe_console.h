/* Whether a guest has written a line that has a pattern, since it booted: looked up in the log that
 * the host half keeps (console_log.h), as far as it has come. Loop thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct probe_console;

/* `since_ms` is the boot on the wall clock. `folder`, `id` and `pattern` are copied. */
struct probe_console *probe_console_create(const char *folder, const char *id, const char *pattern,
                                           uint64_t since_ms);
/* NULL is fine. */
void probe_console_destroy(struct probe_console *console);
/* Reads what came since the last look; true once a line matched, and from then on. */
bool probe_console_look(struct probe_console *console);
