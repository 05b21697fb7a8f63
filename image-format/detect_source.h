/* Where detection reads from: a file of any size, read piece by piece, or bytes in memory.
 *
 * Every offset and length comes from the file itself, so each is checked here, without overflow,
 * before a byte is read. A part of the room; used by elf.c and detect*.c. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"

struct detect_source {
    const unsigned char *bytes; /* NULL: read from `descriptor` */
    int descriptor;
    uint64_t base; /* where in bytes or file the source begins */
    uint64_t size; /* bytes */
};

/* `bytes` stay the caller's. */
void detect_source_of_bytes(const void *bytes, size_t length, struct detect_source *ret_source);
/* A regular file or a block device; ERROR_INVALID for anything else. */
int detect_source_of_file(int descriptor, struct detect_source *ret_source, struct error *error);
/* The part from `offset` to the source's end; empty behind it. */
struct detect_source detect_source_from(const struct detect_source *source, uint64_t offset);

/* Whether [offset, offset + length) lies within. */
bool detect_source_holds(const struct detect_source *source, uint64_t offset, uint64_t length);
/* Exactly `length` bytes. ERROR_INVALID when they do not lie within, ERROR_IO when the file cannot
 * be read, ERROR_CONFLICT when it became shorter meanwhile. */
int detect_source_read(const struct detect_source *source, uint64_t offset, void *ret_bytes,
                       size_t length, struct error *error);
/* As many of `length` bytes as there are; the rest of `ret_bytes` is zeroed. */
int detect_source_peek(const struct detect_source *source, uint64_t offset, void *ret_bytes,
                       size_t length, struct error *error);
/* Looks for a short text in all of the bytes. */
int detect_source_find(const struct detect_source *source, const char *text, bool *ret_found,
                       struct error *error);

/* Little-endian numbers at a place that has been checked. */
static inline uint16_t detect_u16(const unsigned char *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}

static inline uint32_t detect_u32(const unsigned char *at)
{
    return detect_u16(at) | (uint32_t)detect_u16(at + 2) << 16;
}

static inline uint64_t detect_u64(const unsigned char *at)
{
    return detect_u32(at) | (uint64_t)detect_u32(at + 4) << 32;
}

/* The other way round: qcow2. */
static inline uint32_t detect_big_u32(const unsigned char *at)
{
    return __builtin_bswap32(detect_u32(at));
}

static inline uint64_t detect_big_u64(const unsigned char *at)
{
    return __builtin_bswap64(detect_u64(at));
}
