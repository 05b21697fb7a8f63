/* The architectures an index lists. Pure functions. */
#pragma once

#include "lib/oci.h"

/* Whether an entry is a unikernel's manifest, of Shoal's own form. */
bool platforms_is_unikernel(const struct oci_descriptor *descriptor);
/* amd64 or arm64 when an entry may be a unikernel's that nodes boot, of any form: os unikernel,
 * qemu or kvm (KraftKit), or linux (urunc; only its manifest tells). NULL for all others. */
const char *platforms_architecture(const struct oci_descriptor *descriptor);
/* The manifest for `architecture`; NULL with ERROR_NOT_FOUND saying what there is instead. */
const struct oci_descriptor *platforms_find(const struct oci_index *index, const char *architecture,
                                            struct error *error);
/* OCI's types, and Docker's older ones for the same documents. */
bool platforms_is_index_type(const char *media_type);
bool platforms_is_manifest_type(const char *media_type);
