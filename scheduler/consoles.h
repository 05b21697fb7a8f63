/* Guests' consoles, attached to: passed on to the agent of the instance (its console_sessions.h
 * says how). Loop thread only. */
#pragma once

#include "lib/http_server.h"

/* `data` is the struct core. */
void consoles_handle_read(struct http_request *request, void *data);
void consoles_handle_write(struct http_request *request, void *data);
