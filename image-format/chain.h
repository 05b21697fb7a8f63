/* The proof that an image may boot: index -> manifest -> config -> layers, each by digest
 * from the pinned one, and the signatures that policies ask for (policy.h). Verified from bytes
 * alone, as often as one likes: scheduler at deploy, agent before every boot.
 *
 * Verification is pure; save and load read and write a folder (blocking, small files). Any
 * thread. */
#pragma once

#include "image-format/bundle.h"
#include "image-format/image_config.h"
#include "image-format/policy.h"
#include "image-format/signature.h"

enum signature_kind {
    SIGNATURE_SIMPLE, /* cosign's payload and signature under the .sig tag (signature.h) */
    SIGNATURE_BUNDLE, /* a sigstore bundle as a referrer (bundle.h) */
};

/* A signature or an attestation, as it was found: nothing in it is checked yet. */
struct image_signature {
    enum signature_kind kind;
    char *payload; /* what was signed; of a bundle: all of it */
    size_t payload_length;
    char *signature;                         /* base64 of DER; NULL for a bundle: it is inside */
    char signed_digest[DIGEST_TEXT_MAX];     /* beside which image it was found */
    char key_id[KEY_ID_MAX];                 /* claimed by the signer, for messages; may be "" */
    char predicate_type[PREDICATE_TYPE_MAX]; /* claimed by a bundle; "" when it cannot be read */
};

/* Signatures and attestations of one image, of its index and one manifest. */
#define IMAGE_SIGNATURES_MAX       256
#define IMAGE_SIGNATURES_BYTES_MAX (16u << 20) /* of their payloads together */

/* All bytes end with a NUL that the lengths do not count. */
struct image_chain {
    char pinned[DIGEST_TEXT_MAX]; /* of the index, or of the manifest when there is no index */
    char *index;                  /* NULL: the pinned digest is the manifest's */
    size_t index_length;
    char *manifest;
    size_t manifest_length;
    char *config;
    size_t config_length;
    char *metadata; /* what some images keep about themselves in a layer; NULL: none */
    size_t metadata_length;
    struct image_signature *signatures;
    size_t signature_count;
    struct image_signature *attestations; /* bundles of other predicate types */
    size_t attestation_count;
};

enum image_part_kind { IMAGE_PART_KERNEL, IMAGE_PART_INITRD, IMAGE_PART_DISK };
extern const char *const image_part_kind_names[]; /* ends with NULL */

/* How a part lies in its layer. */
enum image_packing {
    IMAGE_PACKING_NONE, /* the layer's bytes are the part's */
    IMAGE_PACKING_ZSTD,
    IMAGE_PACKING_TAR, /* a file in one of the layers, which are tar archives: the last that has it
                        */
};

/* A layer that a node fetches. */
struct image_layer {
    char digest[DIGEST_TEXT_MAX];
    uint64_t size; /* bytes */
    char media_type[128];
};

/* Bytes that a guest boots with. Those inside a tar archive are known only once they are unpacked:
 * image_verified_learn. */
struct image_part {
    enum image_part_kind kind;
    enum image_packing packing;
    char digest[DIGEST_TEXT_MAX]; /* of the bytes that boot; "": not known yet */
    uint64_t size;                /* of the same; 0: not known yet */
    size_t layer;                 /* of `layers`; not for IMAGE_PACKING_TAR */
    char path[256];               /* IMAGE_PACKING_TAR */
    bool is_optional;             /* it need not be there */
};

#define IMAGE_LAYERS_MAX 32
#define IMAGE_PARTS_MAX  (IMAGE_DISKS_MAX + 2)
struct image_verified {
    char manifest_digest[DIGEST_TEXT_MAX];
    char made_for[16]; /* whose form the image has: "shoal", "kraftkit" or "urunc" */
    struct image_config config;
    struct image_layer layers[IMAGE_LAYERS_MAX]; /* in the manifest's order */
    size_t layer_count;
    struct image_part parts[IMAGE_PARTS_MAX]; /* kernel, initrd, disks: those that there are */
    size_t part_count;
    char key_name[64]; /* of a trusted key that signed it; "": a policy only warned of that */
    char key_id[KEY_ID_MAX];
    struct policy_evidence evidence; /* all that trusted keys signed */
    struct policy_verdict verdict;   /* allowed, or warned and why */
};

/* By what an image is judged. Lent: everything stays the caller's. */
struct image_rules {
    const struct trusted_key *keys;
    size_t key_count;
    const struct api_policy *policies; /* none: one signature by any of the keys is enough */
    size_t policy_count;
    /* What policies ask about, needed only with them. */
    const char *registry;   /* "host:port" that it comes from */
    const char *repository; /* "default/hello" */
    uint64_t now_ms;        /* wall clock, since 1970 */
    bool needs_trusted_key; /* also where a policy only warns */
    bool ignores_age;       /* a policy's max_age does not count */
};

/* A signature of either kind counts, of the pinned digest or of the manifest. ERROR_SIGNATURE when
 * a digest or the signature does not hold, naming digests and key ids; ERROR_POLICY when the rules
 * do not let it boot, naming the policy, what it asks and what there is; ERROR_NOT_FOUND when the
 * image has nothing for `architecture`; ERROR_INVALID or ERROR_UNSUPPORTED when what was signed is
 * not a bootable image. */
int image_chain_verify(const struct image_chain *chain, const struct image_rules *rules,
                       const char *architecture, struct image_verified *ret_verified,
                       struct error *error);
void image_verified_release(struct image_verified *verified);
/* NULL when the image has no such part. */
const struct image_part *image_verified_part(const struct image_verified *verified,
                                             enum image_part_kind kind);
/* The digest and size of a part that was unpacked; the config names it by that from then on. A size
 * of 0: an optional part that is not there, which goes. */
void image_verified_learn(struct image_verified *verified, size_t part, const char *digest,
                          uint64_t size);

/* `dir` is created; it holds pinned, index, manifest, config, metadata and signatures.json. */
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
/* Adds a copy of a bundle: to the attestations when its predicate type says so, else (and when it
 * cannot be read) to the signatures. */
void image_chain_add_bundle(struct image_chain *chain, const char *bundle, size_t length,
                            const char *signed_digest);
/* Whether so many more bytes of payload are within the limits above. */
bool image_chain_has_room(const struct image_chain *chain, size_t length);

/* A signature or an attestation that holds by one of the keys it was checked with. */
struct image_proof {
    enum signature_kind kind;
    size_t key;                              /* its index */
    char signed_digest[DIGEST_TEXT_MAX];     /* the pinned digest or the manifest's */
    char predicate_type[PREDICATE_TYPE_MAX]; /* PREDICATE_SIGNATURE for signatures of any kind */
    uint64_t signed_at; /* seconds since 1970 by the signer's own words; 0: not said */
};

struct image_proofs {
    struct image_proof *items;
    size_t count;
};

/* The index of the key by which a signature or attestation holds for its `signed_digest`; else as
 * signature_check, with ERROR_SIGNATURE saying which check failed. `ret_proof` may be NULL. */
int image_signature_check(const struct image_signature *signature, const struct trusted_key *keys,
                          size_t key_count, struct image_proof *ret_proof, struct error *error);
/* All that hold and are about the pinned digest or the manifest: what a policy judges. Says nothing
 * about the rest of the chain: image_chain_verify does. */
void image_chain_prove(const struct image_chain *chain, const struct trusted_key *keys,
                       size_t key_count, struct image_proofs *ret_proofs);
void image_proofs_release(struct image_proofs *proofs);
/* The index of a key that signed the pinned digest or the manifest: the half of image_chain_verify
 * that is about signatures. */
int image_chain_check_signatures(const struct image_chain *chain, const struct trusted_key *keys,
                                 size_t key_count, size_t *ret_key, struct error *error);

/* What policies judge by: the proofs of image_chain_prove by keys of the rules. Release it. */
void image_chain_collect_evidence(const struct image_chain *chain, const struct image_rules *rules,
                                  struct policy_evidence *ret_evidence);
/* The half of image_chain_verify that is about the rules; `family` NULL: not known yet. Release the
 * verdict; there is none on failure. */
int image_chain_judge(const struct image_chain *chain, const struct image_rules *rules,
                      const char *family, const struct policy_evidence *evidence,
                      struct policy_verdict *ret_verdict, struct error *error);

/* Hands the trusted keys back: destroys each key and frees the list. */
void trusted_keys_free(struct trusted_key *keys, size_t count);
/* One list item from PEM; the id is computed from the key. */
int trusted_key_parse(const char *name, const char *pem, size_t length, struct trusted_key *ret_key,
                      struct error *error);
