/* Images that other tools made, read as they are: digest and signatures stay untouched, and what
 * they say becomes the config and parts of one of ours in memory.
 *
 *   KraftKit   config of type application/vnd.oci.image.config.v1+json, os qemu (or fc, xen),
 *              layers as tar archives with /unikraft/bin/kernel and /unikraft/bin/initrd, which
 *              annotations org.unikraft.kernel.* name (kraftkit, oci/annotations.go)
 *   urunc      annotations or labels com.urunc.unikernel.*, or the same keys in /urunc.json; plain
 *              or base64 (urunc, docs/package/index.md)
 *
 * What cannot be honoured is refused by its name. Everything they say is hostile. Pure functions.
 */
#pragma once

#include "image-format/chain.h"

/* Where urunc's images may keep their keys, in a layer. */
#define FOREIGN_METADATA_PATH "/urunc.json"
#define FOREIGN_METADATA_MAX  (64u << 10) /* bytes */

/* The type of the configs that are looked into. */
#define FOREIGN_CONFIG_TYPE "application/vnd.oci.image.config.v1+json"

/* amd64 or arm64 for any of the names that tools use; NULL for all others. */
const char *foreign_architecture_name(const char *name);
/* That the config says. ERROR_UNSUPPORTED for one that is not ours. */
int foreign_architecture(const char *config, size_t length, char ret_architecture[16],
                         struct error *error);
bool foreign_needs_metadata(const struct oci_manifest *manifest, const char *config, size_t length);
/* ERROR_INVALID: neither tool made it. ERROR_UNSUPPORTED: something that a node cannot honour. */
int foreign_read(const struct oci_manifest *manifest, const char *config, size_t config_length,
                 const char *metadata, size_t metadata_length, struct image_verified *verified,
                 struct error *error);
