/* What the tests of the store share: one that is opened in SQLite or in etcd, and calls that wait
 * for their callback. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "scheduler/store_etcd.h"
#include "scheduler/store_sqlite.h"
#include "tests/unit/scheduler/etcd_process.h"

#define HERE "{\"address\": \"http://here\"}"

/* What every test of one implementation begins with. */
struct flavour {
    const char *name;
    struct etcd_process *etcd; /* NULL: SQLite */
    unsigned prefixes;         /* handed out, one a test */
};

struct fixture {
    struct flavour *flavour;
    uv_loop_t loop;
    char directory[64]; /* of SQLite */
    char prefix[32];    /* in etcd */
    uint64_t compact_ms;
    const char *endpoints; /* NULL: the flavour's etcd */
    struct store *store;
    bool done;
    bool failed;
    struct error error;
    uint64_t revision;
    bool more;
    bool leads;
    unsigned lost;
    uint64_t listed;  /* revision of a list */
    char keys[16384]; /* "key=value ..." of a list or watch */
};

static inline void on_lead(bool leading, void *data)
{
    struct fixture *fixture = data;
    fixture->leads = leading;
    fixture->lost += !leading;
}

static inline void ask_for_lead(struct fixture *fixture)
{
    fixture->leads = false;
    store_lead(fixture->store, HERE, on_lead, fixture);
}

static inline void lead(struct fixture *fixture)
{
    ask_for_lead(fixture);
    while (!fixture->leads)
        uv_run(&fixture->loop, UV_RUN_ONCE);
}

static inline int try_to_open(struct fixture *fixture, bool restored, struct store **ret_store,
                              struct error *error)
{
    struct store_sqlite_options sqlite = {fixture->directory, restored};
    struct store_etcd_options etcd = {
        .prefix = fixture->prefix, .restored = restored, .compact_ms = fixture->compact_ms};
    if (fixture->flavour->etcd == NULL)
        return store_sqlite_open(&fixture->loop, &sqlite, ret_store, error);
    etcd.endpoints = fixture->endpoints != NULL ? fixture->endpoints : fixture->flavour->etcd->url;
    return store_etcd_open(&fixture->loop, &etcd, ret_store, error);
}

static inline void open_store(struct fixture *fixture, bool restored)
{
    struct error error = ERROR_INIT;
    if (try_to_open(fixture, restored, &fixture->store, &error) < 0)
        fail_msg("%s", error.message);
}

static inline void close_store(struct fixture *fixture)
{
    store_destroy(fixture->store);
    uv_run(&fixture->loop, UV_RUN_DEFAULT);
    fixture->store = NULL;
}

static inline int set_up_closed(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof *fixture);
    fixture->flavour = *state;
    uv_loop_init(&fixture->loop);
    strcpy(fixture->directory, "/tmp/shoal-store.XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    snprintf(fixture->prefix, sizeof fixture->prefix, "/test/%u/", fixture->flavour->prefixes++);
    *state = fixture;
    return 0;
}

static inline int set_up(void **state)
{
    set_up_closed(state);
    open_store(*state, false);
    lead(*state);
    return 0;
}

static inline int tear_down(void **state)
{
    struct fixture *fixture = *state;
    if (fixture->store != NULL)
        close_store(fixture);
    assert_int_equal(uv_loop_close(&fixture->loop), 0);
    file_remove_tree(fixture->directory, NULL);
    free(fixture);
    return 0;
}

static inline void wait_until_done(struct fixture *fixture)
{
    while (!fixture->done)
        uv_run(&fixture->loop, UV_RUN_ONCE);
    fixture->done = false;
}

static inline void on_commit(const struct error *error, uint64_t revision, void *data)
{
    struct fixture *fixture = data;
    fixture->done = true;
    fixture->failed = error != NULL;
    if (error != NULL)
        fixture->error = *error;
    fixture->revision = revision;
}

static inline void hand_in_one(struct fixture *fixture, const struct store_comparison *comparison,
                               const char *key, const char *value)
{
    struct store_write write = {key, value};
    struct store_transaction transaction = {comparison, comparison != NULL, &write, 1, false};
    fixture->done = false;
    store_commit(fixture->store, &transaction, on_commit, fixture);
}

static inline int commit(struct fixture *fixture, const struct store_comparison *comparison,
                         const char *key, const char *value)
{
    hand_in_one(fixture, comparison, key, value);
    wait_until_done(fixture);
    return fixture->failed ? -1 : 0;
}

static inline void note(struct fixture *fixture, const struct store_document *documents,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(fixture->keys);
        snprintf(fixture->keys + used, sizeof fixture->keys - used, "%s%s=%s", used > 0 ? " " : "",
                 documents[i].key, documents[i].value != NULL ? documents[i].value : "gone");
    }
}

static inline void on_list(const struct error *error, const struct store_document *documents,
                           size_t count, bool more, uint64_t revision, void *data)
{
    struct fixture *fixture = data;
    fixture->failed = error != NULL;
    if (error != NULL)
        fixture->error = *error;
    note(fixture, documents, count);
    fixture->listed = revision;
    fixture->more = more;
    fixture->done = true;
}

static inline const char *list(struct fixture *fixture, const char *prefix, const char *after,
                               size_t limit)
{
    fixture->keys[0] = '\0';
    fixture->done = false;
    store_list(fixture->store, prefix, after, limit, on_list, fixture);
    wait_until_done(fixture);
    return fixture->keys;
}

static inline void on_watch(const struct error *error, const struct store_document *changes,
                            size_t count, uint64_t revision, void *data)
{
    struct fixture *fixture = data;
    (void)revision;
    fixture->failed = error != NULL;
    if (error != NULL)
        fixture->error = *error;
    note(fixture, changes, count);
}

/* Until what a watch or list noted ends so. */
static inline void wait_for_keys(struct fixture *fixture, const char *last)
{
    size_t wanted = strlen(last);
    for (;;) {
        size_t used = strlen(fixture->keys);
        if (used >= wanted && strcmp(fixture->keys + used - wanted, last) == 0)
            return;
        uv_run(&fixture->loop, UV_RUN_ONCE);
    }
}

/* Until the lease that was held is lost. */
static inline void wait_for_loss(struct fixture *fixture)
{
    while (fixture->lost == 0)
        uv_run(&fixture->loop, UV_RUN_ONCE);
}

/* The loop goes on for so long. */
static inline void run_for(struct fixture *fixture, uint64_t ms)
{
    uint64_t end = uv_hrtime() / 1000000 + ms;
    while (uv_hrtime() / 1000000 < end) {
        uv_run(&fixture->loop, UV_RUN_NOWAIT);
        uv_sleep(5);
    }
}
