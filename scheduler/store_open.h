/* Which store a scheduler keeps its state in, as its option --store says. Loop thread only. */
#pragma once

#include <stdbool.h>
#include <uv.h>

#include "scheduler/store.h"

/* NULL when `place` reads "sqlite:FOLDER" or "etcd:URL[,URL...]"; else what is needed. */
const char *store_place_check(const char *place);
/* Opens it; blocks meanwhile. `restored`: it was brought back from a backup, begin a new term. */
int store_open(uv_loop_t *loop, const char *place, bool restored, struct store **ret_store,
               struct error *error);
/* Opens an empty one for the documents of a backup, whose identity is `adopt`. ERROR_CONFLICT when
 * it has documents. */
int store_open_empty(uv_loop_t *loop, const char *place, const struct store_identity *adopt,
                     struct store **ret_store, struct error *error);
