/* Signing images that are in a registry: the index and all that it lists, in cosign's two forms. */
#pragma once

#include "cli/registry.h"

enum signing_forms {
    SIGNING_SIMPLE = 1, /* the payload under the .sig tag: every cosign reads it */
    SIGNING_BUNDLE = 2, /* the bundle as a referrer: cosign 3's own */
    SIGNING_BOTH = SIGNING_SIMPLE | SIGNING_BUNDLE,
    SIGNING_RENEW = 4, /* also where this key has signed already: with the time of now */
};
extern const char *const signing_form_names[]; /* for --format; ends with a NULL */

struct signing_result {
    char digest[DIGEST_TEXT_MAX]; /* of the image as a whole */
    char key_id[KEY_ID_MAX];
    size_t subjects; /* indexes and manifests */
    size_t made;     /* signatures that were not there yet */
};

/* NULL is both. */
unsigned signing_forms_parse(const char *name);
/* Signs what `reference` (a tag or a digest) is now, recursively. Signatures that are there stay;
 * where this key has signed already, nothing is added but with SIGNING_RENEW. */
int signing_sign(struct registry *registry, const struct private_key *key, const char *reference,
                 unsigned forms, struct signing_result *ret_result, struct error *error);
