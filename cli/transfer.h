/* Images on their way from the local store to the registry. */
#pragma once

#include "cli/cli.h"
#include "lib/crypto.h"

struct transfer_result {
    char digest[DIGEST_TEXT_MAX];
    char key_id[KEY_ID_MAX]; /* of the key that signed it; "": none */
};

/* Pushes the local image that was typed, and signs it with `key` (NULL: does not). */
int transfer_push(struct cli *cli, const char *typed, const struct private_key *key,
                  struct transfer_result *ret_result, struct error *error);
/* "NAME: pushed, signed by key ID" and the digest; `id` may be "". */
void transfer_print(struct cli *cli, const char *name, const char *digest, const char *id,
                    const char *result);
