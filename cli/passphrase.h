/* Passwords of keys: from COSIGN_PASSWORD, or asked for on the terminal without an echo. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/error.h"

#define PASSPHRASE_MAX 1024

struct passphrase {
    char text[PASSPHRASE_MAX];
    size_t length;
};

/* COSIGN_PASSWORD, where an empty one is a password too; else asked for on the terminal, twice when
 * `is_new`. ERROR_DENIED with the remedy when there is neither. Wipe it with passphrase_wipe. */
int passphrase_get(const char *file, bool is_new, struct passphrase *ret_passphrase,
                   struct error *error);
/* Whether COSIGN_PASSWORD is set. */
bool passphrase_is_given(void);
void passphrase_wipe(struct passphrase *passphrase);
