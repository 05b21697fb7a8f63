/* KraftKit's images: Unikraft kernels, each in a layer of its own. */
#include <string.h>

#include "image-format/foreign_internal.h"

#define KERNEL_PATH       "/unikraft/bin/kernel"
#define INITRD_PATH       "/unikraft/bin/initrd"
#define KERNEL_ANNOTATION "org.unikraft.kernel.image"
#define INITRD_ANNOTATION "org.unikraft.kernel.initrd"

static bool has_prefix(const struct json_map *annotations, const char *prefix)
{
    for (size_t i = 0; i < annotations->count; i++) {
        if (strncmp(annotations->items[i].key, prefix, strlen(prefix)) == 0)
            return true;
    }
    return false;
}

bool foreign_is_kraftkits(const struct oci_manifest *manifest, const struct foreign_config *config)
{
    static const char *const platforms[] = {"qemu", "kvm", "fc", "firecracker", "xen", NULL};
    for (size_t i = 0; platforms[i] != NULL; i++) {
        if (strcmp(config->os, platforms[i]) == 0)
            return true;
    }
    if (has_prefix(&manifest->annotations, "org.unikraft.") ||
        has_prefix(&manifest->annotations, "sh.kraftkit."))
        return true;
    for (size_t i = 0; i < manifest->layer_count; i++) {
        if (has_prefix(&manifest->layers[i].annotations, "org.unikraft."))
            return true;
    }
    return false;
}

static int check_platform(const struct foreign_config *config, struct error *error)
{
    /* Older versions of the tool wrote the hypervisor into the annotations only. */
    if (strcmp(config->os, "qemu") == 0 || strcmp(config->os, "kvm") == 0 ||
        strcmp(config->os, "linux") == 0 || strcmp(config->os, "unikraft") == 0)
        return 0;
    return error_set(error, ERROR_UNSUPPORTED,
                     "it is built for the platform \"%s\": nodes boot those for qemu: package it "
                     "with `kraft pkg --plat qemu`",
                     config->os);
}

/* The path that an annotation of some layer names; `otherwise` when none does. */
static const char *annotated_path(const struct oci_manifest *manifest, const char *annotation,
                                  const char *otherwise)
{
    for (size_t i = 0; i < manifest->layer_count; i++) {
        const char *path = json_map_get(&manifest->layers[i].annotations, annotation);
        if (path != NULL)
            return path;
    }
    return otherwise;
}

static void add_words(struct image_verified *verified, const struct json_strings *words)
{
    for (size_t i = 0; i < words->count; i++)
        json_strings_add(&verified->config.cmdline, words->items[i]);
}

int foreign_read_kraftkits(const struct oci_manifest *manifest, const struct foreign_config *config,
                           struct image_verified *verified, struct error *error)
{
    const char *architecture = foreign_architecture_name(config->architecture);
    const char *initrd = annotated_path(manifest, INITRD_ANNOTATION, NULL);
    if (check_platform(config, error) < 0 || foreign_add_layers(manifest, verified, error) < 0 ||
        foreign_fill_config(verified, "unikraft", architecture, "", error) < 0 ||
        foreign_add_part(verified, IMAGE_PART_KERNEL,
                         annotated_path(manifest, KERNEL_ANNOTATION, KERNEL_PATH), false,
                         error) < 0 ||
        /* Without the annotation there may still be one, where it always is. */
        foreign_add_part(verified, IMAGE_PART_INITRD, initrd != NULL ? initrd : INITRD_PATH,
                         initrd == NULL, error) < 0)
        return -1;
    add_words(verified, &config->config.entry_point);
    add_words(verified, &config->config.command);
    return foreign_add_environment(verified, &config->config.environment, error);
}
