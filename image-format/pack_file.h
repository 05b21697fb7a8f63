/* One of a recipe's files as a layer's blob, for pack.c alone: limits, bytes, digest. */
#pragma once

#include "image-format/pack.h"

enum pack_role { PACK_KERNEL, PACK_INITRD, PACK_DISK, PACK_DEBUG };

struct pack_role_facts {
    const char *name; /* "kernel": also the recipe's key */
    const char *media_type;
    uint64_t max; /* bytes */
};
extern const struct pack_role_facts pack_roles[]; /* by enum pack_role */

/* Reads the file: a kernel's bytes into `ret_blob`, of all others the digest and the path. Empty
 * and oversized files, and those that change meanwhile, are refused. The caller owns the blob's
 * members. */
int pack_file(const struct recipe *recipe, const struct pack_options *options, enum pack_role role,
              const char *path, struct packed_blob *ret_blob, struct error *error);
