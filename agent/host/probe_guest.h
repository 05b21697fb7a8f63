/* The smallest guest that proves an accelerator: a PVH kernel that enters long mode, computes with
 * SSE and writes to the isa-debug-exit port, so that QEMU ends with PROBE_GUEST_EXIT. */
#pragma once

#include <stddef.h>

#define PROBE_GUEST_EXIT 43

/* The ELF image's bytes; 0 on machines it was not written for. */
size_t probe_guest_image(const void **ret_bytes);
