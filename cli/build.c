/* build: a folder with a Unikernel.yaml becomes an image. */
#include <stdio.h>
#include <string.h>

#include "cli/images.h"
#include "image-format/layout.h"
#include "lib/cleanup.h"

static void print_image(struct cli *cli, const char *name, const struct packed_image *image)
{
    const char *digest = packed_image_top(image)->digest;
    if (!cli_wants_document(cli)) {
        printf("%s: built\n%s\n", name, digest);
        return;
    }
    struct json_object *document = json_object_new_object();
    struct json_object *architectures = json_object_new_array();
    for (size_t i = 0; i < image->manifest_count; i++)
        json_object_array_add(architectures,
                              json_object_new_string(image->manifests[i].architecture));
    json_object_object_add(document, "name", json_object_new_string(name));
    json_object_object_add(document, "digest", json_object_new_string(digest));
    json_object_object_add(document, "architectures", architectures);
    json_object_object_add(document, "result", json_object_new_string("built"));
    cli_print_document(cli, document);
}

int build_run(struct cli *cli, struct error *error)
{
    char name[IMAGE_TEXT_MAX];
    AUTO_FREE char *folder = image_store_path();
    struct recipe recipe;
    struct packed_image image;
    if (images_local_name(cli, invocation_text(cli->invocation, "tag"), name, error) < 0 ||
        recipe_load(cli_argument(cli, 0), &recipe, error) < 0)
        return -1;
    int result = pack_image(&recipe, NULL, &image, error);
    recipe_release(&recipe);
    if (result < 0)
        return -1;
    result = layout_add(folder, name, &image, error);
    if (result == 0)
        print_image(cli, name, &image);
    packed_image_release(&image);
    return result;
}
