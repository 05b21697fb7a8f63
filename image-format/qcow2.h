/* The header of a qcow2 disk image (QEMU's docs/interop/qcow2.txt), read to judge whether the disk
 * is whole in itself: such a file can name others (a backing file, a data file) that whoever opens
 * it would open too.
 *
 * Pure: reads bytes, opens nothing. The hypervisor reads everything behind the header itself. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"

/* Bytes of a file's beginning that qcow2_check wants to see, or all where the file is shorter. */
#define QCOW2_HEAD_MAX 4096
/* The largest disk that is taken, in bytes: what a guest may write grows up to it. */
#define QCOW2_SIZE_MAX ((uint64_t)1 << 40)

/* By the magic number. */
bool qcow2_is(const void *head, size_t length);
/* ERROR_INVALID for a broken header; ERROR_UNSUPPORTED for a disk that is not whole in itself
 * (backing file, data file), is encrypted, holds snapshots, was not closed properly or uses what
 * is not known here. `ret_size` is what the guest sees, in bytes. */
int qcow2_check(const void *head, size_t length, uint64_t file_size, uint64_t *ret_size,
                struct error *error);
