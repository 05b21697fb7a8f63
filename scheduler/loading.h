/* Reads all documents of the store but the events into a model, page by page.
 *
 * Loop thread only. */
#pragma once

#include "lib/clock.h"
#include "scheduler/model.h"
#include "scheduler/store.h"

struct loading;

/* What was read, once it is over. `revision`: a watch from it misses nothing; `counters_at`: of the
 * counters' document, 0 when there is none. */
struct loading_result {
    const struct error *error; /* NULL: all of it was read */
    uint64_t revision;
    uint64_t counters_at;
};

struct loading_options {
    struct store *store;
    struct model *model;
    const struct clock *clock;
    /* The store answers: what the model holds is to be given up for what comes now. */
    void (*on_begin)(void *data);
    /* Once, later; the loading is freed behind it. */
    void (*on_end)(const struct loading_result *result, void *data);
    void *data;
};

struct loading *loading_start(const struct loading_options *options);
/* After the store was destroyed, which calls back no more. NULL is fine. */
void loading_free(struct loading *loading);
/* One document as the store has it, into the model. */
int loading_apply(struct model *model, enum document_kind kind, const struct store_document *stored,
                  uint64_t now_ms, struct error *error);
