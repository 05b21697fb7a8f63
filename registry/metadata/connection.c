#include "registry/metadata/connection.h"

#include <pthread.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"

struct connection {
    struct database *database;
    struct database_statement *statements[STATEMENT_COUNT];
    struct connection *next; /* in the pool */
};

static struct connection *connection_create(struct database *database)
{
    struct connection *connection = xcalloc(1, sizeof *connection);
    connection->database = database;
    return connection;
}

void connection_destroy(struct connection *connection)
{
    for (size_t i = 0; i < STATEMENT_COUNT; i++)
        database_statement_destroy(connection->statements[i]);
    database_close(connection->database);
    free(connection);
}

struct database *connection_database(struct connection *connection)
{
    return connection->database;
}

struct database_statement *connection_prepare(struct connection *connection, enum statement which,
                                              struct error *error)
{
    struct database_statement **statement = &connection->statements[which];
    if (*statement == NULL &&
        database_prepare(connection->database, schema_statements[which], statement, error) < 0)
        return NULL;
    return *statement;
}

struct database_statement *connection_bind(struct connection *connection, enum statement which,
                                           const char *first, const char *second,
                                           struct error *error)
{
    struct database_statement *statement = connection_prepare(connection, which, error);
    if (statement == NULL)
        return NULL;
    database_bind_text(statement, 1, first);
    if (second != NULL)
        database_bind_text(statement, 2, second);
    return statement;
}

int connection_run(struct connection *connection, enum statement which, const char *first,
                   const char *second, struct error *error)
{
    struct database_statement *statement = connection_bind(connection, which, first, second, error);
    return statement == NULL ? -1 : database_run(statement, error);
}

int connection_look(struct connection *connection, enum statement which, const char *first,
                    const char *second, struct error *error)
{
    struct database_statement *statement = connection_bind(connection, which, first, second, error);
    int result = statement == NULL ? -1 : database_step(statement, error);
    if (result == 1)
        database_reset(statement);
    return result;
}

/* --- readers --- */

struct readers {
    char *path;
    pthread_mutex_t lock;
    pthread_cond_t given;
    struct connection *idle; /* under lock, the last used first: its cache is warm */
    size_t left;             /* under lock: that may still be opened */
};

struct readers *readers_create(const char *path, size_t count)
{
    struct readers *readers = xcalloc(1, sizeof *readers);
    readers->path = xstrdup(path);
    readers->left = count;
    pthread_mutex_init(&readers->lock, NULL);
    pthread_cond_init(&readers->given, NULL);
    return readers;
}

void readers_destroy(struct readers *readers)
{
    if (readers == NULL)
        return;
    while (readers->idle != NULL) {
        struct connection *connection = readers->idle;
        readers->idle = connection->next;
        connection_destroy(connection);
    }
    pthread_mutex_destroy(&readers->lock);
    pthread_cond_destroy(&readers->given);
    free(readers->path);
    free(readers);
}

struct connection *readers_open(const struct readers *readers, struct error *error)
{
    struct database *database = NULL;
    if (database_open_reader(readers->path, &database, error) < 0)
        return NULL;
    return connection_create(database);
}

/* One more for the pool; its place is given back when that fails. */
static struct connection *open_another(struct readers *readers, struct error *error)
{
    struct connection *connection = readers_open(readers, error);
    if (connection != NULL)
        return connection;
    pthread_mutex_lock(&readers->lock);
    readers->left++;
    pthread_cond_signal(&readers->given);
    pthread_mutex_unlock(&readers->lock);
    return NULL;
}

struct connection *readers_take(struct readers *readers, struct error *error)
{
    pthread_mutex_lock(&readers->lock);
    while (readers->idle == NULL && readers->left == 0)
        pthread_cond_wait(&readers->given, &readers->lock);
    struct connection *connection = readers->idle;
    if (connection != NULL)
        readers->idle = connection->next;
    else
        readers->left--;
    pthread_mutex_unlock(&readers->lock);
    return connection != NULL ? connection : open_another(readers, error);
}

void readers_give(struct readers *readers, struct connection *connection)
{
    pthread_mutex_lock(&readers->lock);
    connection->next = readers->idle;
    readers->idle = connection;
    pthread_cond_signal(&readers->given);
    pthread_mutex_unlock(&readers->lock);
}

/* --- the writer --- */

/* So many operations a commit at most, so that the first of them does not wait for long. */
#define GROUP_MAX 64

struct operation {
    int (*run)(struct connection *connection, void *data, struct error *error);
    void *data;
    struct error *error;
    bool may_be_lost; /* with the power */
    int result;
    bool is_done; /* under the writer's lock */
    pthread_cond_t changed;
    struct operation *next;
};

struct writer {
    struct connection *connection; /* of the leader */
    bool is_durable;               /* of the leader: what the database was set to */
    pthread_mutex_t lock;
    struct operation *first, **last; /* under lock: those that wait, in order */
    bool has_leader;                 /* under lock */
};

struct writer *writer_create(struct database *database)
{
    struct writer *writer = xcalloc(1, sizeof *writer);
    writer->connection = connection_create(database);
    writer->is_durable = true;
    writer->last = &writer->first;
    pthread_mutex_init(&writer->lock, NULL);
    return writer;
}

void writer_destroy(struct writer *writer)
{
    if (writer == NULL)
        return;
    connection_destroy(writer->connection);
    pthread_mutex_destroy(&writer->lock);
    free(writer);
}

/* Runs one operation as a step of the transaction. -1: the transaction itself is lost. */
static int run_step(struct writer *writer, struct operation *operation, struct error *error)
{
    struct database *database = writer->connection->database;
    if (database_savepoint(database, error) < 0)
        return -1;
    operation->result = operation->run(writer->connection, operation->data, operation->error);
    if (!database_is_in_transaction(database))
        return error_set(error, ERROR_INTERNAL, "the database took the transaction back");
    return operation->result > 0 ? database_release(database, error)
                                 : database_undo(database, error);
}

/* Lets the next commit wait for the disk if one of the group is to outlive the power. */
static int choose_durability(struct writer *writer, const struct operation *group,
                             struct error *error)
{
    bool durable = false;
    for (; group != NULL && !durable; group = group->next)
        durable = !group->may_be_lost;
    if (durable != writer->is_durable &&
        database_set_durable(writer->connection->database, durable, error) < 0)
        return -1;
    writer->is_durable = durable;
    return 0;
}

/* -1: nothing of the group is stored. */
static int run_transaction(struct writer *writer, struct operation *group, struct error *error)
{
    struct database *database = writer->connection->database;
    if (choose_durability(writer, group, error) < 0 || database_begin(database, error) < 0)
        return -1;
    for (struct operation *at = group; at != NULL; at = at->next) {
        if (run_step(writer, at, error) < 0) {
            database_rollback(database);
            return -1;
        }
    }
    if (database_commit(database, error) == 0)
        return 0;
    database_rollback(database);
    return -1;
}

/* Alone, an operation fails by its own fault, and its own message is the better one. */
static void run_alone(struct writer *writer, struct operation *operation)
{
    struct operation *next = operation->next;
    struct error error = ERROR_INIT;
    operation->next = NULL;
    operation->result = 0;
    if (run_transaction(writer, operation, &error) < 0) {
        if (operation->result >= 0)
            error_copy(operation->error, &error);
        operation->result = -1;
    }
    operation->next = next;
}

static void run_group(struct writer *writer, struct operation *group)
{
    struct error error = ERROR_INIT;
    if (group->next != NULL && run_transaction(writer, group, &error) == 0)
        return;
    for (; group != NULL; group = group->next)
        run_alone(writer, group);
}

/* Takes the first operations off the queue; with the lock held. */
static struct operation *take_group(struct writer *writer)
{
    struct operation *group = writer->first, *end = group;
    for (unsigned count = 1; count < GROUP_MAX && end->next != NULL; count++)
        end = end->next;
    writer->first = end->next;
    if (writer->first == NULL)
        writer->last = &writer->first;
    end->next = NULL;
    return group;
}

/* Runs what waits, this thread's operation among it, and hands the lead on. With the lock held. */
static void lead(struct writer *writer)
{
    struct operation *group = take_group(writer), *next;
    writer->has_leader = true;
    pthread_mutex_unlock(&writer->lock);
    run_group(writer, group);
    pthread_mutex_lock(&writer->lock);
    writer->has_leader = false;
    for (; group != NULL; group = next) {
        next = group->next; /* once it is done, its owner may free it */
        group->is_done = true;
        pthread_cond_signal(&group->changed);
    }
    if (writer->first != NULL)
        pthread_cond_signal(&writer->first->changed);
}

static int enqueue(struct writer *writer, struct operation *operation)
{
    pthread_cond_init(&operation->changed, NULL);
    pthread_mutex_lock(&writer->lock);
    /* It is off the queue before this function returns. */
    *writer->last = operation;
    writer->last = &operation->next;
    while (!operation->is_done) {
        /* Only the first of the queue leads, so that a leader's own is always in its group. */
        if (!writer->has_leader && writer->first == operation)
            lead(writer);
        else
            pthread_cond_wait(&operation->changed, &writer->lock);
    }
    pthread_mutex_unlock(&writer->lock);
    pthread_cond_destroy(&operation->changed);
    return operation->result;
}

int writer_run(struct writer *writer,
               int (*run)(struct connection *connection, void *data, struct error *error),
               void *data, struct error *error)
{
    struct operation operation = {.run = run, .data = data, .error = error};
    return enqueue(writer, &operation);
}

int writer_run_unsynced(struct writer *writer,
                        int (*run)(struct connection *connection, void *data, struct error *error),
                        void *data, struct error *error)
{
    struct operation operation = {.run = run, .data = data, .error = error, .may_be_lost = true};
    return enqueue(writer, &operation);
}
