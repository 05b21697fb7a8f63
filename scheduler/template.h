/* A service's template: what the manifest says over what the image says, checked against each
 * other. Pure. */
#pragma once

#include "image-format/chain.h"
#include "scheduler/documents.h"

/* One architecture of a resolved and verified image. */
struct template_image {
    const struct image_verified *verified; /* one each, in order of preference */
    size_t count;
    const char *digest; /* pinned */
};

/* Fills template, template_digest, platforms, health and signed_by of a zeroed revision. Errors
 * carry the pointer of the manifest's value that does not fit the image. */
int template_make(const struct api_service_spec *spec, const struct template_image *image,
                  struct document_revision *ret_revision, struct error *error);
