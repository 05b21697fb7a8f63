/* What this node keeps of images, when each was used last, and what of it goes.
 *
 * Knows chains (folders of the deciding half, with packed layers) and image files (the host half's:
 * kernels, initrds, disks), and which image named which files. What an instance uses or is being
 * prepared stays. Of the rest, what nobody used for `age_ms` goes, and the least recently used go
 * until all fits `limit`; a file goes with the last image that names it. Touches nothing itself:
 * the options' functions do. Loop thread only. */
#pragma once

#include <stdbool.h>

#include "image-format/chain.h"
#include "lib/api/images.h"
#include "lib/clock.h"

struct image_cache;

/* More than that are not kept, however small. */
#define IMAGE_CACHE_IMAGES_MAX 1024

struct image_cache_options {
    const struct clock *clock;
    uint64_t limit;  /* bytes of all together */
    uint64_t age_ms; /* unused for longer: it goes */
    bool (*is_used)(const char *digest, const char *architecture, void *data);
    void (*remove_chain)(const char *digest, const char *architecture, void *data);
    void (*remove_file)(const char *digest, void *data);
    void *data;
};

/* Where it came from, for people, and what it is. */
struct image_cache_name {
    const char *repository, *digest, *architecture;
};

struct image_cache_figures {
    uint64_t bytes, limit;
    size_t images, files;
    uint64_t evictions;     /* images, and files that belonged to none, since the start */
    uint64_t evicted_bytes; /* of these */
};

struct image_cache *image_cache_create(const struct image_cache_options *options);
void image_cache_destroy(struct image_cache *cache);

/* --- at the start, in this order --- */
/* What image_cache_save gave. */
int image_cache_load(struct image_cache *cache, const char *text, struct error *error);
/* A chain that lies here; its age counts only when nothing better is known. */
void image_cache_found_chain(struct image_cache *cache, const char *digest,
                             const char *architecture, uint64_t bytes, uint64_t age_ms);
/* All chains were found: forgets images of which none was. */
void image_cache_settle(struct image_cache *cache);

/* --- later --- */
/* An image file that lies with the host half, found or just imported. */
void image_cache_found_file(struct image_cache *cache, const char *digest, uint64_t size,
                            uint64_t age_ms);
/* An image was proven, to boot or to be there: its chain has `bytes`, and these are its parts;
 * those without a digest are not known yet. */
void image_cache_use(struct image_cache *cache, const struct image_cache_name *name, uint64_t bytes,
                     const struct image_part *parts, size_t part_count);
/* Removes what is too old, and too much; of very many some, and more at the next look. */
void image_cache_collect(struct image_cache *cache);
/* Removes what nobody uses, from the least recently used, until `bytes` are free that were not, or
 * very many went; returns how many are. */
uint64_t image_cache_make_room(struct image_cache *cache, uint64_t bytes);

/* Whether what image_cache_save gives is not what it gave last. */
bool image_cache_is_changed(const struct image_cache *cache);
/* Text for the local state; the caller frees it. */
char *image_cache_save(struct image_cache *cache);
struct image_cache_figures image_cache_observe(const struct image_cache *cache);

/* An image as it is listed. */
struct image_cache_entry {
    struct image_cache_name name;
    uint64_t bytes;  /* chain and files, those that others name too included */
    uint64_t age_ms; /* since it was used last */
    bool is_used;
};
/* The most recently used first. */
void image_cache_each(const struct image_cache *cache,
                      void (*each)(const struct image_cache_entry *entry, void *data), void *data);
/* All of that as the answer to GET /v1/images; released with its record. */
void image_cache_list(const struct image_cache *cache, struct api_node_images *ret_images);
