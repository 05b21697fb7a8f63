#include "agent/host/domain_xml.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/crypto.h"
#include "lib/text.h"

void xml_append(struct buffer *buffer, const char *text)
{
    static const char *const names[128] = {
        ['<'] = "&lt;", ['>'] = "&gt;", ['&'] = "&amp;", ['\''] = "&apos;", ['"'] = "&quot;"};
    for (; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < 128 && names[byte] != NULL)
            buffer_append_text(buffer, names[byte]);
        else
            buffer_append(buffer, text, 1);
    }
}

void domain_name(const char *id, char ret_name[DOMAIN_NAME_MAX])
{
    snprintf(ret_name, DOMAIN_NAME_MAX, "sh%.12s", id);
}

void domain_uuid(const char *id, char ret_uuid[DOMAIN_UUID_MAX])
{
    snprintf(ret_uuid, DOMAIN_UUID_MAX, "53686f61-6c00-4000-8000-%.12s", id);
}

static void append_element(struct buffer *buffer, const char *name, const char *text)
{
    buffer_printf(buffer, "<%s>", name);
    xml_append(buffer, text);
    buffer_printf(buffer, "</%s>\n", name);
}

static void append_identity(const struct domain_spec *spec, struct buffer *buffer)
{
    char name[DOMAIN_NAME_MAX], uuid[DOMAIN_UUID_MAX], metadata[384];
    domain_name(spec->id, name);
    domain_uuid(spec->id, uuid);
    snprintf(metadata, sizeof metadata, "shoal instance=%s kernel=%s image=%s address=%s", spec->id,
             spec->kernel, spec->image, spec->address);
    append_element(buffer, "name", name);
    append_element(buffer, "uuid", uuid);
    append_element(buffer, "description", metadata);
}

/* The translation cache is QEMU's largest piece of memory beside the guest's: bounded, so that the
 * overhead each instance is counted with holds. */
static void append_machine(const struct domain_spec *spec, struct buffer *buffer)
{
    buffer_printf(buffer, "<memory unit='b'>%" PRIu64 "</memory>\n<vcpu>%" PRIu32 "</vcpu>\n",
                  spec->memory, spec->vcpus);
    buffer_append_text(buffer, "<os><type arch='x86_64' machine='microvm'>hvm</type>\n");
    append_element(buffer, "kernel", spec->kernel_path);
    if (spec->command_line[0] != '\0')
        append_element(buffer, "cmdline", spec->command_line);
    buffer_append_text(buffer, "</os>\n<cpu mode='maximum'/>\n");
    if (!spec->kvm)
        buffer_append_text(buffer,
                           "<features><tcg><tb-cache unit='MiB'>16</tb-cache></tcg></features>\n");
    buffer_append_text(buffer, "<on_poweroff>destroy</on_poweroff>\n"
                               "<on_reboot>destroy</on_reboot>\n<on_crash>destroy</on_crash>\n");
}

static void append_devices(const struct domain_spec *spec, struct buffer *buffer)
{
    buffer_append_text(buffer, "<devices>\n<emulator>/usr/bin/qemu-system-x86_64</emulator>\n"
                               "<controller type='usb' model='none'/>\n<memballoon model='none'/>\n"
                               "<panic model='isa'><address type='isa' iobase='0x505'/></panic>\n"
                               "<interface type='ethernet'><mac address='");
    xml_append(buffer, spec->mac);
    buffer_append_text(buffer, "'/><target dev='");
    xml_append(buffer, spec->tap);
    buffer_append_text(buffer, "' managed='no'/><model type='virtio'/><driver name='qemu'/>"
                               "<address type='virtio-mmio'/></interface>\n"
                               "<serial type='unix'><source mode='bind' path='");
    xml_append(buffer, spec->console_path);
    buffer_append_text(buffer, "'/><target type='isa-serial' port='0'/></serial>\n</devices>\n");
}

void domain_xml_render(const struct domain_spec *spec, struct buffer *buffer)
{
    buffer_printf(buffer,
                  "<domain type='%s' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>\n",
                  spec->kvm ? "kvm" : "qemu");
    append_identity(spec, buffer);
    append_machine(spec, buffer);
    append_devices(spec, buffer);
    buffer_printf(buffer,
                  "<seclabel type='static' model='dac' relabel='no'>"
                  "<label>+%" PRIu32 ":+%" PRIu32 "</label></seclabel>\n",
                  spec->uid, spec->gid);
    buffer_append_text(buffer, "<qemu:commandline><qemu:arg value='-machine'/>"
                               "<qemu:arg value='pit=off,pic=off,rtc=off'/></qemu:commandline>\n"
                               "</domain>\n");
}

/* One word "<key>=<value>" at `*at`; moves behind it and one space. */
static bool read_word(const char **at, const char *key, char *ret_value, size_t size)
{
    size_t key_length = strlen(key);
    if (strncmp(*at, key, key_length) != 0 || (*at)[key_length] != '=')
        return false;
    const char *value = *at + key_length + 1;
    size_t length = strcspn(value, " ");
    if (length == 0 || length >= size)
        return false;
    memcpy(ret_value, value, length);
    ret_value[length] = '\0';
    *at = value + length + (value[length] == ' ' ? 1 : 0);
    return true;
}

int domain_metadata_parse(const char *text, struct domain_metadata *ret_metadata)
{
    static const char mark[] = "shoal ";
    struct domain_metadata metadata;
    if (strncmp(text, mark, sizeof mark - 1) != 0)
        return -1;
    const char *at = text + sizeof mark - 1;
    if (!read_word(&at, "instance", metadata.id, sizeof metadata.id) ||
        !read_word(&at, "kernel", metadata.kernel, sizeof metadata.kernel) ||
        !read_word(&at, "image", metadata.image, sizeof metadata.image) ||
        !read_word(&at, "address", metadata.address, sizeof metadata.address) || *at != '\0')
        return -1;
    unsigned char bytes[(INSTANCE_ID_MAX - 1) / 2];
    if (!text_parse_hex(metadata.id, bytes, sizeof bytes) || !digest_is_valid(metadata.kernel) ||
        !digest_is_valid(metadata.image))
        return -1;
    *ret_metadata = metadata;
    return 0;
}
