/* Pushes racing garbage collection: no blob that a client was told of may be lost. */
#include "tests/unit/registry/collection.h"

#include <pthread.h>
#include <time.h>

#define PUSHERS 4
#define ROUNDS  20
#define BLOBS   50 /* a round: with the rounds, 1,000 pushes */

struct race {
    struct store store;
    bool with_leases;
    unsigned round;
    pthread_barrier_t start;
    atomic_bool is_over;
    atomic_uint next;    /* blob of the round */
    atomic_uint present; /* pushes that HEAD told that the blob is there */
    atomic_uint lost;    /* of them, those whose manifest was refused, or the bytes gone */
    atomic_uint collected;
};

static void name_blob(const struct race *race, unsigned index, char *ret_text, size_t size)
{
    snprintf(ret_text, size, "blob %u of round %u", index, race->round);
}

/* As HEAD answers: looked for, leased, looked for again. */
static bool head(struct race *race, const char *digest)
{
    struct store *store = &race->store;
    if (metadata_has_blob(store->metadata, "r", digest, NULL) != 1)
        return false;
    if (race->with_leases)
        leases_take(store->leases, "r", digest);
    return store_has_blob(store, "r", digest);
}

/* A client: asks for the blob, pushes it where it is missing, then the manifest. */
static void push(struct race *race, unsigned index)
{
    struct store *store = &race->store;
    const struct timespec moment = {.tv_nsec = 200000};
    char text[64], digest[DIGEST_TEXT_MAX], manifest[DIGEST_ANY_MAX];
    struct wanted wanted = {.blob = digest};
    name_blob(race, index, text, sizeof text);
    digest_of_bytes(text, strlen(text), digest);
    bool is_present = head(race, digest);
    if (is_present)
        atomic_fetch_add(&race->present, 1);
    else
        store_push_blob(store, "r", text, race->with_leases, digest);
    nanosleep(&moment, NULL);
    snprintf(manifest, sizeof manifest, "sha256:%032x%032x", race->round, index);
    if (store_push_manifest(store, "r", manifest, &wanted) == 0 || !store_has_bytes(store, digest))
        atomic_fetch_add(&race->lost, 1);
}

static void *push_all(void *data)
{
    struct race *race = data;
    unsigned index;
    pthread_barrier_wait(&race->start);
    while ((index = atomic_fetch_add(&race->next, 1)) < BLOBS)
        push(race, index);
    return NULL;
}

static void *collect_all(void *data)
{
    struct race *race = data;
    const struct collector_options options = {.orphans = true, .uploads = 3600000};
    pthread_barrier_wait(&race->start);
    while (!atomic_load(&race->is_over)) {
        struct collector_report report = store_collect(&race->store, &options);
        atomic_fetch_add(&race->collected, (unsigned)report.blobs.count);
    }
    return NULL;
}

/* A round begins with blobs that nothing refers to and no lease holds: every one is there to be
 * asked for and to be collected, whichever is first. */
static void run_round(struct race *race)
{
    pthread_t pushers[PUSHERS], collector;
    for (unsigned i = 0; i < BLOBS; i++) {
        char text[64], digest[DIGEST_TEXT_MAX];
        name_blob(race, i, text, sizeof text);
        store_push_blob(&race->store, "r", text, false, digest);
    }
    atomic_store(&race->next, 0);
    atomic_store(&race->is_over, false);
    assert_int_equal(pthread_create(&collector, NULL, collect_all, race), 0);
    for (unsigned i = 0; i < PUSHERS; i++)
        assert_int_equal(pthread_create(&pushers[i], NULL, push_all, race), 0);
    for (unsigned i = 0; i < PUSHERS; i++)
        pthread_join(pushers[i], NULL);
    atomic_store(&race->is_over, true);
    pthread_join(collector, NULL);
}

static void run_race(struct race *race, bool with_leases)
{
    /* In memory: thousands of syncs would only take time. */
    store_open(&race->store, "/dev/shm");
    race->with_leases = with_leases;
    assert_int_equal(pthread_barrier_init(&race->start, NULL, PUSHERS + 1), 0);
    for (race->round = 0; race->round < ROUNDS; race->round++)
        run_round(race);
    pthread_barrier_destroy(&race->start);
    print_message("%u pushes: %u found their blob, %u blobs were collected, %u were lost\n",
                  ROUNDS * BLOBS, race->present, race->collected, race->lost);
}

/* After all of it: what has a manifest is there, and whole. */
static void check_all(struct race *race)
{
    for (race->round = 0; race->round < ROUNDS; race->round++) {
        for (unsigned i = 0; i < BLOBS; i++) {
            char text[64], digest[DIGEST_TEXT_MAX];
            name_blob(race, i, text, sizeof text);
            digest_of_bytes(text, strlen(text), digest);
            assert_true(store_has_blob(&race->store, "r", digest));
        }
    }
}

static void no_blob_is_lost_that_a_client_was_told_of(void **state)
{
    (void)state;
    struct race *race = xcalloc(1, sizeof *race);
    run_race(race, true);
    /* It was a race: some were quicker than the collector, some were not. */
    assert_true(race->present > 0);
    assert_true(race->collected > 0);
    assert_int_equal(race->lost, 0);
    check_all(race);
    store_close(&race->store);
    free(race);
}

/* The same without leases: were nothing lost then, the test above would prove nothing. */
static void without_leases_blobs_are_lost(void **state)
{
    (void)state;
    struct race *race = xcalloc(1, sizeof *race);
    run_race(race, false);
    assert_true(race->lost > 0);
    store_close(&race->store);
    free(race);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_blob_is_lost_that_a_client_was_told_of),
        cmocka_unit_test(without_leases_blobs_are_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
