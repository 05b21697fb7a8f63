/* Descriptors of the blobs that were asked for last: who asks for one of them again is given a
 * second descriptor of it, which costs a tenth of opening its path.
 *
 * Who removes, renames or replaces a blob's file forgets it here afterwards; one that somebody else
 * unlinked is noticed. The descriptors share one position: read by offset (pread, sendfile). Any
 * thread. Knows no paths. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct open_blobs;

struct open_blobs *open_blobs_create(void);
void open_blobs_destroy(struct open_blobs *open);
/* A descriptor for the caller to close. False: none is kept; `ret_ticket` is then for
 * open_blobs_keep, and to be had before the caller opens the file. */
bool open_blobs_take(struct open_blobs *open, const char *digest, int *ret_descriptor,
                     uint64_t *ret_size, uint64_t *ret_ticket);
/* Keeps a descriptor of its own of the file. Nothing is kept if the digest was forgotten since the
 * ticket: the file may be the one before. */
void open_blobs_keep(struct open_blobs *open, const char *digest, int descriptor, uint64_t ticket);
void open_blobs_forget(struct open_blobs *open, const char *digest);
