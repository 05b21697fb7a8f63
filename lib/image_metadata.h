/* What an image keeps about itself in a file of one of its layers (image-format/foreign.h), from a
 * registry. Judges nothing.
 *
 * Loop thread only. A call ends in exactly one callback, at once or later, unless the oci_client is
 * destroyed first: then in none. */
#pragma once

#include "image-format/chain.h"
#include "lib/oci_client.h"

/* Bytes of a layer that is looked into. Larger ones hold file systems. */
#define IMAGE_METADATA_LAYER_MAX (16u << 20)
/* Bytes that the layers of one image may unpack to while it is looked for: that is work for the
 * loop. A layer beyond it is passed over, as larger ones are. */
#define IMAGE_METADATA_WORK_MAX (64u << 20)

typedef void image_metadata_callback(const struct error *error, void *data);

/* By manifest and config, which the chain has. */
bool image_metadata_is_needed(const struct image_chain *chain);
/* Looks into the layers, from the last, and puts what it finds into `chain`, which stays the
 * caller's. Nothing found is no error. */
void image_metadata_fetch(struct oci_client *client, const char *repository,
                          struct image_chain *chain, image_metadata_callback *callback, void *data);
