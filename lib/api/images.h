/* What a node keeps of images: the agent's answer to GET /v1/images, which the scheduler passes on.
 */
#pragma once

#include "lib/api/service_spec.h"
#include "lib/crypto.h"

struct api_node_image {
    char repository[256];         /* it came from; "": not known any more */
    char digest[DIGEST_TEXT_MAX]; /* pinned: an index or a manifest */
    char arch[16];
    uint64_t bytes;  /* of chain, kernel, initrd and disks; what images share counts for each */
    uint64_t age_ms; /* since it was used last */
    bool used;       /* by an instance, or it will be soon: it stays */
};

struct api_node_images {
    char node[NAME_MAX_TEXT];
    uint64_t bytes;                /* of all together, what they share once */
    uint64_t limit;                /* above that, images that nobody uses go */
    uint64_t evictions;            /* since the agent's start */
    struct api_node_image *images; /* the last used first */
    size_t image_count;
};

extern const struct json_record api_node_images_record;
