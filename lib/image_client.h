/* Images from a registry: what a name stands for, and the bytes that prove it may boot. Fetches,
 * checks digests, judges no signatures (image-format/chain.h does).
 *
 * Loop thread only. Each call ends in exactly one callback, later, unless the oci_client is
 * destroyed first: then in none. */
#pragma once

#include "image-format/chain.h"
#include "lib/oci_client.h"

#define IMAGE_ARCHITECTURES_MAX 8

/* Lives during the callback only. */
struct image_resolved {
    const struct error *error; /* NULL: it worked */
    char digest[DIGEST_TEXT_MAX];
    char architectures[IMAGE_ARCHITECTURES_MAX][16];
    size_t architecture_count;
};

typedef void image_resolve_callback(const struct image_resolved *resolved, void *data);
/* `chain` is NULL when `error` is not. To keep it, copy the struct and zero the one given
 * (`*mine = *chain; *chain = (struct image_chain){0};`); otherwise it is released. */
typedef void image_chain_callback(const struct error *error, struct image_chain *chain, void *data);

/* What `reference` (a tag or a digest) is now: the digest to pin, and the architectures it has. */
void image_client_resolve(struct oci_client *client, const char *repository, const char *reference,
                          image_resolve_callback *callback, void *data);
/* Index, manifest for `architecture`, config, and the signatures and attestations of index and
 * manifest (image_signatures.h). ERROR_NOT_FOUND when there is no such architecture. */
void image_client_fetch_chain(struct oci_client *client, const char *repository,
                              const char *pinned_digest, const char *architecture,
                              image_chain_callback *callback, void *data);
