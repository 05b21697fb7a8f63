/*
 * The guest's free memory, given out once and never taken back: what lives as long as the guest.
 * Untouched memory costs the host nothing, so large things come from here and not from the image.
 */
#ifndef RUNTIME_MEMORY_H
#define RUNTIME_MEMORY_H

#include <stddef.h>
#include <stdint.h>

void memory_init(uintptr_t begin, uintptr_t end);

/* Zeroed, aligned to 64 bytes. Panics, naming `purpose`, when the guest has no more. */
void *memory_take(size_t size, const char *purpose);

#endif
