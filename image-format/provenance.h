/* How an image was made, as SLSA v1 provenance: the predicate of an in-toto statement about it.
 *
 * Source: slsa.dev "Provenance" v1. The same build gives the same bytes: no times but the one that
 * SOURCE_DATE_EPOCH gives, no paths, no host's name. What it cannot know it does not say: which
 * sources a `build` command read. Pure functions. */
#pragma once

#include "image-format/pack.h"

#define PROVENANCE_BUILD_TYPE "https://shoal.dev/build/recipe/v1"
#define PROVENANCE_BUILDER    "https://shoal.dev/build"

struct provenance {
    const struct recipe *recipe;
    const struct packed_image *image;
    const struct pack_options *options;
    bool ran_commands;
    const char *version; /* of the program that builds */
    uint64_t built_at;   /* seconds since 1970; 0: not said */
};

/* The predicate's JSON text; the caller frees it. */
char *provenance_predicate(const struct provenance *provenance);
/* Makes `content`, bytes of `media_type`, a referrer of the image as a whole. `predicate_type` as
 * for bundle_referrer. */
void provenance_attach(struct packed_image *image, const char *media_type, const char *content,
                       size_t length, const char *predicate_type);
