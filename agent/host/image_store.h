/* Image files that may boot: root's, read-only, named by the digest of their bytes.
 *
 * The deciding half puts a file into its staging folder and asks for it by digest; it is copied
 * while it is hashed, so what lies here is what was hashed. Blocking; one thread imports. */
#pragma once

#include <stdint.h>

#include "lib/error.h"

struct image_store;

/* Below <state>: host/images is this store's, staging the deciding half's. */
struct image_store *image_store_create(const char *state_directory, struct error *error);
void image_store_destroy(struct image_store *store);

/* Takes staging/<hex> in. ERROR_SIGNATURE when its bytes are not the digest's. One that is here
 * already, and whole, is not asked for again. */
int image_store_import(struct image_store *store, const char *digest, uint64_t size,
                       struct error *error);
/* Copies an imported file to `target` (0444), hashing what it copies: the copy is what boots. A
 * copy, because QEMU's users may enter the run folder but not always the state's parents. */
int image_store_place(struct image_store *store, const char *digest, const char *target,
                      struct error *error);
