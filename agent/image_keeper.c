#include "agent/image_keeper.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define LOOK_MS         60000
#define LOOKS_AN_HOUR   60
#define LEFTOVER_AGE_MS (UINT64_C(24) * 3600 * 1000)

struct image_keeper {
    struct image_keeper_options options;
    struct image_cache *cache;
    struct image_downloads *downloads;      /* NULL before the begin */
    const struct instance_table *instances; /* the same */
    const struct image_prefetch *prefetch;  /* the same */
    uv_timer_t look;
    unsigned looks;
};

/* --- what the cache asks for --- */

static bool is_used(const char *digest, const char *architecture, void *data)
{
    const struct image_keeper *keeper = data;
    return keeper->instances == NULL ||
           instance_table_uses_image(keeper->instances, digest, architecture) ||
           image_prefetch_wants(keeper->prefetch, digest, architecture);
}

static void remove_chain(const char *digest, const char *architecture, void *data)
{
    const struct image_keeper *keeper = data;
    image_downloads_remove_chain(keeper->downloads, digest, architecture);
}

static void on_dropped(const struct host_answer *answer, int descriptor, void *data)
{
    (void)descriptor;
    (void)data;
    if (answer->code != ERROR_NONE)
        log_warn("an image file cannot be removed", "reason", answer->message);
}

static void remove_file(const char *digest, void *data)
{
    const struct image_keeper *keeper = data;
    struct host_message message = {.type = HOST_DROP};
    if (!text_copy(message.drop.digest, sizeof message.drop.digest, digest))
        return;
    host_client_request(keeper->options.host, &message, on_dropped, NULL);
}

/* --- what lies here --- */

static void recall(struct image_keeper *keeper)
{
    AUTO_FREE char *text = NULL;
    struct error error = ERROR_INIT;
    if (state_store_get(keeper->options.store, STATE_IMAGES, &text, &error) < 0 ||
        (text != NULL && image_cache_load(keeper->cache, text, &error) < 0))
        log_warn("when images were used last is not known", "reason", error.message);
}

/* Folders are named <hex>-<architecture>. */
static void find_chain(struct image_keeper *keeper, const char *name)
{
    char digest[DIGEST_TEXT_MAX];
    const char *dash = strchr(name, '-');
    struct stat status;
    AUTO_FREE char *path = xasprintf("%s/%s", keeper->options.chains_directory, name);
    if (dash == NULL || (size_t)snprintf(digest, sizeof digest, "sha256:%.*s", (int)(dash - name),
                                         name) >= sizeof digest)
        return;
    if (!digest_is_valid(digest) || stat(path, &status) < 0)
        return;
    uint64_t now = clock_wall_ms(keeper->options.clock);
    uint64_t at = status.st_mtime > 0 ? (uint64_t)status.st_mtime * 1000 : 0;
    image_cache_found_chain(keeper->cache, digest, dash + 1, image_downloads_folder_bytes(path),
                            now > at ? now - at : 0);
}

static void find_chains(struct image_keeper *keeper)
{
    DIR *folder = opendir(keeper->options.chains_directory);
    struct dirent *entry;
    while (folder != NULL && (entry = readdir(folder)) != NULL)
        find_chain(keeper, entry->d_name);
    if (folder != NULL)
        closedir(folder);
    image_cache_settle(keeper->cache);
}

void image_keeper_found(struct image_keeper *keeper, const struct host_images *images)
{
    for (uint32_t i = 0; i < images->count; i++) {
        const struct host_image *image = &images->entries[i];
        image_cache_found_file(keeper->cache, image->digest, image->size, image->age_ms);
    }
}

/* --- looking --- */

static void save(struct image_keeper *keeper)
{
    if (!image_cache_is_changed(keeper->cache))
        return;
    AUTO_FREE char *text = image_cache_save(keeper->cache);
    state_store_put(keeper->options.store, STATE_IMAGES, text);
}

static void on_look(uv_timer_t *timer)
{
    struct image_keeper *keeper = timer->data;
    if (keeper->looks++ % LOOKS_AN_HOUR == 0)
        image_downloads_sweep(keeper->downloads, LEFTOVER_AGE_MS);
    image_cache_collect(keeper->cache);
    save(keeper);
}

void image_keeper_begin(struct image_keeper *keeper, struct image_downloads *downloads,
                        const struct instance_table *instances,
                        const struct image_prefetch *prefetch)
{
    keeper->downloads = downloads;
    keeper->instances = instances;
    keeper->prefetch = prefetch;
    uv_timer_start(&keeper->look, on_look, LOOK_MS, LOOK_MS);
}

/* --- life --- */

static uint64_t choose_limit(const struct image_keeper_options *options)
{
    struct statvfs disk;
    if (options->has_limit)
        return options->limit;
    if (statvfs(options->chains_directory, &disk) < 0)
        return IMAGE_KEEPER_LIMIT;
    uint64_t part = (uint64_t)disk.f_blocks * disk.f_frsize / IMAGE_KEEPER_DISK_PART;
    return part < IMAGE_KEEPER_LIMIT ? part : IMAGE_KEEPER_LIMIT;
}

struct image_keeper *image_keeper_create(const struct image_keeper_options *options)
{
    struct image_keeper *keeper = xcalloc(1, sizeof *keeper);
    keeper->options = *options;
    struct image_cache_options cache = {
        .clock = options->clock,
        .limit = choose_limit(options),
        .age_ms = options->age_ms,
        .is_used = is_used,
        .remove_chain = remove_chain,
        .remove_file = remove_file,
        .data = keeper,
    };
    keeper->cache = image_cache_create(&cache);
    uv_timer_init(options->loop, &keeper->look);
    keeper->look.data = keeper;
    recall(keeper);
    find_chains(keeper);
    return keeper;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void image_keeper_destroy(struct image_keeper *keeper)
{
    if (keeper == NULL)
        return;
    save(keeper);
    image_cache_destroy(keeper->cache);
    uv_close((uv_handle_t *)&keeper->look, on_closed);
}

struct image_cache *image_keeper_cache(struct image_keeper *keeper)
{
    return keeper->cache;
}
