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

struct digest_stream {
    EVP_MD_CTX *context;
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

const char *digest_hex(const char *digest)
{
    return digest + DIGEST_PREFIX_LENGTH;
}

static void format_digest(const unsigned char hash[SHA256_LENGTH], char ret_digest[DIGEST_TEXT_MAX])
{
    memcpy(ret_digest, DIGEST_PREFIX, DIGEST_PREFIX_LENGTH);
    text_format_hex(hash, SHA256_LENGTH, ret_digest + DIGEST_PREFIX_LENGTH);
}

void digest_of_bytes(const void *bytes, size_t length, char ret_digest[DIGEST_TEXT_MAX])
{
    unsigned char hash[SHA256_LENGTH];
    must(EVP_Digest(length > 0 ? bytes : "", length, hash, NULL, EVP_sha256(), NULL));
    format_digest(hash, ret_digest);
}

int digest_of_descriptor(int descriptor, char ret_digest[DIGEST_TEXT_MAX], uint64_t *ret_size,
                         struct error *error)
{
    enum { CHUNK = 1 << 18 };
    AUTO_FREE char *chunk = xmalloc(CHUNK);
    struct digest_stream *stream = digest_stream_create();
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
        digest_stream_text(stream, ret_digest);
        if (ret_size != NULL)
            *ret_size = size;
    }
    digest_stream_destroy(stream);
    return result;
}

struct digest_stream *digest_stream_create(void)
{
    struct digest_stream *stream = xcalloc(1, sizeof *stream);
    stream->context = EVP_MD_CTX_new();
    if (stream->context == NULL)
        abort();
    must(EVP_DigestInit_ex(stream->context, EVP_sha256(), NULL));
    return stream;
}

void digest_stream_update(struct digest_stream *stream, const void *bytes, size_t length)
{
    must(EVP_DigestUpdate(stream->context, bytes, length));
}

void digest_stream_text(const struct digest_stream *stream, char ret_digest[DIGEST_TEXT_MAX])
{
    unsigned char hash[SHA256_LENGTH];
    EVP_MD_CTX *copy = EVP_MD_CTX_new();
    if (copy == NULL)
        abort();
    must(EVP_MD_CTX_copy_ex(copy, stream->context));
    must(EVP_DigestFinal_ex(copy, hash, NULL));
    EVP_MD_CTX_free(copy);
    format_digest(hash, ret_digest);
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
