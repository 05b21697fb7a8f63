/* What was read lately of repositories, in memory, bounded. Any thread.
 *
 * Never stale once a write was acknowledged: a writer calls cache_forget after its commit and
 * before its caller hears of it. Everything kept carries the generation its repository had before
 * it was read; cache_forget starts a new one, and what is of another is not found any more. So a
 * reader that read just before a commit and keeps it just after keeps nothing. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cache;
struct metadata_manifest;

struct cache *cache_create(size_t bytes, size_t entries);
void cache_destroy(struct cache *cache);

/* Before reading what will be kept. */
uint64_t cache_generation(struct cache *cache, const char *repository);
/* Takes a reference of its own to the manifest; NULL keeps that the name is there. */
void cache_keep(struct cache *cache, const char *repository, const char *name, uint64_t generation,
                const struct metadata_manifest *manifest);
/* The manifest, when there is one, comes with a reference that the caller releases. */
bool cache_find(struct cache *cache, const char *repository, const char *name,
                const struct metadata_manifest **ret_manifest);
void cache_forget(struct cache *cache, const char *repository);

/* --- shared manifests --- */

/* Takes over the members of `manifest`; starts with one reference. */
const struct metadata_manifest *shared_manifest_create(struct metadata_manifest *manifest);
const struct metadata_manifest *shared_manifest_reference(const struct metadata_manifest *manifest);
