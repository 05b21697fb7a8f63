/* Brings the documents of a backup (store_copy.h) into an empty store, of whichever kind. No
 * scheduler runs on it meanwhile: the store's lease is taken. Blocking, with a loop of its own. */
#pragma once

#include "scheduler/store.h"

struct store_restored {
    struct store_identity identity; /* of now: the backup's cluster, a new term */
    uint64_t documents;
};

/* `place` as for store_open. What went wrong half-way leaves documents there, which the next try
 * refuses to write over. */
int store_restore(const char *place, const char *path, struct store_restored *ret_restored,
                  struct error *error);
