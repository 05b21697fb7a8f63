/* One of a recipe's files as a layer's blob, for pack.c alone: limits, bytes, digest, compression.
 */
#pragma once

#include "image-format/detect.h"
#include "image-format/pack.h"

enum pack_role { PACK_KERNEL, PACK_INITRD, PACK_DISK, PACK_DEBUG };

struct pack_role_facts {
    const char *name; /* "kernel": also the recipe's key */
    const char *media_type;
    uint64_t max; /* bytes */
};
extern const struct pack_role_facts pack_roles[]; /* by enum pack_role */

/* A file as the layer that carries it. */
struct packed_file {
    struct packed_blob blob;
    char digest[DIGEST_TEXT_MAX]; /* of the file's own bytes; the blob's may be compressed */
    uint64_t size;
    struct detection detection; /* of what may boot: kernels and disks */
};

/* Reads the file: a plain kernel's bytes into the blob, of all others the digest and the path, or
 * the path of a compressed copy in the options' scratch folder. Empty and oversized files, and
 * those that change meanwhile, are refused. The caller releases the file. */
int pack_file(const struct recipe *recipe, const struct pack_options *options, enum pack_role role,
              const char *path, struct packed_file *ret_file, struct error *error);
void packed_file_release(struct packed_file *file);
