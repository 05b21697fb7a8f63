/* Images that are fetched and proven before an instance needs them: what the assignment names in
 * `prefetch` while a rollout replaces instances of this node.
 *
 * One at a time, and only while no instance waits for an image of its own. What fails is told in
 * the log and left: the instance will say it again. Loop thread only. */
#pragma once

#include "agent/image_preparation.h"
#include "lib/api/agent.h"

struct image_prefetch;

struct image_prefetch_options {
    uv_loop_t *loop;
    const struct clock *clock;
    struct image_downloads *downloads;
    const struct trust *trust;
    bool (*is_busy)(void *data); /* instances wait for images */
    void *data;
};

struct image_prefetch *image_prefetch_create(const struct image_prefetch_options *options);
/* Before the downloads go. NULL is fine. */
void image_prefetch_destroy(struct image_prefetch *prefetch);
/* The list of an assignment, whole or delta, replaces the one before. */
void image_prefetch_apply(struct image_prefetch *prefetch, const struct api_assignment *assignment);
void image_prefetch_trust_changed(struct image_prefetch *prefetch);
/* Whether an image stays because it will be needed: it was named in the last assignment, less than
 * an hour ago. */
bool image_prefetch_wants(const struct image_prefetch *prefetch, const char *digest,
                          const char *architecture);
