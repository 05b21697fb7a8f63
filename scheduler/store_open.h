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
