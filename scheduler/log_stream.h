/* The logs of one or several instances on their way to somebody who reads them: asked of the
 * agents, put in the order of their times (log_merge.h), each line with its instance
 * (lib/api/log_line.h).
 *
 * Knows nothing of services: which instances there are is its creator's. Loop thread. */
#pragma once

#include "lib/http_server.h"
#include "scheduler/core.h"

struct log_stream;

struct log_stream_options {
    uint64_t tail;     /* lines of each instance */
    const char *since; /* as the agents take it, checked; NULL: all */
    bool follow;
    /* With `follow`, every second: adds what is new; false: no others will come. NULL: none do. */
    bool (*look)(struct log_stream *stream, const char *namespace_name, const char *service);
    const char *namespace_name, *service; /* for `look` */
    size_t expected; /* instances that will be added at once: they share what an answer may hold */
};

/* Answers the request; texts are copied. */
struct log_stream *log_stream_create(struct http_request *request, struct core *core,
                                     const struct log_stream_options *options);
struct core *log_stream_core(const struct log_stream *stream);
/* One that was added before is left as it is. */
void log_stream_add(struct log_stream *stream, const struct model_instance *instance);
/* After the first ones were added. */
void log_stream_start(struct log_stream *stream);
