/* Digests, ECDSA P-256 keys and signatures, random bytes. One of the two doors to OpenSSL (the
 * other is tls.h). Any thread; an object belongs to one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"

/* "sha256:" and 64 hex digits, with NUL. */
#define DIGEST_TEXT_MAX 72

/* "sha256:<64 lower-case hex digits>" exactly (OCI image spec, "Digests"). */
bool digest_is_valid(const char *digest);
/* The hex part of a valid digest, of any algorithm. */
const char *digest_hex(const char *digest);
void digest_of_bytes(const void *bytes, size_t length, char ret_digest[DIGEST_TEXT_MAX]);
/* Reads the file from its current position to its end. */
int digest_of_descriptor(int descriptor, char ret_digest[DIGEST_TEXT_MAX], uint64_t *ret_size,
                         struct error *error);

/* A registry takes other algorithms too (OCI image spec, "Digests"); images of ours have sha256. */
enum digest_algorithm { DIGEST_SHA256, DIGEST_SHA512 };

/* "sha512:" and 128 hex digits, the longest of them, with NUL. */
#define DIGEST_ANY_MAX 136

/* "sha256:<64 lower-case hex digits>" or "sha512:<128>" exactly. */
bool digest_parse(const char *digest, enum digest_algorithm *ret_algorithm);
bool digest_is_any(const char *digest);
/* "sha256", "sha512". */
bool digest_algorithm_parse(const char *name, enum digest_algorithm *ret_algorithm);
const char *digest_algorithm_name(enum digest_algorithm algorithm);
void digest_of_bytes_as(enum digest_algorithm algorithm, const void *bytes, size_t length,
                        char ret_digest[DIGEST_ANY_MAX]);

int digest_of_descriptor_as(enum digest_algorithm algorithm, int descriptor,
                            char ret_digest[DIGEST_ANY_MAX], uint64_t *ret_size,
                            struct error *error);

/* Over sha256, unless created for another. */
struct digest_stream;
struct digest_stream *digest_stream_create(void);
struct digest_stream *digest_stream_create_as(enum digest_algorithm algorithm);
enum digest_algorithm digest_stream_algorithm(const struct digest_stream *stream);
/* Of any algorithm; as digest_stream_text. */
void digest_stream_text_any(const struct digest_stream *stream, char ret_digest[DIGEST_ANY_MAX]);
void digest_stream_update(struct digest_stream *stream, const void *bytes, size_t length);
/* May be called again after more updates. */
void digest_stream_text(const struct digest_stream *stream, char ret_digest[DIGEST_TEXT_MAX]);
void digest_stream_destroy(struct digest_stream *stream);

/* 16 hex digits of the SHA-256 of a public key's DER form (SubjectPublicKeyInfo), with NUL. */
#define KEY_ID_MAX 17

struct private_key;
struct public_key;

struct private_key *private_key_generate(struct error *error);
/* PKCS#8 PEM, unencrypted (RFC 5958). The caller frees the text. */
int private_key_to_pem(const struct private_key *key, char **ret_pem, struct error *error);
/* Reads that form and SEC1's ("EC PRIVATE KEY", RFC 5915); encrypted ones are refused by name. */
int private_key_from_pem(const char *pem, size_t length, struct private_key **ret_key,
                         struct error *error);
/* PKCS#8 DER. The caller wipes and frees the bytes. */
int private_key_to_der(const struct private_key *key, unsigned char **ret_der, size_t *ret_length,
                       struct error *error);
int private_key_from_der(const unsigned char *der, size_t length, struct private_key **ret_key,
                         struct error *error);

/* The form in which cosign keeps keys (go-securesystemslib `encrypted`): a PEM block "ENCRYPTED
 * SIGSTORE PRIVATE KEY" (cosign 1: "ENCRYPTED COSIGN PRIVATE KEY") of JSON {kdf, cipher,
 * ciphertext}: PKCS#8 DER in a NaCl secretbox, whose key is the password's by scrypt. A password is
 * any run of bytes, an empty one too. */
bool private_key_is_encrypted(const char *pem, size_t length);
int private_key_to_encrypted_pem(const struct private_key *key, const char *password,
                                 size_t password_length, char **ret_pem, struct error *error);
/* Before anybody is asked for the password: ERROR_INVALID for what is no such key, or asks scrypt
 * for more memory or work than a key may cost (256 MiB, N * r * p of 2^24). */
int private_key_check_encrypted(const char *pem, size_t length, struct error *error);
/* The same, and ERROR_DENIED when the password does not open it. */
int private_key_from_encrypted_pem(const char *pem, size_t length, const char *password,
                                   size_t password_length, struct private_key **ret_key,
                                   struct error *error);
/* Overwrites a secret before its memory is given back. */
void secret_wipe(void *bytes, size_t length);
struct public_key *private_key_public(const struct private_key *key);
void private_key_destroy(struct private_key *key);
/* SubjectPublicKeyInfo PEM (RFC 5280). */
int public_key_to_pem(const struct public_key *key, char **ret_pem, struct error *error);
/* Refuses anything but an EC key on P-256. */
int public_key_from_pem(const char *pem, size_t length, struct public_key **ret_key,
                        struct error *error);
void public_key_id(const struct public_key *key, char ret_id[KEY_ID_MAX]);
/* The whole SHA-256 of the DER form: what sigstore bundles give as the key's hint. */
#define KEY_FINGERPRINT_LENGTH 32
void public_key_fingerprint(const struct public_key *key,
                            unsigned char ret_hash[KEY_FINGERPRINT_LENGTH]);
void public_key_destroy(struct public_key *key);

/* ECDSA over SHA-256 of `bytes`, DER form. The caller frees the signature. */
int signature_create(const struct private_key *key, const void *bytes, size_t length,
                     unsigned char **ret_signature, size_t *ret_length, struct error *error);
bool signature_verify(const struct public_key *key, const void *bytes, size_t length,
                      const unsigned char *signature, size_t signature_length);

/* RFC 4648 base64 with padding. The caller frees the result. */
char *base64_encode(const void *bytes, size_t length);
bool base64_decode(const char *text, unsigned char **ret_bytes, size_t *ret_length);

#define HMAC_SHA256_LENGTH 32

/* RFC 2104. */
void hmac_sha256(const void *key, size_t key_length, const void *bytes, size_t length,
                 unsigned char ret_mac[HMAC_SHA256_LENGTH]);

/* RFC 4648 section 5 without padding, as in JSON Web Tokens. The caller frees the result, which
 * when decoded ends with a NUL that `ret_length` does not count. */
char *base64url_encode(const void *bytes, size_t length);
bool base64url_decode(const char *text, size_t text_length, unsigned char **ret_bytes,
                      size_t *ret_length);

/* ECDSA P-256 over SHA-256 as JSON Web Signatures have it (ES256, RFC 7518 section 3.4): r and s as
 * 32 bytes each. A key may be used by many threads at once here. */
#define ES256_SIGNATURE_LENGTH 64
int signature_create_es256(const struct private_key *key, const void *bytes, size_t length,
                           unsigned char ret_signature[ES256_SIGNATURE_LENGTH],
                           struct error *error);
bool signature_verify_es256(const struct public_key *key, const void *bytes, size_t length,
                            const unsigned char signature[ES256_SIGNATURE_LENGTH]);

/* Of the same length; the time does not tell where they differ. */
bool bytes_equal_constant_time(const void *one, const void *other, size_t length);

void random_bytes(void *ret_bytes, size_t length);
