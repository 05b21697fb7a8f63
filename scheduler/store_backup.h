/* Copies of a store while it is used: written on a thread of their own, beside everything else.
 * Loop thread only. */
#pragma once

#include <uv.h>

#include "scheduler/store.h"

typedef void store_backup_callback(const struct error *error, void *data);

/* Writes all documents as of one moment to `path` (store_copy.h). Calls back once, also when the
 * store is destroyed meanwhile, which waits for the thread to notice. ERROR_CONFLICT: another one
 * is being made. */
void store_back_up(struct store *store, uv_loop_t *loop, const char *path,
                   store_backup_callback *callback, void *data);
