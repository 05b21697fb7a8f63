#include "scheduler/store_restore.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "lib/xalloc.h"
#include "scheduler/store_copy.h"
#include "scheduler/store_open.h"

/* Transactions on their way: what waits for the disk together is written together. */
#define WAITING_MAX 32

struct restoring {
    uv_loop_t loop;
    struct store_copy_reader *reader;
    struct store *store;
    struct store_write writes[STORE_WRITES_MAX];
    size_t count;
    size_t bytes;
    uint64_t documents;
    bool leads;
    unsigned waiting; /* transactions handed in and not answered */
    bool failed;
    struct error error; /* the first one */
};

static void on_lead(bool leading, void *data)
{
    ((struct restoring *)data)->leads = leading;
}

static void on_committed(const struct error *error, uint64_t revision, void *data)
{
    struct restoring *restoring = data;
    (void)revision;
    restoring->waiting--;
    if (error == NULL || restoring->failed)
        return;
    restoring->failed = true;
    restoring->error = *error;
}

/* Until no more than `most` transactions are on their way; -1: one of them failed. */
static int wait_for_writes(struct restoring *restoring, unsigned most, struct error *error)
{
    while (restoring->waiting > most)
        uv_run(&restoring->loop, UV_RUN_ONCE);
    return restoring->failed ? error_copy(error, &restoring->error) : 0;
}

/* What was gathered, in one transaction. */
static int write_gathered(struct restoring *restoring, struct error *error)
{
    struct store_transaction transaction = {
        .writes = restoring->writes, .write_count = restoring->count, .chained = true};
    if (restoring->count == 0)
        return 0;
    restoring->waiting++;
    store_commit(restoring->store, &transaction, on_committed, restoring);
    for (size_t i = 0; i < restoring->count; i++) {
        free((char *)restoring->writes[i].key);
        free((char *)restoring->writes[i].value);
    }
    restoring->documents += restoring->count;
    restoring->count = 0;
    restoring->bytes = 0;
    return wait_for_writes(restoring, WAITING_MAX, error);
}

static int gather(struct restoring *restoring, const char *key, const char *document,
                  struct error *error)
{
    size_t bytes = strlen(key) + strlen(document);
    if ((restoring->count == STORE_WRITES_MAX ||
         restoring->bytes + bytes > STORE_TRANSACTION_MAX) &&
        write_gathered(restoring, error) < 0)
        return -1;
    restoring->writes[restoring->count++] = (struct store_write){xstrdup(key), xstrdup(document)};
    restoring->bytes += bytes;
    return 0;
}

static int write_documents(struct restoring *restoring, struct error *error)
{
    const char *key, *document;
    int found;
    store_lead(restoring->store, NULL, on_lead, restoring);
    while (!restoring->leads)
        uv_run(&restoring->loop, UV_RUN_ONCE);
    while ((found = store_copy_next(restoring->reader, &key, &document, error)) > 0) {
        if (gather(restoring, key, document, error) < 0)
            return -1;
    }
    if (found < 0 || write_gathered(restoring, error) < 0)
        return -1;
    return wait_for_writes(restoring, 0, error);
}

/* The whole file is read before anything is written: half a backup is none. */
static int check_copy(const char *path, struct store_copy_header *ret_header, struct error *error)
{
    struct store_copy_reader *reader;
    const char *key, *document;
    int found;
    if (store_copy_open(path, &reader, ret_header, error) < 0)
        return -1;
    do {
        found = store_copy_next(reader, &key, &document, error);
    } while (found > 0);
    store_copy_close(reader);
    return found;
}

static int restore(struct restoring *restoring, const char *place, const char *path,
                   struct error *error)
{
    struct store_copy_header header;
    if (check_copy(path, &header, error) < 0 ||
        store_open_empty(&restoring->loop, place, &header.identity, &restoring->store, error) < 0 ||
        store_copy_open(path, &restoring->reader, &header, error) < 0)
        return -1;
    return write_documents(restoring, error);
}

int store_restore(const char *place, const char *path, struct store_restored *ret_restored,
                  struct error *error)
{
    struct restoring *restoring = xcalloc(1, sizeof *restoring);
    uv_loop_init(&restoring->loop);
    int result = restore(restoring, place, path, error);
    if (result == 0)
        *ret_restored =
            (struct store_restored){*store_identity(restoring->store), restoring->documents};
    for (size_t i = 0; i < restoring->count; i++) {
        free((char *)restoring->writes[i].key);
        free((char *)restoring->writes[i].value);
    }
    store_copy_close(restoring->reader);
    store_destroy(restoring->store);
    uv_run(&restoring->loop, UV_RUN_DEFAULT);
    uv_loop_close(&restoring->loop);
    free(restoring);
    return result < 0 ? error_wrap(error, "restore the store from %s", path) : 0;
}
