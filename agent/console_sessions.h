/* People who are attached to guests' consoles:
 *   GET  /v1/instances/ID/console?session=S&write=1&by=WHO   a line "attached", and then what
 *                                                            the guest writes, as it comes
 *   POST /v1/instances/ID/console?session=S&end=1            bytes for the guest: {"taken": N};
 * with end=1 the session's last
 *
 * A session is 16 to 64 hex digits of the caller's own making. It ends with its stream, and when
 * nothing was posted to it (an empty body will do) for CONSOLE_SESSION_MS: a caller that vanished
 * keeps nobody out. Several read, one at a time writes; who comes second is told who is there. Of a
 * POST the guest may take only the beginning. Loop thread only. */
#pragma once

#include <uv.h>

#include "agent/host_client.h"
#include "agent/instance_table.h"
#include "lib/http_server.h"

#define CONSOLE_SESSION_MS   15000
#define CONSOLE_SESSIONS_MAX 64
#define CONSOLE_POST_MAX     4096
#define CONSOLE_ATTACHED     "attached\n"

struct console_sessions;

/* Everything outlives it. */
struct console_sessions *console_sessions_create(uv_loop_t *loop, struct host_client *host,
                                                 const struct instance_table *instances,
                                                 const char *node);
/* After the HTTP server, whose end ends every session. NULL is fine. */
void console_sessions_destroy(struct console_sessions *sessions);

/* `{id}` of the routes is the instance. */
void console_sessions_attach(struct console_sessions *sessions, struct http_request *request);
void console_sessions_write(struct console_sessions *sessions, struct http_request *request);
