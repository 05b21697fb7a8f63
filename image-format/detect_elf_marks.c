#include "image-format/detect_elf_marks.h"

#include <elf.h>
#include <stdio.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* Note types, each with the name that its maker's notes have. */
#define NOTE_SHOAL_ABI      1
#define NOTE_SOLO5_ABI      0x31494241 /* "ABI1" */
#define NOTE_SOLO5_MANIFEST 0x3154464d /* "MFT1" */
#define NOTE_XEN_ENTRY      1          /* of a paravirtual guest */
#define NOTE_XEN_HYPERCALLS 2
#define NOTE_XEN_BASE       3
#define NOTE_XEN_VERSION    5
#define NOTE_XEN_GUEST_OS   6
#define NOTE_XEN_PVH        18 /* XEN_ELFNOTE_PHYS32_ENTRY */
#define NOTE_HERMIT_ENTRY   0x5a00
#define NOTE_GNU_ABI        1

/* Solo5's manifest: 4 bytes that align it, version, count, entries (mft_abi.h of Solo5). */
#define MANIFEST_HEAD     12
#define MANIFEST_VERSION  1
#define MANIFEST_ENTRY    104
#define MANIFEST_NAME     68
#define MANIFEST_ENTRIES  64
#define MANIFEST_BLOCK    1
#define MANIFEST_NET      2
#define MANIFEST_RESERVED (1u << 30) /* from here on: no device */

/* The first bytes of a note's content. */
static int read_content(const struct elf_marks *marks, const struct elf_note *note, void *bytes,
                        size_t size, struct error *error)
{
    memset(bytes, 0, size);
    return detect_source_read(marks->elf->source, note->offset, bytes,
                              note->size < size ? note->size : size, error);
}

static int read_word(const struct elf_marks *marks, const struct elf_note *note, unsigned index,
                     uint32_t *ret_word, struct error *error)
{
    unsigned char bytes[16];
    if (read_content(marks, note, bytes, sizeof bytes, error) < 0)
        return -1;
    *ret_word = detect_u32(bytes + 4 * (size_t)index);
    return 0;
}

static int add_device(struct elf_marks *marks, const unsigned char *entry, struct error *error)
{
    struct detection *detection = marks->detection;
    struct detection_device device;
    uint32_t type = detect_u32(entry + MANIFEST_NAME);
    if (type >= MANIFEST_RESERVED)
        return 0;
    if (type != MANIFEST_BLOCK && type != MANIFEST_NET)
        return error_set(error, ERROR_INVALID,
                         "Solo5's manifest has a device of type %u, which is neither block nor net",
                         type);
    size_t length = strnlen((const char *)entry, MANIFEST_NAME);
    if (length == 0 || length == MANIFEST_NAME)
        return error_set(error, ERROR_INVALID, "Solo5's manifest has a device without a name");
    memcpy(device.name, entry, length);
    device.name[length] = '\0';
    for (size_t i = 0; i < length; i++) {
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.",
                   device.name[i]) == NULL)
            return error_set(error, ERROR_INVALID,
                             "Solo5's manifest has a device named \"%s\": names are letters and "
                             "digits",
                             device.name);
    }
    device.kind = type == MANIFEST_BLOCK ? DETECTION_BLOCK : DETECTION_NET;
    detection->devices =
        xreallocarray(detection->devices, detection->device_count + 1, sizeof *detection->devices);
    detection->devices[detection->device_count++] = device;
    return 0;
}

static int read_manifest(struct elf_marks *marks, const struct elf_note *note, struct error *error)
{
    unsigned char head[MANIFEST_HEAD];
    if (marks->solo5_manifest) /* seen already, by its segment */
        return 0;
    if (read_content(marks, note, head, sizeof head, error) < 0)
        return -1;
    uint32_t version = detect_u32(head + 4), count = detect_u32(head + 8);
    if (note->size < MANIFEST_HEAD || version != MANIFEST_VERSION || count > MANIFEST_ENTRIES ||
        (note->size - MANIFEST_HEAD) / MANIFEST_ENTRY < count)
        return error_set(error, ERROR_INVALID,
                         "Solo5's manifest (version %u, %u entries) does not fit its note of %u "
                         "bytes",
                         version, count, note->size);
    for (uint32_t i = 0; i < count; i++) {
        unsigned char entry[MANIFEST_ENTRY];
        uint64_t at = note->offset + MANIFEST_HEAD + (uint64_t)i * MANIFEST_ENTRY;
        if (detect_source_read(marks->elf->source, at, entry, sizeof entry, error) < 0 ||
            add_device(marks, entry, error) < 0)
            return -1;
    }
    marks->solo5_manifest = true;
    return 0;
}

static int visit_solo5(struct elf_marks *marks, const struct elf_note *note, struct error *error)
{
    if (note->type == NOTE_SOLO5_MANIFEST)
        return read_manifest(marks, note, error);
    if (note->type != NOTE_SOLO5_ABI)
        return 0;
    marks->solo5 = true;
    if (read_word(marks, note, 0, &marks->solo5_target, error) < 0)
        return -1;
    return read_word(marks, note, 1, &marks->solo5_version, error);
}

static int visit_xen(struct elf_marks *marks, const struct elf_note *note, struct error *error)
{
    unsigned char entry[8];
    switch (note->type) {
    case NOTE_XEN_PVH:
        if (note->size < 4)
            return 0;
        marks->pvh = marks->pvh || note->in_segment;
        marks->pvh_outside = !marks->pvh;
        if (read_content(marks, note, entry, sizeof entry, error) < 0)
            return -1;
        marks->pvh_entry = note->size < 8 ? detect_u32(entry) : detect_u64(entry);
        return 0;
    case NOTE_XEN_GUEST_OS:
        marks->xen = true;
        if (read_content(marks, note, marks->guest_os, sizeof marks->guest_os - 1, error) < 0)
            return -1;
        text_make_printable(marks->guest_os);
        return 0;
    case NOTE_XEN_ENTRY:
    case NOTE_XEN_HYPERCALLS:
    case NOTE_XEN_BASE:
    case NOTE_XEN_VERSION:
        marks->xen = true;
        return 0;
    default:
        return 0;
    }
}

static int visit_note(const struct elf_note *note, void *data, struct error *error)
{
    struct elf_marks *marks = data;
    if (strcmp(note->name, "Shoal") == 0 && note->type == NOTE_SHOAL_ABI) {
        marks->shoal = true;
        return read_word(marks, note, 0, &marks->shoal_abi, error);
    }
    if (strcmp(note->name, "Solo5") == 0)
        return visit_solo5(marks, note, error);
    if (strcmp(note->name, "Xen") == 0)
        return visit_xen(marks, note, error);
    if (strcmp(note->name, "HERMIT") == 0 && note->type == NOTE_HERMIT_ENTRY) {
        uint32_t word = 0;
        marks->hermit = true;
        if (read_word(marks, note, 0, &word, error) < 0)
            return -1;
        marks->hermit_version = word & 0xff;
        return 0;
    }
    if (strcmp(note->name, "GNU") == 0 && note->type == NOTE_GNU_ABI && note->size >= 16)
        marks->gnu_abi = true;
    return 0;
}

/* "GUEST_OS=Ling,XEN_VER=xen-3.0,...": how guests were marked before there were notes. */
static int read_xen_guest(struct elf_marks *marks, const struct elf_section *section,
                          struct error *error)
{
    char text[256] = "";
    size_t length = section->size < sizeof text - 1 ? (size_t)section->size : sizeof text - 1;
    if (detect_source_read(marks->elf->source, section->offset, text, length, error) < 0)
        return -1;
    marks->xen = true;
    const char *name = strstr(text, "GUEST_OS=");
    if (name == NULL || marks->guest_os[0] != '\0')
        return 0;
    name += strlen("GUEST_OS=");
    snprintf(marks->guest_os, sizeof marks->guest_os, "%.*s", (int)strcspn(name, ","), name);
    text_make_printable(marks->guest_os);
    return 0;
}

/* Unikraft's list of its libraries: records in records (lib/uklibid of Unikraft). */
#define LIBRARIES_SIZE_MAX (1u << 20)
#define LIBRARY_NAME       1
#define LIBRARY_UNIKRAFT   6   /* Unikraft's version */
#define LIBRARIES_SHOWN    600 /* bytes of names in the evidence */

/* A record's text, up to a NUL; NULL when it is none. */
static char *record_text(const unsigned char *record, size_t length)
{
    char *text = xstrndup((const char *)record, strnlen((const char *)record, length));
    text_make_printable(text);
    return text;
}

struct libraries {
    struct buffer names;
    size_t count;
    char version[32];
};

static void read_library(const unsigned char *records, size_t length, struct libraries *libraries)
{
    while (length >= 6) {
        unsigned type = detect_u16(records);
        size_t size = detect_u32(records + 2);
        if (size < 6 || size > length)
            return;
        AUTO_FREE char *text = record_text(records + 6, size - 6);
        if (type == LIBRARY_NAME) {
            libraries->count++;
            if (libraries->names.length < LIBRARIES_SHOWN)
                buffer_printf(&libraries->names, "%s%s", libraries->count > 1 ? " " : "", text);
        } else if (type == LIBRARY_UNIKRAFT && libraries->version[0] == '\0') {
            snprintf(libraries->version, sizeof libraries->version, "%s", text);
        }
        records += size;
        length -= size;
    }
}

/* Only told, never judged: a list that makes no sense says nothing. */
static int read_libraries(struct elf_marks *marks, const struct elf_section *section,
                          struct error *error)
{
    struct libraries libraries = {0};
    if (section->type == SHT_NOBITS || section->size > LIBRARIES_SIZE_MAX)
        return 0;
    size_t left = (size_t)section->size;
    AUTO_FREE unsigned char *bytes = xmalloc(left + 1);
    if (detect_source_read(marks->elf->source, section->offset, bytes, left, error) < 0)
        return -1;
    for (const unsigned char *at = bytes; left >= 6;) {
        size_t size = detect_u32(at);
        if (size < 6 || size > left)
            break;
        read_library(at + 6, size - 6, &libraries);
        at += size;
        left -= size;
    }
    if (libraries.count > 0)
        detection_add(marks->detection, "Unikraft %s of %zu libraries: %s%s",
                      libraries.version[0] != '\0' ? libraries.version : "(version not told)",
                      libraries.count, buffer_text(&libraries.names),
                      libraries.names.length >= LIBRARIES_SHOWN ? " ..." : "");
    buffer_finish(&libraries.names);
    return 0;
}

static int visit_section(const struct elf_section *section, void *data, struct error *error)
{
    struct elf_marks *marks = data;
    bool is_libraries = strcmp(section->name, ".uk_libinfo") == 0;
    if (is_libraries || strcmp(section->name, ".uk_bootinfo") == 0) {
        marks->unikraft = true;
        snprintf(marks->unikraft_section, sizeof marks->unikraft_section, "%s", section->name);
    }
    if (is_libraries)
        return read_libraries(marks, section, error);
    if (strncmp(section->name, "link_set_rump", strlen("link_set_rump")) == 0)
        marks->rump = true;
    if (strcmp(section->name, "__xen_guest") == 0 && section->type != SHT_NOBITS)
        return read_xen_guest(marks, section, error);
    return 0;
}

static int find_interpreter(struct elf_marks *marks, struct error *error)
{
    for (size_t i = 0; i < marks->elf->segment_count; i++) {
        struct elf_segment segment;
        if (elf_read_segment(marks->elf, i, &segment, error) < 0)
            return -1;
        marks->interpreter = marks->interpreter || segment.type == PT_INTERP;
    }
    return 0;
}

int elf_marks_collect(const struct elf_file *elf, struct elf_marks *marks, struct error *error)
{
    marks->elf = elf;
    if (elf_visit_notes(elf, visit_note, marks, error) < 0 ||
        elf_visit_sections(elf, visit_section, marks, error) < 0 ||
        find_interpreter(marks, error) < 0)
        return -1;
    if (elf->machine != EM_AARCH64 && detect_multiboot(elf->source, &marks->multiboot, error) < 0)
        return -1;
    /* The texts are looked for only where they would decide: a file may be large. */
    if (marks->solo5 && detect_source_find(elf->source, "caml_startup", &marks->mirage, error) < 0)
        return -1;
    if (marks->pvh && !marks->solo5 && !marks->unikraft && !marks->shoal &&
        detect_source_find(elf->source, "NVMTFS", &marks->nanos, error) < 0)
        return -1;
    return 0;
}
