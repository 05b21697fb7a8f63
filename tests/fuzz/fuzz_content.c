/* Manifest, config and metadata of an image that anybody made, one a line: what is accepted can be
 * given to a node, and its command line keeps the family's bounds. */
#include "image-format/chain_content.h"
#include "image-format/command_line.h"
#include "image-format/family.h"
#include "tests/fuzz/fuzz.h"

static void check_part(const struct image_verified *image, const struct image_part *part)
{
    if (part->packing == IMAGE_PACKING_TAR) {
        EXPECT(part->path[0] != '\0' && strstr(part->path, "/../") == NULL &&
               strncmp(part->path, "../", 3) != 0);
        return;
    }
    EXPECT(digest_is_valid(part->digest) && part->size > 0 && part->size <= IMAGE_DISK_MAX);
    EXPECT(part->layer < image->layer_count);
    EXPECT(digest_is_valid(image->layers[part->layer].digest));
}

static void check_line(const struct image_config *config)
{
    static const struct command_line_values values = {
        .address = "10.0.0.2", .prefix = 24, .gateway = "10.0.0.1", .instance_id = "0001000003f2"};
    AUTO_FREE char *line = NULL;
    if (command_line_expand(config, NULL, NULL, &values, &line, NULL) < 0)
        return;
    EXPECT(strlen(line) <= COMMAND_LINE_MAX);
    EXPECT(command_line_check_characters(line, NULL) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE char *manifest_text = fuzz_line(&bytes, &length);
    AUTO_FREE char *config = fuzz_line(&bytes, &length);
    AUTO_FREE char *metadata = fuzz_text(bytes, length);
    struct oci_manifest manifest = {0};
    struct image_verified image = {0};
    if (json_parse_record(&oci_manifest_record, manifest_text, strlen(manifest_text), JSON_LENIENT,
                          &manifest, NULL) < 0)
        return 0;
    image_content_needs_metadata(&manifest, config, strlen(config));
    bool has_metadata = metadata[0] != '\0';
    if (image_content_read(&manifest, config, strlen(config), has_metadata ? metadata : NULL,
                           strlen(metadata), &image, NULL) == 0) {
        EXPECT(image.part_count <= IMAGE_PARTS_MAX && image.layer_count <= IMAGE_LAYERS_MAX);
        EXPECT(family_find(image.config.family) != NULL);
        for (size_t i = 0; i < image.part_count; i++)
            check_part(&image, &image.parts[i]);
        check_line(&image.config);
        image_verified_release(&image);
    }
    json_record_release(&oci_manifest_record, &manifest);
    return 0;
}
