/* What a kernel file is, by its own bytes, never by its name. Pure functions. */
#pragma once

#include <stddef.h>

#include "lib/error.h"

#define KERNEL_NOTE_PVH 18 /* XEN_ELFNOTE_PHYS32_ENTRY */

/* Family shoal on amd64: an ELF64 executable for x86-64 with a PVH entry note in a PT_NOTE segment.
 * Anything else is ERROR_INVALID with what was seen. `name` stands in front of the message. */
int kernel_check_pvh(const char *name, const void *bytes, size_t length, struct error *error);
