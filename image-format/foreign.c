#include "image-format/foreign.h"

#include <stdio.h>
#include <string.h>

#include "image-format/family.h"
#include "image-format/foreign_internal.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define IMAGE_WORDS_MAX 256 /* of Cmd, Env and so on */
#define MEMORY_DEFAULT  ((uint64_t)64 << 20)

/* --- an ordinary image's config --- */

static const struct json_field execution_fields[] = {
    JSON_FIELD(struct foreign_execution, command, "Cmd", JSON_STRINGS, .max = IMAGE_WORDS_MAX),
    JSON_FIELD(struct foreign_execution, entry_point, "Entrypoint", JSON_STRINGS,
               .max = IMAGE_WORDS_MAX),
    JSON_FIELD(struct foreign_execution, environment, "Env", JSON_STRINGS, .max = IMAGE_WORDS_MAX),
    JSON_FIELD(struct foreign_execution, labels, "Labels", JSON_MAP, .max = IMAGE_WORDS_MAX),
    JSON_FIELD_END,
};
static const struct json_record execution_record = {sizeof(struct foreign_execution),
                                                    execution_fields};
static const struct json_field config_fields[] = {
    JSON_FIELD(struct foreign_config, architecture, "architecture", JSON_STRING,
               .flags = JSON_REQUIRED),
    JSON_FIELD(struct foreign_config, os, "os", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct foreign_config, config, "config", JSON_OBJECT, .record = &execution_record),
    JSON_FIELD_END,
};
static const struct json_record config_record = {sizeof(struct foreign_config), config_fields};

int foreign_config_parse(const char *bytes, size_t length, struct foreign_config *ret_config,
                         struct error *error)
{
    struct foreign_config config = {0};
    if (length > OCI_CONFIG_LIMIT)
        return error_set(error, ERROR_TOO_LARGE, "image config: %zu bytes, at most %u", length,
                         OCI_CONFIG_LIMIT);
    if (json_parse_unique_record(&config_record, bytes, length, JSON_LENIENT, &config, error) < 0)
        return error_wrap(error, "image config");
    *ret_config = config;
    return 0;
}

void foreign_config_release(struct foreign_config *config)
{
    json_record_release(&config_record, config);
}

const char *foreign_architecture_name(const char *name)
{
    if (strcmp(name, "amd64") == 0 || strcmp(name, "x86_64") == 0)
        return "amd64";
    if (strcmp(name, "arm64") == 0 || strcmp(name, "aarch64") == 0)
        return "arm64";
    return NULL;
}

static const char *check_architecture(const struct foreign_config *config, struct error *error)
{
    const char *name = foreign_architecture_name(config->architecture);
    if (name == NULL)
        error_set(error, ERROR_UNSUPPORTED,
                  "architecture \"%s\" is not supported: supported are amd64 and arm64",
                  config->architecture);
    return name;
}

int foreign_architecture(const char *config, size_t length, char ret_architecture[16],
                         struct error *error)
{
    struct foreign_config parsed;
    if (foreign_config_parse(config, length, &parsed, error) < 0)
        return -1;
    const char *name = check_architecture(&parsed, error);
    foreign_config_release(&parsed);
    if (name == NULL)
        return -1;
    strcpy(ret_architecture, name);
    return 0;
}

/* --- what the readers share --- */

static bool is_tar(const char *media_type)
{
    static const char *const types[] = {
        "application/vnd.oci.image.layer.v1.tar",
        "application/vnd.oci.image.layer.v1.tar+gzip",
        "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.unikraft.kernel.v1",
        "application/vnd.unikraft.initrd.v1",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(types); i++) {
        if (strcmp(media_type, types[i]) == 0)
            return true;
    }
    return false;
}

int foreign_add_layers(const struct oci_manifest *manifest, struct image_verified *verified,
                       struct error *error)
{
    if (manifest->layer_count > IMAGE_LAYERS_MAX)
        return error_set(error, ERROR_UNSUPPORTED, "it has %zu layers, at most %d are looked into",
                         manifest->layer_count, IMAGE_LAYERS_MAX);
    for (size_t i = 0; i < manifest->layer_count; i++) {
        const struct oci_descriptor *from = &manifest->layers[i];
        struct image_layer *layer = &verified->layers[i];
        if (!is_tar(from->media_type))
            return error_set(error, ERROR_UNSUPPORTED,
                             "the layer %s has the type \"%s\", which is not supported: tar "
                             "archives are, plain, gzip and zstd",
                             from->digest, from->media_type);
        if (from->size == 0 || from->size > IMAGE_DISK_MAX)
            return error_set(error, ERROR_INVALID, "the layer %s has %llu bytes: out of range",
                             from->digest, (unsigned long long)from->size);
        memcpy(layer->digest, from->digest, sizeof layer->digest);
        memcpy(layer->media_type, from->media_type, sizeof layer->media_type);
        layer->size = from->size;
    }
    verified->layer_count = manifest->layer_count;
    return 0;
}

static bool path_is_plain(const char *path)
{
    return path[0] != '\0' && path[strlen(path) - 1] != '/' && !text_path_climbs(path);
}

int foreign_add_part(struct image_verified *verified, enum image_part_kind kind, const char *path,
                     bool is_optional, struct error *error)
{
    struct image_part part = {
        .kind = kind, .packing = IMAGE_PACKING_TAR, .is_optional = is_optional};
    if (!path_is_plain(path) || strlen(path) >= sizeof part.path)
        return error_set(
            error, ERROR_INVALID,
            "the path \"%.100s\" of its %s is refused: it climbs, is empty or too long", path,
            image_part_kind_names[kind]);
    strcpy(part.path, path);
    verified->parts[verified->part_count++] = part;
    return 0;
}

int foreign_fill_config(struct image_verified *verified, const char *family,
                        const char *architecture, const char *protocol, struct error *error)
{
    struct image_config *config = &verified->config;
    const struct family *row = family_find(family);
    const struct family_boot *boot = family_find_boot(row, architecture, protocol, "", error);
    if (boot == NULL)
        return -1;
    config->schema_version = IMAGE_SCHEMA_VERSION;
    config->is_literal = true;
    snprintf(config->architecture, sizeof config->architecture, "%s", architecture);
    strcpy(config->os, IMAGE_OS);
    snprintf(config->family, sizeof config->family, "%s", family);
    snprintf(config->boot.protocol, sizeof config->boot.protocol, "%s",
             boot_protocol_names[boot->protocol]);
    snprintf(config->boot.machine, sizeof config->boot.machine, "%s",
             boot_machine_names[boot->machine]);
    config->memory.min = row->memory_min;
    config->memory.default_bytes =
        row->memory_min > MEMORY_DEFAULT ? row->memory_min : MEMORY_DEFAULT;
    config->vcpus = (struct image_vcpus){.default_count = 1, .max = 1};
    return 0;
}

int foreign_add_environment(struct image_verified *verified, const struct json_strings *environment,
                            struct error *error)
{
    const struct family *family = family_find(verified->config.family);
    for (size_t i = 0; i < environment->count; i++) {
        const char *entry = environment->items[i], *sign = strchr(entry, '=');
        AUTO_FREE char *key = sign != NULL ? xstrndup(entry, (size_t)(sign - entry)) : NULL;
        if (key == NULL || api_check_environment_name(key) != NULL)
            return error_set(error, ERROR_INVALID, "its Env \"%.100s\" is not NAME=VALUE", entry);
        if (!family->has_environment && strcmp(key, "PATH") == 0)
            continue;
        if (!family->has_environment)
            return error_set(error, ERROR_UNSUPPORTED,
                             "its Env sets %s, and a guest of family %s has no environment", key,
                             family->name);
        json_map_set(&verified->config.env, key, sign + 1);
    }
    return 0;
}

/* --- which tool made it --- */

/* A layer's types of Docker's own time are OCI's with other names; tools convert them. */
static int refuse_stranger(const struct oci_manifest *manifest, struct error *error)
{
    return error_set(error, ERROR_INVALID,
                     "it is not a unikernel image: neither Shoal's (artifactType %s), nor "
                     "KraftKit's (annotations org.unikraft.*), nor urunc's (annotations "
                     "com.urunc.unikernel.* or %s); its config is of type \"%s\"",
                     SHOAL_ARTIFACT_TYPE, FOREIGN_METADATA_PATH, manifest->config.media_type);
}

static int check_type(const struct oci_manifest *manifest, struct error *error)
{
    if (strcmp(manifest->config.media_type, FOREIGN_CONFIG_TYPE) == 0)
        return 0;
    return refuse_stranger(manifest, error);
}

bool foreign_needs_metadata(const struct oci_manifest *manifest, const char *config, size_t length)
{
    struct foreign_config parsed;
    if (check_type(manifest, NULL) < 0 || foreign_config_parse(config, length, &parsed, NULL) < 0)
        return false;
    bool needs = !foreign_is_kraftkits(manifest, &parsed) &&
                 !foreign_is_uruncs(manifest, &parsed, NULL) && strcmp(parsed.os, "linux") == 0;
    foreign_config_release(&parsed);
    return needs;
}

static int read_parsed(const struct oci_manifest *manifest, const struct foreign_config *config,
                       const char *metadata, size_t metadata_length,
                       struct image_verified *verified, struct error *error)
{
    if (check_architecture(config, error) == NULL)
        return -1;
    if (foreign_is_uruncs(manifest, config, metadata)) {
        strcpy(verified->made_for, "urunc");
        return foreign_read_uruncs(manifest, config, metadata, metadata_length, verified, error);
    }
    if (foreign_is_kraftkits(manifest, config)) {
        strcpy(verified->made_for, "kraftkit");
        return foreign_read_kraftkits(manifest, config, verified, error);
    }
    return refuse_stranger(manifest, error);
}

int foreign_read(const struct oci_manifest *manifest, const char *config, size_t config_length,
                 const char *metadata, size_t metadata_length, struct image_verified *verified,
                 struct error *error)
{
    struct foreign_config parsed;
    if (check_type(manifest, error) < 0 ||
        foreign_config_parse(config, config_length, &parsed, error) < 0)
        return -1;
    int result = read_parsed(manifest, &parsed, metadata, metadata_length, verified, error);
    foreign_config_release(&parsed);
    if (result == 0)
        result = image_config_check_words(&verified->config, error);
    return result;
}
