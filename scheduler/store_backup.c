#include "scheduler/store_backup.h"

#include <pthread.h>
#include <stdlib.h>

#include "lib/xalloc.h"
#include "scheduler/store_interface.h"

struct store_backup {
    struct store *store; /* NULL: destroyed meanwhile */
    char *path;
    pthread_t thread;
    bool has_thread;
    uv_async_t done;
    struct error error;
    store_backup_callback *callback;
    void *data;
    atomic_bool cancelled;
};

static void *run(void *data)
{
    struct store_backup *backup = data;
    struct store_copy *copy = NULL;
    int result = store_copy_create(backup->path, &copy, &backup->error);
    if (result == 0) {
        result = backup->store->implementation->copy(backup->store, copy, &backup->cancelled,
                                                     &backup->error);
        if (result == 0)
            result = store_copy_finish(copy, &backup->error);
        else
            store_copy_abandon(copy);
    }
    if (result < 0)
        error_wrap(&backup->error, "back up the store");
    uv_async_send(&backup->done);
    return NULL;
}

static void on_closed(uv_handle_t *handle)
{
    struct store_backup *backup = handle->data;
    free(backup->path);
    free(backup);
}

static void end_thread(struct store_backup *backup)
{
    if (backup->has_thread)
        pthread_join(backup->thread, NULL);
    backup->has_thread = false;
}

static void on_done(uv_async_t *async)
{
    struct store_backup *backup = async->data;
    bool failed = backup->error.code != ERROR_NONE;
    end_thread(backup);
    if (backup->store != NULL && backup->store->backup == backup)
        backup->store->backup = NULL;
    uv_close((uv_handle_t *)async, on_closed);
    backup->callback(failed ? &backup->error : NULL, backup->data);
}

void store_back_up(struct store *store, uv_loop_t *loop, const char *path,
                   store_backup_callback *callback, void *data)
{
    struct store_backup *backup = xcalloc(1, sizeof *backup);
    backup->store = store;
    backup->path = xstrdup(path);
    backup->callback = callback;
    backup->data = data;
    uv_async_init(loop, &backup->done, on_done);
    backup->done.data = backup;
    if (store->backup != NULL) {
        error_set(&backup->error, ERROR_CONFLICT,
                  "a backup of the store is being made already: try again when it is done");
        uv_async_send(&backup->done);
        return;
    }
    int failure = pthread_create(&backup->thread, NULL, run, backup);
    backup->has_thread = failure == 0;
    if (failure == 0) {
        store->backup = backup;
        return;
    }
    error_set_errno(&backup->error, failure, "start a thread for the backup");
    uv_async_send(&backup->done);
}

void store_end_backup(struct store *store)
{
    struct store_backup *backup = store->backup;
    if (backup == NULL)
        return;
    atomic_store(&backup->cancelled, true);
    end_thread(backup);
    backup->store = NULL;
    store->backup = NULL;
}
