#include "lib/api/images.h"

static const struct json_field image_fields[] = {
    JSON_FIELD(struct api_node_image, repository, "repository", JSON_STRING, .flags = 0),
    JSON_FIELD(struct api_node_image, digest, "digest", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_node_image, arch, "arch", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_node_image, bytes, "bytes", JSON_UINT, .flags = 0),
    JSON_FIELD(struct api_node_image, age_ms, "age_ms", JSON_UINT, .flags = 0),
    JSON_FIELD(struct api_node_image, used, "used", JSON_BOOL, .flags = 0),
    JSON_FIELD_END,
};
static const struct json_record image_record = {sizeof(struct api_node_image), image_fields};

static const struct json_field images_fields[] = {
    JSON_FIELD(struct api_node_images, node, "node", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_node_images, bytes, "bytes", JSON_UINT, .flags = 0),
    JSON_FIELD(struct api_node_images, limit, "limit", JSON_UINT, .flags = 0),
    JSON_FIELD(struct api_node_images, evictions, "evictions", JSON_UINT, .flags = 0),
    JSON_FIELD_LIST(struct api_node_images, images, image_count, "images", &image_record),
    JSON_FIELD_END,
};
const struct json_record api_node_images_record = {sizeof(struct api_node_images), images_fields};
