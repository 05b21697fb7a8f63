/* Manifests: what is accepted is kept byte for byte, under its digest, and refers to nothing but
 * digests. The first line is the Content-Type. */
#include "lib/crypto.h"
#include "registry/manifest_reader.h"
#include "tests/fuzz/fuzz.h"

static void expect_digests(const struct json_strings *digests)
{
    for (size_t i = 0; i < digests->count; i++)
        EXPECT(digest_is_any(digests->items[i]));
}

static void expect_same_strings(const struct json_strings *one, const struct json_strings *other)
{
    EXPECT(one->count == other->count);
    for (size_t i = 0; i < one->count; i++)
        EXPECT(strcmp(one->items[i], other->items[i]) == 0);
}

/* What was stored is what a client gets, and may push again: it must be read alike. */
static void read_again(const struct metadata_manifest *manifest,
                       const struct metadata_references *references)
{
    struct metadata_manifest again = {0};
    struct metadata_references references_again = {0};
    EXPECT(manifest_read(manifest->bytes, manifest->length, manifest->media_type, &again,
                         &references_again, NULL) == 0);
    EXPECT(strcmp(again.digest, manifest->digest) == 0);
    EXPECT(strcmp(again.media_type, manifest->media_type) == 0);
    expect_same_strings(&references->blobs, &references_again.blobs);
    expect_same_strings(&references->manifests, &references_again.manifests);
    metadata_manifest_finish(&again);
    metadata_references_finish(&references_again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE char *content_type = fuzz_line(&bytes, &length);
    AUTO_FREE char *text = xmemdup(bytes, length);
    struct metadata_manifest manifest = {0};
    struct metadata_references references = {0};
    struct error error = ERROR_INIT;
    static regex_t media_type;
    if (manifest_read(text, length, content_type, &manifest, &references, &error) < 0) {
        EXPECT(error.message[0] != '\0' && error.code != ERROR_INTERNAL);
        EXPECT(manifest.bytes == NULL && references.blobs.items == NULL);
        return 0;
    }
    char digest[DIGEST_TEXT_MAX];
    digest_of_bytes(bytes, length, digest);
    EXPECT(strcmp(manifest.digest, digest) == 0);
    EXPECT(manifest.length == length && memcmp(manifest.bytes, bytes, length) == 0);
    EXPECT(fuzz_matches(&media_type, "^([!-:<-~]+)$", manifest.media_type));
    EXPECT(manifest.subject == NULL || digest_is_any(manifest.subject));
    expect_digests(&references.blobs);
    expect_digests(&references.manifests);
    read_again(&manifest, &references);
    metadata_manifest_finish(&manifest);
    metadata_references_finish(&references);
    return 0;
}
