#include "image-format/detect.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "image-format/detect_internal.h"
#include "image-format/elf.h"
#include "image-format/family.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

const char *const detection_verdict_names[] = {"certain", "generic", "undecided", "refused", NULL};
const char *const detection_device_kind_names[] = {"block", "net", NULL};

static const struct json_field device_fields[] = {
    JSON_FIELD(struct detection_device, name, "name", JSON_STRING),
    JSON_FIELD(struct detection_device, kind, "type", JSON_ENUM,
               .names = detection_device_kind_names),
    JSON_FIELD_END,
};
static const struct json_record device_record = {sizeof(struct detection_device), device_fields};

static const struct json_field disk_fields[] = {
    JSON_FIELD(struct detection_disk, format, "format", JSON_STRING),
    JSON_FIELD(struct detection_disk, size, "size", JSON_UINT, .max = UINT64_MAX),
    JSON_FIELD(struct detection_disk, command_line, "cmdline", JSON_TEXT, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
static const struct json_record disk_record = {sizeof(struct detection_disk), disk_fields};

static const struct json_field detection_fields[] = {
    JSON_FIELD(struct detection, verdict, "verdict", JSON_ENUM, .names = detection_verdict_names),
    JSON_FIELD(struct detection, family, "family", JSON_STRING),
    JSON_FIELD(struct detection, title, "title", JSON_STRING),
    JSON_FIELD(struct detection, format, "format", JSON_STRING),
    JSON_FIELD(struct detection, architecture, "architecture", JSON_STRING),
    JSON_FIELD(struct detection, protocols, "protocols", JSON_STRINGS),
    JSON_FIELD(struct detection, machine, "machine", JSON_STRING),
    JSON_FIELD_LIST(struct detection, devices, device_count, "devices", &device_record),
    JSON_FIELD(struct detection, disk, "disk", JSON_OBJECT, .record = &disk_record,
               .present_offset = offsetof(struct detection, has_disk)),
    JSON_FIELD(struct detection, evidence, "evidence", JSON_STRINGS),
    JSON_FIELD(struct detection, reason, "reason", JSON_TEXT, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record detection_record = {sizeof(struct detection), detection_fields};

/* One line: a file's texts must not look like lines of ours. */
static char *print_text(const char *format, va_list arguments)
{
    char *text;
    if (vasprintf(&text, format, arguments) < 0)
        abort();
    text_make_line(text);
    return text;
}

void detection_add(struct detection *detection, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    AUTO_FREE char *text = print_text(format, arguments);
    va_end(arguments);
    json_strings_add(&detection->evidence, text);
}

static void set_verdict(struct detection *detection, enum detection_verdict verdict, char *reason)
{
    free(detection->reason);
    detection->reason = reason;
    detection->verdict = verdict;
}

void detection_decide(struct detection *detection, const char *family, const char *title)
{
    set_verdict(detection, DETECTION_CERTAIN, NULL);
    snprintf(detection->family, sizeof detection->family, "%s", family);
    snprintf(detection->title, sizeof detection->title, "%s", title);
    text_make_line(detection->title);
}

void detection_call_generic(struct detection *detection, const char *title)
{
    detection_decide(detection, "generic", title);
    detection->verdict = DETECTION_GENERIC;
}

void detection_leave_undecided(struct detection *detection, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set_verdict(detection, DETECTION_UNDECIDED, print_text(format, arguments));
    va_end(arguments);
}

void detection_refuse(struct detection *detection, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set_verdict(detection, DETECTION_REFUSED, print_text(format, arguments));
    va_end(arguments);
}

int detection_refuse_damaged(struct detection *detection, const struct error *cause,
                             struct error *error)
{
    if (cause->code != ERROR_INVALID && cause->code != ERROR_UNSUPPORTED &&
        cause->code != ERROR_TOO_LARGE)
        return error_copy(error, cause);
    detection_refuse(detection, "%s", cause->message);
    return 0;
}

/* Names for people of what is neither kernel nor disk. */
static const char *other_format(const unsigned char *bytes)
{
    static const struct {
        size_t offset, length;
        const char *magic, *what;
    } formats[] = {
        {0, 2, "\x1f\x8b",
         "a gzip file; if an arm64 kernel is in it, unpack it (gunzip) so that it can be looked "
         "at"},
        {0, 6,
         "\xfd"
         "7zXZ",
         "an xz file: unpack it"},
        {0, 4, "\x28\xb5\x2f\xfd", "a zstd file: unpack it"},
        {0, 4, "\x02\x21\x4c\x18", "an lz4 file: unpack it"},
        {0, 3, "BZh", "a bzip2 file: unpack it"},
        {0, 4, "PK\3\4", "a zip archive"},
        {257, 5, "ustar", "a tar archive: take the kernel or disk out of it"},
        {0, 6, "070701", "a cpio archive, as an initrd is: a kernel is needed too"},
        {0, 4, "KDMV", "a VMDK disk: make a raw or qcow2 one of it (qemu-img convert -O qcow2)"},
        {0, 8, "conectix", "a VHD disk: make a raw or qcow2 one of it (qemu-img convert -O qcow2)"},
        {0, 8, "vhdxfile",
         "a VHDX disk: make a raw or qcow2 one of it (qemu-img convert -O qcow2)"},
        {64, 4, "\x7f\x10\xda\xbe",
         "a VDI disk: make a raw or qcow2 one of it (qemu-img convert -O qcow2)"},
        {0, 2, "#!", "a script"},
        {0, 4, "\xd0\x0d\xfe\xed", "a device tree"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(formats); i++) {
        if (memcmp(bytes + formats[i].offset, formats[i].magic, formats[i].length) == 0)
            return formats[i].what;
    }
    return NULL;
}

static int say_what_was_seen(const struct detect_source *source, struct detection *detection,
                             struct error *error)
{
    unsigned char bytes[512];
    char hex[2 * 8 + 1];
    if (source->size == 0) {
        detection_refuse(detection, "the file is empty");
        return 0;
    }
    if (detect_source_peek(source, 0, bytes, sizeof bytes, error) < 0)
        return -1;
    const char *what = other_format(bytes);
    if (what != NULL) {
        detection_leave_undecided(detection, "this is %s", what);
        return 0;
    }
    text_format_hex(bytes, source->size < 8 ? (size_t)source->size : 8, hex);
    detection_leave_undecided(
        detection,
        "no ELF file, bzImage, arm64 Image, multiboot file, qcow2 or disk with a boot sector; it "
        "begins with the bytes %s",
        hex);
    return 0;
}

/* A disk's own marks come before Linux's: its second sector may hold anything. */
static int detect_format(const struct detect_source *source, struct detection *detection,
                         struct error *error)
{
    bool is = false;
    if (elf_is(source))
        return detect_elf(source, detection, error);
    if (detect_disk(source, detection, &is, error) < 0 ||
        (!is && detect_linux(source, detection, &is, error) < 0) ||
        (!is && detect_flat(source, detection, &is, error) < 0) ||
        (!is && detect_boot_sector(source, detection, &is, error) < 0))
        return -1;
    return is ? 0 : say_what_was_seen(source, detection, error);
}

/* The machine that the family's table has for the first of the protocols. */
static void choose_machine(struct detection *detection)
{
    const struct family *family = family_find(detection->family);
    const struct family_boot *boot = NULL;
    if (family != NULL && detection->protocols.count > 0)
        boot = family_find_boot(family, detection->architecture, detection->protocols.items[0], "",
                                NULL);
    if (boot != NULL)
        snprintf(detection->machine, sizeof detection->machine, "%s",
                 boot_machine_names[boot->machine]);
}

static int detect_source(const struct detect_source *source, struct detection *detection,
                         struct error *error)
{
    if (detect_format(source, detection, error) < 0)
        return -1;
    if (detection->verdict == DETECTION_REFUSED)
        json_strings_release(&detection->protocols);
    choose_machine(detection);
    return 0;
}

int detect_file(int descriptor, struct detection *ret_detection, struct error *error)
{
    struct detect_source source;
    struct detection detection = {.verdict = DETECTION_UNDECIDED};
    if (detect_source_of_file(descriptor, &source, error) < 0)
        return -1;
    if (detect_source(&source, &detection, error) < 0) {
        detection_release(&detection);
        return -1;
    }
    *ret_detection = detection;
    return 0;
}

void detect_bytes(const void *bytes, size_t length, struct detection *ret_detection)
{
    struct detect_source source;
    struct detection detection = {.verdict = DETECTION_UNDECIDED};
    struct error error = ERROR_INIT;
    detect_source_of_bytes(bytes, length, &source);
    if (detect_source(&source, &detection, &error) < 0)
        detection_refuse(&detection, "%s", error.message);
    *ret_detection = detection;
}

void detection_release(struct detection *detection)
{
    json_record_release(&detection_record, detection);
}

static bool boots_by(const struct detection *detection, const char *protocol)
{
    for (size_t i = 0; i < detection->protocols.count; i++) {
        if (strcmp(detection->protocols.items[i], protocol) == 0)
            return true;
    }
    return false;
}

/* "ELF64 for amd64; note Solo5 ABI1: virtio; multiboot header at offset 4096". */
static char *seen(const struct detection *detection)
{
    AUTO_BUFFER struct buffer text = {0};
    buffer_append_text(&text, detection->format);
    if (detection->architecture[0] != '\0')
        buffer_printf(&text, " for %s", detection->architecture);
    for (size_t i = 0; i < detection->evidence.count; i++)
        buffer_printf(&text, "%s%s", text.length > 0 ? "; " : "", detection->evidence.items[i]);
    return buffer_take(&text);
}

int detection_check(const struct detection *detection, const char *name, const char *family,
                    const char *protocol, const char *architecture, struct error *error)
{
    AUTO_FREE char *found = seen(detection);
    const char *reason = detection->reason != NULL ? detection->reason : "";
    bool is_family = strcmp(detection->family, family) == 0;
    /* What Xen alone boots is refused on nodes, but it is what an image of family xen is made of.
     */
    bool is_xen = is_family && strcmp(family, "xen") == 0;
    if (detection->verdict == DETECTION_REFUSED && !is_xen)
        return error_set(error, ERROR_INVALID, "%s: %s (seen: %s)", name, reason, found);
    if (detection->architecture[0] != '\0' && strcmp(detection->architecture, architecture) != 0)
        return error_set(error, ERROR_INVALID, "%s: declared for %s, but it is for %s (seen: %s)",
                         name, architecture, detection->architecture, found);
    if (detection->verdict == DETECTION_CERTAIN && !is_family && strcmp(family, "generic") != 0)
        return error_set(error, ERROR_INVALID,
                         "%s: declared as family %s, but it is %s: declare family %s (seen: %s)",
                         name, family, detection->title, detection->family, found);
    if (is_xen || boots_by(detection, protocol))
        return 0;
    if (detection->protocols.count == 0)
        return error_set(error, ERROR_INVALID,
                         "%s: nothing shows that it boots by %s: %s (seen: %s)", name, protocol,
                         reason, found);
    return error_set(error, ERROR_INVALID,
                     "%s: declared to boot by %s, but it boots by %s (seen: %s)", name, protocol,
                     detection->protocols.items[0], found);
}

int detect_check_file(const char *name, int descriptor, const char *family, const char *protocol,
                      const char *architecture, struct error *error)
{
    struct detection detection;
    if (detect_file(descriptor, &detection, error) < 0)
        return error_wrap(error, "%s", name);
    int result = detection_check(&detection, name, family, protocol, architecture, error);
    detection_release(&detection);
    return result;
}
