/* How the commands of shoal-registry reach one that runs: HTTP on <state>/control.sock, which only
 * the registry's own user may open.
 *
 *   POST /tasks/TASK?dry_run=1&untagged=1&rate=BYTES&target=DIR   runs it, answers with its report
 *   GET  /tasks                                                  what is under way
 *   DELETE /tasks                                                has it end soon
 *
 * Errors have the project's form. */
#pragma once

#include "lib/http_server.h"
#include "registry/upkeep/upkeep.h"

/* "<state>/control.sock"; the caller frees it. */
char *control_path(const char *state);
/* Whether a socket can have that path: it is short enough. */
bool control_is_possible(const char *state);
/* The upkeep outlives the server. */
int control_listen(const char *state, struct upkeep *upkeep, struct http_server **ret_server,
                   struct error *error);
