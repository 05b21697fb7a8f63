/* The marks that builds leave in ELF files, collected but not judged; for detect_elf.c alone. */
#pragma once

#include "image-format/detect_internal.h"
#include "image-format/elf.h"
#include "lib/cleanup.h"

struct elf_marks {
    struct detection *detection; /* gets devices, and evidence of what is only told */
    const struct elf_file *elf;
    struct detect_multiboot multiboot;
    bool pvh;         /* note Xen 18, where a loader looks */
    bool pvh_outside; /* only where it does not */
    uint64_t pvh_entry;
    bool shoal;
    uint32_t shoal_abi;
    bool solo5;
    uint32_t solo5_target, solo5_version;
    bool solo5_manifest;
    bool mirage;
    bool unikraft;
    char unikraft_section[ELF_NAME_MAX];
    bool xen; /* notes of a Xen guest, or a section __xen_guest */
    char guest_os[32];
    bool rump;
    bool hermit;
    unsigned hermit_version;
    bool nanos;
    bool interpreter; /* PT_INTERP */
    bool gnu_abi;     /* the note that C start files of Linux programs have */
};

/* ERROR_INVALID when a table, note or manifest is damaged. */
int elf_marks_collect(const struct elf_file *elf, struct elf_marks *marks, struct error *error);

/* A multiboot header in a 64-bit ELF file for x86-64 without load addresses: QEMU stops at it, and
 * does not look for a PVH note any more. */
static inline bool elf_marks_hide_multiboot(const struct elf_marks *marks)
{
    return marks->multiboot.found && marks->elf->is_64 && !marks->multiboot.has_addresses;
}
