/* Whole files: read with a limit, write so that a crash leaves the old or the new one.
 * Blocking; not for the loop thread where the file may be large. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "lib/error.h"

/* Reads at most `limit` bytes (ERROR_TOO_LARGE beyond); `ret_data` (free) ends with a NUL that
 * `ret_length` does not count. */
int file_read(const char *path, size_t limit, char **ret_data, size_t *ret_length,
              struct error *error);
/* Writes beside `path`, syncs, renames over it, syncs the folder. */
int file_write(const char *path, const void *data, size_t length, mode_t mode, struct error *error);
/* mkdir -p; existing folders are left as they are. */
int file_make_directory(const char *path, mode_t mode, struct error *error);
/* fsync of a folder, so that a rename or unlink in it is durable. */
int file_sync_directory(const char *path, struct error *error);
/* write(2) until all is written. */
int file_write_all(int descriptor, const void *data, size_t length, struct error *error);
/* rm -r, below and including `path`; a path that is not there is fine. Never follows links. */
int file_remove_tree(const char *path, struct error *error);
