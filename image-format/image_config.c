#include "image-format/image_config.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "image-format/command_line.h"
#include "image-format/family.h"
#include "lib/cleanup.h"
#include "lib/text.h"

static const char *const stop_method_names[] = {"kill", "console", "acpi", "http", NULL};

static const struct json_field boot_fields[] = {
    JSON_FIELD(struct image_boot, protocol, "protocol", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct image_boot, kernel, "kernel", JSON_STRING, .flags = JSON_OMIT_EMPTY,
               .check = api_check_digest),
    JSON_FIELD(struct image_boot, initrd, "initrd", JSON_STRING, .flags = JSON_OMIT_EMPTY,
               .check = api_check_digest),
    JSON_FIELD(struct image_boot, disks, "disks", JSON_STRINGS, .max = IMAGE_DISKS_MAX,
               .check = api_check_digest),
    JSON_FIELD(struct image_boot, machine, "machine", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD_END,
};
static const struct json_record boot_record = {sizeof(struct image_boot), boot_fields};

static const struct json_field memory_fields[] = {
    JSON_FIELD(struct image_memory, min, "min", JSON_UINT, .flags = JSON_REQUIRED,
               .min = IMAGE_MEMORY_MIN, .max = IMAGE_MEMORY_MAX),
    JSON_FIELD(struct image_memory, default_bytes, "default", JSON_UINT, .flags = JSON_REQUIRED,
               .min = IMAGE_MEMORY_MIN, .max = IMAGE_MEMORY_MAX),
    JSON_FIELD_END,
};
static const struct json_record memory_record = {sizeof(struct image_memory), memory_fields};

static const struct json_field vcpus_fields[] = {
    JSON_FIELD(struct image_vcpus, default_count, "default", JSON_UINT, .flags = JSON_REQUIRED,
               .min = 1, .max = IMAGE_VCPUS_MAX),
    JSON_FIELD(struct image_vcpus, max, "max", JSON_UINT, .flags = JSON_REQUIRED, .min = 1,
               .max = IMAGE_VCPUS_MAX),
    JSON_FIELD_END,
};
static const struct json_record vcpus_record = {sizeof(struct image_vcpus), vcpus_fields};

static const struct json_field stop_fields[] = {
    JSON_FIELD(struct image_stop, method, "method", JSON_ENUM, .names = stop_method_names),
    JSON_FIELD_END,
};
const struct json_record image_stop_record = {sizeof(struct image_stop), stop_fields};

static const struct json_field config_fields[] = {
    JSON_FIELD(struct image_config, schema_version, "schemaVersion", JSON_UINT,
               .flags = JSON_REQUIRED),
    JSON_FIELD(struct image_config, architecture, "architecture", JSON_STRING,
               .flags = JSON_REQUIRED),
    JSON_FIELD(struct image_config, os, "os", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct image_config, family, "family", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct image_config, boot, "boot", JSON_OBJECT, .flags = JSON_REQUIRED,
               .record = &boot_record),
    JSON_FIELD(struct image_config, memory, "memory", JSON_OBJECT, .flags = JSON_REQUIRED,
               .record = &memory_record),
    JSON_FIELD(struct image_config, vcpus, "vcpus", JSON_OBJECT, .flags = JSON_REQUIRED,
               .record = &vcpus_record),
    JSON_FIELD(struct image_config, cmdline, "cmdline", JSON_STRINGS, .max = IMAGE_ARGUMENTS_MAX),
    JSON_FIELD(struct image_config, env, "env", JSON_MAP, .flags = JSON_OMIT_EMPTY,
               .max = IMAGE_ENV_MAX, .check = api_check_environment_name),
    JSON_FIELD_LIST(struct image_config, ports, port_count, "ports", &api_image_port_record,
                    .max = IMAGE_PORTS_MAX),
    JSON_FIELD(struct image_config, health, "health", JSON_OBJECT, .record = &api_health_record,
               .present_offset = offsetof(struct image_config, has_health)),
    JSON_FIELD(struct image_config, stop, "stop", JSON_OBJECT, .record = &image_stop_record,
               .present_offset = offsetof(struct image_config, has_stop)),
    JSON_FIELD_END,
};
const struct json_record image_config_record = {sizeof(struct image_config), config_fields};

static int check_platform(const struct image_config *config, struct error *error)
{
    if (config->schema_version != IMAGE_SCHEMA_VERSION)
        return error_set_at(error, ERROR_UNSUPPORTED, "/schemaVersion",
                            "schemaVersion %" PRIu32 " is not supported yet: supported is %d",
                            config->schema_version, IMAGE_SCHEMA_VERSION);
    if (strcmp(config->os, IMAGE_OS) != 0)
        return error_set_at(error, ERROR_INVALID, "/os", "os \"%s\" is not allowed: allowed is %s",
                            config->os, IMAGE_OS);
    if (strcmp(config->architecture, "amd64") != 0 && strcmp(config->architecture, "arm64") != 0)
        return error_set_at(error, ERROR_INVALID, "/architecture",
                            "architecture \"%s\" is not allowed: allowed are amd64 and arm64",
                            config->architecture);
    if (!text_is_name(config->family))
        return error_set_at(error, ERROR_INVALID, "/family", "family \"%s\" is not a name",
                            config->family);
    return 0;
}

static int check_disks(const struct image_boot *boot, bool needs_one, struct error *error)
{
    if (boot->disks.count > IMAGE_DISKS_MAX)
        return error_set_at(error, ERROR_INVALID, "/boot/disks", "%zu disks, at most %d",
                            boot->disks.count, IMAGE_DISKS_MAX);
    if (needs_one && boot->disks.count == 0)
        return error_set_at(error, ERROR_INVALID, "/boot/disks",
                            "there is no disk to boot: protocol disk boots the first one");
    for (size_t i = 0; i < boot->disks.count; i++) {
        if (!digest_is_valid(boot->disks.items[i]))
            return error_set_at(error, ERROR_INVALID, "/boot/disks", "\"%.100s\" is not a digest",
                                boot->disks.items[i]);
    }
    return 0;
}

static int check_files(const struct image_boot *boot, bool is_disk, struct error *error)
{
    if (is_disk && (boot->kernel[0] != '\0' || boot->initrd[0] != '\0'))
        return error_set_at(error, ERROR_INVALID, "/boot",
                            "protocol disk boots a disk: no kernel, no initrd");
    if (!is_disk && boot->kernel[0] == '\0')
        return error_set_at(error, ERROR_INVALID, "/boot/kernel", "\"kernel\" is missing");
    if (!is_disk && !digest_is_valid(boot->kernel))
        return error_set_at(error, ERROR_INVALID, "/boot/kernel", "\"%s\" is not a digest",
                            boot->kernel);
    if (boot->initrd[0] != '\0' && !digest_is_valid(boot->initrd))
        return error_set_at(error, ERROR_INVALID, "/boot/initrd", "\"%s\" is not a digest",
                            boot->initrd);
    return check_disks(boot, is_disk, error);
}

static int check_boot(const struct image_config *config, struct error *error)
{
    const struct image_boot *boot = &config->boot;
    const struct family *family = family_find(config->family);
    if (family == NULL) {
        AUTO_FREE char *names = family_list_names();
        return error_set_at(error, ERROR_UNSUPPORTED, "/family",
                            "there is no family \"%s\": there are %s", config->family, names);
    }
    const struct family_boot *row =
        family_find_boot(family, config->architecture, boot->protocol, boot->machine, error);
    if (row == NULL) {
        if (error != NULL)
            snprintf(error->pointer, sizeof error->pointer, "/boot");
        return -1;
    }
    return check_files(boot, row->protocol == BOOT_DISK, error);
}

static int check_resources(const struct image_config *config, struct error *error)
{
    const struct image_memory *memory = &config->memory;
    if (memory->min < IMAGE_MEMORY_MIN || memory->default_bytes > IMAGE_MEMORY_MAX)
        return error_set_at(error, ERROR_INVALID, "/memory",
                            "memory of %" PRIu64 " to %" PRIu64
                            " bytes is out of range: allowed are %" PRIu64 " to %" PRIu64,
                            memory->min, memory->default_bytes, (uint64_t)IMAGE_MEMORY_MIN,
                            (uint64_t)IMAGE_MEMORY_MAX);
    if (memory->default_bytes < memory->min)
        return error_set_at(error, ERROR_INVALID, "/memory/default",
                            "the default of %" PRIu64 " bytes is less than min, %" PRIu64,
                            memory->default_bytes, memory->min);
    const struct image_vcpus *vcpus = &config->vcpus;
    if (vcpus->default_count < 1 || vcpus->default_count > vcpus->max ||
        vcpus->max > IMAGE_VCPUS_MAX)
        return error_set_at(error, ERROR_INVALID, "/vcpus",
                            "default %" PRIu32 ", max %" PRIu32
                            " is out of range: 1 <= default <= max <= %d",
                            vcpus->default_count, vcpus->max, IMAGE_VCPUS_MAX);
    return 0;
}

static int check_probe(const struct image_config *config, bool present,
                       const struct api_probe *probe, const char *pointer, struct error *error)
{
    if (!present)
        return 0;
    const char *port = api_probe_port(probe);
    if (port == NULL)
        return 0;
    char at[64];
    snprintf(at, sizeof at, "%s/%s/port", pointer, probe->has_http ? "http" : "tcp");
    if (image_config_port(config, port) == NULL)
        return error_set_at(error, ERROR_INVALID, at, "the image has no port named \"%s\"", port);
    return 0;
}

static int refuse_word(struct error *error, const char *list, size_t index)
{
    if (error != NULL)
        snprintf(error->pointer, sizeof error->pointer, "/%s/%zu", list, index);
    return -1;
}

int image_config_check_words(const struct image_config *config, struct error *error)
{
    const struct json_strings *words = &config->cmdline;
    for (size_t i = 0; i < words->count; i++) {
        if ((config->is_literal ? command_line_check_characters(words->items[i], error)
                                : command_line_check(words->items[i], error)) < 0)
            return refuse_word(error, "cmdline", i);
    }
    for (size_t i = 0; i < config->env.count; i++) {
        if (command_line_check_characters(config->env.items[i].value, error) < 0)
            return refuse_word(error, "env", i);
    }
    return 0;
}

static int check_stop(const struct image_config *config, struct error *error)
{
    const struct family *family = family_find(config->family);
    enum image_stop_method method = image_config_stop_method(config);
    bool heard = method == IMAGE_STOP_KILL ||
                 (method == IMAGE_STOP_CONSOLE && (family->stops & FAMILY_STOP_CONSOLE) != 0) ||
                 (method == IMAGE_STOP_ACPI && (family->stops & FAMILY_STOP_ACPI) != 0);
    if (heard)
        return 0;
    if (method == IMAGE_STOP_HTTP)
        return error_set_at(error, ERROR_UNSUPPORTED, "/stop/method",
                            "stop method \"http\" is not supported yet");
    return error_set_at(error, ERROR_INVALID, "/stop/method",
                        "a guest of family %s does not listen to stop method \"%s\": leave it out",
                        family->name, stop_method_names[method]);
}

int image_config_check(const struct image_config *config, struct error *error)
{
    if (check_platform(config, error) < 0 || check_boot(config, error) < 0 ||
        check_resources(config, error) < 0 || image_config_check_words(config, error) < 0 ||
        api_ports_validate(config->ports, config->port_count, "/ports", error) < 0)
        return -1;
    if (config->has_health &&
        (api_health_validate(&config->health, error) < 0 ||
         check_probe(config, config->health.has_readiness, &config->health.readiness,
                     "/health/readiness", error) < 0 ||
         check_probe(config, config->health.has_liveness, &config->health.liveness,
                     "/health/liveness", error) < 0))
        return -1;
    return check_stop(config, error);
}

enum image_stop_method image_config_stop_method(const struct image_config *config)
{
    const struct family *family = family_find(config->family);
    if (config->has_stop)
        return config->stop.method;
    switch (family != NULL ? family->stop : FAMILY_STOP_KILL) {
    case FAMILY_STOP_CONSOLE:
        return IMAGE_STOP_CONSOLE;
    case FAMILY_STOP_ACPI:
        return IMAGE_STOP_ACPI;
    case FAMILY_STOP_KILL:
        break;
    }
    return IMAGE_STOP_KILL;
}

void image_health_set_defaults(struct api_health *ret_health)
{
    struct api_service_spec spec = {0};
    api_service_spec_set_defaults(&spec);
    *ret_health = spec.health;
    api_service_spec_release(&spec);
}

/* "image config /boot/kernel: ...": people read the pointer as well. What is quoted of the image
 * stays one line. */
static int wrap(struct error *error)
{
    if (error == NULL)
        return -1;
    text_make_line(error->message);
    return error_wrap(error, "image config%s%s", error->pointer[0] != '\0' ? " " : "",
                      error->pointer);
}

int image_config_parse(const char *bytes, size_t length, struct image_config *ret_config,
                       struct error *error)
{
    struct image_config config = {0};
    image_health_set_defaults(&config.health);
    if (length > OCI_CONFIG_LIMIT)
        return error_set(error, ERROR_TOO_LARGE, "image config: %zu bytes, at most %u", length,
                         OCI_CONFIG_LIMIT);
    if (json_parse_unique_record(&image_config_record, bytes, length, JSON_LENIENT, &config,
                                 error) < 0)
        return wrap(error);
    if (image_config_check(&config, error) < 0) {
        image_config_release(&config);
        return wrap(error);
    }
    *ret_config = config;
    return 0;
}

void image_config_release(struct image_config *config)
{
    json_record_release(&image_config_record, config);
}

const struct api_port *image_config_port(const struct image_config *config, const char *name)
{
    return api_port_find(config->ports, config->port_count, name);
}
