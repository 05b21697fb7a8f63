/* Sigstore bundles v0.3: one JSON document with an in-toto statement about an image, in a DSSE
 * envelope, and the hint which key signed it. cosign signs images so ("sign/v1") and carries SBOMs
 * and provenance so. What is checked here is the key's signature, not a transparency log.
 *
 * Sources: sigstore protobuf-specs `sigstore_bundle.proto` (names of the JSON form), DSSE
 * `protocol.md` and `envelope.md` v1, in-toto attestation spec v1 "Statement", cosign
 * `specs/BUNDLE_SPEC.md` (as a referrer). Pure functions; the bytes are anybody's until
 * bundle_check said otherwise. */
#pragma once

#include <stdint.h>

#include "image-format/signature.h"

#define BUNDLE_TYPE "application/vnd.dev.sigstore.bundle.v0.3+json"
/* Begins the type of every version. */
#define BUNDLE_TYPE_PREFIX "application/vnd.dev.sigstore.bundle"
#define BUNDLE_MAX         (4u << 20) /* bytes */
#define PREDICATE_TYPE_MAX 256

/* On the manifest that carries a bundle, and in lists of referrers: a remark, nothing signed. */
#define BUNDLE_PREDICATE_ANNOTATION "dev.sigstore.bundle.predicateType"

/* What makes a bundle an image's signature; others are attestations. */
#define PREDICATE_SIGNATURE "https://sigstore.dev/cosign/sign/v1"

/* What a statement says. */
struct bundle_claims {
    char predicate_type[PREDICATE_TYPE_MAX];
    char key_id[KEY_ID_MAX]; /* by the hint; "" when there is none of our form */
    uint64_t signed_at;      /* seconds since 1970, said by the signer; 0: not said */
};

/* The statement's bytes: `predicate` (JSON text) of `predicate_type` about the image `digest`,
 * signed at `signed_at` (0: left out). The caller frees it. */
char *bundle_statement(const char *digest, const char *predicate_type, const char *predicate,
                       uint64_t signed_at);
/* A statement that somebody else wrote, not signed: whether it is about the image `digest`. */
int bundle_check_statement(const char *statement, size_t length, const char *digest,
                           struct bundle_claims *ret_claims, struct error *error);
/* The bundle's JSON: `statement` in an envelope signed by `key`. The caller frees it. */
int bundle_create(const struct private_key *key, const char *statement, char **ret_bundle,
                  struct error *error);
/* What it claims, before anything is checked: for messages, and to tell signatures from
 * attestations. ERROR_INVALID for what is no such bundle. */
int bundle_read_claims(const char *bundle, size_t length, struct bundle_claims *ret_claims,
                       struct error *error);
/* The index of the key that signed the bundle, when its statement is about the image `digest`; else
 * as signature_check, SIGNATURE_BY_NONE for what is no such bundle. `ret_claims` may be NULL. */
int bundle_check(const char *bundle, size_t length, const struct trusted_key *keys,
                 size_t key_count, const char *digest, struct bundle_claims *ret_claims,
                 struct error *error);

/* The manifest that carries `content`, its only layer, beside the image `subject` (OCI image spec
 * 1.1, "Guidelines for Artifact Usage"); its artifactType is the layer's type. `predicate_type` of
 * a bundle goes into the annotations that cosign writes; NULL: no bundle. The config is OCI's empty
 * one, whose bytes are OCI_EMPTY. The caller frees the text. */
#define OCI_EMPTY        "{}"
#define OCI_EMPTY_TYPE   "application/vnd.oci.empty.v1+json"
#define OCI_EMPTY_DIGEST "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
char *bundle_referrer(const struct oci_descriptor *subject, const struct oci_descriptor *content,
                      const char *predicate_type);
/* Those annotations, for a list of referrers that is kept by hand; none when it is NULL. */
void bundle_annotate(struct json_map *annotations, const char *predicate_type);
