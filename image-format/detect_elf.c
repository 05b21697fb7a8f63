/* Which unikernel an ELF file is, by the notes and sections its build left in it. */
#include <elf.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "image-format/detect_elf_marks.h"
#include "lib/text.h"

/* The words of an ELF machine that nodes have; NULL for others. */
static const char *node_architecture(unsigned machine)
{
    switch (machine) {
    case EM_386:
    case EM_X86_64:
        return "amd64";
    case EM_AARCH64:
        return "arm64";
    default:
        return NULL;
    }
}

/* What a loader would do with the file: QEMU takes a multiboot header before a PVH note, refuses
 * one in a 64-bit ELF without load addresses, and on arm64 enters any ELF file. */
static void find_protocols(const struct elf_marks *marks, struct detection *detection)
{
    bool is_arm64 = strcmp(detection->architecture, "arm64") == 0;
    if (is_arm64) {
        json_strings_add(&detection->protocols, "elf");
        return;
    }
    if (marks->multiboot.found) {
        detection_add(detection, "multiboot header at offset %u%s", marks->multiboot.offset,
                      marks->multiboot.has_addresses ? " with load addresses" : "");
        if (!elf_marks_hide_multiboot(marks))
            json_strings_add(&detection->protocols, "multiboot");
    }
    if (marks->pvh) {
        detection_add(detection, "note Xen 18: PVH entry 0x%" PRIx64, marks->pvh_entry);
        if (!marks->multiboot.found)
            json_strings_add(&detection->protocols, "pvh");
    } else if (marks->pvh_outside) {
        detection_add(detection, "note Xen 18 (PVH) in a section, but in no PT_NOTE segment: a "
                                 "loader does not see it");
    }
}

/* What keeps QEMU from entering a file of a family that boots by multiboot or PVH. */
static void refuse_without_entry(const struct elf_marks *marks, struct detection *detection,
                                 const char *otherwise)
{
    if (elf_marks_hide_multiboot(marks))
        detection_refuse(detection,
                         "a 64-bit ELF file with a multiboot header that has no load addresses: "
                         "QEMU loads only a 32-bit one (objcopy -O elf32-i386)");
    else
        detection_refuse(detection, "%s", otherwise);
}

static bool judge_shoal(const struct elf_marks *marks, struct detection *detection)
{
    if (!marks->shoal)
        return false;
    detection_add(detection, "note Shoal: runtime of ABI %u", marks->shoal_abi);
    detection_decide(detection, "shoal", "Shoal's own runtime");
    if (detection->protocols.count == 0)
        refuse_without_entry(marks, detection,
                             "Shoal's runtime without its PVH entry (note Xen 18 in a PT_NOTE "
                             "segment), by which it boots on amd64");
    return true;
}

static const char *solo5_target(uint32_t target)
{
    static const char *const names[] = {NULL, "hvt", "spt", "virtio", "muen", "genode", "xen"};
    return target < ARRAY_LENGTH(names) && names[target] != NULL ? names[target] : "unknown";
}

static void refuse_solo5(const char *target, const char *product, struct detection *detection)
{
    if (strcmp(target, "hvt") == 0 || strcmp(target, "spt") == 0)
        detection_refuse(detection,
                         "%s for the tender solo5-%s, a process of its own that loads it; it has "
                         "no way to start on a machine, so QEMU cannot boot it: build it for "
                         "virtio (mirage configure -t virtio)",
                         product, target);
    else
        detection_refuse(detection,
                         "%s for %s, which nodes do not have; QEMU cannot boot it: build it for "
                         "virtio (mirage configure -t virtio)",
                         product, strcmp(target, "xen") == 0 ? "Xen" : target);
}

/* Before all others: a Solo5 file for Xen has multiboot and PVH headers too, which lead QEMU into
 * a guest that hangs. */
static bool judge_solo5(const struct elf_marks *marks, struct detection *detection)
{
    char title[96];
    if (!marks->solo5)
        return false;
    const char *target = solo5_target(marks->solo5_target);
    const char *product = marks->mirage ? "MirageOS on Solo5" : "a Solo5 unikernel";
    detection_add(detection, "note Solo5 ABI1: %s (%u), version %u", target, marks->solo5_target,
                  marks->solo5_version);
    if (marks->solo5_manifest)
        detection_add(detection, "note Solo5 MFT1: %zu device%s", detection->device_count,
                      detection->device_count == 1 ? "" : "s");
    if (marks->mirage)
        detection_add(detection, "OCaml's caml_startup in the bytes: MirageOS");
    snprintf(title, sizeof title, "%s (%s)", marks->mirage ? "MirageOS on Solo5" : "Solo5", target);
    bool is_xen = strcmp(target, "xen") == 0;
    detection_decide(detection, is_xen ? "xen" : "solo5", title);
    if (strcmp(target, "virtio") != 0) {
        json_strings_release(&detection->protocols);
        refuse_solo5(target, product, detection);
    } else if (detection->protocols.count == 0) {
        refuse_without_entry(marks, detection,
                             "Solo5 for virtio without the multiboot header by which it boots");
    }
    return true;
}

static bool judge_unikraft(const struct elf_marks *marks, struct detection *detection)
{
    if (!marks->unikraft)
        return false;
    detection_add(detection, "section %s", marks->unikraft_section);
    detection_decide(detection, "unikraft", "Unikraft");
    if (marks->xen) {
        json_strings_release(&detection->protocols);
        detection_decide(detection, "xen", "Unikraft for Xen");
        detection_refuse(detection, "Unikraft built for Xen, which nodes do not have; QEMU cannot "
                                    "boot it: build it for QEMU (plat: qemu)");
    } else if (detection->protocols.count == 0) {
        refuse_without_entry(
            marks, detection,
            "Unikraft in a 64-bit ELF file without a multiboot header, as it is built for "
            "Firecracker; QEMU cannot boot it: build it for QEMU (plat: qemu)");
    } else if (strcmp(detection->architecture, "arm64") == 0) {
        detection_add(detection, "whether it was built for QEMU or for Firecracker does not show");
    }
    return true;
}

/* What runs only where Xen's hypercalls are. */
static bool judge_xen(const struct elf_marks *marks, struct detection *detection)
{
    char title[96];
    bool needs_xen = strcmp(marks->guest_os, "Mini-OS") == 0 ||
                     strcmp(marks->guest_os, "Ling") == 0 || strcmp(marks->guest_os, "HaLVM") == 0;
    if (!marks->xen || !(needs_xen || detection->protocols.count == 0))
        return false;
    snprintf(title, sizeof title, "a Xen guest%s%s", marks->guest_os[0] != '\0' ? ": " : "",
             marks->guest_os);
    detection_decide(detection, "xen", title);
    json_strings_release(&detection->protocols);
    detection_refuse(detection,
                     "%s. It is started by Xen's own toolstack, which nodes do not "
                     "have: QEMU cannot boot it",
                     title);
    return true;
}

static bool judge_others(const struct elf_marks *marks, struct detection *detection)
{
    if (strcasecmp(marks->guest_os, "osv") == 0) {
        detection_decide(detection, "osv", "OSv's kernel");
        if (detection->protocols.count == 0)
            refuse_without_entry(marks, detection,
                                 "OSv's kernel without a PVH entry: boot its disk image instead");
        return true;
    }
    if (marks->rump) {
        detection_add(detection, "sections link_set_rump*");
        detection_decide(detection, "rumprun", "Rumprun");
        if (detection->protocols.count > 0)
            return true;
        if (judge_xen(marks, detection))
            return true;
        refuse_without_entry(marks, detection,
                             "Rumprun without the multiboot header by which it boots (built for "
                             "hw, not for xen?)");
        return true;
    }
    if (marks->hermit) {
        detection_add(detection, "note HERMIT 0x5a00: entry version %u", marks->hermit_version);
        detection_decide(detection, "hermit", "a Hermit application");
        json_strings_release(&detection->protocols);
        detection_refuse(detection, "a Hermit application is no kernel: Hermit's loader "
                                    "(hermit-loader-x86_64) is, and this file is its initrd");
        return true;
    }
    if (marks->nanos) {
        detection_add(detection, "NVMTFS in the bytes: Nanos's file system");
        detection_decide(detection, "nanos", "Nanos's kernel, which needs its disk beside it");
        if (detection->protocols.count == 0)
            refuse_without_entry(marks, detection, "Nanos's kernel without a PVH entry");
        return true;
    }
    if (strcasecmp(marks->guest_os, "linux") == 0 && detection->protocols.count > 0) {
        detection_decide(detection, "linux", "Linux (vmlinux)");
        return true;
    }
    return judge_xen(marks, detection);
}

static void judge_unmarked(const struct elf_marks *marks, struct detection *detection)
{
    bool is_arm64 = strcmp(detection->architecture, "arm64") == 0;
    if (!is_arm64 && detection->protocols.count > 0) {
        detection_call_generic(detection, strcmp(detection->protocols.items[0], "pvh") == 0
                                              ? "a kernel that boots by PVH"
                                              : "a kernel that boots by multiboot");
        return;
    }
    if (marks->interpreter || marks->gnu_abi) {
        json_strings_release(&detection->protocols);
        detection_add(detection, marks->interpreter ? "it names a dynamic loader (PT_INTERP)"
                                                    : "note GNU 1: a program of Linux");
        detection_refuse(detection, "an ordinary program, which a running system starts; it is no "
                                    "kernel, and QEMU cannot boot it");
        return;
    }
    if (elf_marks_hide_multiboot(marks))
        refuse_without_entry(marks, detection, "");
    else if (is_arm64)
        detection_leave_undecided(detection,
                                  "an ELF file for arm64 without any family's mark: if it is a "
                                  "kernel that wants no Linux header, declare family generic and "
                                  "protocol elf");
    else
        detection_leave_undecided(detection,
                                  "an ELF file for amd64 with neither a multiboot header nor a PVH "
                                  "note in a PT_NOTE segment: nothing says how it is entered");
}

/* Segments that are loaded lie within; there is one. */
static int check_segments(const struct elf_file *elf, struct detection *detection,
                          struct error *error)
{
    bool loads = false;
    for (size_t i = 0; i < elf->segment_count; i++) {
        struct elf_segment segment;
        if (elf_read_segment(elf, i, &segment, error) < 0)
            return -1;
        if (segment.type != PT_LOAD)
            continue;
        loads = true;
        if (!detect_source_holds(elf->source, segment.offset, segment.file_size)) {
            detection_refuse(detection,
                             "ELF segment %zu (%" PRIu64 " bytes at offset %" PRIu64
                             ") does not lie within its %" PRIu64 " bytes: the file is cut short",
                             i, segment.file_size, segment.offset, elf->source->size);
            return 0;
        }
    }
    if (!loads)
        detection_refuse(detection, "the ELF file has nothing to load");
    return 0;
}

static bool check_kind(const struct elf_file *elf, struct detection *detection)
{
    char buffer[32];
    const char *machine = elf_machine_name(elf->machine, buffer, sizeof buffer);
    const char *architecture = node_architecture(elf->machine);
    snprintf(detection->format, sizeof detection->format, "ELF%d", elf->is_64 ? 64 : 32);
    snprintf(detection->architecture, sizeof detection->architecture, "%s",
             architecture != NULL ? architecture : machine);
    if (elf->type != ET_EXEC && elf->type != ET_DYN) {
        detection_refuse(detection, "an ELF file of type %u, which is no executable%s", elf->type,
                         elf->type == ET_REL ? ": an object file, link it first" : "");
        return false;
    }
    if (architecture == NULL) {
        detection_refuse(detection, "a file for %s: nodes boot amd64 and arm64", machine);
        return false;
    }
    if (elf->machine == EM_AARCH64 && !elf->is_64) {
        detection_refuse(detection, "a 32-bit ELF file for arm64");
        return false;
    }
    return true;
}

int detect_elf(const struct detect_source *source, struct detection *detection, struct error *error)
{
    struct elf_file elf;
    struct elf_marks marks = {.detection = detection};
    struct error cause = ERROR_INIT;
    snprintf(detection->format, sizeof detection->format, "ELF");
    if (elf_open(source, &elf, &cause) < 0)
        return detection_refuse_damaged(detection, &cause, error);
    if (!check_kind(&elf, detection))
        return 0;
    if (elf_marks_collect(&elf, &marks, &cause) < 0 || check_segments(&elf, detection, &cause) < 0)
        return detection_refuse_damaged(detection, &cause, error);
    if (detection->verdict == DETECTION_REFUSED)
        return 0;
    if (marks.guest_os[0] != '\0')
        detection_add(detection, "note Xen 6: guest \"%s\"", marks.guest_os);
    find_protocols(&marks, detection);
    if (!judge_shoal(&marks, detection) && !judge_solo5(&marks, detection) &&
        !judge_unikraft(&marks, detection) && !judge_others(&marks, detection))
        judge_unmarked(&marks, detection);
    return 0;
}
