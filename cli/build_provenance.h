/* What a build says about itself, beside the image that it made. Blocks. */
#pragma once

#include "image-format/provenance.h"
#include "lib/crypto.h"

/* Adds the provenance to the image as a referrer: a bundle signed by `key`, or a bare statement
 * (NULL). What this key has signed before about the image `name` of the store `folder`, word for
 * word, is taken instead of signing it again. */
int build_provenance_add(struct provenance *provenance, const struct private_key *key,
                         const char *folder, const char *name, struct packed_image *image,
                         struct error *error);
