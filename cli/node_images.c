/* node images. */
#include <stdio.h>
#include <string.h>

#include "cli/format.h"
#include "cli/lists.h"
#include "cli/scheduler.h"
#include "lib/api/images.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define SHORT_DIGEST 12

static void image_row(struct table *table, const struct api_node_image *image)
{
    char bytes[FORMAT_MAX], age[TEXT_SIZE_MAX] = "";
    format_bytes(image->bytes, bytes);
    if (!image->used)
        text_format_age(image->age_ms, age, sizeof age);
    table_cell(table, "%s", image->repository);
    table_cell(table, "%.*s", SHORT_DIGEST, digest_hex(image->digest));
    table_cell(table, "%s", image->arch);
    table_cell(table, "%s", bytes);
    table_cell_toned(table, image->used ? TONE_GOOD : TONE_PLAIN, image->used ? "in use" : age);
    table_cell(table, "%s", image->digest);
}

static void release_images(struct api_node_images *images)
{
    json_record_release(&api_node_images_record, images);
}

int node_images_run(struct cli *cli, struct error *error)
{
    static const struct table_column columns[] = {
        {"REPOSITORY", .right = false}, {"IMAGE", .right = false},     {"ARCH", .right = false},
        {"SIZE", .right = true},        {"LAST USED", .right = false}, {"DIGEST", .wide = true},
        {NULL, false, false},
    };
    AUTO_FREE char *path = scheduler_node_path(cli_argument(cli, 0), "/images");
    AUTO_JSON struct json_object *answer = NULL;
    struct api_node_images images __attribute__((cleanup(release_images))) = {0};
    if (session_get(cli_session(cli), path, &answer, error) < 0)
        return -1;
    if (json_decode(&api_node_images_record, answer, JSON_LENIENT, &images, error) < 0)
        return error_wrap(error, "the node's answer");
    if (cli_wants_document(cli)) {
        cli_print_document(cli, TAKE_POINTER(answer));
        return 0;
    }
    struct table *table = table_create(columns);
    for (size_t i = 0; i < images.image_count; i++)
        image_row(table, &images.images[i]);
    lists_print_table(cli, table);
    char bytes[FORMAT_MAX], limit[FORMAT_MAX];
    format_bytes(images.bytes, bytes);
    format_bytes(images.limit, limit);
    printf("\n%s of %s for images are used.\n", bytes, limit);
    return 0;
}
