/* The events: who follows them, and how long they are kept (for a time, and so many at most). The
 * store holds them; the latest are kept as text for those who follow. Loop thread only. */
#pragma once

#include "lib/http_server.h"
#include "scheduler/core.h"

struct event_log *event_log_create(struct core *core);
void event_log_destroy(struct event_log *log);
/* Hooked into the model: a committed event goes to everyone who follows. */
void event_log_publish(const struct api_event *event, void *log);
/* Some may have been committed without being published here: those who follow read on from the
 * store. */
void event_log_catch_up(struct event_log *log);
/* Drops what is too old; called now and then. */
void event_log_prune(struct event_log *log);
/* GET /v1/events?after=N&follow=1&namespace=NS&service=NAME as NDJSON. */
void event_log_handle(struct http_request *request, void *data);
