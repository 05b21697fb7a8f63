/* Packed layers: zstd for raw parts, and tar archives (plain, gzip or zstd) of images that other
 * tools made. The one door to libarchive.
 *
 * What is read is hostile: every size is bounded by the caller, nothing is ever written under a
 * name from inside an archive, and links are not followed. One compression is undone, never one
 * inside another: a few megabytes of those can take days and give nothing. Blocking; any thread but
 * the loop's, which may take small archives apart by packing_extract_bytes. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"

/* Bytes that an archive may unpack to in all, passed over or not. */
#define PACKING_TOTAL_MAX   ((uint64_t)8 << 30)
#define PACKING_ENTRIES_MAX 100000

/* Compresses a file into another at a fixed level on one thread: the same input gives the same
 * bytes with the same library. Descriptors stay the caller's; `to` is written from where it is. */
int packing_compress_zstd(int from, int to, struct error *error);
/* Unpacks a zstd stream that must give exactly `size` bytes: one byte more is refused when it
 * comes, not when the disk is full (ERROR_INVALID). `stop` (NULL: never) set by another thread ends
 * it early with ERROR_UNAVAILABLE. */
int packing_unpack_zstd(int from, uint64_t size, int to, const atomic_bool *stop,
                        struct error *error);

/* One file that is wanted out of tar archives. */
struct packing_wanted {
    const char *path;  /* inside the archive; a leading "/" or "./" on either side does not count */
    int to;            /* where its bytes go; the caller's */
    uint64_t size_max; /* bytes */
    uint64_t size;     /* out: bytes that were written */
    int found;         /* out: 1 found, -1 removed by this layer (a whiteout), 0 not here */
};

/* Takes the wanted files out of one layer, in one pass; those with `found` != 0 already are left
 * alone, so layers are given from the last to the first. ERROR_INVALID: no tar archive, a name with
 * "..", the wanted path is a link or no regular file or stands there twice, or sizes beyond the
 * bounds. `stop` as above. */
int packing_extract(int from, struct packing_wanted *wanted, size_t count, const atomic_bool *stop,
                    struct error *error);
/* The same from bytes in memory. `total` is what they may unpack to, passed over or not; it is less
 * by what they did; 0 after a failure: that was too little. */
int packing_extract_bytes(const void *bytes, size_t length, uint64_t *total,
                          struct packing_wanted *wanted, size_t count, struct error *error);

/* One file of a tar archive that is written: its bytes in memory, or in the file `path`. */
struct packing_file {
    const char *name; /* inside the archive */
    const void *bytes;
    const char *path; /* NULL: `bytes` */
    uint64_t size;    /* of the file too: another size is refused (ERROR_CONFLICT) */
};

/* Writes a plain tar archive of the files, in their order, without owners and times: the same files
 * give the same bytes. `to` stays the caller's. */
int packing_write_tar(int to, const struct packing_file *files, size_t count, struct error *error);
