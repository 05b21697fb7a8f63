#include "lib/crypto.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define DIGEST_PREFIX        "sha256:"
#define DIGEST_PREFIX_LENGTH (sizeof DIGEST_PREFIX - 1)
#define SHA256_LENGTH        32

#define HASH_MAX 64

static const struct {
    const char *name;
    size_t length; /* of the hash */
    const EVP_MD *(*function)(void);
} algorithms[] = {
    [DIGEST_SHA256] = {"sha256", SHA256_LENGTH, EVP_sha256},
    [DIGEST_SHA512] = {"sha512", 64, EVP_sha512},
};

struct digest_stream {
    EVP_MD_CTX *context;
    enum digest_algorithm algorithm;
};

/* OpenSSL's hashing of memory fails only for want of memory. */
static void must(int result)
{
    if (result != 1)
        abort();
}

bool digest_is_valid(const char *digest)
{
    if (strncmp(digest, DIGEST_PREFIX, DIGEST_PREFIX_LENGTH) != 0)
        return false;
    const char *hex = digest + DIGEST_PREFIX_LENGTH;
    return strlen(hex) == 2 * SHA256_LENGTH && strspn(hex, "0123456789abcdef") == strlen(hex);
}

bool digest_parse(const char *digest, enum digest_algorithm *ret_algorithm)
{
    for (size_t i = 0; i < ARRAY_LENGTH(algorithms); i++) {
        size_t length = strlen(algorithms[i].name);
        if (strncmp(digest, algorithms[i].name, length) != 0 || digest[length] != ':')
            continue;
        const char *hex = digest + length + 1;
        if (strlen(hex) != 2 * algorithms[i].length ||
            strspn(hex, "0123456789abcdef") != 2 * algorithms[i].length)
            return false;
        *ret_algorithm = (enum digest_algorithm)i;
        return true;
    }
    return false;
}

bool digest_is_any(const char *digest)
{
    enum digest_algorithm algorithm;
    return digest_parse(digest, &algorithm);
}

bool digest_algorithm_parse(const char *name, enum digest_algorithm *ret_algorithm)
{
    for (size_t i = 0; i < ARRAY_LENGTH(algorithms); i++) {
        if (strcmp(algorithms[i].name, name) != 0)
            continue;
        *ret_algorithm = (enum digest_algorithm)i;
        return true;
    }
    return false;
}

const char *digest_algorithm_name(enum digest_algorithm algorithm)
{
    return algorithms[algorithm].name;
}

/* All names of algorithms are of one length, so far. */
const char *digest_hex(const char *digest)
{
    return digest + DIGEST_PREFIX_LENGTH;
}

/* `ret_digest` has room for the algorithm's. */
static void format_digest(enum digest_algorithm algorithm, const unsigned char *hash,
                          char *ret_digest)
{
    memcpy(ret_digest, algorithms[algorithm].name, DIGEST_PREFIX_LENGTH - 1);
    ret_digest[DIGEST_PREFIX_LENGTH - 1] = ':';
    text_format_hex(hash, algorithms[algorithm].length, ret_digest + DIGEST_PREFIX_LENGTH);
}

void digest_of_bytes_as(enum digest_algorithm algorithm, const void *bytes, size_t length,
                        char ret_digest[DIGEST_ANY_MAX])
{
    unsigned char hash[HASH_MAX];
    must(EVP_Digest(length > 0 ? bytes : "", length, hash, NULL, algorithms[algorithm].function(),
                    NULL));
    format_digest(algorithm, hash, ret_digest);
}

void digest_of_bytes(const void *bytes, size_t length, char ret_digest[DIGEST_TEXT_MAX])
{
    char digest[DIGEST_ANY_MAX];
    digest_of_bytes_as(DIGEST_SHA256, bytes, length, digest);
    memcpy(ret_digest, digest, strlen(digest) + 1);
}

int digest_of_descriptor_as(enum digest_algorithm algorithm, int descriptor,
                            char ret_digest[DIGEST_ANY_MAX], uint64_t *ret_size,
                            struct error *error)
{
    enum { CHUNK = 1 << 18 };
    AUTO_FREE char *chunk = xmalloc(CHUNK);
    struct digest_stream *stream = digest_stream_create_as(algorithm);
    uint64_t size = 0;
    int result = 0;
    for (;;) {
        ssize_t got = read(descriptor, chunk, CHUNK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            result = error_set_errno(error, errno, "read a file to hash it");
        if (got <= 0)
            break;
        digest_stream_update(stream, chunk, (size_t)got);
        size += (uint64_t)got;
    }
    if (result == 0) {
        digest_stream_text_any(stream, ret_digest);
        if (ret_size != NULL)
            *ret_size = size;
    }
    digest_stream_destroy(stream);
    return result;
}

int digest_of_descriptor(int descriptor, char ret_digest[DIGEST_TEXT_MAX], uint64_t *ret_size,
                         struct error *error)
{
    char digest[DIGEST_ANY_MAX];
    if (digest_of_descriptor_as(DIGEST_SHA256, descriptor, digest, ret_size, error) < 0)
        return -1;
    memcpy(ret_digest, digest, strlen(digest) + 1);
    return 0;
}

struct digest_stream *digest_stream_create_as(enum digest_algorithm algorithm)
{
    struct digest_stream *stream = xcalloc(1, sizeof *stream);
    stream->algorithm = algorithm;
    stream->context = EVP_MD_CTX_new();
    if (stream->context == NULL)
        abort();
    must(EVP_DigestInit_ex(stream->context, algorithms[algorithm].function(), NULL));
    return stream;
}

struct digest_stream *digest_stream_create(void)
{
    return digest_stream_create_as(DIGEST_SHA256);
}

enum digest_algorithm digest_stream_algorithm(const struct digest_stream *stream)
{
    return stream->algorithm;
}

void digest_stream_update(struct digest_stream *stream, const void *bytes, size_t length)
{
    must(EVP_DigestUpdate(stream->context, bytes, length));
}

void digest_stream_text_any(const struct digest_stream *stream, char ret_digest[DIGEST_ANY_MAX])
{
    unsigned char hash[HASH_MAX];
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    if (copy == NULL)
        abort();
    must(EVP_MD_CTX_copy_ex(copy, stream->context));
    must(EVP_DigestFinal_ex(copy, hash, NULL));
    EVP_MD_CTX_free(copy);
    format_digest(stream->algorithm, hash, ret_digest);
}

void digest_stream_text(const struct digest_stream *stream, char ret_digest[DIGEST_TEXT_MAX])
{
    char digest[DIGEST_ANY_MAX];
    digest_stream_text_any(stream, digest);
    /* It was created for sha256. */
    memcpy(ret_digest, digest, DIGEST_TEXT_MAX - 1);
    ret_digest[DIGEST_TEXT_MAX - 1] = '\0';
}

void digest_stream_destroy(struct digest_stream *stream)
{
    if (stream == NULL)
        return;
    EVP_MD_CTX_free(stream->context);
    free(stream);
}

char *base64_encode(const void *bytes, size_t length)
{
    char *text = xmalloc((length + 2) / 3 * 4 + 1);
    EVP_EncodeBlock((unsigned char *)text, bytes, (int)length);
    return text;
}

/* Strict: OpenSSL alone would take white space and padding in odd places. */
static bool base64_is_plain(const char *text, size_t length)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t digits = strspn(text, alphabet);
    size_t padding = strspn(text + digits, "=");
    return length % 4 == 0 && digits + padding == length && padding <= 2;
}

bool base64_decode(const char *text, unsigned char **ret_bytes, size_t *ret_length)
{
    size_t length = strlen(text);
    if (length > INT32_MAX || !base64_is_plain(text, length))
        return false;
    unsigned char *bytes = xmalloc(length / 4 * 3 + 1);
    int decoded = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)length);
    if (decoded < 0) {
        free(bytes);
        return false;
    }
    /* EVP_DecodeBlock counts padding as bytes. */
    size_t real = (size_t)decoded;
    for (size_t i = length; i > 0 && text[i - 1] == '='; i--)
        real--;
    bytes[real] = '\0';
    *ret_bytes = bytes;
    *ret_length = real;
    return true;
}

void random_bytes(void *ret_bytes, size_t length)
{
    must(RAND_bytes(ret_bytes, (int)length));
}
