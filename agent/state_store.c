#include "agent/state_store.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/database.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define RETRY_S 1

static const char *const migrations[] = {
    "CREATE TABLE document (key TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE instance (id TEXT PRIMARY KEY, text TEXT NOT NULL) WITHOUT ROWID;",
    NULL,
};

enum table { TABLE_DOCUMENT, TABLE_INSTANCE };

struct write {
    enum table table;
    char *key;
    char *text; /* NULL: remove */
    TAILQ_ENTRY(write) link;
};
TAILQ_HEAD(write_list, write);

struct state_store {
    struct database *database; /* the loop's before the first write, then the writer's */
    struct database_statement *put[2];
    struct database_statement *remove[2];
    pthread_t writer;
    pthread_mutex_t lock; /* all below */
    pthread_cond_t changed;
    struct write_list waiting; /* at most one for each key */
    bool is_writing;
    bool is_ending;
};

/* --- the writer's thread --- */

static void write_free(struct write *write)
{
    free(write->key);
    free(write->text);
    free(write);
}

static int write_one(struct state_store *store, const struct write *write, struct error *error)
{
    struct database_statement *statement =
        write->text != NULL ? store->put[write->table] : store->remove[write->table];
    database_bind_text(statement, 1, write->key);
    if (write->text != NULL)
        database_bind_text(statement, 2, write->text);
    return database_run(statement, error);
}

static int write_all(struct state_store *store, const struct write_list *writes,
                     struct error *error)
{
    if (database_begin(store->database, error) < 0)
        return -1;
    const struct write *write;
    TAILQ_FOREACH(write, writes, link)
    {
        if (write_one(store, write, error) < 0) {
            database_rollback(store->database);
            return -1;
        }
    }
    if (database_commit(store->database, error) < 0) {
        database_rollback(store->database);
        return -1;
    }
    return 0;
}

static struct write *find(struct state_store *store, enum table table, const char *key)
{
    struct write *write;
    TAILQ_FOREACH(write, &store->waiting, link)
    {
        if (write->table == table && strcmp(write->key, key) == 0)
            return write;
    }
    return NULL;
}

/* What could not be written waits again, unless something newer does. */
static void give_back(struct state_store *store, struct write_list *writes)
{
    struct write *write;
    while ((write = TAILQ_LAST(writes, write_list)) != NULL) {
        TAILQ_REMOVE(writes, write, link);
        if (find(store, write->table, write->key) == NULL)
            TAILQ_INSERT_HEAD(&store->waiting, write, link);
        else
            write_free(write);
    }
}

static void free_all(struct write_list *writes)
{
    while (!TAILQ_EMPTY(writes)) {
        struct write *write = TAILQ_FIRST(writes);
        TAILQ_REMOVE(writes, write, link);
        write_free(write);
    }
}

/* With the lock, which it lets go while it waits. */
static void wait_to_retry(struct state_store *store)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += RETRY_S;
    while (!store->is_ending &&
           pthread_cond_timedwait(&store->changed, &store->lock, &until) != ETIMEDOUT)
        ;
}

/* A full disk may have room again: nothing is given up before the end. */
static void *run_writer(void *data)
{
    struct state_store *store = data;
    pthread_mutex_lock(&store->lock);
    for (;;) {
        while (TAILQ_EMPTY(&store->waiting) && !store->is_ending)
            pthread_cond_wait(&store->changed, &store->lock);
        if (TAILQ_EMPTY(&store->waiting))
            break;
        struct write_list writes = TAILQ_HEAD_INITIALIZER(writes);
        TAILQ_CONCAT(&writes, &store->waiting, link);
        store->is_writing = true;
        pthread_mutex_unlock(&store->lock);
        struct error error = ERROR_INIT;
        if (write_all(store, &writes, &error) < 0)
            log_error("the agent's local state could not be written", "reason", error.message);
        pthread_mutex_lock(&store->lock);
        store->is_writing = false;
        if (error.code != ERROR_NONE) {
            give_back(store, &writes);
            if (store->is_ending)
                break;
            wait_to_retry(store);
        }
        free_all(&writes);
        pthread_cond_broadcast(&store->changed);
    }
    free_all(&store->waiting);
    pthread_mutex_unlock(&store->lock);
    return NULL;
}

/* --- the loop's thread --- */

/* A later write of the same key takes the place of one that still waits. */
static void add(struct state_store *store, enum table table, const char *key, const char *text)
{
    pthread_mutex_lock(&store->lock);
    struct write *write = find(store, table, key);
    if (write == NULL) {
        write = xcalloc(1, sizeof *write);
        write->table = table;
        write->key = xstrdup(key);
        TAILQ_INSERT_TAIL(&store->waiting, write, link);
    }
    free(write->text);
    write->text = xstrdup(text);
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->lock);
}

void state_store_put(struct state_store *store, const char *key, const char *text)
{
    add(store, TABLE_DOCUMENT, key, text);
}

void state_store_put_instance(struct state_store *store, const char *id, const char *text)
{
    add(store, TABLE_INSTANCE, id, text);
}

void state_store_remove_instance(struct state_store *store, const char *id)
{
    add(store, TABLE_INSTANCE, id, NULL);
}

void state_store_flush(struct state_store *store)
{
    pthread_mutex_lock(&store->lock);
    while (!TAILQ_EMPTY(&store->waiting) || store->is_writing)
        pthread_cond_wait(&store->changed, &store->lock);
    pthread_mutex_unlock(&store->lock);
}

int state_store_get(struct state_store *store, const char *key, char **ret_text,
                    struct error *error)
{
    struct database_statement *statement;
    if (database_prepare(store->database, "SELECT text FROM document WHERE key = ?", &statement,
                         error) < 0)
        return -1;
    database_bind_text(statement, 1, key);
    int row = database_step(statement, error);
    if (row >= 0)
        *ret_text = row == 1 ? xstrdup(database_column_text(statement, 0)) : NULL;
    database_statement_destroy(statement);
    return row < 0 ? -1 : 0;
}

int state_store_each_instance(struct state_store *store,
                              void (*each)(const char *id, const char *text, void *data),
                              void *data, struct error *error)
{
    struct database_statement *statement;
    if (database_prepare(store->database, "SELECT id, text FROM instance ORDER BY id", &statement,
                         error) < 0)
        return -1;
    int row;
    while ((row = database_step(statement, error)) == 1)
        each(database_column_text(statement, 0), database_column_text(statement, 1), data);
    database_statement_destroy(statement);
    return row;
}

/* --- life --- */

static int prepare_statements(struct state_store *store, struct error *error)
{
    static const char *const put[] = {
        "INSERT INTO document (key, text) VALUES (?, ?) "
        "ON CONFLICT (key) DO UPDATE SET text = excluded.text",
        "INSERT INTO instance (id, text) VALUES (?, ?) "
        "ON CONFLICT (id) DO UPDATE SET text = excluded.text",
    };
    static const char *const remove[] = {"DELETE FROM document WHERE key = ?",
                                         "DELETE FROM instance WHERE id = ?"};
    for (int i = 0; i < 2; i++) {
        if (database_prepare(store->database, put[i], &store->put[i], error) < 0 ||
            database_prepare(store->database, remove[i], &store->remove[i], error) < 0)
            return -1;
    }
    return 0;
}

static void close_database(struct state_store *store)
{
    for (int i = 0; i < 2; i++) {
        if (store->put[i] != NULL)
            database_statement_destroy(store->put[i]);
        if (store->remove[i] != NULL)
            database_statement_destroy(store->remove[i]);
    }
    database_close(store->database);
}

int state_store_open(const char *path, struct state_store **ret_store, struct error *error)
{
    struct state_store *store = xcalloc(1, sizeof *store);
    TAILQ_INIT(&store->waiting);
    if (database_open(path, migrations, &store->database, error) < 0) {
        free(store);
        return error_wrap(error, "the agent's local state %s", path);
    }
    if (prepare_statements(store, error) < 0) {
        close_database(store);
        free(store);
        return error_wrap(error, "the agent's local state %s", path);
    }
    pthread_mutex_init(&store->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&store->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    int status = pthread_create(&store->writer, NULL, run_writer, store);
    if (status != 0) {
        close_database(store);
        free(store);
        return error_set_errno(error, status, "start the local state's writer");
    }
    *ret_store = store;
    return 0;
}

void state_store_close(struct state_store *store)
{
    if (store == NULL)
        return;
    pthread_mutex_lock(&store->lock);
    store->is_ending = true;
    pthread_cond_broadcast(&store->changed);
    pthread_mutex_unlock(&store->lock);
    pthread_join(store->writer, NULL);
    close_database(store);
    pthread_mutex_destroy(&store->lock);
    pthread_cond_destroy(&store->changed);
    free(store);
}
