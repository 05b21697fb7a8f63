#include "image-format/platforms.h"

#include <string.h>

#include "image-format/foreign.h"
#include "image-format/image_config.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"

bool platforms_is_unikernel(const struct oci_descriptor *descriptor)
{
    return descriptor->has_platform && strcmp(descriptor->platform.os, IMAGE_OS) == 0 &&
           strcmp(descriptor->media_type, OCI_MANIFEST_TYPE) == 0;
}

/* Which of several entries for one architecture is meant, the least first; -1: none of ours. */
static int rank(const struct oci_descriptor *descriptor)
{
    static const char *const systems[] = {IMAGE_OS, "qemu", "kvm", "linux"};
    if (!descriptor->has_platform || strcmp(descriptor->media_type, OCI_MANIFEST_TYPE) != 0)
        return -1;
    for (int i = 0; i < (int)ARRAY_LENGTH(systems); i++) {
        if (strcmp(descriptor->platform.os, systems[i]) == 0)
            return i;
    }
    return -1;
}

const char *platforms_architecture(const struct oci_descriptor *descriptor)
{
    return rank(descriptor) >= 0 ? foreign_architecture_name(descriptor->platform.architecture)
                                 : NULL;
}

const struct oci_descriptor *platforms_find(const struct oci_index *index, const char *architecture,
                                            struct error *error)
{
    AUTO_BUFFER struct buffer available = {0};
    const struct oci_descriptor *found = NULL;
    for (size_t i = 0; i < index->manifest_count; i++) {
        const struct oci_descriptor *child = &index->manifests[i];
        const char *name = platforms_architecture(child);
        if (name != NULL && strcmp(name, architecture) == 0 &&
            (found == NULL || rank(child) < rank(found)))
            found = child;
        if (child->has_platform)
            buffer_printf(&available, "%s%s/%s", available.length > 0 ? ", " : "",
                          child->platform.os, child->platform.architecture);
    }
    if (found == NULL)
        error_set(error, ERROR_NOT_FOUND, "nothing for %s: there is %.200s", architecture,
                  available.length > 0 ? buffer_text(&available) : "no unikernel");
    return found;
}

bool platforms_is_index_type(const char *media_type)
{
    return strcmp(media_type, OCI_INDEX_TYPE) == 0 ||
           strcmp(media_type, "application/vnd.docker.distribution.manifest.list.v2+json") == 0;
}

bool platforms_is_manifest_type(const char *media_type)
{
    return strcmp(media_type, OCI_MANIFEST_TYPE) == 0 ||
           strcmp(media_type, "application/vnd.docker.distribution.manifest.v2+json") == 0;
}
