/* What an image holds, read from its manifest and config: how it boots, and the parts a node
 * fetches. Serves images of Shoal's own form and, adapted as they are, those of other tools
 * (foreign.h). For chain.c, and for clients that must know what to fetch. Pure functions. */
#pragma once

#include "image-format/chain.h"

/* The annotations of a layer that is packed: what it unpacks to. */
#define CONTENT_DIGEST_ANNOTATION "dev.shoal.content.digest"
#define CONTENT_SIZE_ANNOTATION   "dev.shoal.content.size"

/* Fills config, layers, parts and made_for. The bytes of config and metadata are those that the
 * manifest's digests prove (the caller has checked). ERROR_INVALID: it is no unikernel image, or
 * one that contradicts itself; ERROR_UNSUPPORTED: nothing here boots it, and why. */
int image_content_read(const struct oci_manifest *manifest, const char *config,
                       size_t config_length, const char *metadata, size_t metadata_length,
                       struct image_verified *verified, struct error *error);
/* The architecture that a manifest with this config is for. */
int image_content_architecture(const struct oci_manifest *manifest, const char *config,
                               size_t config_length, char ret_architecture[16],
                               struct error *error);
/* Whether what the image is stands in a file of one of its layers only (FOREIGN_METADATA_PATH). */
bool image_content_needs_metadata(const struct oci_manifest *manifest, const char *config,
                                  size_t config_length);
