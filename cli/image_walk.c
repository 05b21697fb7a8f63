#include "cli/image_walk.h"

#include <string.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"

bool image_node_is_index(const struct image_node *node)
{
    return strcmp(node->descriptor.media_type, OCI_INDEX_TYPE) == 0;
}

void image_walk_release(struct image_walk *walk)
{
    for (size_t i = 0; i < walk->count; i++) {
        json_record_release(&oci_descriptor_record, &walk->nodes[i].descriptor);
        free(walk->nodes[i].bytes);
    }
    free(walk->nodes);
    *walk = (struct image_walk){0};
}

static bool has(const struct image_walk *walk, const char *digest)
{
    for (size_t i = 0; i < walk->count; i++) {
        if (strcmp(walk->nodes[i].descriptor.digest, digest) == 0)
            return true;
    }
    return false;
}

static struct image_node *append(struct image_walk *walk)
{
    walk->nodes = xreallocarray(walk->nodes, walk->count + 1, sizeof *walk->nodes);
    struct image_node *node = &walk->nodes[walk->count++];
    *node = (struct image_node){0};
    return node;
}

static int fetch_child(struct registry *registry, const struct oci_descriptor *descriptor,
                       unsigned depth, struct image_walk *walk, struct error *error)
{
    struct registry_manifest manifest = {0};
    struct error reason = ERROR_INIT;
    if (walk->count == IMAGE_WALK_MANIFESTS_MAX)
        return error_set(error, ERROR_TOO_LARGE, "the image has more than %d manifests",
                         IMAGE_WALK_MANIFESTS_MAX);
    if (registry_get_manifest(registry, descriptor->digest, &manifest, &reason) < 0 &&
        reason.code != ERROR_NOT_FOUND)
        return error_copy(error, &reason);
    struct image_node *node = append(walk);
    json_record_copy(&oci_descriptor_record, descriptor, &node->descriptor);
    node->depth = depth;
    node->bytes = manifest.bytes;
    node->length = manifest.length;
    return 0;
}

/* Behind the node come its children, and so on down. `number`: nodes move while more come. */
static int walk_node(struct registry *registry, size_t number, struct image_walk *walk,
                     struct error *error)
{
    struct oci_index index = {0};
    const struct image_node *node = &walk->nodes[number];
    unsigned depth = node->depth + 1;
    if (!image_node_is_index(node) || node->bytes == NULL)
        return 0;
    if (depth > IMAGE_WALK_DEPTH_MAX)
        return error_set(error, ERROR_TOO_LARGE, "the image has indexes in indexes, more than %d",
                         IMAGE_WALK_DEPTH_MAX);
    if (json_parse_record(&oci_index_record, node->bytes, node->length, JSON_LENIENT, &index,
                          error) < 0)
        return error_wrap(error, "index %s", node->descriptor.digest);
    int result = 0;
    for (size_t i = 0; i < index.manifest_count && result == 0; i++) {
        if (has(walk, index.manifests[i].digest))
            continue;
        result = fetch_child(registry, &index.manifests[i], depth, walk, error);
        if (result == 0)
            result = walk_node(registry, walk->count - 1, walk, error);
    }
    json_record_release(&oci_index_record, &index);
    return result;
}

int image_walk(struct registry *registry, const char *reference, struct image_walk *ret_walk,
               struct error *error)
{
    struct image_walk walk = {0};
    struct registry_manifest top = {0};
    if (registry_get_manifest(registry, reference, &top, error) < 0)
        return -1;
    struct image_node *node = append(&walk);
    memcpy(node->descriptor.digest, top.digest, sizeof node->descriptor.digest);
    memcpy(node->descriptor.media_type, top.media_type, sizeof node->descriptor.media_type);
    node->descriptor.size = top.length;
    node->bytes = top.bytes;
    node->length = top.length;
    if (walk_node(registry, 0, &walk, error) < 0) {
        image_walk_release(&walk);
        return -1;
    }
    *ret_walk = walk;
    return 0;
}
