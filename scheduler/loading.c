#include "scheduler/loading.h"

#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"

/* Documents a page: read while those of the page before are decoded. */
#define PAGE 4000

struct loading {
    struct loading_options options;
    enum document_kind kind;
    bool begun;
    bool reading; /* a page is on its way */
    uint64_t revision;
    uint64_t counters_at;
    struct error error;
};

int loading_apply(struct model *model, enum document_kind kind, const struct store_document *stored,
                  uint64_t now_ms, struct error *error)
{
    void *document = document_create(kind);
    if (json_parse_record(document_record(kind), stored->value, strlen(stored->value), JSON_LENIENT,
                          document, error) < 0) {
        free(document);
        return error_wrap(error, "document %s of the store", stored->key);
    }
    model_apply(model, kind, document, false, now_ms);
    return 0;
}

static void read_page(struct loading *loading, const char *after);

static void end(struct loading *loading)
{
    struct loading_result result = {
        .error = loading->error.code != ERROR_NONE ? &loading->error : NULL,
        .revision = loading->revision,
        .counters_at = loading->counters_at,
    };
    loading->options.on_end(&result, loading->options.data);
    loading_free(loading);
}

static void next_kind(struct loading *loading)
{
    loading->kind++;
    if (loading->kind == DOCUMENT_EVENT)
        end(loading); /* events are read when they are asked for */
    else
        read_page(loading, NULL);
}

static void begin(struct loading *loading, uint64_t revision)
{
    if (loading->begun)
        return;
    loading->begun = true;
    loading->revision = revision;
    loading->options.on_begin(loading->options.data);
}

static void on_page(const struct error *error, const struct store_document *documents, size_t count,
                    bool more, uint64_t revision, void *data)
{
    struct loading *loading = data;
    if (error != NULL) {
        loading->error = *error;
        end(loading);
        return;
    }
    loading->reading = false;
    begin(loading, revision);
    if (loading->error.code != ERROR_NONE) {
        end(loading);
        return;
    }
    if (more && count > 0)
        read_page(loading, documents[count - 1].key);
    uint64_t now_ms = clock_monotonic_ms(loading->options.clock);
    for (size_t i = 0; i < count; i++) {
        if (loading_apply(loading->options.model, loading->kind, &documents[i], now_ms,
                          &loading->error) < 0) {
            if (!loading->reading)
                end(loading);
            return;
        }
        if (loading->kind == DOCUMENT_COUNTERS)
            loading->counters_at = documents[i].revision;
    }
    if (!loading->reading)
        next_kind(loading);
}

static void read_page(struct loading *loading, const char *after)
{
    loading->reading = true;
    store_list(loading->options.store, document_prefix(loading->kind), after, PAGE, on_page,
               loading);
}

struct loading *loading_start(const struct loading_options *options)
{
    struct loading *loading = xcalloc(1, sizeof *loading);
    loading->options = *options;
    loading->kind = DOCUMENT_COUNTERS;
    read_page(loading, NULL);
    return loading;
}

void loading_free(struct loading *loading)
{
    free(loading);
}
