/* What the two files of the SQLite store share: store_sqlite.c is the loop's side, and
 * store_sqlite_writer.c the writer's thread and the file. Not for anyone else. */
#pragma once

#include <pthread.h>

#include "lib/database.h"
#include "scheduler/store_interface.h"
#include "scheduler/store_sqlite.h"

enum request_kind { REQUEST_COMMIT, REQUEST_REFUSED, REQUEST_LIST, REQUEST_WATCH, REQUEST_LEAD };

struct owned_document {
    char *key;
    char *value;
    uint64_t revision;
};

/* Made on the loop, worked on by the writer, and answered on the loop. */
struct request {
    enum request_kind kind;
    struct request *next;
    struct owned_document *comparisons;
    size_t comparison_count;
    struct owned_document *documents; /* writes to make, or what was read */
    size_t document_count;
    char *texts; /* of the documents to write, in one piece; NULL: each has its own */
    char *prefix;
    char *after;
    size_t limit;
    bool more;
    struct sqlite_watch *watch;
    uint64_t from; /* of a watch */
    bool chained;
    char *leader; /* of REQUEST_LEAD: the document */
    struct error error;
    uint64_t revision;
    void *data;
    store_commit_callback *on_commit;
    store_list_callback *on_list;
    store_lead_callback *on_lead;
};

struct request_queue {
    struct request *first;
    struct request **last;
};

struct sqlite_watch {
    struct store_watch base;
    struct sqlite_watch *next;
    char *prefix;
    bool live;        /* has caught up: changes go straight to it */
    bool catching_up; /* its request is under way and names it */
    bool stopped;     /* freed by sweep_watches, which no callback is inside of */
    store_watch_callback *callback;
    void *data;
};

struct store_sqlite {
    struct store base;
    char *directory;
    int lock;
    struct database *database;
    struct database_statement *get, *put, *remove, *list, *since, *removed_since, *remember,
        *forget, *save_revision;
    uint64_t revision;     /* the writer's */
    struct error previous; /* the writer's: how the last commit ended */
    bool failing;          /* the writer's: the last batch could not be written */
    pthread_t writer;
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    struct request_queue waiting; /* under the mutex */
    struct request_queue done;    /* under the mutex */
    bool ending;                  /* under the mutex */
    uv_async_t async;
    struct sqlite_watch *watches; /* the loop's */
};

void store_queue_init(struct request_queue *queue);
void store_queue_push(struct request_queue *queue, struct request *request);
struct request *store_queue_take_all(struct request_queue *queue);
void store_request_add_document(struct request *request, const char *key, const char *value,
                                uint64_t revision);
/* Opens lock and database and reads the identity; on failure store_sqlite_close_files is due. */
int store_sqlite_open_files(struct store_sqlite *store, const struct store_sqlite_options *options,
                            const struct store_identity *adopt, struct error *error);
void store_sqlite_close_files(struct store_sqlite *store);
/* store_sqlite_copy.c */
int store_sqlite_copy(const struct store *base, struct store_copy *copy,
                      const atomic_bool *cancelled, struct error *error);
/* The writer's thread; `data` is the store. */
void *store_sqlite_write(void *data);
