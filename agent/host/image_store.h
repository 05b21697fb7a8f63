/* Image files that may boot: root's, read-only, named by the digest of their bytes.
 *
 * The deciding half puts a file into its staging folder and asks for it by digest; it is copied
 * while it is hashed, so what lies here is what was hashed. Blocking; one thread imports. */
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
/* Copies an imported file to `target` (0444), hashing what it copies: the copy is what boots. */
int image_store_place(struct image_store *store, const char *digest, const char *target,
                      uint64_t *ret_size, struct error *error);
/* Opens an imported file, from its start, after hashing all of it. ERROR_SIGNATURE when it is not
 * whole. The caller closes `ret_descriptor`. */
int image_store_open(struct image_store *store, const char *digest, int *ret_descriptor,
                     uint64_t *ret_size, struct error *error);
