/* push: from the local store to the registry. */
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

void transfer_print(struct cli *cli, const char *name, const char *digest, const char *id,
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

/* Blobs first, manifests by digest next, the tag behind them: a reader never finds half an image.
 * What is about the image comes last, as its subject must be there. */
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
    if (registry_push_manifest(registry, registry->image.tag, top->media_type, top->bytes,
                               top->length, error) < 0)
        return -1;
    for (size_t i = 0; i < image->referrer_count; i++) {
        const struct packed_manifest *referrer = &image->referrers[i];
        if (registry_push_referrer_manifest(registry, referrer->media_type, referrer->bytes,
                                            referrer->length, error) < 0)
            return -1;
    }
    return 0;
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

int transfer_push(struct cli *cli, const char *typed, const struct private_key *key,
                  struct transfer_result *ret_result, struct error *error)
{
    unsigned forms = signing_forms_parse(invocation_text(cli->invocation, "format"));
    struct transfer_result pushed = {.key_id = ""};
    struct registry registry;
    struct packed_image image;
    char name[IMAGE_TEXT_MAX];
    if (registry_init(&registry, cli, typed, error) < 0 ||
        find_local(&registry, typed, &image, error) < 0)
        return -1;
    image_reference_format(&registry.image, name);
    progress_show(&registry.progress, "%s: pushing to %s", name, registry.url);
    int result = push_and_sign(&registry, &image, key, forms, &pushed, error);
    progress_finish(&registry.progress);
    if (result == 0)
        *ret_result = pushed;
    else
        error_wrap(error, "push %s", name);
    packed_image_release(&image);
    return result;
}

int push_run(struct cli *cli, struct error *error)
{
    const char *typed = cli_argument(cli, 0), *file = invocation_text(cli->invocation, "sign");
    char name[IMAGE_TEXT_MAX];
    struct transfer_result pushed;
    struct private_key *key = NULL;
    if (images_local_name(cli, typed, name, error) < 0 ||
        (file != NULL && keys_load_private(file, &key, error) < 0))
        return -1;
    int result = transfer_push(cli, typed, key, &pushed, error);
    if (result == 0)
        transfer_print(cli, name, pushed.digest, pushed.key_id, "pushed");
    private_key_destroy(key);
    return result;
}
