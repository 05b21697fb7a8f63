/* SQLite with the settings the project relies on: WAL, synchronous=FULL, foreign keys, and a
 * `format` number in user_version. The one door to SQLite.
 *
 * A database and its statements belong to one thread at a time; open one per thread, or hold a
 * lock. Statements are prepared once and kept. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"

struct database;
struct database_statement;

/* Step i of `migrations` brings format i to i + 1; a new file runs all of them, each in one
 * transaction. Before an older file is migrated it is copied to "<path>.format-<n>.backup". A file
 * with a newer format is refused. `migrations` ends with NULL. */
int database_open(const char *path, const char *const *migrations, struct database **ret_database,
                  struct error *error);
/* Opens for reading only what database_open has opened and keeps open: readers and the writer do
 * not wait for each other, and a reader sees what was committed before its statement began. */
int database_open_reader(const char *path, struct database **ret_database, struct error *error);
/* A copy of what is committed, complete at `path` or not there; others go on writing. A file that
 * is there is replaced. */
int database_back_up(struct database *database, const char *path, struct error *error);
void database_close(struct database *database);

/* Runs statements without parameters or rows. */
int database_execute(struct database *database, const char *sql, struct error *error);
/* BEGIN IMMEDIATE; COMMIT (durable when it returns); ROLLBACK. */
int database_begin(struct database *database, struct error *error);
int database_commit(struct database *database, struct error *error);
void database_rollback(struct database *database);
/* Between transactions: whether commits are durable when they return (the default), or only survive
 * the process, and a loss of power once a later, durable one has returned. */
int database_set_durable(struct database *database, bool durable, struct error *error);
/* False when the transaction is over, also because SQLite rolled it back itself (a full disk). */
bool database_is_in_transaction(struct database *database);
/* A step of a transaction that is kept (release) or undone without the steps before it. */
int database_savepoint(struct database *database, struct error *error);
int database_release(struct database *database, struct error *error);
int database_undo(struct database *database, struct error *error);
int64_t database_changes(struct database *database);

int database_prepare(struct database *database, const char *sql,
                     struct database_statement **ret_statement, struct error *error);
void database_statement_destroy(struct database_statement *statement);
/* Parameters count from 1. Text and blobs are copied; NULL binds NULL. */
void database_bind_text(struct database_statement *statement, int index, const char *text);
void database_bind_blob(struct database_statement *statement, int index, const void *bytes,
                        size_t length);
void database_bind_int(struct database_statement *statement, int index, int64_t value);
/* 1: a row, 0: no more rows (the statement is reset and its bindings cleared), -1: error (same). */
int database_step(struct database_statement *statement, struct error *error);
/* Steps a statement that gives no rows to its end. */
int database_run(struct database_statement *statement, struct error *error);
/* Ends early: after taking the one row that was wanted. */
void database_reset(struct database_statement *statement);
/* Columns count from 0; text and blobs live until the next step or reset. NULL text for NULL. */
const char *database_column_text(struct database_statement *statement, int index);
const void *database_column_blob(struct database_statement *statement, int index,
                                 size_t *ret_length);
int64_t database_column_int(struct database_statement *statement, int index);
