#include "registry/metadata/leases.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "lib/xalloc.h"
#include "registry/metadata/pair_hash.h"

/* 1 MiB; of garbage, 1% waits for the next collection when 1,300 leases are out. */
#define PLACES (1u << 17)

struct leases {
    const struct clock *clock;
    uint64_t duration;
    uint64_t created;
    /* Many take at once; the collector alone keeps them out. */
    pthread_rwlock_t lock;
    atomic_ullong times[PLACES]; /* when last taken, plus one; 0: never */
};

struct leases *leases_create(uint64_t duration, const struct clock *clock)
{
    struct leases *leases = xcalloc(1, sizeof *leases);
    pthread_rwlockattr_t attributes;
    leases->clock = clock;
    leases->duration = duration;
    leases->created = clock_monotonic_ms(clock);
    pthread_rwlockattr_init(&attributes);
    /* The collector does not wait for a gap in a stream of requests. */
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&leases->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    return leases;
}

void leases_destroy(struct leases *leases)
{
    if (leases == NULL)
        return;
    pthread_rwlock_destroy(&leases->lock);
    free(leases);
}

void leases_take(struct leases *leases, const char *repository, const char *digest)
{
    uint64_t place = pair_hash(repository, digest) % PLACES;
    pthread_rwlock_rdlock(&leases->lock);
    atomic_store(&leases->times[place], clock_monotonic_ms(leases->clock) + 1);
    pthread_rwlock_unlock(&leases->lock);
}

void leases_freeze(struct leases *leases)
{
    pthread_rwlock_wrlock(&leases->lock);
}

void leases_thaw(struct leases *leases)
{
    pthread_rwlock_unlock(&leases->lock);
}

bool leases_hold(const struct leases *leases, const char *repository, const char *digest)
{
    uint64_t now = clock_monotonic_ms(leases->clock);
    uint64_t taken = atomic_load(&leases->times[pair_hash(repository, digest) % PLACES]);
    if (now - leases->created < leases->duration)
        return true;
    /* A place of a moment ago may be ahead of `now`, which was read before it. */
    return taken != 0 && (taken - 1 > now || now - (taken - 1) < leases->duration);
}
