/* A store in memory behind scheduler/store_interface.h: the disk outlives the processes that write
 * to it. Commits are refused, slow, or cut off between what is durable and what is answered; the
 * lease of the one that leads fences every commit, and is lost. */
#pragma once

#include "scheduler/store.h"
#include "tests/sim/world.h"

struct disk;

struct disk *disk_create(void);
void disk_destroy(struct disk *disk);
struct disk *disk_copy(const struct disk *disk);
/* As a restore does: what was handed out since the backup is of another history. */
void disk_begin_term(struct disk *disk);
uint64_t disk_term(const struct disk *disk);
/* NULL: there is none. Lives until the next write. */
const char *disk_find(const struct disk *disk, const char *key);
/* The documents under `prefix`, one after the other; NULL at the end. `at` starts at 0. */
const char *disk_next(const struct disk *disk, const char *prefix, size_t *at,
                      const char **ret_key);

struct memory_store_options {
    struct world *world;
    struct disk *disk;
    /* A transaction was handed in: the model is still as the decision saw it. */
    void (*on_handed_in)(const struct store_transaction *transaction, void *data);
    /* It was refused, or is durable and not answered yet. */
    void (*on_settled)(bool durable, void *data);
    /* Something was answered, or told. */
    void (*on_answered)(void *data);
    void *data;
};

/* Whoever has the lease loses it: at once on the disk, and hears of it later. */
void disk_take_lease(struct disk *disk);

struct store *memory_store_create(const struct memory_store_options *options);
/* Whether it has the lease: what others hand in is refused. */
bool memory_store_leads(const struct store *store);
/* The process is killed: nothing more is written or answered until memory_store_drain. */
void memory_store_freeze(struct store *store);
/* Everything that waits fails, and what is handed in because of that too: so that whoever waits
 * frees what it holds. */
void memory_store_drain(struct store *store);
