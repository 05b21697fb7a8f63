#include "registry/metadata/cache.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"
#include "registry/metadata/metadata.h"
#include "registry/metadata/pair_hash.h"

/* Repositories that share a number forget together. */
#define GENERATIONS 1024

struct entry {
    struct entry *next;          /* of the same bucket */
    struct entry *newer, *older; /* by use */
    const struct metadata_manifest *manifest;
    uint64_t hash;
    uint64_t generation;
    size_t bytes;
    size_t repository_length;
    char key[]; /* repository NUL name NUL */
};

struct cache {
    atomic_ullong generations[GENERATIONS];
    pthread_mutex_t lock; /* of all below */
    size_t bytes, bytes_max;
    size_t count, count_max;
    struct entry *newest, *oldest;
    size_t bucket_count; /* a power of two */
    struct entry **buckets;
};

struct cache *cache_create(size_t bytes, size_t entries)
{
    struct cache *cache = xcalloc(1, sizeof *cache);
    cache->bytes_max = bytes;
    cache->count_max = entries;
    cache->bucket_count = 16;
    while (cache->bucket_count < entries)
        cache->bucket_count *= 2;
    cache->buckets = xcalloc(cache->bucket_count, sizeof *cache->buckets);
    pthread_mutex_init(&cache->lock, NULL);
    return cache;
}

static atomic_ullong *generation_of(struct cache *cache, const char *repository)
{
    return &cache->generations[pair_hash(repository, "") % GENERATIONS];
}

uint64_t cache_generation(struct cache *cache, const char *repository)
{
    return atomic_load(generation_of(cache, repository));
}

void cache_forget(struct cache *cache, const char *repository)
{
    atomic_fetch_add(generation_of(cache, repository), 1);
}

/* --- with the lock held --- */

static struct entry **place_of(struct cache *cache, uint64_t hash, const char *repository,
                               const char *name)
{
    struct entry **place = &cache->buckets[hash & (cache->bucket_count - 1)];
    for (; *place != NULL; place = &(*place)->next) {
        if ((*place)->hash == hash && strcmp((*place)->key, repository) == 0 &&
            strcmp((*place)->key + (*place)->repository_length + 1, name) == 0)
            break;
    }
    return place;
}

static void unlink_use(struct cache *cache, struct entry *entry)
{
    if (entry->newer != NULL)
        entry->newer->older = entry->older;
    else
        cache->newest = entry->older;
    if (entry->older != NULL)
        entry->older->newer = entry->newer;
    else
        cache->oldest = entry->newer;
}

static void link_newest(struct cache *cache, struct entry *entry)
{
    entry->newer = NULL;
    entry->older = cache->newest;
    if (cache->newest != NULL)
        cache->newest->newer = entry;
    else
        cache->oldest = entry;
    cache->newest = entry;
}

static void drop(struct cache *cache, struct entry **place)
{
    struct entry *entry = *place;
    *place = entry->next;
    unlink_use(cache, entry);
    cache->bytes -= entry->bytes;
    cache->count--;
    metadata_manifest_release(entry->manifest);
    free(entry);
}

static void drop_oldest(struct cache *cache)
{
    struct entry *entry = cache->oldest;
    struct entry **place = &cache->buckets[entry->hash & (cache->bucket_count - 1)];
    while (*place != entry)
        place = &(*place)->next;
    drop(cache, place);
}

/* --- */

void cache_destroy(struct cache *cache)
{
    if (cache == NULL)
        return;
    while (cache->oldest != NULL)
        drop_oldest(cache);
    pthread_mutex_destroy(&cache->lock);
    free(cache->buckets);
    free(cache);
}

static struct entry *make_entry(const char *repository, const char *name, uint64_t hash,
                                uint64_t generation, const struct metadata_manifest *manifest)
{
    size_t repository_length = strlen(repository), name_length = strlen(name);
    size_t size = sizeof(struct entry) + repository_length + name_length + 2;
    struct entry *entry = xcalloc(1, size);
    memcpy(entry->key, repository, repository_length);
    memcpy(entry->key + repository_length + 1, name, name_length);
    entry->repository_length = repository_length;
    entry->hash = hash;
    entry->generation = generation;
    entry->bytes = size;
    if (manifest != NULL) {
        entry->manifest = shared_manifest_reference(manifest);
        entry->bytes += sizeof *manifest + manifest->length;
    }
    return entry;
}

void cache_keep(struct cache *cache, const char *repository, const char *name, uint64_t generation,
                const struct metadata_manifest *manifest)
{
    uint64_t hash = pair_hash(repository, name);
    struct entry *entry = make_entry(repository, name, hash, generation, manifest);
    pthread_mutex_lock(&cache->lock);
    struct entry **place = place_of(cache, hash, repository, name);
    if (*place != NULL)
        drop(cache, place);
    place = &cache->buckets[hash & (cache->bucket_count - 1)];
    entry->next = *place;
    *place = entry;
    link_newest(cache, entry);
    cache->bytes += entry->bytes;
    cache->count++;
    while (cache->bytes > cache->bytes_max || cache->count > cache->count_max)
        drop_oldest(cache);
    pthread_mutex_unlock(&cache->lock);
}

bool cache_find(struct cache *cache, const char *repository, const char *name,
                const struct metadata_manifest **ret_manifest)
{
    uint64_t hash = pair_hash(repository, name);
    bool is_found = false;
    pthread_mutex_lock(&cache->lock);
    struct entry **place = place_of(cache, hash, repository, name);
    struct entry *entry = *place;
    if (entry != NULL && entry->generation != cache_generation(cache, repository)) {
        drop(cache, place);
    } else if (entry != NULL) {
        unlink_use(cache, entry);
        link_newest(cache, entry);
        if (entry->manifest != NULL)
            *ret_manifest = shared_manifest_reference(entry->manifest);
        is_found = true;
    }
    pthread_mutex_unlock(&cache->lock);
    return is_found;
}

/* --- shared manifests --- */

struct shared_manifest {
    struct metadata_manifest manifest; /* first */
    atomic_uint references;
};

const struct metadata_manifest *shared_manifest_create(struct metadata_manifest *manifest)
{
    struct shared_manifest *shared = xcalloc(1, sizeof *shared);
    shared->manifest = *manifest;
    *manifest = (struct metadata_manifest){0};
    atomic_init(&shared->references, 1);
    return &shared->manifest;
}

const struct metadata_manifest *shared_manifest_reference(const struct metadata_manifest *manifest)
{
    struct shared_manifest *shared = (struct shared_manifest *)(uintptr_t)manifest;
    atomic_fetch_add(&shared->references, 1);
    return manifest;
}

void metadata_manifest_release(const struct metadata_manifest *manifest)
{
    struct shared_manifest *shared = (struct shared_manifest *)(uintptr_t)manifest;
    if (shared == NULL || atomic_fetch_sub(&shared->references, 1) > 1)
        return;
    metadata_manifest_finish(&shared->manifest);
    free(shared);
}
