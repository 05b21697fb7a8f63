/* Who signed an image: the half of image-format/chain.h that is about signatures. */
#include <stdio.h>
#include <string.h>

#include "image-format/chain.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

int image_signature_check(const struct image_signature *signature, const struct trusted_key *keys,
                          size_t key_count, struct image_proof *ret_proof, struct error *error)
{
    struct bundle_claims claims = {.predicate_type = PREDICATE_SIGNATURE};
    int key =
        signature->kind == SIGNATURE_BUNDLE
            ? bundle_check(signature->payload, signature->payload_length, keys, key_count,
                           signature->signed_digest, &claims, error)
            : signature_check(signature->payload, signature->payload_length, signature->signature,
                              keys, key_count, signature->signed_digest, &claims.signed_at, error);
    if (key < 0 || ret_proof == NULL)
        return key;
    *ret_proof = (struct image_proof){
        .kind = signature->kind, .key = (size_t)key, .signed_at = claims.signed_at};
    memcpy(ret_proof->signed_digest, signature->signed_digest, sizeof ret_proof->signed_digest);
    memcpy(ret_proof->predicate_type, claims.predicate_type, sizeof ret_proof->predicate_type);
    return key;
}

/* Of the chain's own image: what was found beside another one proves nothing here. */
static bool is_about(const struct image_signature *signature, const struct image_chain *chain,
                     const char *manifest_digest)
{
    return strcmp(signature->signed_digest, chain->pinned) == 0 ||
           strcmp(signature->signed_digest, manifest_digest) == 0;
}

static void prove(const struct image_chain *chain, const struct image_signature *signatures,
                  size_t count, const struct trusted_key *keys, size_t key_count,
                  struct image_proofs *proofs)
{
    char manifest_digest[DIGEST_TEXT_MAX];
    digest_of_bytes(chain->manifest, chain->manifest_length, manifest_digest);
    for (size_t i = 0; i < count; i++) {
        struct image_proof *proof = &proofs->items[proofs->count];
        if (is_about(&signatures[i], chain, manifest_digest) &&
            image_signature_check(&signatures[i], keys, key_count, proof, NULL) >= 0)
            proofs->count++;
    }
}

void image_chain_prove(const struct image_chain *chain, const struct trusted_key *keys,
                       size_t key_count, struct image_proofs *ret_proofs)
{
    struct image_proofs proofs = {
        .items =
            xcalloc(chain->signature_count + chain->attestation_count + 1, sizeof *proofs.items),
    };
    prove(chain, chain->signatures, chain->signature_count, keys, key_count, &proofs);
    prove(chain, chain->attestations, chain->attestation_count, keys, key_count, &proofs);
    *ret_proofs = proofs;
}

void image_proofs_release(struct image_proofs *proofs)
{
    free(proofs->items);
    *proofs = (struct image_proofs){0};
}

static void list_trusted(const struct trusted_key *keys, size_t key_count, struct buffer *text)
{
    for (size_t i = 0; i < key_count; i++)
        buffer_printf(text, "%s%s", i > 0 ? ", " : "", keys[i].id);
}

static bool id_is_trusted(const struct trusted_key *keys, size_t key_count, const char *id)
{
    for (size_t i = 0; i < key_count; i++) {
        if (strcmp(keys[i].id, id) == 0)
            return true;
    }
    return false;
}

/* Whose it says it is, and why it does not count. */
static void describe(const struct image_signature *signature, const struct trusted_key *keys,
                     size_t key_count, struct buffer *text)
{
    struct error reason = ERROR_INIT;
    const char *id = signature->key_id;
    int result = image_signature_check(signature, keys, key_count, NULL, &reason);
    if (signature->kind == SIGNATURE_BUNDLE && signature->predicate_type[0] == '\0')
        buffer_printf(text, "a bundle that cannot be read: %.200s", reason.message);
    else if (result == SIGNATURE_OF_ANOTHER)
        buffer_printf(text, "a trusted key, but %.200s", reason.message);
    else if (id[0] == '\0')
        buffer_append_text(text, "an unknown key");
    else if (id_is_trusted(keys, key_count, id))
        buffer_printf(
            text, "key %s, but the signature does not hold: it or what it covers was altered", id);
    else
        buffer_printf(text, "key %s", id);
}

/* Each signer once: most sign in two forms. */
static void list_signers(const struct image_chain *chain, const struct trusted_key *keys,
                         size_t key_count, struct buffer *text)
{
    for (size_t i = 0; i < chain->signature_count && text->length < 600; i++) {
        AUTO_BUFFER struct buffer signer = {0};
        describe(&chain->signatures[i], keys, key_count, &signer);
        if (strstr(buffer_text(text), buffer_text(&signer)) == NULL)
            buffer_printf(text, "%s%s", text->length > 0 ? ", " : "", buffer_text(&signer));
    }
}

static int refuse(const struct image_chain *chain, const struct trusted_key *keys, size_t key_count,
                  struct error *error)
{
    AUTO_BUFFER struct buffer trusted = {0};
    AUTO_BUFFER struct buffer signers = {0};
    list_trusted(keys, key_count, &trusted);
    if (chain->signature_count == 0)
        return error_set(error, ERROR_SIGNATURE,
                         "image %s is unsigned: push it with --sign KEY (trusted: %.400s)",
                         chain->pinned, buffer_text(&trusted));
    list_signers(chain, keys, key_count, &signers);
    return error_set(error, ERROR_SIGNATURE,
                     "image %s is not signed by a trusted key (signed by %.600s; trusted: %.400s)",
                     chain->pinned, buffer_text(&signers), buffer_text(&trusted));
}

int image_chain_check_signatures(const struct image_chain *chain, const struct trusted_key *keys,
                                 size_t key_count, size_t *ret_key, struct error *error)
{
    char manifest_digest[DIGEST_TEXT_MAX];
    if (key_count == 0)
        return error_set(error, ERROR_SIGNATURE,
                         "image %s cannot be trusted: no key is trusted yet. Make a key with "
                         "`shoal keygen shoal` and trust it with `shoal trust add shoal.pub`",
                         chain->pinned);
    digest_of_bytes(chain->manifest, chain->manifest_length, manifest_digest);
    for (size_t i = 0; i < chain->signature_count; i++) {
        const struct image_signature *signature = &chain->signatures[i];
        struct image_proof proof;
        if (is_about(signature, chain, manifest_digest) &&
            image_signature_check(signature, keys, key_count, &proof, NULL) >= 0 &&
            strcmp(proof.predicate_type, PREDICATE_SIGNATURE) == 0) {
            *ret_key = proof.key;
            return 0;
        }
    }
    return refuse(chain, keys, key_count, error);
}
