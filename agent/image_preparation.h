/* From a pinned digest to an image that may boot here, for one instance:
 *
 *   chain saved on disk, or fetched and saved -> the trust that is needed is there ->
 *   verified from the bytes on disk with today's keys and policies -> packed layers unpacked ->
 *   kernel, initrd and disks imported by the host half
 *
 * Every preparation verifies, however often the image was used before: one is made for every boot.
 * Loop thread only. */
#pragma once

#include "agent/image_downloads.h"
#include "agent/trust.h"
#include "image-format/chain.h"
#include "lib/api/boot_steps.h"

struct image_preparation;

/* The list of keys that must be known before anything is proven. */
struct trust_need {
    uint64_t term, revision;
};

struct image_preparation_options {
    struct image_downloads *store;
    const struct trust *trust;
    const struct trust_need *trust_needed; /* by the assignment; looked at when it matters */
    const char *repository;
    const char *digest;
    const char *architecture;
    bool is_imported;             /* since this process started: only the proof is made again */
    struct api_boot_steps *steps; /* where its time goes is added up here; outlives it */
    void (*on_state)(enum instance_state state, const char *cause, const char *message, void *data);
    /* Exactly one of these ends it; the preparation is gone when it returns. `verified` is lent. */
    void (*on_ready)(const struct image_verified *verified, void *data);
    void (*on_failed)(const char *cause, const char *message, void *data);
    void *data;
};

/* Strings are copied. Nothing is called back before this returns. */
struct image_preparation *image_preparation_start(uv_loop_t *loop,
                                                  const struct image_preparation_options *options);
/* NULL is fine. */
void image_preparation_cancel(struct image_preparation *preparation);
/* The trust has changed: one that waited for it goes on. */
void image_preparation_trust_changed(struct image_preparation *preparation);
