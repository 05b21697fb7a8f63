/* What was found good a short while ago, so that it costs no second bcrypt or signature: a keyed
 * hash of it, never the thing itself. Places are fixed; where they run out the oldest is forgotten.
 * Any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/crypto.h"

struct remembered;

struct proof {
    unsigned char mac[HMAC_SHA256_LENGTH];
};

struct remembered *remembered_create(uint64_t lifetime_ms);
/* NULL is fine. */
void remembered_destroy(struct remembered *remembered);
/* What stands for the text here. A proof from before remembered_clear is worth nothing after it:
 * take it before looking at what it is checked against. */
void remembered_proof(struct remembered *remembered, const void *text, size_t length,
                      struct proof *ret_proof);
/* `now_ms` is monotonic. */
bool remembered_has(struct remembered *remembered, const struct proof *proof, uint64_t now_ms);
void remembered_add(struct remembered *remembered, const struct proof *proof, uint64_t now_ms);
/* Forgets everything. */
void remembered_clear(struct remembered *remembered);
