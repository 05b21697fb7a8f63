#include "cli/build_provenance.h"

#include <stdlib.h>
#include <string.h>

#include "image-format/attachment.h"
#include "image-format/layout.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* A statement about an image, and who signs it. */
struct signing {
    const struct private_key *key;
    const char *statement;
    const char *digest; /* of the image */
};

/* SOURCE_DATE_EPOCH (reproducible-builds.org): the one time that a build may tell. */
static int read_epoch(uint64_t *ret_epoch, struct error *error)
{
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    *ret_epoch = 0;
    if (epoch == NULL || epoch[0] == '\0' || text_parse_u64(epoch, INT32_MAX, ret_epoch))
        return 0;
    return error_set(error, ERROR_INVALID, "SOURCE_DATE_EPOCH=%.40s: expected seconds since 1970",
                     epoch);
}

/* Whether the blob is a bundle of the very statement by the very key; its text. */
static bool is_signed(const struct signing *signing, const struct packed_blob *blob,
                      char **ret_bundle)
{
    AUTO_FREE char *payload = base64_encode(signing->statement, strlen(signing->statement));
    AUTO_FREE char *bytes = NULL;
    size_t length = 0;
    if (strcmp(blob->media_type, BUNDLE_TYPE) != 0 || blob->path == NULL ||
        file_read(blob->path, BUNDLE_MAX, &bytes, &length, NULL) < 0 ||
        strstr(bytes, payload) == NULL)
        return false;
    struct trusted_key own = {.key = private_key_public(signing->key)};
    bool holds = bundle_check(bytes, length, &own, 1, signing->digest, NULL, NULL) >= 0;
    public_key_destroy(own.key);
    if (holds)
        *ret_bundle = TAKE_POINTER(bytes);
    return holds;
}

static char *find_bundle(const struct signing *signing, const char *folder, const char *name)
{
    struct packed_image former;
    char *bundle = NULL;
    if (layout_find(folder, name, &former, NULL) < 0)
        return NULL;
    for (size_t i = 0; i < former.blob_count && bundle == NULL; i++)
        is_signed(signing, &former.blobs[i], &bundle);
    packed_image_release(&former);
    return bundle;
}

/* A signature is random: making it again would put another one beside the first. */
static int add_bundle(const struct signing *signing, const char *folder, const char *name,
                      const char *predicate_type, struct packed_image *image, struct error *error)
{
    AUTO_FREE char *bundle = find_bundle(signing, folder, name);
    if (bundle == NULL && bundle_create(signing->key, signing->statement, &bundle, error) < 0)
        return -1;
    provenance_attach(image, BUNDLE_TYPE, bundle, strlen(bundle), predicate_type);
    return 0;
}

int build_provenance_add(struct provenance *provenance, const struct private_key *key,
                         const char *folder, const char *name, struct packed_image *image,
                         struct error *error)
{
    const char *digest = packed_image_top(image)->digest;
    struct attachment attachment;
    if (read_epoch(&provenance->built_at, error) < 0)
        return -1;
    AUTO_FREE char *predicate = provenance_predicate(provenance);
    if (attachment_read(ATTACHMENT_SLSA, predicate, strlen(predicate), digest, &attachment, error) <
        0)
        return -1;
    struct signing signing = {key, attachment.statement, digest};
    int result = 0;
    if (key != NULL)
        result = add_bundle(&signing, folder, name, attachment.predicate_type, image, error);
    else
        provenance_attach(image, attachment.media_type, attachment.content,
                          attachment.content_length, NULL);
    attachment_release(&attachment);
    return result;
}
