#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/statvfs.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/store_sqlite_internal.h"

static const char *const migrations[] = {
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE documents (key TEXT PRIMARY KEY, value TEXT NOT NULL,"
    "                        revision INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE deletions (revision INTEGER NOT NULL, key TEXT NOT NULL,"
    "                        PRIMARY KEY (revision, key)) WITHOUT ROWID;",
    NULL,
};

void store_queue_init(struct request_queue *queue)
{
    queue->first = NULL;
    queue->last = &queue->first;
}

void store_queue_push(struct request_queue *queue, struct request *request)
{
    request->next = NULL;
    *queue->last = request;
    queue->last = &request->next;
}

struct request *store_queue_take_all(struct request_queue *queue)
{
    struct request *first = queue->first;
    store_queue_init(queue);
    return first;
}

void store_request_add_document(struct request *request, const char *key, const char *value,
                                uint64_t revision)
{
    request->documents =
        xreallocarray(request->documents, request->document_count + 1, sizeof *request->documents);
    request->documents[request->document_count++] =
        (struct owned_document){xstrdup(key), xstrdup(value), revision};
}

static void documents_clear(struct request *request)
{
    for (size_t i = 0; i < request->document_count; i++) {
        free(request->documents[i].key);
        free(request->documents[i].value);
    }
    request->document_count = 0;
}

static int check_comparisons(struct store_sqlite *store, const struct request *request,
                             struct error *error)
{
    for (size_t i = 0; i < request->comparison_count; i++) {
        const struct owned_document *wanted = &request->comparisons[i];
        database_bind_text(store->get, 1, wanted->key);
        int row = database_step(store->get, error);
        if (row < 0)
            return -1;
        uint64_t found = row > 0 ? (uint64_t)database_column_int(store->get, 0) : 0;
        if (row > 0)
            database_reset(store->get);
        if (found != wanted->revision)
            return error_set(error, ERROR_CONFLICT, "%s changed in between", wanted->key);
    }
    return 0;
}

static int write_documents(struct store_sqlite *store, struct request *request, uint64_t revision,
                           struct error *error)
{
    for (size_t i = 0; i < request->document_count; i++) {
        struct owned_document *document = &request->documents[i];
        struct database_statement *statement = document->value ? store->put : store->remove;
        database_bind_text(statement, 1, document->key);
        if (document->value != NULL) {
            database_bind_text(statement, 2, document->value);
            database_bind_int(statement, 3, (int64_t)revision);
        }
        if (database_run(statement, error) < 0)
            return -1;
        document->revision = revision;
        if (document->value != NULL)
            continue;
        database_bind_int(store->remember, 1, (int64_t)revision);
        database_bind_text(store->remember, 2, document->key);
        if (database_run(store->remember, error) < 0)
            return -1;
    }
    return 0;
}

/* A comparison that does not hold is the request's own failure; anything else fails the batch. */
static int do_commit(struct store_sqlite *store, struct request *request, struct error *error)
{
    struct error found = ERROR_INIT;
    if (request->chained && store->previous.code != ERROR_NONE) {
        request->error = store->previous;
        return 0;
    }
    if (check_comparisons(store, request, &found) < 0) {
        if (found.code != ERROR_CONFLICT)
            return error_copy(error, &found);
        request->error = found;
        return 0;
    }
    if (write_documents(store, request, store->revision + 1, error) < 0)
        return -1;
    request->revision = ++store->revision;
    return 0;
}

static int do_commit_in_turn(struct store_sqlite *store, struct request *request,
                             struct error *error)
{
    int result = do_commit(store, request, error);
    store->previous = request->error;
    return result;
}

static int do_list(struct store_sqlite *store, struct request *request, struct error *error)
{
    size_t length = strlen(request->prefix);
    const char *start = request->after != NULL ? request->after : request->prefix;
    database_bind_text(store->list, 1, start);
    database_bind_int(store->list, 2, request->after != NULL);
    database_bind_int(store->list, 3, (int64_t)request->limit + 1);
    for (;;) {
        int row = database_step(store->list, error);
        if (row <= 0)
            return row;
        const char *key = database_column_text(store->list, 0);
        request->more = request->document_count == request->limit;
        if (strncmp(key, request->prefix, length) != 0)
            request->more = false;
        if (strncmp(key, request->prefix, length) != 0 || request->more) {
            database_reset(store->list);
            return 0;
        }
        store_request_add_document(request, key, database_column_text(store->list, 1),
                                   (uint64_t)database_column_int(store->list, 2));
    }
}

static int read_changes(struct database_statement *statement, struct request *request,
                        uint64_t from, struct error *error)
{
    int row;
    database_bind_int(statement, 1, (int64_t)from);
    while ((row = database_step(statement, error)) > 0) {
        const char *key = database_column_text(statement, 0);
        if (strncmp(key, request->prefix, strlen(request->prefix)) == 0)
            store_request_add_document(request, key, database_column_text(statement, 2),
                                       (uint64_t)database_column_int(statement, 1));
    }
    return row;
}

static int compare_revisions(const void *left, const void *right)
{
    const struct owned_document *a = left, *b = right;
    return a->revision < b->revision ? -1 : a->revision > b->revision;
}

static int do_watch(struct store_sqlite *store, struct request *request, struct error *error)
{
    uint64_t from = request->from;
    if (from + STORE_SQLITE_REMEMBERED < store->revision) {
        error_set(&request->error, ERROR_STALE,
                  "revision %llu is too old to watch from: list again", (unsigned long long)from);
        return 0;
    }
    /* Mostly nothing has changed, and finding that out would read every document. */
    if (from < store->revision && (read_changes(store->since, request, from, error) < 0 ||
                                   read_changes(store->removed_since, request, from, error) < 0))
        return -1;
    if (request->document_count > 0)
        qsort(request->documents, request->document_count, sizeof *request->documents,
              compare_revisions);
    request->revision = store->revision;
    return 0;
}

static int do_request(struct store_sqlite *store, struct request *request, struct error *error)
{
    switch (request->kind) {
    case REQUEST_COMMIT:
        return do_commit_in_turn(store, request, error);
    case REQUEST_LIST:
        request->revision = store->revision;
        return do_list(store, request, error);
    case REQUEST_WATCH:
        return do_watch(store, request, error);
    case REQUEST_REFUSED:
        store->previous = request->error;
        break;
    case REQUEST_LEAD:
        break;
    }
    return 0;
}

static int finish_batch(struct store_sqlite *store, uint64_t before, struct error *error)
{
    if (store->revision != before) {
        char text[24];
        snprintf(text, sizeof text, "%llu", (unsigned long long)store->revision);
        database_bind_text(store->save_revision, 1, text);
        if (database_run(store->save_revision, error) < 0)
            return -1;
        database_bind_int(store->forget, 1, (int64_t)store->revision - STORE_SQLITE_REMEMBERED);
        if (database_run(store->forget, error) < 0)
            return -1;
    }
    return database_commit(store->database, error);
}

/* SQLite says "disk I/O error" of many things; of the commonest one the file system tells. */
static bool is_read_only(const char *directory)
{
    struct statvfs about;
    return statvfs(directory, &about) == 0 && (about.f_flag & ST_RDONLY) != 0;
}

static void explain_failure(const struct store_sqlite *store, struct error *error)
{
    if (is_read_only(store->directory))
        error_wrap(error,
                   "the file system of %s is read-only: see the kernel's log, and remount it",
                   store->directory);
    else if (error->code == ERROR_STORAGE_FULL)
        error_wrap(error, "the disk of %s is full, and nothing can be written until there is room",
                   store->directory);
    else
        error_wrap(error, "write the scheduler's state in %s", store->directory);
}

/* Once where it begins, and once where it ends: a full disk may stay full for hours. */
static void log_outcome(struct store_sqlite *store, const struct error *error)
{
    if (error != NULL && !store->failing)
        log_error("the store takes no changes", "error", error->message);
    else if (error == NULL && store->failing)
        log_info("the store takes changes again");
    store->failing = error != NULL;
}

/* What cannot be written can still be read. */
static void read_again(struct store_sqlite *store, struct request *request)
{
    documents_clear(request);
    request->error.code = ERROR_NONE;
    do_request(store, request, &request->error);
}

static void fail_batch(struct store_sqlite *store, struct request *batch, const struct error *error)
{
    for (struct request *request = batch; request != NULL; request = request->next) {
        if (request->kind == REQUEST_COMMIT)
            request->error = *error;
        if (request->kind == REQUEST_COMMIT || request->kind == REQUEST_REFUSED)
            store->previous = request->error;
        if (request->kind == REQUEST_LIST || request->kind == REQUEST_WATCH)
            read_again(store, request);
    }
}

static void do_batch(struct store_sqlite *store, struct request *batch)
{
    struct error error = ERROR_INIT;
    uint64_t before = store->revision;
    int result = database_begin(store->database, &error);
    bool begun = result == 0;
    for (struct request *request = batch; request != NULL && result == 0; request = request->next)
        result = do_request(store, request, &error);
    if (result == 0)
        result = finish_batch(store, before, &error);
    if (result == 0) {
        if (store->revision != before)
            log_outcome(store, NULL);
        return;
    }
    if (begun)
        database_rollback(store->database);
    store->revision = before;
    explain_failure(store, &error);
    log_outcome(store, &error);
    fail_batch(store, batch, &error);
}

void *store_sqlite_write(void *data)
{
    struct store_sqlite *store = data;
    pthread_mutex_lock(&store->mutex);
    for (;;) {
        while (store->waiting.first == NULL && !store->ending)
            pthread_cond_wait(&store->wake, &store->mutex);
        struct request *batch = store_queue_take_all(&store->waiting);
        if (batch == NULL)
            break;
        pthread_mutex_unlock(&store->mutex);
        do_batch(store, batch);
        pthread_mutex_lock(&store->mutex);
        for (struct request *next; batch != NULL; batch = next) {
            next = batch->next;
            store_queue_push(&store->done, batch);
        }
        uv_async_send(&store->async);
    }
    pthread_mutex_unlock(&store->mutex);
    return NULL;
}

/* --- opening and closing --- */

void store_sqlite_close_files(struct store_sqlite *store)
{
    struct database_statement *statements[] = {
        store->get,           store->put,      store->remove, store->list,          store->since,
        store->removed_since, store->remember, store->forget, store->save_revision,
    };
    for (size_t i = 0; i < ARRAY_LENGTH(statements); i++) {
        if (statements[i] != NULL)
            database_statement_destroy(statements[i]);
    }
    if (store->database != NULL)
        database_close(store->database);
    free(store->directory);
    if (store->lock >= 0)
        close(store->lock);
}

static int take_lock(const char *directory, int *ret_lock, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/lock", directory);
    AUTO_CLOSE int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0)
        return error_set_errno(error, errno, "open %s", path);
    if (flock(lock, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return error_set(error, ERROR_CONFLICT,
                             "another scheduler has %s open: stop it, or give this one another "
                             "folder by --state",
                             directory);
        return error_set_errno(error, errno, "lock %s", path);
    }
    *ret_lock = TAKE_DESCRIPTOR(lock);
    return 0;
}

static int prepare_statements(struct store_sqlite *store, struct error *error)
{
    const struct {
        struct database_statement **statement;
        const char *sql;
    } statements[] = {
        {&store->get, "SELECT revision FROM documents WHERE key = ?1"},
        {&store->put, "INSERT INTO documents VALUES (?1, ?2, ?3) ON CONFLICT (key) DO UPDATE SET "
                      "value = excluded.value, revision = excluded.revision"},
        {&store->remove, "DELETE FROM documents WHERE key = ?1"},
        {&store->list, "SELECT key, value, revision FROM documents WHERE key >= ?1 AND "
                       "(?2 = 0 OR key > ?1) ORDER BY key LIMIT ?3"},
        {&store->since, "SELECT key, revision, value FROM documents WHERE revision > ?1"},
        {&store->removed_since,
         "SELECT key, revision, NULL FROM deletions WHERE revision > ?1 AND NOT EXISTS "
         "(SELECT 1 FROM documents WHERE documents.key = deletions.key)"},
        {&store->remember, "INSERT OR IGNORE INTO deletions VALUES (?1, ?2)"},
        {&store->forget, "DELETE FROM deletions WHERE revision <= ?1"},
        {&store->save_revision, "INSERT INTO meta VALUES ('revision', ?1) ON CONFLICT (name) DO "
                                "UPDATE SET value = excluded.value"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(statements); i++) {
        if (database_prepare(store->database, statements[i].sql, statements[i].statement, error) <
            0)
            return -1;
    }
    return 0;
}

static int load_meta(struct store_sqlite *store, struct error *error)
{
    struct database_statement *statement;
    int row;
    if (database_prepare(store->database, "SELECT name, value FROM meta", &statement, error) < 0)
        return -1;
    while ((row = database_step(statement, error)) > 0) {
        const char *name = database_column_text(statement, 0);
        const char *value = database_column_text(statement, 1);
        if (strcmp(name, "cluster") == 0)
            text_copy(store->base.identity.cluster, CLUSTER_ID_MAX, value);
        else if (strcmp(name, "term") == 0)
            text_parse_u64(value, STORE_TERM_MAX, &store->base.identity.term);
        else if (strcmp(name, "revision") == 0)
            text_parse_u64(value, INT64_MAX, &store->revision);
    }
    database_statement_destroy(statement);
    return row;
}

static bool is_empty(struct store_sqlite *store)
{
    struct database_statement *statement;
    if (database_prepare(store->database, "SELECT 1 FROM documents LIMIT 1", &statement, NULL) < 0)
        return false;
    bool empty = database_step(statement, NULL) == 0;
    database_statement_destroy(statement);
    return empty;
}

/* A new store gets its cluster's id; one that came back from a backup gets a new term. */
static int save_identity(struct store_sqlite *store, struct error *error)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "INSERT OR REPLACE INTO meta VALUES ('cluster', '%s'), ('term', '%llu')",
             store->base.identity.cluster, (unsigned long long)store->base.identity.term);
    return database_execute(store->database, sql, error);
}

static int establish_identity(struct store_sqlite *store, bool restored,
                              const struct store_identity *adopt, struct error *error)
{
    struct store_identity *identity = &store->base.identity;
    if (load_meta(store, error) < 0)
        return -1;
    if (adopt != NULL && !is_empty(store))
        return store_refuse_adoption(identity, error);
    if (adopt != NULL)
        *identity = store_adopted_identity(identity, adopt);
    if (identity->cluster[0] != '\0' && !restored && adopt == NULL)
        return 0;
    if (identity->cluster[0] == '\0') {
        unsigned char bytes[16];
        random_bytes(bytes, sizeof bytes);
        text_format_hex(bytes, sizeof bytes, identity->cluster);
    }
    if (identity->term >= STORE_TERM_MAX)
        return error_set(error, ERROR_TOO_LARGE, "the store was restored %d times: no terms left",
                         STORE_TERM_MAX);
    identity->term++;
    return save_identity(store, error);
}

int store_sqlite_open_files(struct store_sqlite *store, const struct store_sqlite_options *options,
                            const struct store_identity *adopt, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/store.db", options->directory);
    store->directory = xstrdup(options->directory);
    if (file_make_directory(options->directory, 0700, error) < 0 ||
        take_lock(options->directory, &store->lock, error) < 0 ||
        database_open(path, migrations, &store->database, error) < 0 ||
        establish_identity(store, options->restored, adopt, error) < 0)
        return -1;
    return prepare_statements(store, error);
}
