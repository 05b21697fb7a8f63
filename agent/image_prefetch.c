#include "agent/image_prefetch.h"

#include <stdlib.h>
#include <string.h>

#include "lib/log.h"
#include "lib/xalloc.h"

/* How often it is looked whether instances let it have its turn. */
#define LOOK_MS 1000
/* The last assignment of a rollout may not be the last that is heard of it: no image stays for ever
 * because nothing came since. */
#define WANTED_MS (UINT64_C(3600) * 1000)

struct prefetched {
    struct api_prefetch image;
    bool is_begun; /* or over */
};

struct image_prefetch {
    struct image_prefetch_options options;
    struct trust_need trust_needed;
    struct prefetched items[API_PREFETCH_MAX];
    size_t count;
    uint64_t named_ms;
    struct image_preparation *preparation; /* of `current`; NULL: none runs */
    struct api_prefetch current;
    struct api_boot_steps steps; /* of its preparation, which nobody asks for */
    uv_timer_t look;
};

static bool is_same(const struct api_prefetch *one, const struct api_prefetch *other)
{
    return strcmp(one->digest, other->digest) == 0 && strcmp(one->arch, other->arch) == 0;
}

/* --- one after the other --- */

static void on_look(uv_timer_t *timer);

static void look_in(struct image_prefetch *prefetch, uint64_t wait_ms)
{
    uv_timer_start(&prefetch->look, on_look, wait_ms, 0);
}

static void on_state(enum instance_state state, const char *cause, const char *message, void *data)
{
    (void)state;
    (void)cause;
    (void)message;
    (void)data;
}

static void on_ready(const struct image_verified *verified, void *data)
{
    struct image_prefetch *prefetch = data;
    (void)verified;
    prefetch->preparation = NULL;
    log_info("an image is here before it is needed", "repository", prefetch->current.repository,
             "digest", prefetch->current.digest);
    look_in(prefetch, 0);
}

static void on_failed(const char *cause, const char *message, void *data)
{
    struct image_prefetch *prefetch = data;
    prefetch->preparation = NULL;
    log_warn("an image that will be needed cannot be had", "repository",
             prefetch->current.repository, "digest", prefetch->current.digest, "cause", cause,
             "reason", message);
    look_in(prefetch, 0);
}

static void begin(struct image_prefetch *prefetch, struct prefetched *item)
{
    item->is_begun = true;
    prefetch->current = item->image;
    struct image_preparation_options options = {
        .store = prefetch->options.downloads,
        .trust = prefetch->options.trust,
        .trust_needed = &prefetch->trust_needed,
        .repository = item->image.repository,
        .digest = item->image.digest,
        .architecture = item->image.arch,
        .steps = &prefetch->steps,
        .on_state = on_state,
        .on_ready = on_ready,
        .on_failed = on_failed,
        .data = prefetch,
    };
    prefetch->preparation = image_preparation_start(prefetch->options.loop, &options);
}

static void on_look(uv_timer_t *timer)
{
    struct image_prefetch *prefetch = timer->data;
    if (prefetch->preparation != NULL)
        return;
    for (size_t i = 0; i < prefetch->count; i++) {
        if (prefetch->items[i].is_begun)
            continue;
        if (prefetch->options.is_busy(prefetch->options.data))
            look_in(prefetch, LOOK_MS);
        else
            begin(prefetch, &prefetch->items[i]);
        return;
    }
}

/* --- what is wanted --- */

static bool was_begun(const struct image_prefetch *prefetch, const struct api_prefetch *image)
{
    for (size_t i = 0; i < prefetch->count; i++) {
        if (is_same(&prefetch->items[i].image, image))
            return prefetch->items[i].is_begun;
    }
    return false;
}

static bool is_listed(const struct api_assignment *assignment, const struct api_prefetch *image)
{
    for (size_t i = 0; i < assignment->prefetch_count; i++) {
        if (is_same(&assignment->prefetch[i], image))
            return true;
    }
    return false;
}

void image_prefetch_apply(struct image_prefetch *prefetch, const struct api_assignment *assignment)
{
    struct prefetched items[API_PREFETCH_MAX] = {0};
    size_t count = 0;
    prefetch->trust_needed = (struct trust_need){assignment->term, assignment->trust_revision};
    prefetch->named_ms = clock_monotonic_ms(prefetch->options.clock);
    for (; count < assignment->prefetch_count && count < API_PREFETCH_MAX; count++)
        items[count] =
            (struct prefetched){.image = assignment->prefetch[count],
                                .is_begun = was_begun(prefetch, &assignment->prefetch[count])};
    memcpy(prefetch->items, items, count * sizeof *items);
    prefetch->count = count;
    /* A rollout that was given up: its image is not needed. */
    if (prefetch->preparation != NULL && !is_listed(assignment, &prefetch->current)) {
        image_preparation_cancel(prefetch->preparation);
        prefetch->preparation = NULL;
    }
    if (prefetch->preparation == NULL)
        look_in(prefetch, 0);
}

void image_prefetch_trust_changed(struct image_prefetch *prefetch)
{
    image_preparation_trust_changed(prefetch->preparation);
}

bool image_prefetch_wants(const struct image_prefetch *prefetch, const char *digest,
                          const char *architecture)
{
    if (clock_monotonic_ms(prefetch->options.clock) > prefetch->named_ms + WANTED_MS)
        return false;
    for (size_t i = 0; i < prefetch->count; i++) {
        if (strcmp(prefetch->items[i].image.digest, digest) == 0 &&
            strcmp(prefetch->items[i].image.arch, architecture) == 0)
            return true;
    }
    return false;
}

/* --- life --- */

struct image_prefetch *image_prefetch_create(const struct image_prefetch_options *options)
{
    struct image_prefetch *prefetch = xcalloc(1, sizeof *prefetch);
    prefetch->options = *options;
    uv_timer_init(options->loop, &prefetch->look);
    prefetch->look.data = prefetch;
    return prefetch;
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void image_prefetch_destroy(struct image_prefetch *prefetch)
{
    if (prefetch == NULL)
        return;
    image_preparation_cancel(prefetch->preparation);
    uv_close((uv_handle_t *)&prefetch->look, on_closed);
}
