/* The logs of one or several instances on their way to somebody who reads them: asked of the
 * agents, put in the order of their times (log_merge.h), each line with its instance
 * (lib/api/log_line.h). Where an agent breaks off it is asked again for what came after the last
 * line (lib/api/log_position.h); who follows is told the positions too, and can go on likewise.
 *
 * Knows nothing of services: which instances there are is its creator's. Loop thread. */
#pragma once

#include "lib/api/log_position.h"
#include "lib/http_server.h"
#include "scheduler/core.h"

struct log_stream;

struct log_stream_options {
    uint64_t tail;     /* lines of the past, the newest of all instances together */
    const char *since; /* as the agents take it, checked; NULL: all */
    bool follow;
    bool resumes; /* the reader goes on: `tail` is nothing, what is added without a position is new
                   */
    /* With `follow`, every second: adds what is new; false: no others will come. NULL: none do. */
    bool (*look)(struct log_stream *stream, const char *namespace_name, const char *service);
    const char *namespace_name, *service; /* for `look` */
    size_t expected; /* instances that will be added at once: they share what an answer may hold */
};

/* Answers the request; texts are copied. */
struct log_stream *log_stream_create(struct http_request *request, struct core *core,
                                     const struct log_stream_options *options);
struct core *log_stream_core(const struct log_stream *stream);
/* One that was added before is left as it is. `after` is where the reader was; NULL: nowhere. */
void log_stream_add(struct log_stream *stream, const struct model_instance *instance,
                    const struct api_log_position *after);
/* Says that the rest of what a reader had begun to read cannot be had. */
void log_stream_miss(struct log_stream *stream, const char *instance);
/* After the first ones were added. */
void log_stream_start(struct log_stream *stream);
