/* Makes ELF files piece by piece, for tests of what is told from their bytes. */
#pragma once

#include <elf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "image-format/detect.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define MAKER_PARTS 24
#define MAKER_HEAD                                                                                 \
    (sizeof(Elf64_Ehdr) + MAKER_PARTS * sizeof(Elf64_Phdr)) /* where contents begin */

struct maker_part {
    char name[64]; /* of a section */
    uint32_t type;
    uint64_t offset, size;
};

struct elf_maker {
    bool is_64;
    unsigned machine, type;
    struct buffer bytes; /* the header's room first */
    struct maker_part segments[MAKER_PARTS], sections[MAKER_PARTS];
    size_t segment_count, section_count;
};

/* Where the finished file has its tables. */
struct made_elf {
    struct buffer bytes;
    bool is_64;
    uint64_t sections_at;
};

static inline void maker_align(struct elf_maker *maker, size_t to)
{
    while (maker->bytes.length % to != 0)
        buffer_append(&maker->bytes, "", 1);
}

static inline void maker_add_segment(struct elf_maker *maker, uint32_t type, uint64_t offset,
                                     uint64_t size)
{
    maker->segments[maker->segment_count++] =
        (struct maker_part){.type = type, .offset = offset, .size = size};
}

/* Content in a section, in a segment of type `segment` too (PT_NULL: in none). */
static inline void maker_add(struct elf_maker *maker, const char *name, uint32_t type,
                             uint32_t segment, const void *content, size_t size)
{
    maker_align(maker, 8);
    uint64_t at = maker->bytes.length;
    buffer_append(&maker->bytes, content, size);
    if (name != NULL) {
        struct maker_part *section = &maker->sections[maker->section_count++];
        *section = (struct maker_part){.type = type, .offset = at, .size = size};
        snprintf(section->name, sizeof section->name, "%s", name);
    }
    if (segment != PT_NULL)
        maker_add_segment(maker, segment, at, size);
}

/* A whole note: in a section, and in a PT_NOTE segment where `in_segment`. */
static inline void maker_add_note(struct elf_maker *maker, bool in_segment, const char *name,
                                  uint32_t type, const void *content, uint32_t size)
{
    AUTO_BUFFER struct buffer note = {0};
    uint32_t head[3] = {(uint32_t)strlen(name) + 1, size, type};
    buffer_append(&note, head, sizeof head);
    buffer_append(&note, name, head[0]);
    while (note.length % 4 != 0)
        buffer_append(&note, "", 1);
    buffer_append(&note, content, size);
    maker_add(maker, ".note", SHT_NOTE, in_segment ? PT_NOTE : PT_NULL, note.data, note.length);
}

static inline void maker_add_word_note(struct elf_maker *maker, bool in_segment, const char *name,
                                       uint32_t type, uint32_t word)
{
    maker_add_note(maker, in_segment, name, type, &word, sizeof word);
}

static inline void maker_add_pvh(struct elf_maker *maker)
{
    maker_add_word_note(maker, true, "Xen", 18, 0x100000);
}

/* `flags` 0x10000: with load addresses. */
static inline void maker_add_multiboot(struct elf_maker *maker, uint32_t flags)
{
    uint32_t header[8] = {0x1badb002, flags,   -(0x1badb002 + flags), 0x100000, 0x100000, 0,
                          0,          0x100020};
    maker_add(maker, ".multiboot", SHT_PROGBITS, PT_NULL, header, sizeof header);
}

/* An executable with something to load. */
static inline struct elf_maker elf_maker(bool is_64, unsigned machine)
{
    static const char room[MAKER_HEAD];
    struct elf_maker maker = {.is_64 = is_64, .machine = machine, .type = ET_EXEC};
    buffer_append(&maker.bytes, room, sizeof room);
    maker.sections[maker.section_count++] = (struct maker_part){.type = SHT_NULL};
    maker_add(&maker, ".text", SHT_PROGBITS, PT_LOAD, "code", 4);
    return maker;
}

static inline void maker_write_segment(struct elf_maker *maker, size_t index)
{
    const struct maker_part *part = &maker->segments[index];
    if (maker->is_64) {
        Elf64_Phdr header = {.p_type = part->type,
                             .p_offset = part->offset,
                             .p_filesz = part->size,
                             .p_memsz = part->size};
        memcpy(maker->bytes.data + sizeof(Elf64_Ehdr) + index * sizeof header, &header,
               sizeof header);
    } else {
        Elf32_Phdr header = {.p_type = part->type,
                             .p_offset = (Elf32_Off)part->offset,
                             .p_filesz = (Elf32_Word)part->size,
                             .p_memsz = (Elf32_Word)part->size};
        memcpy(maker->bytes.data + sizeof(Elf64_Ehdr) + index * sizeof header, &header,
               sizeof header);
    }
}

static inline void maker_write_section(struct elf_maker *maker, const struct maker_part *part,
                                       uint32_t name)
{
    if (maker->is_64) {
        Elf64_Shdr header = {.sh_name = name,
                             .sh_type = part->type,
                             .sh_offset = part->offset,
                             .sh_size = part->size};
        buffer_append(&maker->bytes, &header, sizeof header);
    } else {
        Elf32_Shdr header = {.sh_name = name,
                             .sh_type = part->type,
                             .sh_offset = (Elf32_Off)part->offset,
                             .sh_size = (Elf32_Word)part->size};
        buffer_append(&maker->bytes, &header, sizeof header);
    }
}

static inline void maker_write_header(struct elf_maker *maker, uint64_t sections_at)
{
    unsigned char ident[EI_NIDENT] = {
        ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, maker->is_64 ? ELFCLASS64 : ELFCLASS32, ELFDATA2LSB, 1};
    if (maker->is_64) {
        Elf64_Ehdr header = {.e_type = (Elf64_Half)maker->type,
                             .e_machine = (Elf64_Half)maker->machine,
                             .e_version = 1,
                             .e_phoff = sizeof(Elf64_Ehdr),
                             .e_shoff = sections_at,
                             .e_phentsize = sizeof(Elf64_Phdr),
                             .e_phnum = (Elf64_Half)maker->segment_count,
                             .e_shentsize = sizeof(Elf64_Shdr),
                             .e_shnum = (Elf64_Half)maker->section_count,
                             .e_shstrndx = (Elf64_Half)(maker->section_count - 1)};
        memcpy(header.e_ident, ident, sizeof ident);
        memcpy(maker->bytes.data, &header, sizeof header);
    } else {
        Elf32_Ehdr header = {.e_type = (Elf32_Half)maker->type,
                             .e_machine = (Elf32_Half)maker->machine,
                             .e_version = 1,
                             .e_phoff = sizeof(Elf64_Ehdr),
                             .e_shoff = (Elf32_Off)sections_at,
                             .e_phentsize = sizeof(Elf32_Phdr),
                             .e_phnum = (Elf32_Half)maker->segment_count,
                             .e_shentsize = sizeof(Elf32_Shdr),
                             .e_shnum = (Elf32_Half)maker->section_count,
                             .e_shstrndx = (Elf32_Half)(maker->section_count - 1)};
        memcpy(header.e_ident, ident, sizeof ident);
        memcpy(maker->bytes.data, &header, sizeof header);
    }
}

/* The whole file; the caller finishes its bytes. */
static inline struct made_elf maker_finish(struct elf_maker *maker)
{
    AUTO_BUFFER struct buffer names = {0};
    uint32_t name_at[MAKER_PARTS];
    buffer_append(&names, "", 1);
    for (size_t i = 0; i < maker->section_count; i++) {
        name_at[i] = maker->sections[i].name[0] != '\0' ? (uint32_t)names.length : 0;
        buffer_append(&names, maker->sections[i].name, strlen(maker->sections[i].name) + 1);
    }
    maker_add(maker, "names", SHT_STRTAB, PT_NULL, names.data, names.length);
    name_at[maker->section_count - 1] = 0;
    maker_align(maker, 8);
    struct made_elf made = {.is_64 = maker->is_64, .sections_at = maker->bytes.length};
    for (size_t i = 0; i < maker->section_count; i++)
        maker_write_section(maker, &maker->sections[i], name_at[i]);
    for (size_t i = 0; i < maker->segment_count; i++)
        maker_write_segment(maker, i);
    maker_write_header(maker, made.sections_at);
    made.bytes = maker->bytes;
    maker->bytes = (struct buffer){0};
    return made;
}

/* Parts of a finished ELF64 file, to be spoilt. */
static inline Elf64_Ehdr *made_header(struct made_elf *made)
{
    return (Elf64_Ehdr *)made->bytes.data;
}

static inline Elf64_Phdr *made_segment(struct made_elf *made, size_t index)
{
    return (Elf64_Phdr *)(made->bytes.data + sizeof(Elf64_Ehdr)) + index;
}

static inline Elf64_Shdr *made_section(struct made_elf *made, size_t index)
{
    return (Elf64_Shdr *)(made->bytes.data + made->sections_at) + index;
}

/* A copy of exactly that size is looked at: the sanitizer sees any byte read beyond it. */
static inline struct detection detect_copy(const void *bytes, size_t length)
{
    struct detection detection;
    void *copy = xmemdup(bytes, length);
    detect_bytes(copy, length, &detection);
    free(copy);
    return detection;
}

static inline void assert_has_text(const char *text, const char *part)
{
    if (text == NULL || strstr(text, part) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", part, text != NULL ? text : "(nothing)");
}

static inline void assert_evidence(const struct detection *detection, const char *part)
{
    AUTO_BUFFER struct buffer all = {0};
    for (size_t i = 0; i < detection->evidence.count; i++)
        buffer_printf(&all, "%s\n", detection->evidence.items[i]);
    assert_has_text(buffer_text(&all), part);
}
