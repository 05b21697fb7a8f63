#include "agent/image_cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* Files are found by their digests: an image may have ten of them, and all are looked up at each
 * look. */
#define FILE_BUCKETS 1024
/* One request to the host half for each file: the rest goes with the next look. */
#define EVICTIONS_A_LOOK 512

struct cached_image {
    char digest[DIGEST_TEXT_MAX];
    char architecture[16];
    char repository[256];      /* the last it was used from; "": not known */
    uint64_t bytes;            /* of its chain */
    struct json_strings parts; /* digests of its files */
    int64_t used_ms;           /* monotonic; before the machine's start it is negative */
    uint64_t used_wall_ms;     /* the same, for the record only */
    bool is_found;             /* its chain lies here */
    bool is_used;              /* as of the last look */
    TAILQ_ENTRY(cached_image) link;
};

struct cached_file {
    char digest[DIGEST_TEXT_MAX];
    uint64_t size;
    int64_t used_ms;
    size_t named; /* by so many images, as of the last look */
    TAILQ_ENTRY(cached_file) link;
    LIST_ENTRY(cached_file) in_bucket;
};

struct image_cache {
    struct image_cache_options options;
    TAILQ_HEAD(image_list, cached_image) images;
    TAILQ_HEAD(, cached_file) files;
    LIST_HEAD(file_bucket, cached_file) buckets[FILE_BUCKETS];
    uint64_t evictions, evicted_bytes;
    bool is_changed;
};

/* What is stored. */
struct cache_record {
    struct cached_image *images;
    size_t image_count;
};

static const struct json_field image_fields[] = {
    JSON_FIELD(struct cached_image, digest, "digest", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct cached_image, architecture, "arch", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct cached_image, repository, "repository", JSON_STRING,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct cached_image, bytes, "bytes", JSON_UINT),
    JSON_FIELD(struct cached_image, used_wall_ms, "used", JSON_UINT),
    JSON_FIELD(struct cached_image, parts, "parts", JSON_STRINGS),
    JSON_FIELD_END,
};
static const struct json_record image_record = {sizeof(struct cached_image), image_fields};
static const struct json_field cache_fields[] = {
    JSON_FIELD_LIST(struct cache_record, images, image_count, "images", &image_record),
    JSON_FIELD_END,
};
static const struct json_record cache_record = {sizeof(struct cache_record), cache_fields};

static int64_t now_of(const struct image_cache *cache)
{
    return (int64_t)clock_monotonic_ms(cache->options.clock);
}

/* --- what there is --- */

static struct cached_image *find_image(const struct image_cache *cache, const char *digest,
                                       const char *architecture)
{
    struct cached_image *image;
    TAILQ_FOREACH(image, &cache->images, link)
    {
        if (strcmp(image->digest, digest) == 0 && strcmp(image->architecture, architecture) == 0)
            return image;
    }
    return NULL;
}

/* FNV-1a */
static size_t bucket_of(const char *digest)
{
    uint32_t hash = 2166136261U;
    for (; *digest != '\0'; digest++)
        hash = (hash ^ (unsigned char)*digest) * 16777619U;
    return hash % FILE_BUCKETS;
}

static struct cached_file *find_file(const struct image_cache *cache, const char *digest)
{
    struct cached_file *file;
    LIST_FOREACH(file, &cache->buckets[bucket_of(digest)], in_bucket)
    {
        if (strcmp(file->digest, digest) == 0)
            return file;
    }
    return NULL;
}

/* NULL when the names are none of ours. */
static struct cached_image *ensure_image(struct image_cache *cache, const char *digest,
                                         const char *architecture)
{
    struct cached_image *image = find_image(cache, digest, architecture);
    if (image != NULL)
        return image;
    image = xcalloc(1, sizeof *image);
    if (!text_copy(image->digest, sizeof image->digest, digest) ||
        !text_copy(image->architecture, sizeof image->architecture, architecture)) {
        free(image);
        return NULL;
    }
    TAILQ_INSERT_TAIL(&cache->images, image, link);
    return image;
}

static void forget_image(struct image_cache *cache, struct cached_image *image)
{
    TAILQ_REMOVE(&cache->images, image, link);
    json_strings_release(&image->parts);
    free(image);
    cache->is_changed = true;
}

static void forget_file(struct image_cache *cache, struct cached_file *file)
{
    TAILQ_REMOVE(&cache->files, file, link);
    LIST_REMOVE(file, in_bucket);
    free(file);
}

static uint64_t total_of(const struct image_cache *cache)
{
    uint64_t total = 0;
    const struct cached_image *image;
    const struct cached_file *file;
    TAILQ_FOREACH(image, &cache->images, link)
    {
        total += image->bytes;
    }
    TAILQ_FOREACH(file, &cache->files, link)
    {
        total += file->size;
    }
    return total;
}

static size_t count_images(const struct image_cache *cache)
{
    size_t count = 0;
    const struct cached_image *image;
    TAILQ_FOREACH(image, &cache->images, link)
    {
        count++;
    }
    return count;
}

void image_cache_found_chain(struct image_cache *cache, const char *digest,
                             const char *architecture, uint64_t bytes, uint64_t age_ms)
{
    bool is_known = find_image(cache, digest, architecture) != NULL;
    struct cached_image *image = ensure_image(cache, digest, architecture);
    if (image == NULL)
        return;
    image->is_found = true;
    image->bytes = bytes;
    if (!is_known)
        image->used_ms = now_of(cache) - (int64_t)age_ms;
    cache->is_changed |= !is_known;
}

void image_cache_settle(struct image_cache *cache)
{
    struct cached_image *next;
    for (struct cached_image *image = TAILQ_FIRST(&cache->images); image != NULL; image = next) {
        next = TAILQ_NEXT(image, link);
        if (!image->is_found)
            forget_image(cache, image);
    }
}

void image_cache_found_file(struct image_cache *cache, const char *digest, uint64_t size,
                            uint64_t age_ms)
{
    struct cached_file *file = find_file(cache, digest);
    if (file == NULL) {
        file = xcalloc(1, sizeof *file);
        snprintf(file->digest, sizeof file->digest, "%s", digest);
        TAILQ_INSERT_TAIL(&cache->files, file, link);
        LIST_INSERT_HEAD(&cache->buckets[bucket_of(file->digest)], file, in_bucket);
    }
    file->size = size;
    file->used_ms = now_of(cache) - (int64_t)age_ms;
}

/* --- use --- */

static bool names(const struct cached_image *image, const char *digest)
{
    for (size_t i = 0; i < image->parts.count; i++) {
        if (strcmp(image->parts.items[i], digest) == 0)
            return true;
    }
    return false;
}

void image_cache_use(struct image_cache *cache, const struct image_cache_name *name, uint64_t bytes,
                     const struct image_part *parts, size_t part_count)
{
    struct cached_image *image = ensure_image(cache, name->digest, name->architecture);
    if (image == NULL)
        return;
    text_copy(image->repository, sizeof image->repository, name->repository);
    image->is_found = true;
    image->bytes = bytes;
    image->used_ms = now_of(cache);
    for (size_t i = 0; i < part_count; i++) {
        if (parts[i].digest[0] != '\0' && !names(image, parts[i].digest))
            json_strings_add(&image->parts, parts[i].digest);
    }
    cache->is_changed = true;
}

/* --- what goes --- */

/* Looks who uses what. */
static void look(struct image_cache *cache)
{
    struct cached_image *image;
    struct cached_file *file;
    TAILQ_FOREACH(file, &cache->files, link)
    {
        file->named = 0;
    }
    TAILQ_FOREACH(image, &cache->images, link)
    {
        image->is_used =
            cache->options.is_used(image->digest, image->architecture, cache->options.data);
        if (image->is_used)
            image->used_ms = now_of(cache);
        for (size_t i = 0; i < image->parts.count; i++) {
            file = find_file(cache, image->parts.items[i]);
            if (file != NULL)
                file->named++;
        }
    }
}

/* An image, or a file that belongs to none. */
struct victim {
    struct cached_image *image;
    struct cached_file *file;
    int64_t used_ms;
};

/* The one that nobody uses for the longest time; false: there is none. */
static bool choose(const struct image_cache *cache, struct victim *ret_victim)
{
    struct victim victim = {.used_ms = INT64_MAX};
    struct cached_image *image;
    struct cached_file *file;
    TAILQ_FOREACH(image, &cache->images, link)
    {
        if (!image->is_used && image->used_ms < victim.used_ms)
            victim = (struct victim){.image = image, .used_ms = image->used_ms};
    }
    TAILQ_FOREACH(file, &cache->files, link)
    {
        if (file->named == 0 && file->used_ms < victim.used_ms)
            victim = (struct victim){.file = file, .used_ms = file->used_ms};
    }
    *ret_victim = victim;
    return victim.used_ms != INT64_MAX;
}

static uint64_t remove_file(struct image_cache *cache, struct cached_file *file)
{
    uint64_t size = file->size;
    cache->options.remove_file(file->digest, cache->options.data);
    forget_file(cache, file);
    return size;
}

/* With the files that no other image names. */
static uint64_t remove_image(struct image_cache *cache, struct cached_image *image)
{
    uint64_t freed = image->bytes;
    for (size_t i = 0; i < image->parts.count; i++) {
        struct cached_file *file = find_file(cache, image->parts.items[i]);
        if (file != NULL && --file->named == 0)
            freed += remove_file(cache, file);
    }
    cache->options.remove_chain(image->digest, image->architecture, cache->options.data);
    forget_image(cache, image);
    return freed;
}

static uint64_t evict(struct image_cache *cache, const struct victim *victim, const char *why)
{
    AUTO_FREE char *digest =
        xstrdup(victim->image != NULL ? victim->image->digest : victim->file->digest);
    uint64_t freed = victim->image != NULL ? remove_image(cache, victim->image)
                                           : remove_file(cache, victim->file);
    cache->evictions++;
    cache->evicted_bytes += freed;
    char age[TEXT_SIZE_MAX];
    text_format_age((uint64_t)(now_of(cache) - victim->used_ms), age, sizeof age);
    log_info(victim->image != NULL ? "an image that no instance uses was removed"
                                   : "a file of no image was removed",
             "digest", digest, "bytes", LOG_NUMBER(freed), "unused_for", age, "why", why);
    return freed;
}

void image_cache_collect(struct image_cache *cache)
{
    struct victim victim;
    look(cache);
    uint64_t total = total_of(cache);
    size_t count = count_images(cache);
    for (int gone = 0; gone < EVICTIONS_A_LOOK && choose(cache, &victim); gone++) {
        bool is_old = now_of(cache) - victim.used_ms > (int64_t)cache->options.age_ms;
        bool is_much = total > cache->options.limit || count > IMAGE_CACHE_IMAGES_MAX;
        if (!is_old && !is_much)
            return;
        count -= victim.image != NULL;
        total -= evict(cache, &victim, is_old ? "age" : "size");
    }
}

uint64_t image_cache_make_room(struct image_cache *cache, uint64_t bytes)
{
    struct victim victim;
    uint64_t freed = 0;
    look(cache);
    for (int gone = 0; gone < EVICTIONS_A_LOOK && freed < bytes && choose(cache, &victim); gone++)
        freed += evict(cache, &victim, "disk full");
    return freed;
}

/* --- the record --- */

bool image_cache_is_changed(const struct image_cache *cache)
{
    return cache->is_changed;
}

char *image_cache_save(struct image_cache *cache)
{
    struct cache_record record = {
        .images = xcalloc(count_images(cache) + 1, sizeof(struct cached_image))};
    int64_t now = now_of(cache);
    uint64_t wall = clock_wall_ms(cache->options.clock);
    struct cached_image *image;
    TAILQ_FOREACH(image, &cache->images, link)
    {
        uint64_t age = now > image->used_ms ? (uint64_t)(now - image->used_ms) : 0;
        image->used_wall_ms = wall > age ? wall - age : 0;
        record.images[record.image_count++] = *image; /* lent */
    }
    char *text = json_record_text(&cache_record, &record);
    free(record.images);
    cache->is_changed = false;
    return text;
}

int image_cache_load(struct image_cache *cache, const char *text, struct error *error)
{
    struct cache_record record = {0};
    if (json_parse_record(&cache_record, text, strlen(text), JSON_LENIENT, &record, error) < 0)
        return error_wrap(error, "the stored list of images");
    int64_t now = now_of(cache);
    uint64_t wall = clock_wall_ms(cache->options.clock);
    for (size_t i = 0; i < record.image_count; i++) {
        const struct cached_image *stored = &record.images[i];
        struct cached_image *image = ensure_image(cache, stored->digest, stored->architecture);
        if (image == NULL)
            continue;
        image->bytes = stored->bytes;
        memcpy(image->repository, stored->repository, sizeof image->repository);
        /* The wall clock may have been set back: never used in the future. */
        image->used_ms = now;
        if (wall > stored->used_wall_ms)
            image->used_ms -= (int64_t)(wall - stored->used_wall_ms);
        for (size_t j = 0; j < stored->parts.count; j++) {
            if (!names(image, stored->parts.items[j]))
                json_strings_add(&image->parts, stored->parts.items[j]);
        }
    }
    json_record_release(&cache_record, &record);
    return 0;
}

/* --- looking --- */

struct image_cache_figures image_cache_observe(const struct image_cache *cache)
{
    struct image_cache_figures figures = {.bytes = total_of(cache),
                                          .limit = cache->options.limit,
                                          .images = count_images(cache),
                                          .evictions = cache->evictions,
                                          .evicted_bytes = cache->evicted_bytes};
    const struct cached_file *file;
    TAILQ_FOREACH(file, &cache->files, link)
    {
        figures.files++;
    }
    return figures;
}

static int compare_use(const void *left, const void *right)
{
    const struct image_cache_entry *one = left, *other = right;
    if (one->age_ms != other->age_ms)
        return one->age_ms < other->age_ms ? -1 : 1;
    return strcmp(one->name.digest, other->name.digest);
}

void image_cache_each(const struct image_cache *cache,
                      void (*each)(const struct image_cache_entry *entry, void *data), void *data)
{
    AUTO_FREE struct image_cache_entry *entries = xcalloc(count_images(cache) + 1, sizeof *entries);
    size_t count = 0;
    int64_t now = now_of(cache);
    const struct cached_image *image;
    TAILQ_FOREACH(image, &cache->images, link)
    {
        struct image_cache_entry *entry = &entries[count++];
        *entry = (struct image_cache_entry){
            .name = {image->repository, image->digest, image->architecture},
            .bytes = image->bytes,
            .is_used =
                cache->options.is_used(image->digest, image->architecture, cache->options.data)};
        if (!entry->is_used && now > image->used_ms)
            entry->age_ms = (uint64_t)(now - image->used_ms);
        for (size_t i = 0; i < image->parts.count; i++) {
            const struct cached_file *file = find_file(cache, image->parts.items[i]);
            entry->bytes += file != NULL ? file->size : 0;
        }
    }
    qsort(entries, count, sizeof *entries, compare_use);
    for (size_t i = 0; i < count; i++)
        each(&entries[i], data);
}

static void list_one(const struct image_cache_entry *entry, void *data)
{
    struct api_node_images *images = data;
    struct api_node_image *image = &images->images[images->image_count++];
    *image = (struct api_node_image){
        .bytes = entry->bytes, .age_ms = entry->age_ms, .used = entry->is_used};
    text_copy(image->repository, sizeof image->repository, entry->name.repository);
    text_copy(image->digest, sizeof image->digest, entry->name.digest);
    text_copy(image->arch, sizeof image->arch, entry->name.architecture);
}

void image_cache_list(const struct image_cache *cache, struct api_node_images *ret_images)
{
    struct image_cache_figures figures = image_cache_observe(cache);
    *ret_images = (struct api_node_images){
        .bytes = figures.bytes, .limit = figures.limit, .evictions = figures.evictions};
    ret_images->images = xcalloc(figures.images + 1, sizeof *ret_images->images);
    image_cache_each(cache, list_one, ret_images);
}

/* --- life --- */

struct image_cache *image_cache_create(const struct image_cache_options *options)
{
    struct image_cache *cache = xcalloc(1, sizeof *cache);
    cache->options = *options;
    TAILQ_INIT(&cache->images);
    TAILQ_INIT(&cache->files);
    return cache;
}

void image_cache_destroy(struct image_cache *cache)
{
    if (cache == NULL)
        return;
    while (!TAILQ_EMPTY(&cache->images))
        forget_image(cache, TAILQ_FIRST(&cache->images));
    while (!TAILQ_EMPTY(&cache->files))
        forget_file(cache, TAILQ_FIRST(&cache->files));
    free(cache);
}
