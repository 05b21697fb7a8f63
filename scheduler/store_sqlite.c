#include <string.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"
#include "scheduler/store_sqlite_internal.h"

static void documents_free(struct owned_document *documents, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(documents[i].key);
        free(documents[i].value);
    }
    free(documents);
}

static void request_free(struct request *request)
{
    documents_free(request->comparisons, request->comparison_count);
    if (request->texts != NULL)
        free(request->documents);
    else
        documents_free(request->documents, request->document_count);
    free(request->texts);
    free(request->prefix);
    free(request->after);
    free(request->leader);
    free(request);
}

static void watch_free(struct sqlite_watch *watch)
{
    free(watch->prefix);
    free(watch);
}

/* Watches are stopped from anywhere, also from within a callback, and freed here only: when nobody
 * walks the list and no request names them. */
static void sweep_watches(struct store_sqlite *store)
{
    struct sqlite_watch **at = &store->watches;
    while (*at != NULL) {
        struct sqlite_watch *watch = *at;
        if (!watch->stopped || watch->catching_up) {
            at = &watch->next;
            continue;
        }
        *at = watch->next;
        watch_free(watch);
    }
}

static void tell_watches(struct store_sqlite *store, const struct request *request)
{
    if (store->watches == NULL)
        return;
    struct store_document *changes = xcalloc(request->document_count + 1, sizeof *changes);
    for (struct sqlite_watch *watch = store->watches; watch != NULL; watch = watch->next) {
        size_t count = 0;
        bool listens = watch->live && !watch->stopped;
        for (size_t i = 0; i < request->document_count && listens; i++) {
            const struct owned_document *document = &request->documents[i];
            if (strncmp(document->key, watch->prefix, strlen(watch->prefix)) == 0)
                changes[count++] =
                    (struct store_document){document->key, document->value, document->revision};
        }
        if (count > 0)
            watch->callback(NULL, changes, count, request->revision, watch->data);
    }
    free(changes);
}

static void finish_watch(struct request *request)
{
    struct sqlite_watch *watch = request->watch;
    watch->catching_up = false;
    if (watch->stopped)
        return;
    watch->live = request->error.code == ERROR_NONE;
    watch->stopped = !watch->live;
    const struct error *error = watch->live ? NULL : &request->error;
    struct store_document *changes = xcalloc(request->document_count + 1, sizeof *changes);
    for (size_t i = 0; i < request->document_count; i++)
        changes[i] = (struct store_document){request->documents[i].key, request->documents[i].value,
                                             request->documents[i].revision};
    if (error != NULL || request->document_count > 0)
        watch->callback(error, changes, request->document_count, request->revision, watch->data);
    free(changes);
}

static void finish_list(struct request *request)
{
    bool failed = request->error.code != ERROR_NONE;
    struct store_document *documents = xcalloc(request->document_count + 1, sizeof *documents);
    for (size_t i = 0; i < request->document_count; i++)
        documents[i] = (struct store_document){
            request->documents[i].key, request->documents[i].value, request->documents[i].revision};
    request->on_list(failed ? &request->error : NULL, documents,
                     failed ? 0 : request->document_count, request->more, request->revision,
                     request->data);
    free(documents);
}

static void finish_request(struct store_sqlite *store, struct request *request)
{
    bool failed = request->error.code != ERROR_NONE;
    switch (request->kind) {
    case REQUEST_COMMIT:
        if (!failed)
            tell_watches(store, request);
        request->on_commit(failed ? &request->error : NULL, request->revision, request->data);
        break;
    case REQUEST_REFUSED:
        request->on_commit(&request->error, 0, request->data);
        break;
    case REQUEST_LIST:
        finish_list(request);
        break;
    case REQUEST_WATCH:
        finish_watch(request);
        break;
    case REQUEST_LEAD:
        store_tell_leader(&store->base, request->leader);
        store_tell_leading(&store->base, true, request->on_lead, request->data);
        break;
    }
    request_free(request);
}

static void on_async(uv_async_t *async)
{
    struct store_sqlite *store = async->data;
    pthread_mutex_lock(&store->mutex);
    struct request *done = store_queue_take_all(&store->done);
    pthread_mutex_unlock(&store->mutex);
    for (struct request *next; done != NULL; done = next) {
        next = done->next;
        finish_request(store, done);
    }
    sweep_watches(store);
}

static void hand_in(struct store_sqlite *store, struct request *request)
{
    pthread_mutex_lock(&store->mutex);
    store_queue_push(&store->waiting, request);
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->mutex);
}

static struct request *request_create(enum request_kind kind, void *data)
{
    struct request *request = xcalloc(1, sizeof *request);
    request->kind = kind;
    request->data = data;
    return request;
}

static size_t size_of(const char *text)
{
    return text != NULL ? strlen(text) + 1 : 0;
}

static char *place_text(char **at, const char *text)
{
    size_t size = size_of(text);
    char *place = text != NULL ? memcpy(*at, text, size) : NULL;
    *at += size;
    return place;
}

/* In one piece: a large change has thousands of texts. */
static void copy_writes(struct request *request, const struct store_transaction *transaction)
{
    size_t size = 1;
    for (size_t i = 0; i < transaction->write_count; i++)
        size += size_of(transaction->writes[i].key) + size_of(transaction->writes[i].value);
    char *at = request->texts = xmalloc(size);
    request->documents = xcalloc(transaction->write_count + 1, sizeof *request->documents);
    for (size_t i = 0; i < transaction->write_count; i++) {
        struct owned_document *document = &request->documents[request->document_count++];
        document->key = place_text(&at, transaction->writes[i].key);
        document->value = place_text(&at, transaction->writes[i].value);
    }
}

static void sqlite_commit(struct store *base, const struct store_transaction *transaction,
                          store_commit_callback *callback, void *data)
{
    struct request *request = request_create(REQUEST_COMMIT, data);
    request->on_commit = callback;
    request->chained = transaction->chained;
    request->comparisons = xcalloc(transaction->comparison_count + 1, sizeof *request->comparisons);
    for (size_t i = 0; i < transaction->comparison_count; i++)
        request->comparisons[request->comparison_count++] = (struct owned_document){
            xstrdup(transaction->comparisons[i].key), NULL, transaction->comparisons[i].revision};
    copy_writes(request, transaction);
    hand_in((struct store_sqlite *)base, request);
}

static void sqlite_refuse(struct store *base, const struct error *error,
                          store_commit_callback *callback, void *data)
{
    struct request *request = request_create(REQUEST_REFUSED, data);
    request->on_commit = callback;
    request->error = *error;
    hand_in((struct store_sqlite *)base, request);
}

static void sqlite_list(struct store *base, const char *prefix, const char *after, size_t limit,
                        store_list_callback *callback, void *data)
{
    struct request *request = request_create(REQUEST_LIST, data);
    request->on_list = callback;
    request->prefix = xstrdup(prefix);
    request->after = xstrdup(after);
    request->limit = limit;
    hand_in((struct store_sqlite *)base, request);
}

static struct store_watch *sqlite_watch_start(struct store *base, const char *prefix, uint64_t from,
                                              store_watch_callback *callback, void *data)
{
    struct store_sqlite *store = (struct store_sqlite *)base;
    struct sqlite_watch *watch = xcalloc(1, sizeof *watch);
    watch->base.store = base;
    watch->prefix = xstrdup(prefix);
    watch->callback = callback;
    watch->data = data;
    watch->catching_up = true;
    watch->next = store->watches;
    store->watches = watch;
    struct request *request = request_create(REQUEST_WATCH, NULL);
    request->prefix = xstrdup(prefix);
    request->from = from;
    request->watch = watch;
    hand_in(store, request);
    return &watch->base;
}

static void sqlite_watch_stop(struct store_watch *base)
{
    struct sqlite_watch *watch = (struct sqlite_watch *)base;
    watch->stopped = true;
    uv_async_send(&((struct store_sqlite *)base->store)->async);
}

/* The folder's lock is the lease: who could open the store leads. */
static void sqlite_lead(struct store *base, const char *document, store_lead_callback *callback,
                        void *data)
{
    struct request *request = request_create(REQUEST_LEAD, data);
    request->leader = xstrdup(document);
    request->on_lead = callback;
    hand_in((struct store_sqlite *)base, request);
}

static void on_closed(uv_handle_t *handle)
{
    struct store_sqlite *store = handle->data;
    for (struct request *next, *done = store_queue_take_all(&store->done); done != NULL;
         done = next) {
        next = done->next;
        request_free(done);
    }
    for (struct sqlite_watch *next, *watch = store->watches; watch != NULL; watch = next) {
        next = watch->next;
        watch_free(watch);
    }
    pthread_cond_destroy(&store->wake);
    pthread_mutex_destroy(&store->mutex);
    store_finish(&store->base);
    free(store);
}

static void sqlite_destroy(struct store *base)
{
    struct store_sqlite *store = (struct store_sqlite *)base;
    pthread_mutex_lock(&store->mutex);
    store->ending = true;
    pthread_cond_signal(&store->wake);
    pthread_mutex_unlock(&store->mutex);
    pthread_join(store->writer, NULL);
    store_sqlite_close_files(store);
    uv_close((uv_handle_t *)&store->async, on_closed);
}

static const struct store_implementation sqlite_implementation = {
    .commit = sqlite_commit,
    .list = sqlite_list,
    .watch_start = sqlite_watch_start,
    .watch_stop = sqlite_watch_stop,
    .lead = sqlite_lead,
    .destroy = sqlite_destroy,
    .copy = store_sqlite_copy,
    .refuse = sqlite_refuse,
};

static int open_store(uv_loop_t *loop, const struct store_sqlite_options *options,
                      const struct store_identity *adopt, struct store **ret_store,
                      struct error *error)
{
    struct store_sqlite *store = xcalloc(1, sizeof *store);
    store->base.implementation = &sqlite_implementation;
    store->lock = -1;
    store_queue_init(&store->waiting);
    store_queue_init(&store->done);
    if (store_sqlite_open_files(store, options, adopt, error) < 0) {
        store_sqlite_close_files(store);
        free(store);
        return error_wrap(error, "open the store in %s", options->directory);
    }
    pthread_mutex_init(&store->mutex, NULL);
    pthread_cond_init(&store->wake, NULL);
    uv_async_init(loop, &store->async, on_async);
    store->async.data = store;
    int failure = pthread_create(&store->writer, NULL, store_sqlite_write, store);
    if (failure != 0) {
        store_sqlite_close_files(store);
        uv_close((uv_handle_t *)&store->async, on_closed);
        return error_set_errno(error, failure, "start the store's thread");
    }
    *ret_store = &store->base;
    return 0;
}

int store_sqlite_open(uv_loop_t *loop, const struct store_sqlite_options *options,
                      struct store **ret_store, struct error *error)
{
    return open_store(loop, options, NULL, ret_store, error);
}

int store_sqlite_open_empty(uv_loop_t *loop, const char *directory,
                            const struct store_identity *adopt, struct store **ret_store,
                            struct error *error)
{
    struct store_sqlite_options options = {directory, false};
    return open_store(loop, &options, adopt, ret_store, error);
}
