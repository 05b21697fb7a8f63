#include "image-format/kernel.h"

#include <elf.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "lib/cleanup.h"

#define SEGMENTS_MAX 64
#define NOTE_NAME    "Xen"

static const char *machine_name(unsigned machine)
{
    static const struct {
        unsigned machine;
        const char *name;
    } names[] = {
        {EM_386, "i386"},      {EM_ARM, "arm"},     {EM_X86_64, "x86-64"},
        {EM_AARCH64, "arm64"}, {EM_RISCV, "riscv"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        if (names[i].machine == machine)
            return names[i].name;
    }
    return "another machine";
}

static int check_identity(const char *name, const unsigned char *ident, size_t length,
                          struct error *error)
{
    if (length < sizeof(Elf64_Ehdr))
        return error_set(error, ERROR_INVALID,
                         "%s: expected an ELF64 kernel, found %zu bytes, too few for one", name,
                         length);
    if (memcmp(ident, ELFMAG, SELFMAG) != 0)
        return error_set(error, ERROR_INVALID,
                         "%s: expected an ELF64 kernel, found a file that begins with "
                         "%02x %02x %02x %02x",
                         name, ident[0], ident[1], ident[2], ident[3]);
    if (ident[EI_CLASS] != ELFCLASS64 || ident[EI_DATA] != ELFDATA2LSB)
        return error_set(error, ERROR_INVALID,
                         "%s: expected a 64-bit little-endian ELF, found a %s-bit %s-endian one",
                         name, ident[EI_CLASS] == ELFCLASS32 ? "32" : "64",
                         ident[EI_DATA] == ELFDATA2MSB ? "big" : "little");
    return 0;
}

static int check_header(const char *name, const Elf64_Ehdr *header, size_t length,
                        struct error *error)
{
    if (header->e_machine != EM_X86_64)
        return error_set(error, ERROR_INVALID,
                         "%s: expected a kernel for x86-64, found one for %s (ELF machine %u)",
                         name, machine_name(header->e_machine), header->e_machine);
    if (header->e_type != ET_EXEC && header->e_type != ET_DYN)
        return error_set(error, ERROR_INVALID,
                         "%s: expected an executable, found an ELF file of type %u (1 is an object "
                         "file: link it first)",
                         name, header->e_type);
    if (header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum == 0 ||
        header->e_phnum > SEGMENTS_MAX || header->e_phoff > length ||
        length - header->e_phoff < header->e_phnum * sizeof(Elf64_Phdr))
        return error_set(error, ERROR_INVALID,
                         "%s: the ELF program headers (%u at offset %" PRIu64
                         ") do not lie within its %zu bytes",
                         name, header->e_phnum, header->e_phoff, length);
    return 0;
}

static size_t align4(size_t size)
{
    return (size + 3) & ~(size_t)3;
}

/* Whether the notes hold a PVH entry. A note that overruns its segment ends the search. */
static bool notes_have_pvh(const unsigned char *notes, size_t length)
{
    while (length >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr note;
        memcpy(&note, notes, sizeof note);
        size_t name_size = align4(note.n_namesz), entry_size = align4(note.n_descsz);
        size_t left = length - sizeof note;
        if (name_size > left || entry_size > left - name_size)
            return false;
        if (note.n_type == KERNEL_NOTE_PVH && note.n_namesz == sizeof NOTE_NAME &&
            memcmp(notes + sizeof note, NOTE_NAME, sizeof NOTE_NAME) == 0 && note.n_descsz >= 4)
            return true;
        size_t whole = sizeof note + name_size + entry_size;
        notes += whole;
        length -= whole;
    }
    return false;
}

int kernel_check_pvh(const char *name, const void *bytes, size_t length, struct error *error)
{
    const unsigned char *file = bytes;
    Elf64_Ehdr header;
    if (check_identity(name, file, length, error) < 0)
        return -1;
    memcpy(&header, file, sizeof header);
    if (check_header(name, &header, length, error) < 0)
        return -1;
    bool loads = false, pvh = false;
    for (size_t i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment;
        memcpy(&segment, file + header.e_phoff + i * sizeof segment, sizeof segment);
        if (segment.p_type != PT_LOAD && segment.p_type != PT_NOTE)
            continue;
        if (segment.p_offset > length || segment.p_filesz > length - segment.p_offset)
            return error_set(error, ERROR_INVALID,
                             "%s: ELF segment %zu (%" PRIu64 " bytes at offset %" PRIu64
                             ") does not lie within its %zu bytes: the file is cut short",
                             name, i, segment.p_filesz, segment.p_offset, length);
        loads = loads || segment.p_type == PT_LOAD;
        pvh = pvh || (segment.p_type == PT_NOTE &&
                      notes_have_pvh(file + segment.p_offset, segment.p_filesz));
    }
    if (!loads)
        return error_set(error, ERROR_INVALID, "%s: the ELF file has nothing to load", name);
    if (!pvh)
        return error_set(error, ERROR_INVALID,
                         "%s: an x86-64 ELF file without a PVH entry (note \"%s\" of type %d in a "
                         "PT_NOTE segment): family shoal boots by it",
                         name, NOTE_NAME, KERNEL_NOTE_PVH);
    return 0;
}
