/* Image files that may boot: root's, read-only, named by the digest of their bytes.
 *
 * The deciding half puts a file into its staging folder and asks for it by digest; it is copied
 * while it is hashed, so what lies here is what was hashed. All instances of an image read one
 * file. It is hashed again before the first boot from it after its import and after a start of this
 * process, and whenever it is not the file, with the times of change, that was hashed last.
 * Blocking; one thread imports, any thread opens. */
#pragma once

#include <stdint.h>

#include "lib/error.h"

struct image_store;

/* Below <state>: host/images is this store's, staging the deciding half's. QEMU's users may
 * not always pass through the state's parents: `shown` is where they see the images (mounts.h). */
struct image_store *image_store_create(const char *state_directory, const char *shown,
                                       struct error *error);
void image_store_destroy(struct image_store *store);
/* The folder of the images, to be shown. */
const char *image_store_folder(const struct image_store *store);
/* Where QEMU sees an imported file. The caller frees. */
char *image_store_shown(const struct image_store *store, const char *digest);

/* Takes staging/<hex> in. ERROR_SIGNATURE when its bytes are not the digest's. One that is here
 * already, and whole, is not asked for again. */
int image_store_import(struct image_store *store, const char *digest, uint64_t size,
                       struct error *error);
/* Opens an imported file, from its start, once it is proven to be the digest's: by hashing all of
 * it, unless that was done and the file has not changed since. Threads that want the same file wait
 * for the one that hashes it. ERROR_SIGNATURE when it is not whole. The caller closes
 * `ret_descriptor`. */
int image_store_open(struct image_store *store, const char *digest, int *ret_descriptor,
                     uint64_t *ret_size, struct error *error);
/* Removes an imported file; one that is not there is fine. A microVM that runs keeps the bytes it
 * has open. */
int image_store_drop(struct image_store *store, const char *digest, struct error *error);
/* Calls `each` for every imported file. `age_ms`: since it was imported or read, whichever came
 * last and the file system has kept. */
void image_store_each(struct image_store *store,
                      void (*each)(void *context, const char *digest, uint64_t size,
                                   uint64_t age_ms),
                      void *context);
/* Bytes that were hashed so far to prove files. */
uint64_t image_store_hashed(struct image_store *store);
