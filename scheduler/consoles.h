/* Guests' consoles and gdb stubs: passed on to the agent of the instance, whose console_sessions.h
 * and debug_requests.h say how. Loop thread only. */
#pragma once

#include "lib/http_server.h"

/* `data` is the struct core. */
void consoles_handle_read(struct http_request *request, void *data);
void consoles_handle_write(struct http_request *request, void *data);
void consoles_handle_debug(struct http_request *request, void *data);
