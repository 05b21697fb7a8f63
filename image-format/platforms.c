#include "image-format/platforms.h"

#include <string.h>

#include "image-format/image_config.h"
#include "lib/buffer.h"

bool platforms_is_unikernel(const struct oci_descriptor *descriptor)
{
    return descriptor->has_platform && strcmp(descriptor->platform.os, IMAGE_OS) == 0 &&
           strcmp(descriptor->media_type, OCI_MANIFEST_TYPE) == 0;
}

const struct oci_descriptor *platforms_find(const struct oci_index *index, const char *architecture,
                                            struct error *error)
{
    AUTO_BUFFER struct buffer available = {0};
    for (size_t i = 0; i < index->manifest_count; i++) {
        const struct oci_descriptor *child = &index->manifests[i];
        if (!platforms_is_unikernel(child))
            continue;
        if (strcmp(child->platform.architecture, architecture) == 0)
            return child;
        buffer_printf(&available, "%s%s", available.length > 0 ? ", " : "",
                      child->platform.architecture);
    }
    error_set(error, ERROR_NOT_FOUND, "nothing for %s: there is %.200s", architecture,
              available.length > 0 ? buffer_text(&available) : "no unikernel");
    return NULL;
}
