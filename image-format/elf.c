#include "image-format/elf.h"

#include <elf.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"

const char *elf_machine_name(unsigned machine, char *buffer, size_t size)
{
    static const struct {
        unsigned machine;
        const char *name;
    } names[] = {{EM_386, "i386"},      {EM_ARM, "32-bit arm"}, {EM_X86_64, "x86-64"},
                 {EM_AARCH64, "arm64"}, {EM_RISCV, "riscv"},    {EM_PPC64, "ppc64"},
                 {EM_S390, "s390"},     {EM_MIPS, "mips"},      {EM_SPARCV9, "sparc"}};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        if (names[i].machine == machine)
            return names[i].name;
    }
    snprintf(buffer, size, "machine %u", machine);
    return buffer;
}

bool elf_is(const struct detect_source *source)
{
    char magic[SELFMAG];
    return detect_source_peek(source, 0, magic, sizeof magic, NULL) == 0 &&
           memcmp(magic, ELFMAG, SELFMAG) == 0;
}

/* The numbers of the header, before anything is checked. */
struct header {
    uint64_t segments_at, sections_at;
    unsigned segment_size, segment_count;
    unsigned section_size, section_count, names_index;
};

static void decode_header(const unsigned char *bytes, struct elf_file *elf, struct header *header)
{
    elf->type = detect_u16(bytes + 16);
    elf->machine = detect_u16(bytes + 18);
    elf->entry = elf->is_64 ? detect_u64(bytes + 24) : detect_u32(bytes + 24);
    header->segments_at = elf->is_64 ? detect_u64(bytes + 32) : detect_u32(bytes + 28);
    header->sections_at = elf->is_64 ? detect_u64(bytes + 40) : detect_u32(bytes + 32);
    const unsigned char *counts = bytes + (elf->is_64 ? 54 : 42);
    header->segment_size = detect_u16(counts);
    header->segment_count = detect_u16(counts + 2);
    header->section_size = detect_u16(counts + 4);
    header->section_count = detect_u16(counts + 6);
    header->names_index = detect_u16(counts + 8);
}

static int check_segments(struct elf_file *elf, const struct header *header, struct error *error)
{
    size_t size = elf->is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    if (header->segment_count == 0)
        return 0;
    if (header->segment_size != size)
        return error_set(error, ERROR_INVALID,
                         "the ELF program headers have %u bytes each, expected %zu",
                         header->segment_size, size);
    if (header->segment_count > ELF_SEGMENTS_MAX)
        return error_set(error, ERROR_INVALID, "%u ELF program headers, at most %d are read",
                         header->segment_count, ELF_SEGMENTS_MAX);
    if (!detect_source_holds(elf->source, header->segments_at, header->segment_count * size))
        return error_set(error, ERROR_INVALID,
                         "the ELF program headers (%u at offset %" PRIu64
                         ") do not lie within its %" PRIu64 " bytes",
                         header->segment_count, header->segments_at, elf->source->size);
    elf->segments_at = header->segments_at;
    elf->segment_count = header->segment_count;
    return 0;
}

static void decode_section(const struct elf_file *elf, const unsigned char *bytes,
                           struct elf_section *section, uint32_t *name, uint32_t *link)
{
    *name = detect_u32(bytes);
    section->type = detect_u32(bytes + 4);
    section->offset = elf->is_64 ? detect_u64(bytes + 24) : detect_u32(bytes + 16);
    section->size = elf->is_64 ? detect_u64(bytes + 32) : detect_u32(bytes + 20);
    *link = detect_u32(bytes + (elf->is_64 ? 40 : 24));
}

static size_t section_header_size(const struct elf_file *elf)
{
    return elf->is_64 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
}

static int read_raw_section(const struct elf_file *elf, uint64_t index, struct elf_section *section,
                            uint32_t *name, uint32_t *link, struct error *error)
{
    unsigned char bytes[sizeof(Elf64_Shdr)];
    size_t size = section_header_size(elf);
    if (detect_source_read(elf->source, elf->sections_at + index * size, bytes, size, error) < 0)
        return -1;
    decode_section(elf, bytes, section, name, link);
    return 0;
}

/* Counts that do not fit the header stand in section 0: its size is the number of sections, its
 * link the index of their names (gABI, "extended section header indexes"). */
static int check_sections(struct elf_file *elf, const struct header *header, struct error *error)
{
    struct elf_section section;
    uint32_t name, link;
    size_t size = section_header_size(elf);
    uint64_t count = header->section_count, names = header->names_index;
    if (header->sections_at == 0)
        return 0;
    if (header->section_size != size)
        return error_set(error, ERROR_INVALID,
                         "the ELF section headers have %u bytes each, expected %zu",
                         header->section_size, size);
    if (!detect_source_holds(elf->source, header->sections_at, size))
        return error_set(error, ERROR_INVALID,
                         "the ELF section headers at offset %" PRIu64
                         " do not lie within its %" PRIu64 " bytes: the file is cut short",
                         header->sections_at, elf->source->size);
    elf->sections_at = header->sections_at;
    if (read_raw_section(elf, 0, &section, &name, &link, error) < 0)
        return -1;
    if (count == 0)
        count = section.size;
    if (names == SHN_XINDEX)
        names = link;
    if (count > ELF_SECTIONS_MAX)
        return error_set(error, ERROR_INVALID, "%" PRIu64 " ELF sections, at most %d are read",
                         count, ELF_SECTIONS_MAX);
    if (!detect_source_holds(elf->source, elf->sections_at, count * size))
        return error_set(error, ERROR_INVALID,
                         "the ELF section headers (%" PRIu64 " at offset %" PRIu64
                         ") do not lie within its %" PRIu64 " bytes: the file is cut short",
                         count, elf->sections_at, elf->source->size);
    elf->section_count = (size_t)count;
    if (names == SHN_UNDEF || count == 0)
        return 0;
    if (names >= count)
        return error_set(error, ERROR_INVALID,
                         "the ELF section names are said to be section %" PRIu64 " of %" PRIu64,
                         names, count);
    if (read_raw_section(elf, names, &section, &name, &link, error) < 0)
        return -1;
    if (section.type != SHT_STRTAB ||
        !detect_source_holds(elf->source, section.offset, section.size))
        return error_set(error, ERROR_INVALID,
                         "the ELF section names (%" PRIu64 " bytes at offset %" PRIu64
                         ") are no table of names within its %" PRIu64 " bytes",
                         section.size, section.offset, elf->source->size);
    elf->names_at = section.offset;
    elf->names_size = section.size;
    return 0;
}

int elf_open(const struct detect_source *source, struct elf_file *ret_elf, struct error *error)
{
    unsigned char bytes[sizeof(Elf64_Ehdr)];
    struct elf_file elf = {.source = source};
    struct header header;
    if (detect_source_peek(source, 0, bytes, sizeof bytes, error) < 0)
        return -1;
    elf.is_64 = bytes[EI_CLASS] == ELFCLASS64;
    if (!elf.is_64 && bytes[EI_CLASS] != ELFCLASS32)
        return error_set(error, ERROR_INVALID, "ELF class %u is neither 32 nor 64 bits",
                         bytes[EI_CLASS]);
    if (bytes[EI_DATA] == ELFDATA2MSB)
        return error_set(error, ERROR_UNSUPPORTED, "a big-endian ELF file");
    if (bytes[EI_DATA] != ELFDATA2LSB)
        return error_set(error, ERROR_INVALID, "ELF byte order %u is none", bytes[EI_DATA]);
    size_t needed = elf.is_64 ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr);
    if (source->size < needed)
        return error_set(error, ERROR_INVALID,
                         "%" PRIu64 " bytes are too few for an ELF header of %zu", source->size,
                         needed);
    decode_header(bytes, &elf, &header);
    if (check_segments(&elf, &header, error) < 0 || check_sections(&elf, &header, error) < 0)
        return -1;
    *ret_elf = elf;
    return 0;
}

int elf_read_segment(const struct elf_file *elf, size_t index, struct elf_segment *ret_segment,
                     struct error *error)
{
    unsigned char bytes[sizeof(Elf64_Phdr)];
    size_t size = elf->is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    if (detect_source_read(elf->source, elf->segments_at + index * size, bytes, size, error) < 0)
        return -1;
    if (elf->is_64)
        *ret_segment = (struct elf_segment){
            .type = detect_u32(bytes),
            .offset = detect_u64(bytes + 8),
            .address = detect_u64(bytes + 16),
            .physical = detect_u64(bytes + 24),
            .file_size = detect_u64(bytes + 32),
            .memory_size = detect_u64(bytes + 40),
        };
    else
        *ret_segment = (struct elf_segment){
            .type = detect_u32(bytes),
            .offset = detect_u32(bytes + 4),
            .address = detect_u32(bytes + 8),
            .physical = detect_u32(bytes + 12),
            .file_size = detect_u32(bytes + 16),
            .memory_size = detect_u32(bytes + 20),
        };
    return 0;
}

/* A name without a NUL before its table's end is none. */
static int read_section_name(const struct elf_file *elf, uint32_t at, char name[ELF_NAME_MAX],
                             struct error *error)
{
    name[0] = '\0';
    if (at >= elf->names_size)
        return 0;
    uint64_t left = elf->names_size - at;
    size_t length = left < ELF_NAME_MAX ? (size_t)left : ELF_NAME_MAX;
    if (detect_source_read(elf->source, elf->names_at + at, name, length, error) < 0)
        return -1;
    if (memchr(name, '\0', length) == NULL) {
        if (length < ELF_NAME_MAX)
            name[0] = '\0';
        name[ELF_NAME_MAX - 1] = '\0';
    }
    return 0;
}

int elf_read_section(const struct elf_file *elf, size_t index, struct elf_section *ret_section,
                     struct error *error)
{
    struct elf_section section;
    uint32_t name, link;
    if (read_raw_section(elf, index, &section, &name, &link, error) < 0 ||
        read_section_name(elf, name, section.name, error) < 0)
        return -1;
    *ret_section = section;
    return 0;
}

int elf_visit_sections(const struct elf_file *elf, elf_section_visitor *visit, void *data,
                       struct error *error)
{
    for (size_t i = 0; i < elf->section_count; i++) {
        struct elf_section section;
        if (elf_read_section(elf, i, &section, error) < 0 || visit(&section, data, error) < 0)
            return -1;
    }
    return 0;
}

/* A run of notes: a header of three words, the name, the descriptor, each padded to 4 bytes. The
 * last one's padding may be missing. */
struct note_run {
    const struct elf_file *elf;
    uint64_t offset, size; /* lies within the file */
    bool in_segment;
    size_t *count; /* of all runs of the file */
};

static int read_note(const struct note_run *run, uint64_t at, struct elf_note *ret_note,
                     uint64_t *ret_next, struct error *error)
{
    unsigned char header[sizeof(Elf64_Nhdr)];
    struct elf_note note = {.in_segment = run->in_segment};
    if (detect_source_read(run->elf->source, run->offset + at, header, sizeof header, error) < 0)
        return -1;
    uint32_t name_size = detect_u32(header);
    note.size = detect_u32(header + 4);
    note.type = detect_u32(header + 8);
    /* 64-bit sums of 32-bit sizes: they cannot overflow. */
    uint64_t left = run->size - at - sizeof header;
    uint64_t name_room = ((uint64_t)name_size + 3) & ~3ull;
    if (name_size > left || (note.size > 0 && (name_room > left || note.size > left - name_room)))
        return error_set(error, ERROR_INVALID,
                         "an ELF note (name of %u bytes, content of %u, at offset %" PRIu64
                         ") points outside its %s of %" PRIu64 " bytes",
                         name_size, note.size, run->offset + at,
                         run->in_segment ? "segment" : "section", run->size);
    size_t name_length = name_size < sizeof note.name ? name_size : sizeof note.name - 1;
    uint64_t name_at = run->offset + at + sizeof header;
    if (detect_source_read(run->elf->source, name_at, note.name, name_length, error) < 0)
        return -1;
    note.offset = name_at + name_room;
    *ret_next = at + sizeof header + name_room + (((uint64_t)note.size + 3) & ~3ull);
    *ret_note = note;
    return 0;
}

/* Linkers put sections of notes together that are aligned differently: four zero bytes may stand in
 * front of one that begins at a multiple of eight. */
static int is_gap(const struct note_run *run, uint64_t at, bool *ret_is_gap, struct error *error)
{
    unsigned char word[4];
    *ret_is_gap = false;
    if ((run->offset + at) % 8 == 0)
        return 0;
    if (detect_source_read(run->elf->source, run->offset + at, word, sizeof word, error) < 0)
        return -1;
    *ret_is_gap = detect_u32(word) == 0;
    return 0;
}

static int visit_run(const struct note_run *run, elf_note_visitor *visit, void *data,
                     struct error *error)
{
    for (uint64_t at = 0; at <= run->size && run->size - at >= sizeof(Elf64_Nhdr);) {
        struct elf_note note;
        bool skip;
        if (is_gap(run, at, &skip, error) < 0)
            return -1;
        if (skip) {
            at += 4;
            continue;
        }
        if (++*run->count > ELF_NOTES_MAX)
            return error_set(error, ERROR_INVALID, "more than %d ELF notes", ELF_NOTES_MAX);
        if (read_note(run, at, &note, &at, error) < 0 || visit(&note, data, error) < 0)
            return -1;
    }
    return 0;
}

int elf_visit_notes(const struct elf_file *elf, elf_note_visitor *visit, void *data,
                    struct error *error)
{
    size_t count = 0;
    for (size_t i = 0; i < elf->segment_count; i++) {
        struct elf_segment segment;
        if (elf_read_segment(elf, i, &segment, error) < 0)
            return -1;
        if (segment.type != PT_NOTE)
            continue;
        struct note_run run = {elf, segment.offset, segment.file_size, true, &count};
        if (!detect_source_holds(elf->source, segment.offset, segment.file_size))
            return error_set(error, ERROR_INVALID,
                             "ELF segment %zu (%" PRIu64 " bytes of notes at offset %" PRIu64
                             ") does not lie within its %" PRIu64 " bytes: the file is cut short",
                             i, segment.file_size, segment.offset, elf->source->size);
        if (visit_run(&run, visit, data, error) < 0)
            return -1;
    }
    for (size_t i = 0; i < elf->section_count; i++) {
        struct elf_section section;
        if (elf_read_section(elf, i, &section, error) < 0)
            return -1;
        if (section.type != SHT_NOTE)
            continue;
        struct note_run run = {elf, section.offset, section.size, false, &count};
        if (!detect_source_holds(elf->source, section.offset, section.size))
            return error_set(error, ERROR_INVALID,
                             "ELF section %zu (%" PRIu64 " bytes of notes at offset %" PRIu64
                             ") does not lie within its %" PRIu64 " bytes: the file is cut short",
                             i, section.size, section.offset, elf->source->size);
        if (visit_run(&run, visit, data, error) < 0)
            return -1;
    }
    return 0;
}
