/* An image in a registry as a tree: an index, what it lists, indexes in indexes. */
#pragma once

#include "cli/registry.h"
#include "lib/oci.h"

#define IMAGE_WALK_DEPTH_MAX     4   /* indexes in indexes */
#define IMAGE_WALK_MANIFESTS_MAX 256 /* of one image */

/* A manifest or an index, parents before their children. */
struct image_node {
    struct oci_descriptor descriptor; /* as its parent lists it; of the top: type, digest, size */
    unsigned depth;                   /* 0: the top */
    char *bytes; /* NULL: the registry has it not, as after a copy of one architecture */
    size_t length;
};

struct image_walk {
    struct image_node *nodes;
    size_t count;
};

/* Each digest once. */
int image_walk(struct registry *registry, const char *reference, struct image_walk *ret_walk,
               struct error *error);
void image_walk_release(struct image_walk *walk);
bool image_node_is_index(const struct image_node *node);
