/* Signatures of images as cosign makes and reads them: a "simple signing" payload names the
 * manifest's digest, an ECDSA P-256 signature covers the payload's bytes, and both travel in a
 * manifest of their own under the tag sha256-<hex>.sig. Pure functions. */
#pragma once

#include "lib/crypto.h"
#include "lib/oci.h"

#define SIGNATURE_TAG_MAX     80
#define SIGNATURE_PAYLOAD_MAX 65536 /* bytes */
#define SIGNATURES_MAX        64    /* layers of a signature manifest that are looked at */
/* The signing key's id, for messages only; never trusted. */
#define SIGNATURE_KEY_ANNOTATION "dev.shoal.key.id"

struct trusted_key {
    char name[64];
    char id[KEY_ID_MAX];
    struct public_key *key;
};

/* One signature: where its payload is, and what a verifier needs beside it. */
struct signature_entry {
    char payload_digest[DIGEST_TEXT_MAX];
    uint64_t payload_size;
    char *signature;         /* base64 of DER */
    char key_id[KEY_ID_MAX]; /* "" when the signer left none */
};

/* A signature manifest to be pushed: two blobs and the manifest. */
struct signature_image {
    char *payload; /* of the new signature */
    size_t payload_length;
    char payload_digest[DIGEST_TEXT_MAX];
    char *config;
    size_t config_length;
    char config_digest[DIGEST_TEXT_MAX];
    char *manifest;
    size_t manifest_length;
    char manifest_digest[DIGEST_TEXT_MAX];
};

/* "sha256-<hex>.sig". */
void signature_tag(const char *digest, char ret_tag[SIGNATURE_TAG_MAX]);
/* The payload's exact bytes; the caller frees them. `docker_reference` is the image's name without
 * tag and digest ("127.0.0.1:5000/default/hello"). `signed_at`: seconds since 1970; 0: not told. */
char *signature_payload(const char *docker_reference, const char *digest, uint64_t signed_at);
/* Signs `digest` and adds the signature to `existing`, the bytes of the signature manifest that is
 * under the tag already (NULL, 0: none); what is in it stays. */
int signature_image_create(const struct private_key *key, const char *docker_reference,
                           const char *digest, uint64_t signed_at, const char *existing,
                           size_t existing_length, struct signature_image *ret_image,
                           struct error *error);
void signature_image_release(struct signature_image *image);
/* A signature manifest's JSON without these signatures (base64, as in their annotations): what a
 * renewed one is added to, or they would pile up. The caller frees it. */
int signature_manifest_drop(const char *manifest, size_t length,
                            const struct json_strings *signatures, char **ret_manifest,
                            struct error *error);

/* The signatures of a signature manifest, at most SIGNATURES_MAX; layers of other types are passed
 * over. Free with signature_entries_free. */
int signature_entries_parse(const char *manifest, size_t length,
                            struct signature_entry **ret_entries, size_t *ret_count,
                            struct error *error);
void signature_entries_free(struct signature_entry *entries, size_t count);

/* What checking a signature returns instead of a key's index, both with ERROR_SIGNATURE. */
enum { SIGNATURE_BY_NONE = -1, SIGNATURE_OF_ANOTHER = -2 };

/* The index of the key that made `signature` (base64) over the payload's bytes, when the payload
 * says that it is about `digest`; SIGNATURE_BY_NONE when no key made it (another did, or something
 * was altered), SIGNATURE_OF_ANOTHER when what was signed is something else. `ret_signed_at`: when,
 * by its own words, in seconds since 1970, 0 when it does not say; may be NULL. */
int signature_check(const char *payload, size_t payload_length, const char *signature,
                    const struct trusted_key *keys, size_t key_count, const char *digest,
                    uint64_t *ret_signed_at, struct error *error);
/* The "timestamp" of what a signer may add: seconds since 1970 as containers/image writes them, or
 * the same as text, which is what `cosign sign -a timestamp=...` makes of them. 0: none. */
uint64_t signature_timestamp(struct json_object *optional);
