/* A copy of the store in etcd: page by page, all at one revision, by a client of its own. */
#include <string.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"
#include "scheduler/store_etcd_internal.h"

#define PAGE        1000
#define PATIENCE_MS 10000
#define PAUSE_MS    200

struct copying {
    const struct store_etcd *store;
    struct store_copy *copy;
    const atomic_bool *cancelled;
    struct etcd_client *client;
    char *from, *end;
    uint64_t revision; /* 0: the first page says it */
    size_t limit;
};

/* Large documents: fewer at a time. No answer: the next endpoint, for a while. */
static int read_page(struct copying *copying, struct etcd_answer *ret_answer, struct error *error)
{
    uint64_t give_up = store_etcd_now() + PATIENCE_MS;
    for (;;) {
        struct error found = ERROR_INIT;
        char *body =
            etcd_range_body_at(copying->from, copying->end, copying->limit, copying->revision);
        if (atomic_load(copying->cancelled))
            error_set(&found, ERROR_CONFLICT, "the store was closed meanwhile");
        else if (etcd_call_blocking(copying->client, "kv/range", xstrdup(body), ETCD_TIMEOUT_MS,
                                    ret_answer, &found) < 0 &&
                 found.code == ERROR_TOO_LARGE && copying->limit > 1)
            copying->limit /= 2;
        free(body);
        if (found.code == ERROR_NONE)
            return 0;
        bool again = found.code == ERROR_TOO_LARGE || etcd_error_is_unclear(&found);
        if (!again || store_etcd_now() >= give_up)
            return error_copy(error, &found);
        if (found.code != ERROR_TOO_LARGE)
            uv_sleep(PAUSE_MS);
    }
}

static int copy_page(struct copying *copying, const struct etcd_answer *answer, struct error *error)
{
    size_t skipped = strlen(copying->store->documents);
    if (copying->revision == 0) {
        copying->revision = answer->revision;
        if (store_copy_begin(copying->copy, &copying->store->base.identity, answer->revision,
                             error) < 0)
            return -1;
    }
    for (size_t i = 0; i < answer->pair_count; i++) {
        if (store_copy_add(copying->copy, answer->pairs[i].key + skipped, answer->pairs[i].value,
                           error) < 0)
            return -1;
    }
    return 0;
}

static int copy_pages(struct copying *copying, struct error *error)
{
    bool more = true;
    while (more) {
        struct etcd_answer answer = {0};
        if (read_page(copying, &answer, error) < 0)
            return -1;
        int result = copy_page(copying, &answer, error);
        more = answer.more && answer.pair_count > 0;
        if (more) {
            free(copying->from);
            /* No key has a byte below this one. */
            copying->from = xasprintf("%s\x01", answer.pairs[answer.pair_count - 1].key);
        }
        etcd_answer_release(&answer);
        if (result < 0)
            return -1;
    }
    return 0;
}

int store_etcd_copy(const struct store *base, struct store_copy *copy, const atomic_bool *cancelled,
                    struct error *error)
{
    const struct store_etcd *store = (const struct store_etcd *)base;
    struct copying copying = {.store = store, .copy = copy, .cancelled = cancelled, .limit = PAGE};
    uv_loop_t loop; /* the client wants one; nothing happens on it */
    uv_loop_init(&loop);
    int result =
        etcd_client_create(&loop, etcd_client_endpoints(store->client), &copying.client, error);
    if (result == 0) {
        copying.from = xstrdup(store->documents);
        copying.end = xstrdup(store->documents);
        copying.end[strlen(copying.end) - 1]++;
        result = copy_pages(&copying, error);
        free(copying.from);
        free(copying.end);
    }
    etcd_client_destroy(copying.client);
    uv_run(&loop, UV_RUN_DEFAULT);
    uv_loop_close(&loop);
    return result;
}
