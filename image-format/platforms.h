/* The architectures an index lists. Pure functions. */
#pragma once

#include "lib/oci.h"

/* Whether an entry is a unikernel's manifest. */
bool platforms_is_unikernel(const struct oci_descriptor *descriptor);
/* The manifest for `architecture`; NULL with ERROR_NOT_FOUND saying what there is instead. */
const struct oci_descriptor *platforms_find(const struct oci_index *index, const char *architecture,
                                            struct error *error);
