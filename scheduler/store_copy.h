/* A copy of a store's documents as of one moment, in a file of lines that any store can be restored
 * from, of whichever kind:
 *
 *   {"format": 1, "cluster": "...", "term": 1, "revision": 7}
 *   {"key": "services/default/hello", "document": {...}}      in order of key, one line each
 *   {"documents": 2}
 *
 * Blocking; any thread, one at a time for each copy. */
#pragma once

#include "scheduler/store.h"

struct store_copy;

/* Writes beside `path`; nothing is at `path` before store_copy_finish. */
int store_copy_create(const char *path, struct store_copy **ret_copy, struct error *error);
int store_copy_begin(struct store_copy *copy, const struct store_identity *identity,
                     uint64_t revision, struct error *error);
/* `document` is JSON text. */
int store_copy_add(struct store_copy *copy, const char *key, const char *document,
                   struct error *error);
/* Durable and complete at `path` when it returns 0. Frees the copy, as store_copy_abandon does. */
int store_copy_finish(struct store_copy *copy, struct error *error);
/* NULL is fine. */
void store_copy_abandon(struct store_copy *copy);

/* The first line. */
struct store_copy_header {
    uint32_t format;
    struct store_identity identity;
    uint64_t revision;
};

/* Reads a copy again. */
struct store_copy_reader;
int store_copy_open(const char *path, struct store_copy_reader **ret_reader,
                    struct store_copy_header *ret_header, struct error *error);
/* 1: the next document (texts live until the next call); 0: that was the last one, and the copy is
 * complete; -1: it cannot be read, or is cut off. */
int store_copy_next(struct store_copy_reader *reader, const char **ret_key,
                    const char **ret_document, struct error *error);
/* NULL is fine. */
void store_copy_close(struct store_copy_reader *reader);
