#include "agent/instance_boot.h"

#include <stdio.h>
#include <string.h>

#include "image-format/command_line.h"
#include "lib/cleanup.h"
#include "lib/text.h"

static int choose_memory(uint64_t wanted, const struct image_config *config, uint64_t *ret_memory,
                         struct error *error)
{
    uint64_t memory = wanted > 0 ? wanted : config->memory.default_bytes;
    if (memory < config->memory.min) {
        char given[TEXT_SIZE_MAX], least[TEXT_SIZE_MAX];
        text_format_size(memory, given, sizeof given);
        text_format_size(config->memory.min, least, sizeof least);
        return error_set(error, ERROR_INVALID, "memory %s is less than the %s that the image needs",
                         given, least);
    }
    *ret_memory = memory;
    return 0;
}

/* The row of the family's table that the image boots by. */
static int choose_way(const struct image_config *config, struct host_boot *boot,
                      struct error *error)
{
    const struct family *family = family_find(config->family);
    if (family == NULL)
        return error_set(error, ERROR_UNSUPPORTED, "there is no family %s", config->family);
    const struct family_boot *way = family_find_boot(
        family, config->architecture, config->boot.protocol, config->boot.machine, error);
    if (way == NULL)
        return -1;
    snprintf(boot->family, sizeof boot->family, "%s", family->name);
    snprintf(boot->arch, sizeof boot->arch, "%s", way->architecture);
    boot->protocol = way->protocol;
    boot->machine = way->machine;
    return 0;
}

_Static_assert(IMAGE_DISKS_MAX <= HOST_DISKS_MAX, "an image's disks fit a message");

static int choose_parts(const struct image_config *config, struct host_boot *boot,
                        struct error *error)
{
    const struct json_strings *disks = &config->boot.disks;
    memcpy(boot->kernel, config->boot.kernel, sizeof boot->kernel);
    memcpy(boot->initrd, config->boot.initrd, sizeof boot->initrd);
    for (size_t i = 0; i < disks->count; i++) {
        if (!text_copy(boot->disks[i], sizeof boot->disks[i], disks->items[i]))
            return error_set(error, ERROR_INVALID, "disk %zu has no digest", i);
    }
    boot->disk_count = (uint32_t)disks->count;
    return 0;
}

_Static_assert(API_VOLUMES_MAX <= HOST_VOLUMES_MAX, "an instance's volumes fit a message");

static int choose_volumes(const struct api_assigned_instance *assigned, struct host_boot *boot,
                          struct error *error)
{
    for (size_t i = 0; i < assigned->volume_count; i++) {
        const struct api_volume *volume = &assigned->volumes[i];
        struct host_volume *ours = &boot->volumes[i];
        memcpy(ours->name, volume->name, sizeof ours->name);
        ours->size = volume->size;
        if (!text_copy(ours->device, sizeof ours->device, volume->device))
            return error_set(error, ERROR_INVALID, "the device %s of volume %s is longer than %d",
                             volume->device, volume->name, HOST_DEVICE_MAX - 1);
    }
    memcpy(boot->namespace_name, assigned->namespace_name, sizeof boot->namespace_name);
    memcpy(boot->service, assigned->service, sizeof boot->service);
    boot->slot = assigned->slot;
    boot->volume_count = (uint32_t)assigned->volume_count;
    return 0;
}

int instance_boot_fill(const struct api_assigned_instance *assigned,
                       const struct image_verified *verified, const char *node,
                       struct host_boot *ret_boot, struct error *error)
{
    const struct image_config *config = &verified->config;
    struct host_boot boot = {0};
    if (choose_memory(assigned->resources.memory, config, &boot.memory, error) < 0 ||
        choose_way(config, &boot, error) < 0 || choose_parts(config, &boot, error) < 0 ||
        choose_volumes(assigned, &boot, error) < 0)
        return -1;
    boot.vcpus =
        assigned->resources.vcpus > 0 ? assigned->resources.vcpus : config->vcpus.default_count;
    memcpy(boot.id, assigned->id, sizeof boot.id);
    memcpy(boot.image, assigned->image_digest, sizeof boot.image);
    memcpy(boot.address, assigned->address, sizeof boot.address);
    host_mac_of_instance(assigned->id, boot.mac);
    struct command_line_values values = {
        .address = assigned->address,
        .prefix = assigned->prefix,
        .gateway = assigned->gateway[0] != '\0' ? assigned->gateway : NULL,
        .mtu = HOST_GUEST_MTU,
        .mac = boot.mac,
        .instance_id = assigned->id,
        .slot = assigned->slot,
        .service = assigned->service,
        .namespace_name = assigned->namespace_name,
        .node = node,
    };
    AUTO_FREE char *line = NULL;
    if (command_line_expand(config, &assigned->args, &assigned->env, &values, &line, error) < 0)
        return error_wrap(error, "the guest's command line");
    if (!text_copy(boot.command_line, sizeof boot.command_line, line))
        return error_set(error, ERROR_TOO_LARGE, "the guest's command line is longer than %d bytes",
                         HOST_COMMAND_LINE_MAX - 1);
    *ret_boot = boot;
    return 0;
}

enum host_stop_method instance_boot_stop_method(const struct image_config *config)
{
    switch (image_config_stop_method(config)) {
    case IMAGE_STOP_CONSOLE:
        return HOST_STOP_CONSOLE;
    case IMAGE_STOP_ACPI:
        return HOST_STOP_ACPI;
    case IMAGE_STOP_KILL:
    case IMAGE_STOP_HTTP: /* refused before */
        break;
    }
    return HOST_STOP_KILL;
}
