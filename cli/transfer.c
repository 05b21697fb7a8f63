/* push, image pull: between the local store and the registry. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/format.h"
#include "cli/images.h"
#include "cli/keys.h"
#include "cli/signing.h"
#include "cli/transfer.h"
#include "image-format/layout.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

/* The manifests of an image, each once. */
struct digests {
    char (*items)[DIGEST_TEXT_MAX];
    size_t count;
};

static void digests_add(struct digests *digests, const char *digest)
{
    for (size_t i = 0; i < digests->count; i++) {
        if (strcmp(digests->items[i], digest) == 0)
            return;
    }
    digests->items = xreallocarray(digests->items, digests->count + 1, sizeof *digests->items);
    snprintf(digests->items[digests->count++], DIGEST_TEXT_MAX, "%s", digest);
}

static void print_transfer(struct cli *cli, const char *name, const char *digest, const char *id,
                           const char *result)
{
    if (!cli_wants_document(cli)) {
        printf("%s: %s%s%s\n%s\n", name, result, id[0] == '\0' ? "" : ", signed by key ", id,
               digest);
        return;
    }
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "name", json_object_new_string(name));
    json_object_object_add(document, "digest", json_object_new_string(digest));
    json_object_object_add(document, "result", json_object_new_string(result));
    if (id[0] != '\0')
        json_object_object_add(document, "key_id", json_object_new_string(id));
    cli_print_document(cli, document);
}

/* Blobs first, manifests by digest next, the tag last: a reader never finds half an image. */
static int push_image(struct registry *registry, const struct packed_image *image,
                      struct error *error)
{
    const struct packed_manifest *top = packed_image_top(image);
    for (size_t i = 0; i < image->blob_count; i++) {
        const struct packed_blob *blob = &image->blobs[i];
        if (registry_push_blob(registry, blob->digest, blob->size, blob->path, blob->bytes, error) <
            0)
            return -1;
    }
    for (size_t i = 0; i < image->manifest_count; i++) {
        const struct packed_manifest *manifest = &image->manifests[i];
        if (registry_push_manifest(registry, manifest->digest, manifest->media_type,
                                   manifest->bytes, manifest->length, error) < 0)
            return -1;
    }
    return registry_push_manifest(registry, registry->image.tag, top->media_type, top->bytes,
                                  top->length, error);
}

static int push_and_sign(struct registry *registry, const struct packed_image *image,
                         const struct private_key *key, unsigned forms,
                         struct transfer_result *result, struct error *error)
{
    struct signing_result signed_image;
    strcpy(result->digest, packed_image_top(image)->digest);
    if (push_image(registry, image, error) < 0)
        return -1;
    if (key == NULL)
        return 0;
    if (signing_sign(registry, key, result->digest, forms, &signed_image, error) < 0)
        return -1;
    strcpy(result->key_id, signed_image.key_id);
    return 0;
}

static int find_local(struct registry *registry, const char *typed, struct packed_image *ret_image,
                      struct error *error)
{
    AUTO_FREE char *folder = image_store_path();
    char name[IMAGE_TEXT_MAX];
    if (registry->image.tag[0] == '\0' || registry->image.digest[0] != '\0')
        return error_set(error, ERROR_INVALID, "image \"%s\": push needs a tag, not a digest",
                         typed);
    image_reference_format(&registry->image, name);
    if (layout_find(folder, name, ret_image, error) == 0)
        return 0;
    if (error != NULL && error->code == ERROR_NOT_FOUND)
        error_set(error, ERROR_NOT_FOUND,
                  "there is no image %s in %s: build it with `shoal build DIR -t %s`, or look with "
                  "`shoal image list`",
                  name, folder, typed);
    return -1;
}

int transfer_push(struct cli *cli, const char *typed, const char *key_file,
                  struct transfer_result *ret_result, struct error *error)
{
    unsigned forms = signing_forms_parse(invocation_text(cli->invocation, "format"));
    struct transfer_result pushed = {.key_id = ""};
    struct registry registry;
    struct packed_image image;
    struct private_key *key = NULL;
    char name[IMAGE_TEXT_MAX];
    if (registry_init(&registry, cli, typed, error) < 0 ||
        (key_file != NULL && keys_load_private(key_file, &key, error) < 0))
        return -1;
    if (find_local(&registry, typed, &image, error) < 0) {
        private_key_destroy(key);
        return -1;
    }
    image_reference_format(&registry.image, name);
    progress_show(&registry.progress, "%s: pushing to %s", name, registry.url);
    int result = push_and_sign(&registry, &image, key, forms, &pushed, error);
    progress_finish(&registry.progress);
    if (result == 0)
        *ret_result = pushed;
    else
        error_wrap(error, "push %s", name);
    packed_image_release(&image);
    private_key_destroy(key);
    return result;
}

int push_run(struct cli *cli, struct error *error)
{
    const char *typed = cli_argument(cli, 0);
    char name[IMAGE_TEXT_MAX];
    struct transfer_result result;
    if (images_local_name(cli, typed, name, error) < 0 ||
        transfer_push(cli, typed, invocation_text(cli->invocation, "sign"), &result, error) < 0)
        return -1;
    print_transfer(cli, name, result.digest, result.key_id, "pushed");
    return 0;
}

/* The manifests an index lists; nothing for a manifest. */
static int digests_of_index(const struct registry_manifest *manifest, struct digests *digests,
                            struct error *error)
{
    struct oci_index index = {0};
    if (strcmp(manifest->media_type, OCI_INDEX_TYPE) != 0)
        return 0;
    if (json_parse_record(&oci_index_record, manifest->bytes, manifest->length, JSON_LENIENT,
                          &index, error) < 0)
        return -1;
    for (size_t i = 0; i < index.manifest_count; i++)
        digests_add(digests, index.manifests[i].digest);
    json_record_release(&oci_index_record, &index);
    return 0;
}

static bool has_blob(const struct packed_image *image, const char *digest)
{
    for (size_t i = 0; i < image->blob_count; i++) {
        if (strcmp(image->blobs[i].digest, digest) == 0)
            return true;
    }
    return false;
}

static int pull_blob(struct registry *registry, const struct oci_descriptor *descriptor,
                     const char *folder, struct packed_image *image, struct error *error)
{
    if (!digest_is_valid(descriptor->digest))
        return error_set(error, ERROR_INVALID, "\"%s\" is not a digest", descriptor->digest);
    if (has_blob(image, descriptor->digest))
        return 0;
    AUTO_FREE char *path = xasprintf("%s/%s", folder, digest_hex(descriptor->digest));
    if (registry_pull_blob(registry, descriptor->digest, descriptor->size, path, error) < 0)
        return -1;
    image->blobs = xreallocarray(image->blobs, image->blob_count + 1, sizeof *image->blobs);
    struct packed_blob *blob = &image->blobs[image->blob_count++];
    *blob = (struct packed_blob){.size = descriptor->size};
    blob->path = TAKE_POINTER(path);
    snprintf(blob->digest, sizeof blob->digest, "%s", descriptor->digest);
    snprintf(blob->media_type, sizeof blob->media_type, "%s", descriptor->media_type);
    return 0;
}

static int pull_blobs(struct registry *registry, const struct registry_manifest *manifest,
                      const char *folder, struct packed_image *image, struct error *error)
{
    struct oci_manifest parsed = {0};
    if (json_parse_record(&oci_manifest_record, manifest->bytes, manifest->length, JSON_LENIENT,
                          &parsed, error) < 0)
        return -1;
    int result = 0;
    if (!parsed.has_config || strcmp(parsed.config.media_type, SHOAL_CONFIG_TYPE) != 0)
        result = error_set(error, ERROR_INVALID, "it is no unikernel image: its config is \"%s\"",
                           parsed.config.media_type);
    else
        result = pull_blob(registry, &parsed.config, folder, image, error);
    for (size_t i = 0; result == 0 && i < parsed.layer_count; i++)
        result = pull_blob(registry, &parsed.layers[i], folder, image, error);
    json_record_release(&oci_manifest_record, &parsed);
    return result;
}

/* Takes the manifest's bytes. */
static void keep_manifest(struct packed_manifest *kept, struct registry_manifest *manifest)
{
    *kept = (struct packed_manifest){.length = manifest->length};
    kept->bytes = TAKE_POINTER(manifest->bytes);
    snprintf(kept->digest, sizeof kept->digest, "%s", manifest->digest);
    snprintf(kept->media_type, sizeof kept->media_type, "%s", manifest->media_type);
}

static int pull_manifest(struct registry *registry, const char *reference, const char *folder,
                         struct packed_image *image, struct error *error)
{
    struct registry_manifest manifest = {0};
    if (registry_get_manifest(registry, reference, &manifest, error) < 0)
        return -1;
    int result = pull_blobs(registry, &manifest, folder, image, error);
    if (result == 0) {
        image->manifests =
            xreallocarray(image->manifests, image->manifest_count + 1, sizeof *image->manifests);
        keep_manifest(&image->manifests[image->manifest_count++], &manifest);
    }
    free(manifest.bytes);
    return result;
}

static int pull_image(struct registry *registry, const char *folder, struct packed_image *image,
                      struct error *error)
{
    struct registry_manifest top = {0};
    struct digests digests = {0};
    if (registry_get_manifest(registry, registry_reference(registry), &top, error) < 0)
        return -1;
    int result = digests_of_index(&top, &digests, error);
    if (digests.count == 0)
        digests_add(&digests, top.digest);
    else
        image->has_index = true;
    for (size_t i = 0; result == 0 && i < digests.count; i++)
        result = pull_manifest(registry, digests.items[i], folder, image, error);
    if (image->has_index)
        keep_manifest(&image->index, &top);
    free(top.bytes);
    free(digests.items);
    return result;
}

int image_pull_run(struct cli *cli, struct error *error)
{
    char name[IMAGE_TEXT_MAX], temporary[] = "/tmp/shoal-pull.XXXXXX";
    AUTO_FREE char *folder = image_store_path();
    struct registry registry;
    struct packed_image image = {0};
    if (registry_init(&registry, cli, cli_argument(cli, 0), error) < 0)
        return -1;
    if (registry.image.tag[0] == '\0')
        return error_set(error, ERROR_INVALID,
                         "image \"%s\": the local store knows images by tag, name one",
                         cli_argument(cli, 0));
    image_reference_format(&registry.image, name);
    if (mkdtemp(temporary) == NULL)
        return error_set_errno(error, errno, "create %s", temporary);
    progress_show(&registry.progress, "%s: pulling from %s", name, registry.url);
    int result = pull_image(&registry, temporary, &image, error);
    progress_finish(&registry.progress);
    if (result == 0)
        result = layout_add(folder, name, &image, error);
    if (result == 0)
        print_transfer(cli, name, packed_image_top(&image)->digest, "", "pulled");
    else
        error_wrap(error, "pull %s", name);
    packed_image_release(&image);
    file_remove_tree(temporary, NULL);
    return result;
}
