/* ELF files, 32 and 64 bits, little endian, as far as telling kernels apart needs them: segments,
 * sections by name, notes. ELF and gABI, System V ABI chapters 4 and 5.
 *
 * Hostile bytes: every table, offset and size is checked against the file before it is used, and
 * every count is bounded. Pure, apart from reading the source. Knows no family. */
#pragma once

#include "image-format/detect_source.h"

#define ELF_SEGMENTS_MAX 256
#define ELF_SECTIONS_MAX 16384
#define ELF_NOTES_MAX    1024
#define ELF_NAME_MAX     64 /* bytes of a section's or note's name that are looked at, NUL included */

struct elf_file {
    const struct detect_source *source; /* the caller's; must outlive this */
    bool is_64;
    unsigned type;    /* ET_... */
    unsigned machine; /* EM_... */
    uint64_t entry;
    uint64_t segments_at;
    size_t segment_count;
    uint64_t sections_at;
    size_t section_count; /* 0: it has none */
    uint64_t names_at;    /* the section names' table; its end is checked */
    uint64_t names_size;
};

struct elf_segment {
    uint32_t type; /* PT_... */
    uint64_t offset;
    uint64_t address; /* virtual */
    uint64_t physical;
    uint64_t file_size;
    uint64_t memory_size;
};

struct elf_section {
    char name[ELF_NAME_MAX]; /* cut; "" when it has none that lies within the table */
    uint32_t type;           /* SHT_... */
    uint64_t offset;
    uint64_t size;
};

struct elf_note {
    char name[ELF_NAME_MAX]; /* cut at a NUL or at its room */
    uint32_t type;
    uint64_t offset; /* of the descriptor, in the file; it lies within */
    uint32_t size;
    bool in_segment; /* of a PT_NOTE segment: what a loader looks at */
};

/* Whether the bytes begin as an ELF file of any kind. */
bool elf_is(const struct detect_source *source);
/* Checks header and tables. ERROR_INVALID says what does not lie within the file, ERROR_UNSUPPORTED
 * that it is a big-endian one; other codes come from reading. */
int elf_open(const struct detect_source *source, struct elf_file *ret_elf, struct error *error);
/* `index` < segment_count. Says nothing about where the segment lies. */
int elf_read_segment(const struct elf_file *elf, size_t index, struct elf_segment *ret_segment,
                     struct error *error);
/* `index` < section_count. */
int elf_read_section(const struct elf_file *elf, size_t index, struct elf_section *ret_section,
                     struct error *error);

/* Returns -1 with the error to end the walk. */
typedef int elf_section_visitor(const struct elf_section *section, void *data, struct error *error);
int elf_visit_sections(const struct elf_file *elf, elf_section_visitor *visit, void *data,
                       struct error *error);
typedef int elf_note_visitor(const struct elf_note *note, void *data, struct error *error);
/* The notes of all PT_NOTE segments, then of all note sections; what lies in both is seen twice.
 * ERROR_INVALID for one that points outside its segment or section. */
int elf_visit_notes(const struct elf_file *elf, elf_note_visitor *visit, void *data,
                    struct error *error);

/* "x86-64", "i386", "arm64", ...; "machine N" is written to `buffer` for those without a name. */
const char *elf_machine_name(unsigned machine, char *buffer, size_t size);
