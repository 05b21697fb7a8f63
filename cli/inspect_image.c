/* image inspect IMAGE: its documents, per architecture, from the local store or a registry. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/format.h"
#include "cli/inspect.h"
#include "cli/lists.h"
#include "cli/registry.h"
#include "image-format/chain_content.h"
#include "image-format/layout.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/oci.h"
#include "lib/xalloc.h"

#define CHILDREN_MAX 64 /* manifests of an index that are shown */

/* One manifest of the image, with its config. */
struct child {
    struct oci_descriptor descriptor; /* as the index lists it */
    struct oci_manifest manifest;
    struct json_object *document;   /* the manifest as it is */
    struct json_object *config;     /* NULL: none that is JSON */
    struct image_verified *content; /* how a node would boot it; NULL: no unikernel image */
    char *trouble;                  /* why not; NULL */
    char *kernel_at;                /* path of the kernel's bytes, where they are at hand; NULL */
};

struct inspected {
    struct cli *cli;
    char name[IMAGE_TEXT_MAX];
    char digest[DIGEST_TEXT_MAX];
    char media_type[128];
    struct json_object *index; /* NULL: there is one manifest only */
    struct child children[CHILDREN_MAX];
    size_t child_count;
    bool is_remote;
    struct registry registry;  /* is_remote */
    struct packed_image local; /* else */
};

static void child_release(struct child *child)
{
    json_record_release(&oci_descriptor_record, &child->descriptor);
    json_record_release(&oci_manifest_record, &child->manifest);
    json_object_put(child->document);
    json_object_put(child->config);
    if (child->content != NULL)
        image_verified_release(child->content);
    free(child->content);
    free(child->trouble);
    free(child->kernel_at);
}

static void inspected_release(struct inspected *inspected)
{
    for (size_t i = 0; i < inspected->child_count; i++)
        child_release(&inspected->children[i]);
    json_object_put(inspected->index);
    if (!inspected->is_remote)
        packed_image_release(&inspected->local);
}

static int pull_config(struct registry *registry, const struct oci_descriptor *config,
                       char **ret_bytes, size_t *ret_length, struct error *error)
{
    char folder[] = "/tmp/shoal-inspect.XXXXXX";
    if (mkdtemp(folder) == NULL)
        return error_set_errno(error, errno, "create %s", folder);
    AUTO_FREE char *path = xasprintf("%s/config", folder);
    int result = registry_pull_blob(registry, config->digest, config->size, path, error);
    if (result == 0)
        result = file_read(path, OCI_CONFIG_LIMIT, ret_bytes, ret_length, error);
    file_remove_tree(folder, NULL);
    progress_finish(&registry->progress);
    return result;
}

static const struct packed_blob *local_blob(const struct packed_image *image, const char *digest)
{
    for (size_t i = 0; i < image->blob_count; i++) {
        if (strcmp(image->blobs[i].digest, digest) == 0)
            return &image->blobs[i];
    }
    return NULL;
}

static int read_config(struct inspected *inspected, const struct oci_descriptor *config,
                       char **ret_bytes, size_t *ret_length, struct error *error)
{
    if (config->size > OCI_CONFIG_LIMIT)
        return error_set(error, ERROR_TOO_LARGE, "its config has %llu bytes, at most %u are read",
                         (unsigned long long)config->size, OCI_CONFIG_LIMIT);
    if (inspected->is_remote)
        return pull_config(&inspected->registry, config, ret_bytes, ret_length, error);
    const struct packed_blob *blob = local_blob(&inspected->local, config->digest);
    if (blob == NULL || blob->path == NULL)
        return error_set(error, ERROR_NOT_FOUND, "its config %s is not in the store",
                         config->digest);
    return file_read(blob->path, OCI_CONFIG_LIMIT, ret_bytes, ret_length, error);
}

/* The kernel, or the disk that boots, in the local store; only where its layer is what boots. */
static void find_kernel(const struct inspected *inspected, struct child *child)
{
    const struct image_part *part = image_verified_part(child->content, IMAGE_PART_KERNEL);
    if (part == NULL)
        part = image_verified_part(child->content, IMAGE_PART_DISK);
    if (inspected->is_remote || part == NULL || part->packing != IMAGE_PACKING_NONE)
        return;
    const struct packed_blob *blob = local_blob(&inspected->local, part->digest);
    if (blob != NULL && blob->path != NULL)
        child->kernel_at = xstrdup(blob->path);
}

/* What an image keeps about itself in a layer: it comes with the rest of its chain. */
static int fetch_metadata(struct inspected *inspected, const struct child *child,
                          const char *config, size_t length, struct image_chain *ret_chain,
                          struct error *error)
{
    char architecture[16];
    if (!inspected->is_remote)
        return error_set(error, ERROR_UNSUPPORTED,
                         "what it is stands in a file of a layer: look at it with --remote");
    if (image_content_architecture(&child->manifest, config, length, architecture, error) < 0)
        return -1;
    return registry_fetch_chain(&inspected->registry, inspected->digest, architecture, ret_chain,
                                error);
}

static int read_content(struct inspected *inspected, struct child *child, const char *config,
                        size_t length, struct error *error)
{
    struct image_chain chain = {0};
    struct image_verified *content = xcalloc(1, sizeof *content);
    int result = 0;
    if (image_content_needs_metadata(&child->manifest, config, length))
        result = fetch_metadata(inspected, child, config, length, &chain, error);
    if (result == 0)
        result = image_content_read(&child->manifest, config, length, chain.metadata,
                                    chain.metadata_length, content, error);
    image_chain_release(&chain);
    if (result < 0)
        free(content);
    else
        child->content = content;
    return result;
}

/* What is wrong with a config is shown beside it: inspecting is how one finds out. */
static void add_config(struct inspected *inspected, struct child *child)
{
    struct error error = ERROR_INIT;
    AUTO_FREE char *bytes = NULL;
    size_t length = 0;
    if (!child->manifest.has_config) {
        child->trouble = xstrdup("its manifest names no config");
        return;
    }
    if (read_config(inspected, &child->manifest.config, &bytes, &length, &error) < 0 ||
        json_parse(bytes, length, &child->config, &error) < 0 ||
        read_content(inspected, child, bytes, length, &error) < 0)
        child->trouble = xstrdup(error.message);
    else
        find_kernel(inspected, child);
}

/* Takes the descriptor. */
static int add_child(struct inspected *inspected, struct oci_descriptor *descriptor,
                     const char *bytes, size_t length, struct error *error)
{
    struct child child = {.descriptor = *descriptor};
    *descriptor = (struct oci_descriptor){0};
    if (json_parse(bytes, length, &child.document, error) < 0 ||
        json_decode(&oci_manifest_record, child.document, JSON_LENIENT, &child.manifest, error) <
            0) {
        error_wrap(error, "manifest %s", child.descriptor.digest);
        child_release(&child);
        return -1;
    }
    add_config(inspected, &child);
    inspected->children[inspected->child_count++] = child;
    return 0;
}

static int add_remote_child(struct inspected *inspected, struct oci_descriptor *descriptor,
                            struct error *error)
{
    struct registry_manifest manifest = {0};
    if (registry_get_manifest(&inspected->registry, descriptor->digest, &manifest, error) < 0)
        return -1;
    AUTO_FREE char *bytes = manifest.bytes;
    return add_child(inspected, descriptor, bytes != NULL ? bytes : "", manifest.length, error);
}

static int add_children_of_index(struct inspected *inspected, const char *bytes, size_t length,
                                 struct error *error)
{
    struct oci_index index = {0};
    if (json_parse(bytes, length, &inspected->index, error) < 0 ||
        json_decode(&oci_index_record, inspected->index, JSON_LENIENT, &index, error) < 0)
        return error_wrap(error, "index %s", inspected->digest);
    int result = 0;
    if (index.manifest_count > CHILDREN_MAX)
        result = error_set(error, ERROR_TOO_LARGE,
                           "the index has %zu manifests, at most %d are "
                           "shown",
                           index.manifest_count, CHILDREN_MAX);
    for (size_t i = 0; i < index.manifest_count && result == 0; i++)
        result = add_remote_child(inspected, &index.manifests[i], error);
    json_record_release(&oci_index_record, &index);
    return result;
}

static int fill_from_registry(struct inspected *inspected, const char *name, struct error *error)
{
    struct registry_manifest top = {0};
    struct registry *registry = &inspected->registry;
    if (registry_init(registry, inspected->cli, name, error) < 0 ||
        registry_get_manifest(registry, registry_reference(registry), &top, error) < 0)
        return -1;
    AUTO_FREE char *bytes = top.bytes;
    image_reference_format(&registry->image, inspected->name);
    snprintf(inspected->digest, sizeof inspected->digest, "%s", top.digest);
    snprintf(inspected->media_type, sizeof inspected->media_type, "%s", top.media_type);
    const char *text = bytes != NULL ? bytes : "";
    if (strcmp(top.media_type, OCI_INDEX_TYPE) == 0)
        return add_children_of_index(inspected, text, top.length, error);
    struct oci_descriptor descriptor = {.size = top.length};
    snprintf(descriptor.digest, sizeof descriptor.digest, "%s", top.digest);
    snprintf(descriptor.media_type, sizeof descriptor.media_type, "%s", top.media_type);
    return add_child(inspected, &descriptor, text, top.length, error);
}

static int fill_from_store(struct inspected *inspected, struct error *error)
{
    const struct packed_image *image = &inspected->local;
    const struct packed_manifest *top = packed_image_top(image);
    snprintf(inspected->digest, sizeof inspected->digest, "%s", top->digest);
    snprintf(inspected->media_type, sizeof inspected->media_type, "%s", top->media_type);
    if (image->has_index &&
        json_parse(image->index.bytes, image->index.length, &inspected->index, error) < 0)
        return -1;
    for (size_t i = 0; i < image->manifest_count && i < CHILDREN_MAX; i++) {
        const struct packed_manifest *manifest = &image->manifests[i];
        struct oci_descriptor descriptor = {.size = manifest->length};
        snprintf(descriptor.digest, sizeof descriptor.digest, "%s", manifest->digest);
        snprintf(descriptor.media_type, sizeof descriptor.media_type, "%s", manifest->media_type);
        if (manifest->architecture[0] != '\0') {
            descriptor.has_platform = true;
            snprintf(descriptor.platform.os, sizeof descriptor.platform.os, "%s", IMAGE_OS);
            snprintf(descriptor.platform.architecture, sizeof descriptor.platform.architecture,
                     "%s", manifest->architecture);
        }
        if (add_child(inspected, &descriptor, manifest->bytes, manifest->length, error) < 0)
            return -1;
    }
    return 0;
}

/* What the bytes themselves say, where they are here. */
static bool detect_kernel(const struct child *child, struct detection *ret_detection)
{
    if (child->kernel_at == NULL)
        return false;
    AUTO_CLOSE int descriptor = open(child->kernel_at, O_RDONLY | O_CLOEXEC);
    return descriptor >= 0 && detect_file(descriptor, ret_detection, NULL) == 0;
}

static struct json_object *child_document(const struct child *child)
{
    struct json_object *document = json_object_new_object();
    struct detection detection;
    json_object_object_add(document, "descriptor",
                           json_encode(&oci_descriptor_record, &child->descriptor));
    json_object_object_add(document, "manifest", json_object_get(child->document));
    json_object_object_add(document, "config", json_object_get(child->config));
    if (child->content != NULL) {
        json_object_object_add(document, "made_for",
                               json_object_new_string(child->content->made_for));
        json_object_object_add(document, "boots",
                               json_encode(&image_config_record, &child->content->config));
    }
    if (child->trouble != NULL)
        json_object_object_add(document, "problem", json_object_new_string(child->trouble));
    if (detect_kernel(child, &detection)) {
        json_object_object_add(document, "detected", json_encode(&detection_record, &detection));
        detection_release(&detection);
    }
    return document;
}

static struct json_object *image_document(const struct inspected *inspected)
{
    struct json_object *document = json_object_new_object();
    struct json_object *manifests = json_object_new_array();
    for (size_t i = 0; i < inspected->child_count; i++)
        json_object_array_add(manifests, child_document(&inspected->children[i]));
    json_object_object_add(document, "name", json_object_new_string(inspected->name));
    json_object_object_add(document, "digest", json_object_new_string(inspected->digest));
    json_object_object_add(document, "media_type", json_object_new_string(inspected->media_type));
    if (inspected->index != NULL)
        json_object_object_add(document, "index", json_object_get(inspected->index));
    json_object_object_add(document, "manifests", manifests);
    return document;
}

static void print_annotations(const char *title, const struct json_map *annotations)
{
    for (size_t i = 0; i < annotations->count; i++)
        inspect_print(i == 0 ? title : "", "%s=%s", annotations->items[i].key,
                      annotations->items[i].value);
}

static void print_layers(const struct cli *cli, const struct child *child)
{
    for (size_t i = 0; i < child->manifest.layer_count; i++) {
        const struct oci_descriptor *layer = &child->manifest.layers[i];
        char digest[FORMAT_MAX], size[FORMAT_MAX];
        format_digest(layer->digest, digest);
        format_bytes(layer->size, size);
        inspect_print(i == 0 ? "Layers" : "", "%s, %s, %s", layer->media_type, size,
                      cli->format == OUTPUT_WIDE ? layer->digest : (const char *)digest);
        print_annotations("", &layer->annotations);
    }
}

static void print_content(const struct image_verified *content)
{
    const struct image_config *config = &content->config;
    struct buffer AUTO_BUFFER line = {0};
    char least[FORMAT_MAX], memory[FORMAT_MAX];
    format_bytes(config->memory.min, least);
    format_bytes(config->memory.default_bytes, memory);
    if (strcmp(content->made_for, "shoal") != 0)
        inspect_print("Form", "%s's, booted as it is", content->made_for);
    inspect_print("Family", "%s", config->family);
    inspect_print("Boots by", "%s on machine %s", config->boot.protocol, config->boot.machine);
    inspect_print("Memory", "%s, at least %s", memory, least);
    inspect_print("CPUs", "%u, at most %u", config->vcpus.default_count, config->vcpus.max);
    for (size_t i = 0; i < config->cmdline.count; i++)
        buffer_printf(&line, "%s%s", i > 0 ? " " : "", config->cmdline.items[i]);
    if (line.length > 0)
        inspect_print("Command line", "%s", buffer_text(&line));
    for (size_t i = 0; i < config->port_count; i++)
        inspect_print(i == 0 ? "Ports" : "", "%s %u%s", config->ports[i].name,
                      config->ports[i].port, config->ports[i].is_private ? " (private)" : "");
}

/* What the kernel's or disk's own bytes say, and where that contradicts the config. */
static void print_bytes(const struct child *child, const struct detection *detection)
{
    const struct image_config *config = &child->content->config;
    struct error error = ERROR_INIT;
    inspect_print("Its bytes", "%s: %s", detection_verdict_names[detection->verdict],
                  detection->reason != NULL ? detection->reason : detection->title);
    inspect_print_findings(detection);
    if (detection_check(detection, "its bytes", config->family, config->boot.protocol,
                        config->architecture, &error) < 0)
        inspect_print("Problem", "%s", error.message);
}

static void print_child(const struct cli *cli, const struct child *child)
{
    const struct oci_platform *platform = &child->descriptor.platform;
    struct detection detection;
    putchar('\n');
    inspect_print("Manifest", "%s", child->descriptor.digest);
    if (child->descriptor.has_platform)
        inspect_print("Platform", "%s/%s", platform->os, platform->architecture);
    if (child->manifest.artifact_type[0] != '\0')
        inspect_print("Type", "%s", child->manifest.artifact_type);
    if (child->content != NULL)
        print_content(child->content);
    if (child->trouble != NULL)
        inspect_print("Problem", "%s", child->trouble);
    print_layers(cli, child);
    print_annotations("Annotations", &child->manifest.annotations);
    if (detect_kernel(child, &detection)) {
        print_bytes(child, &detection);
        detection_release(&detection);
    }
}

static void print_image(const struct inspected *inspected)
{
    struct cli *cli = inspected->cli;
    if (cli_wants_document(cli)) {
        cli_print_document(cli, image_document(inspected));
        return;
    }
    inspect_print("Image", "%s", inspected->name);
    inspect_print("Digest", "%s", inspected->digest);
    inspect_print("Type", "%s", inspected->media_type);
    for (size_t i = 0; i < inspected->child_count; i++)
        print_child(cli, &inspected->children[i]);
}

static int fill_from_local_name(struct inspected *inspected, const char *name, struct error *error)
{
    AUTO_FREE char *folder = image_store_path();
    struct image_reference reference;
    if (image_reference_parse(name, inspected->cli->settings.namespace_name, &reference, error) < 0)
        return -1;
    image_reference_format(&reference, inspected->name);
    if (layout_find(folder, inspected->name, &inspected->local, error) < 0)
        return -1;
    return fill_from_store(inspected, error);
}

int inspect_image(struct cli *cli, const char *name, bool is_remote, struct error *error)
{
    struct inspected *inspected = xcalloc(1, sizeof *inspected);
    inspected->cli = cli;
    inspected->is_remote = is_remote;
    int result = is_remote ? fill_from_registry(inspected, name, error)
                           : fill_from_local_name(inspected, name, error);
    if (result == 0)
        print_image(inspected);
    else if (is_remote)
        error_wrap(error, "inspect %s", name);
    inspected_release(inspected);
    free(inspected);
    return result;
}

int image_inspect_run(struct cli *cli, struct error *error)
{
    const char *word = cli_argument(cli, 0);
    if (invocation_has(cli->invocation, "remote"))
        return inspect_image(cli, word, true, error);
    return inspect_is_path(word) ? inspect_file(cli, word, error)
                                 : inspect_image(cli, word, false, error);
}
