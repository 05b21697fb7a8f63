/* image pull: from the registry to the local store, with what is about the image. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/registry.h"
#include "cli/transfer.h"
#include "image-format/layout.h"
#include "image-format/platforms.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define REFERRERS_MAX     64            /* of one image */
#define REFERRER_BLOB_MAX (64ull << 20) /* bytes of an SBOM, a signature or the like */

/* One run. */
struct pull {
    struct registry registry;
    const char *store;
    struct layout_scratch scratch;
    struct packed_image image;
};

static bool has_blob(const struct packed_image *image, const char *digest)
{
    for (size_t i = 0; i < image->blob_count; i++) {
        if (strcmp(image->blobs[i].digest, digest) == 0)
            return true;
    }
    return false;
}

static int pull_blob(struct pull *pull, const struct oci_descriptor *descriptor,
                     struct error *error)
{
    if (has_blob(&pull->image, descriptor->digest))
        return 0;
    AUTO_FREE char *path = layout_find_blob(pull->store, descriptor->digest, descriptor->size);
    if (path == NULL) {
        path = xasprintf("%s/%s", pull->scratch.path, digest_hex(descriptor->digest));
        if (registry_pull_blob(&pull->registry, descriptor->digest, descriptor->size, path, error) <
            0)
            return -1;
    }
    struct packed_blob blob = {.size = descriptor->size};
    blob.path = TAKE_POINTER(path);
    memcpy(blob.digest, descriptor->digest, sizeof blob.digest);
    memcpy(blob.media_type, descriptor->media_type, sizeof blob.media_type);
    packed_image_add_blob(&pull->image, &blob);
    return 0;
}

/* Whatever tool made it, all that it names is kept. */
static int pull_blobs(struct pull *pull, const struct oci_manifest *manifest, struct error *error)
{
    if (manifest->has_config && pull_blob(pull, &manifest->config, error) < 0)
        return -1;
    for (size_t i = 0; i < manifest->layer_count; i++) {
        if (pull_blob(pull, &manifest->layers[i], error) < 0)
            return -1;
    }
    return 0;
}

/* Takes the manifest's bytes. */
static void keep_manifest(struct packed_manifest *kept, struct registry_manifest *manifest)
{
    *kept = (struct packed_manifest){.length = manifest->length};
    kept->bytes = TAKE_POINTER(manifest->bytes);
    snprintf(kept->digest, sizeof kept->digest, "%s", manifest->digest);
    snprintf(kept->media_type, sizeof kept->media_type, "%s", manifest->media_type);
}

/* Takes the bytes of a manifest that is no index. */
static int keep_image(struct pull *pull, struct registry_manifest *fetched, struct error *error)
{
    struct packed_image *image = &pull->image;
    struct oci_manifest manifest = {0};
    if (!platforms_is_manifest_type(fetched->media_type))
        return error_set(error, ERROR_UNSUPPORTED,
                         "%s of type \"%s\" is no image manifest: indexes in indexes are not kept "
                         "locally; pull what it lists by digest",
                         fetched->digest, fetched->media_type);
    if (json_parse_record(&oci_manifest_record, fetched->bytes, fetched->length, JSON_LENIENT,
                          &manifest, error) < 0)
        return error_wrap(error, "manifest %s", fetched->digest);
    int result = pull_blobs(pull, &manifest, error);
    json_record_release(&oci_manifest_record, &manifest);
    if (result < 0)
        return -1;
    image->manifests =
        xreallocarray(image->manifests, image->manifest_count + 1, sizeof *image->manifests);
    keep_manifest(&image->manifests[image->manifest_count++], fetched);
    return 0;
}

static int pull_child(struct pull *pull, const char *digest, struct error *error)
{
    struct registry_manifest fetched = {0};
    for (size_t i = 0; i < pull->image.manifest_count; i++) {
        if (strcmp(pull->image.manifests[i].digest, digest) == 0)
            return 0;
    }
    if (registry_get_manifest(&pull->registry, digest, &fetched, error) < 0)
        return -1;
    int result = keep_image(pull, &fetched, error);
    free(fetched.bytes);
    return result;
}

/* Takes the bytes of an index. */
static int keep_index(struct pull *pull, struct registry_manifest *fetched, struct error *error)
{
    struct oci_index index = {0};
    if (json_parse_record(&oci_index_record, fetched->bytes, fetched->length, JSON_LENIENT, &index,
                          error) < 0)
        return error_wrap(error, "index %s", fetched->digest);
    int result =
        index.manifest_count > 0
            ? 0
            : error_set(error, ERROR_INVALID, "index %s names no manifest", fetched->digest);
    for (size_t i = 0; result == 0 && i < index.manifest_count; i++)
        result = pull_child(pull, index.manifests[i].digest, error);
    json_record_release(&oci_index_record, &index);
    pull->image.has_index = true;
    keep_manifest(&pull->image.index, fetched);
    return result;
}

static bool is_small(const struct oci_manifest *manifest)
{
    for (size_t i = 0; i < manifest->layer_count; i++) {
        if (manifest->layers[i].size > REFERRER_BLOB_MAX)
            return false;
    }
    return !manifest->has_config || manifest->config.size <= REFERRER_BLOB_MAX;
}

static int pull_referrer(struct pull *pull, const char *digest, struct error *error)
{
    struct registry_manifest fetched = {0};
    struct oci_manifest manifest = {0};
    if (registry_get_manifest(&pull->registry, digest, &fetched, error) < 0)
        return -1;
    int result = 0;
    if (json_parse_record(&oci_manifest_record, fetched.bytes, fetched.length, JSON_LENIENT,
                          &manifest, error) < 0)
        result = error_wrap(error, "manifest %s", digest);
    else if (!is_small(&manifest))
        progress_say(&pull->registry.progress, "%s is left out: it has more than 64 MiB", digest);
    else
        result = pull_blobs(pull, &manifest, error);
    if (result == 0 && is_small(&manifest))
        packed_image_add_referrer(&pull->image, fetched.media_type, TAKE_POINTER(fetched.bytes),
                                  fetched.length);
    json_record_release(&oci_manifest_record, &manifest);
    free(fetched.bytes);
    return result;
}

/* What is about the manifest or index: SBOMs, provenance, signatures in bundles. */
static int pull_referrers(struct pull *pull, const char *subject, struct error *error)
{
    struct oci_index list = {0};
    if (registry_list_referrers(&pull->registry, subject, &list, error) < 0)
        return -1;
    int result = 0;
    for (size_t i = 0; result == 0 && i < list.manifest_count; i++) {
        if (pull->image.referrer_count == REFERRERS_MAX) {
            progress_say(&pull->registry.progress,
                         "more than %d things are about this image: the "
                         "others are left out",
                         REFERRERS_MAX);
            break;
        }
        if (platforms_is_manifest_type(list.manifests[i].media_type))
            result = pull_referrer(pull, list.manifests[i].digest, error);
    }
    json_record_release(&oci_index_record, &list);
    return result;
}

static int pull_all(struct pull *pull, struct error *error)
{
    struct registry_manifest top = {0};
    struct packed_image *image = &pull->image;
    if (registry_get_manifest(&pull->registry, registry_reference(&pull->registry), &top, error) <
        0)
        return -1;
    int result = platforms_is_index_type(top.media_type) ? keep_index(pull, &top, error)
                                                         : keep_image(pull, &top, error);
    free(top.bytes);
    for (size_t i = 0; result == 0 && i < image->manifest_count; i++)
        result = pull_referrers(pull, image->manifests[i].digest, error);
    if (result == 0 && image->has_index)
        result = pull_referrers(pull, image->index.digest, error);
    return result;
}

int image_pull_run(struct cli *cli, struct error *error)
{
    char name[IMAGE_TEXT_MAX];
    AUTO_FREE char *folder = image_store_path();
    struct pull pull = {.store = folder};
    struct registry *registry = &pull.registry;
    if (registry_init(registry, cli, cli_argument(cli, 0), error) < 0)
        return -1;
    if (registry->image.tag[0] == '\0')
        return error_set(error, ERROR_INVALID,
                         "image \"%s\": the local store knows images by tag, name one",
                         cli_argument(cli, 0));
    image_reference_format(&registry->image, name);
    if (layout_scratch_create(folder, &pull.scratch, error) < 0)
        return -1;
    progress_show(&registry->progress, "%s: pulling from %s", name, registry->url);
    int result = pull_all(&pull, error);
    progress_finish(&registry->progress);
    if (result == 0)
        result = layout_add(folder, name, &pull.image, error);
    if (result == 0)
        transfer_print(cli, name, packed_image_top(&pull.image)->digest, "", "pulled");
    else
        error_wrap(error, "pull %s", name);
    packed_image_release(&pull.image);
    layout_scratch_remove(&pull.scratch);
    return result;
}
