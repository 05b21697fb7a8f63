/* Packed layers to the bytes that boot, on a thread of its own: hashing and unpacking take time.
 *
 * Layers lie in a folder by the hex of their digests. Each is hashed before it is looked into; what
 * comes out is hashed and put into the staging folder by its own digest. Loop thread only, but for
 * the work itself, which sees only copies. */
#pragma once

#include <uv.h>

#include "image-format/chain.h"

struct image_unpack;

struct image_unpack_result {
    const struct error *error; /* NULL: it worked. ERROR_SIGNATURE: a layer is not what it should */
    /* The image's parts; digest and size of each packed one are filled in. Size 0: optional, and
     * not there. */
    const struct image_part *parts;
};

typedef void image_unpack_callback(const struct image_unpack_result *result, void *data);

struct image_unpack_options {
    uv_loop_t *loop;
    const struct image_verified *image; /* its layers and parts are copied */
    const char *layers;                 /* folder; copied */
    const char *staging;                /* folder on the same file system; copied */
    /* What /urunc.json (image-format/foreign.h) must hold, for what was proven was read from it;
     * NULL: it is not looked at. Copied. */
    const char *metadata;
    size_t metadata_length;
};

/* Ends in one callback, later; the unpack is gone when it returns. */
struct image_unpack *image_unpack_start(const struct image_unpack_options *options,
                                        image_unpack_callback *callback, void *data);
/* No callback comes any more; tells the thread to stop and waits for that. NULL is fine. */
void image_unpack_abandon(struct image_unpack *unpack);
