/* Signatures and attestations of one image, from a registry: cosign's under the .sig tag, and
 * sigstore bundles among the image's referrers. Fetches, checks digests, judges nothing
 * (image-format/chain.h does).
 *
 * Loop thread only. A call ends in exactly one callback, later, unless the oci_client is destroyed
 * first: then in none. */
#pragma once

#include "image-format/chain.h"
#include "lib/oci_client.h"

typedef void image_signatures_callback(const struct error *error, void *data);

/* Adds what there is of the manifest or index `digest` to `chain`, which stays the caller's and
 * must live until then. None is no error; what is too large, or gone, is passed over: it proves
 * nothing, the others may. */
void image_signatures_fetch(struct oci_client *client, const char *repository, const char *digest,
                            struct image_chain *chain, image_signatures_callback *callback,
                            void *data);
