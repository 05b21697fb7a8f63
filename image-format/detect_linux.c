/* Kernels that are no ELF files: Linux's forms, flat multiboot files, and what looks like one. */
#include <stdio.h>
#include <string.h>

#include "image-format/detect_elf_marks.h"
#include "lib/text.h"

#define SETUP_HEADER_MAX                                                                           \
    0x270 /* bytes of a bzImage that are read: boot sector and setup header                        \
           */
#define SECTOR 512

/* "6.1.0-13-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP ...": a release and who built it.
 * Others use the same header for other texts. */
static bool is_linux_version(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits > 0 && text[digits] == '.' && strstr(text, " (") != NULL &&
           strstr(text, " #") != NULL;
}

/* The text that the setup header points to, 0x200 behind the number it holds; "" when none. */
static int read_version(const struct detect_source *source, const unsigned char *header, char *text,
                        size_t size, struct error *error)
{
    unsigned at = detect_u16(header + 0x20e);
    text[0] = '\0';
    if (at == 0)
        return 0;
    if (detect_source_peek(source, at + 0x200u, text, size - 1, error) < 0)
        return -1;
    text[size - 1] = '\0';
    text_make_printable(text);
    return 0;
}

/* OSv's vmlinuz.bin: a Linux header in front of OSv's ELF kernel, 2 KiB into the file. */
static int look_for_osv(const struct detect_source *source, bool *ret_is, struct error *error)
{
    struct detect_source inner = detect_source_from(source, 0x800);
    struct detection detection = {0};
    *ret_is = false;
    if (!elf_is(&inner))
        return 0;
    int result = detect_elf(&inner, &detection, error);
    *ret_is = result == 0 && strcmp(detection.family, "osv") == 0;
    detection_release(&detection);
    return result;
}

/* The setup header of Linux/x86's boot protocol (Documentation/arch/x86/boot.rst). */
static int judge_bzimage(const struct detect_source *source, const unsigned char *header,
                         struct detection *detection, struct error *error)
{
    char version[256];
    bool is_osv;
    unsigned protocol = detect_u16(header + 0x206);
    unsigned setup_sectors = header[0x1f1] != 0 ? header[0x1f1] : 4;
    /* The size counts units of 16 bytes; up to a page of padding may be missing at the end. */
    uint64_t size = (setup_sectors + 1ull) * SECTOR + detect_u32(header + 0x1f4) * 16ull;
    bool is_64 = protocol >= 0x20c && (detect_u16(header + 0x236) & 1) != 0;
    snprintf(detection->format, sizeof detection->format, "bzImage");
    snprintf(detection->architecture, sizeof detection->architecture, "amd64");
    detection_add(detection, "HdrS at 0x202: Linux boot protocol %u.%u%s", protocol >> 8,
                  protocol & 0xff, is_64 ? ", 64-bit entry" : "");
    if (protocol < 0x200 || (header[0x211] & 1) == 0) {
        detection_refuse(detection,
                         "a Linux zImage of boot protocol %u.%u, which is too old: nodes "
                         "boot bzImages",
                         protocol >> 8, protocol & 0xff);
        return 0;
    }
    if (source->size + 4096 < size) {
        detection_refuse(detection,
                         "a bzImage of %llu bytes of which %llu are here: the file is cut short",
                         (unsigned long long)size, (unsigned long long)source->size);
        return 0;
    }
    if (read_version(source, header, version, sizeof version, error) < 0 ||
        look_for_osv(source, &is_osv, error) < 0)
        return -1;
    if (version[0] != '\0')
        detection_add(detection, "version \"%.120s\"", version);
    json_strings_add(&detection->protocols, "linux");
    if (is_osv) {
        detection_add(detection, "OSv's ELF kernel at offset 0x800");
        detection_decide(detection, "osv", "OSv's kernel behind a Linux header (vmlinuz)");
    } else if (is_linux_version(version)) {
        detection_decide(detection, "linux", "Linux");
    } else {
        detection_call_generic(detection, "a kernel with a Linux header, but not Linux's version");
    }
    return 0;
}

/* Documentation/arch/arm64/booting.rst of Linux. */
static int judge_arm64_image(const struct detect_source *source, const unsigned char *header,
                             struct detection *detection, struct error *error)
{
    bool is_linux;
    snprintf(detection->format, sizeof detection->format, "arm64 Image");
    snprintf(detection->architecture, sizeof detection->architecture, "arm64");
    detection_add(detection, "ARM\\x64 at 0x38: arm64 Image");
    if ((detect_u64(header + 24) & 1) != 0) {
        detection_refuse(detection, "a big-endian arm64 Image");
        return 0;
    }
    json_strings_add(&detection->protocols, "linux");
    if (detect_source_find(source, "Linux version ", &is_linux, error) < 0)
        return -1;
    if (is_linux) {
        detection_add(detection, "\"Linux version\" in the bytes");
        detection_decide(detection, "linux", "Linux");
    } else {
        detection_call_generic(detection, "a kernel with an arm64 Linux header, but no Linux");
    }
    return 0;
}

static int judge_efi(const struct detect_source *source, struct detection *detection,
                     struct error *error)
{
    unsigned char head[8];
    if (detect_source_peek(source, 0, head, sizeof head, error) < 0)
        return -1;
    snprintf(detection->format, sizeof detection->format, "EFI program");
    detection_add(detection, "MZ at 0: a program for EFI firmware");
    if (memcmp(head + 4, "zimg", 4) == 0)
        detection_refuse(detection, "a compressed kernel for EFI firmware (zboot), which QEMU "
                                    "cannot boot: take the Image that was compressed");
    else
        detection_refuse(detection, "a program for EFI firmware (Unikraft's EFI builds are such), "
                                    "which nodes do not have: build it for QEMU");
    return 0;
}

int detect_linux(const struct detect_source *source, struct detection *detection, bool *ret_is,
                 struct error *error)
{
    unsigned char header[SETUP_HEADER_MAX];
    if (detect_source_peek(source, 0, header, sizeof header, error) < 0)
        return -1;
    *ret_is = true;
    if (memcmp(header + 0x202, "HdrS", 4) == 0)
        return judge_bzimage(source, header, detection, error);
    if (memcmp(header + 0x38, "ARM\x64", 4) == 0)
        return judge_arm64_image(source, header, detection, error);
    if (memcmp(header, "MZ", 2) == 0)
        return judge_efi(source, detection, error);
    *ret_is = false;
    return 0;
}

#define MULTIBOOT_MAGIC     0x1badb002u
#define MULTIBOOT_WITHIN    8192
#define MULTIBOOT_ADDRESSES (1u << 16)

int detect_multiboot(const struct detect_source *source, struct detect_multiboot *ret_header,
                     struct error *error)
{
    unsigned char bytes[MULTIBOOT_WITHIN];
    if (detect_source_peek(source, 0, bytes, sizeof bytes, error) < 0)
        return -1;
    for (uint32_t at = 0; at + 12 <= sizeof bytes && at + 12 <= source->size; at += 4) {
        uint32_t magic = detect_u32(bytes + at), flags = detect_u32(bytes + at + 4);
        if (magic != MULTIBOOT_MAGIC || magic + flags + detect_u32(bytes + at + 8) != 0)
            continue;
        *ret_header = (struct detect_multiboot){
            .found = true, .offset = at, .has_addresses = (flags & MULTIBOOT_ADDRESSES) != 0};
        return 0;
    }
    *ret_header = (struct detect_multiboot){.found = false};
    return 0;
}

int detect_flat(const struct detect_source *source, struct detection *detection, bool *ret_is,
                struct error *error)
{
    struct detect_multiboot header;
    if (detect_multiboot(source, &header, error) < 0)
        return -1;
    *ret_is = header.found;
    if (!header.found)
        return 0;
    snprintf(detection->format, sizeof detection->format, "flat multiboot file");
    snprintf(detection->architecture, sizeof detection->architecture, "amd64");
    detection_add(detection, "multiboot header at offset %u%s", header.offset,
                  header.has_addresses ? " with load addresses" : "");
    if (header.has_addresses) {
        json_strings_add(&detection->protocols, "multiboot");
        detection_call_generic(detection, "a kernel that boots by multiboot");
    } else {
        detection_refuse(detection, "a multiboot file that is no ELF file and does not say where "
                                    "it is loaded");
    }
    return 0;
}
