/* The proof that an image may boot: index -> manifest -> config -> kernel layer, each by digest
 * from the pinned one, and a signature by a trusted key. Verified from bytes alone, as often as
 * one likes: scheduler at deploy, agent before every first boot.
 *
 * Verification is pure; save and load read and write a folder (blocking, small files). Any
 * thread. */
#pragma once

#include "image-format/image_config.h"
#include "image-format/signature.h"

struct image_signature {
    char *payload;
    size_t payload_length;
    char *signature;                     /* base64 of DER */
    char signed_digest[DIGEST_TEXT_MAX]; /* under whose .sig tag it was found */
    char key_id[KEY_ID_MAX];             /* claimed by the signer, for messages; may be "" */
};

/* All bytes end with a NUL that the lengths do not count. */
struct image_chain {
    char pinned[DIGEST_TEXT_MAX]; /* of the index, or of the manifest when there is no index */
    char *index;                  /* NULL: the pinned digest is the manifest's */
    size_t index_length;
    char *manifest;
    size_t manifest_length;
    char *config;
    size_t config_length;
    struct image_signature *signatures;
    size_t signature_count;
};

struct image_verified {
    char manifest_digest[DIGEST_TEXT_MAX];
    struct image_config config;
    struct image_kernel {
        char digest[DIGEST_TEXT_MAX];
        uint64_t size;
        char media_type[128];
    } kernel;
    char key_name[64]; /* of the trusted key that signed it */
    char key_id[KEY_ID_MAX];
};

/* By what an image is judged. Lent: everything stays the caller's. */
struct image_rules {
    const struct trusted_key *keys;
    size_t key_count;
};

/* ERROR_SIGNATURE when a digest or the signature does not hold, naming digests and key ids;
 * ERROR_NOT_FOUND when the image has nothing for `architecture`; ERROR_INVALID or
 * ERROR_UNSUPPORTED when what was signed is not a bootable image. */
int image_chain_verify(const struct image_chain *chain, const struct image_rules *rules,
                       const char *architecture, struct image_verified *ret_verified,
                       struct error *error);
void image_verified_release(struct image_verified *verified);

/* `dir` is created; it holds pinned, index, manifest, config and signatures.json. */
int image_chain_save(const struct image_chain *chain, const char *dir, struct error *error);
/* Loads what is there without judging it. */
int image_chain_load(const char *dir, struct image_chain *ret_chain, struct error *error);
void image_chain_release(struct image_chain *chain);
/* Copies everything; for tests and for callers that keep a chain they were lent. */
void image_chain_copy(const struct image_chain *chain, struct image_chain *ret_copy);
/* Adds a copy of a signature to the chain. */
void image_chain_add_signature(struct image_chain *chain, const char *payload,
                               size_t payload_length, const char *signature,
                               const char *signed_digest, const char *key_id);

/* Hands the trusted keys back: destroys each key and frees the list. */
void trusted_keys_free(struct trusted_key *keys, size_t count);
/* One list item from PEM; the id is computed from the key. */
int trusted_key_parse(const char *name, const char *pem, size_t length, struct trusted_key *ret_key,
                      struct error *error);
