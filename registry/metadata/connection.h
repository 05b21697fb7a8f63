/* A connection to the database with its statements, prepared when first used; the one writer's,
 * shared by group commit; and a pool of readers'. For the other files of this folder. */
#pragma once

#include "lib/error.h"
#include "registry/metadata/schema.h"

struct connection;

void connection_destroy(struct connection *connection);
struct database *connection_database(struct connection *connection);
/* The statement, ready to bind; NULL on failure. */
struct database_statement *connection_prepare(struct connection *connection, enum statement which,
                                              struct error *error);
/* The same with the first parameters bound to texts; `second` may be NULL: not bound. */
struct database_statement *connection_bind(struct connection *connection, enum statement which,
                                           const char *first, const char *second,
                                           struct error *error);
/* Runs a statement of one or two texts to its end. */
int connection_run(struct connection *connection, enum statement which, const char *first,
                   const char *second, struct error *error);
/* 1 when there is a row. */
int connection_look(struct connection *connection, enum statement which, const char *first,
                    const char *second, struct error *error);

/* --- readers --- */

/* At most `count` connections, opened when they are needed. Any thread. */
struct readers;
struct readers *readers_create(const char *path, size_t count);
void readers_destroy(struct readers *readers);
/* One outside the pool, which the caller destroys. NULL on failure. */
struct connection *readers_open(const struct readers *readers, struct error *error);
/* Waits for a free one. NULL on failure. The caller gives it back, with no statement under way. */
struct connection *readers_take(struct readers *readers, struct error *error);
void readers_give(struct readers *readers, struct connection *connection);

/* --- the writer --- */

/* One connection that all threads write by. Operations that come while a commit is under way are
 * committed together by the next one: as many callers, one fsync. Any thread. */
struct writer;
/* Takes the database over. */
struct writer *writer_create(struct database *database);
void writer_destroy(struct writer *writer);
/* Runs `run` inside a transaction, on this thread or another caller's, and returns what it did:
 * over 0 once that is durable; 0 or -1: nothing of it stays. It may run more than once, when the
 * operations beside it made the whole transaction fail: it must set all its outputs each time, and
 * must not wait for anything that a caller of writer_run may hold. */
int writer_run(struct writer *writer,
               int (*run)(struct connection *connection, void *data, struct error *error),
               void *data, struct error *error);
/* The same for what may be lost with the power, though not with the process: no fsync of its own,
 * unless somebody's beside it wants one. */
int writer_run_unsynced(struct writer *writer,
                        int (*run)(struct connection *connection, void *data, struct error *error),
                        void *data, struct error *error);
