/* Which family a kernel is of, told from marks that builds leave in it. */
#include "tests/unit/image-format/elf_fixture.h"

/* What is expected of a file, and its release. */
struct expected {
    enum detection_verdict verdict;
    const char *family, *architecture, *protocol, *machine; /* protocol "": none */
    const char *evidence, *reason;                          /* NULL: any */
};

static void assert_detection(struct detection *detection, const struct expected *expected)
{
    if (detection->verdict != expected->verdict)
        fail_msg("verdict %s: %s", detection_verdict_names[detection->verdict],
                 detection->reason != NULL ? detection->reason : detection->title);
    assert_string_equal(detection->family, expected->family);
    assert_string_equal(detection->architecture, expected->architecture);
    assert_string_equal(detection->protocols.count > 0 ? detection->protocols.items[0] : "",
                        expected->protocol);
    assert_string_equal(detection->machine, expected->machine);
    if (expected->evidence != NULL)
        assert_evidence(detection, expected->evidence);
    if (expected->reason != NULL)
        assert_has_text(detection->reason, expected->reason);
    detection_release(detection);
}

static void assert_made(struct elf_maker *maker, struct expected expected)
{
    struct made_elf made = maker_finish(maker);
    struct detection detection = detect_copy(made.bytes.data, made.bytes.length);
    buffer_finish(&made.bytes);
    assert_detection(&detection, &expected);
}

static void a_note_of_its_own_tells_shoals_runtime(void **state)
{
    (void)state;
    struct elf_maker maker = elf_maker(true, EM_X86_64);
    maker_add_word_note(&maker, true, "Shoal", 1, 1);
    maker_add_pvh(&maker);
    assert_made(&maker, (struct expected){DETECTION_CERTAIN, "shoal", "amd64", "pvh", "microvm",
                                          "note Shoal: runtime of ABI 1", NULL});
    maker = elf_maker(true, EM_AARCH64);
    maker_add_word_note(&maker, true, "Shoal", 1, 1);
    assert_made(&maker, (struct expected){DETECTION_CERTAIN, "shoal", "arm64", "elf", "virt",
                                          "note Shoal", NULL});
    maker = elf_maker(true, EM_X86_64);
    maker_add_word_note(&maker, true, "Shoal", 1, 1);
    assert_made(&maker, (struct expected){DETECTION_REFUSED, "shoal", "amd64", "", "", NULL,
                                          "without its PVH entry"});
}

static void add_solo5(struct elf_maker *maker, bool in_segment, uint32_t target)
{
    uint32_t abi[4] = {target, 2, 0, 0};
    maker_add_note(maker, in_segment, "Solo5", 0x31494241, abi, sizeof abi);
}

static void add_manifest_entry(struct buffer *manifest, const char *name, uint32_t type)
{
    char entry[104] = "";
    snprintf(entry, 68, "%s", name);
    memcpy(entry + 68, &type, sizeof type);
    buffer_append(manifest, entry, sizeof entry);
}

static struct buffer solo5_manifest(uint32_t count)
{
    struct buffer manifest = {0};
    uint32_t head[3] = {0, 1, count};
    buffer_append(&manifest, head, sizeof head);
    add_manifest_entry(&manifest, "", 1u << 30);
    add_manifest_entry(&manifest, "service", 2);
    add_manifest_entry(&manifest, "storage", 1);
    return manifest;
}

static void solo5_for_virtio_boots_and_names_its_devices(void **state)
{
    (void)state;
    struct elf_maker maker = elf_maker(true, EM_X86_64);
    AUTO_BUFFER struct buffer manifest = solo5_manifest(3);
    add_solo5(&maker, false, 3); /* in a section alone, as it is built */
    maker_add_note(&maker, false, "Solo5", 0x3154464d, manifest.data, (uint32_t)manifest.length);
    maker_add_multiboot(&maker, 0x10003);
    struct made_elf made = maker_finish(&maker);
    struct detection detection = detect_copy(made.bytes.data, made.bytes.length);
    buffer_finish(&made.bytes);
    assert_int_equal(detection.device_count, 2);
    assert_string_equal(detection.devices[0].name, "service");
    assert_int_equal(detection.devices[0].kind, DETECTION_NET);
    assert_string_equal(detection.devices[1].name, "storage");
    assert_int_equal(detection.devices[1].kind, DETECTION_BLOCK);
    assert_string_equal(detection.title, "Solo5 (virtio)");
    assert_detection(&detection,
                     &(struct expected){DETECTION_CERTAIN, "solo5", "amd64", "multiboot", "pc",
                                        "note Solo5 ABI1: virtio", NULL});
}

static void ocaml_in_the_bytes_tells_mirageos(void **state)
{
    (void)state;
    struct elf_maker maker = elf_maker(true, EM_X86_64);
    add_solo5(&maker, false, 3);
    maker_add_multiboot(&maker, 0x10003);
    maker_add(&maker, ".rodata", SHT_PROGBITS, PT_NULL, "xcaml_startup__code", 20);
    struct made_elf made = maker_finish(&maker);
    struct detection detection = detect_copy(made.bytes.data, made.bytes.length);
    buffer_finish(&made.bytes);
    assert_string_equal(detection.title, "MirageOS on Solo5 (virtio)");
    detection_release(&detection);
}

static void solo5_for_other_targets_is_refused_with_its_name(void **state)
{
    (void)state;
    static const char *const reasons[] = {NULL,      "tender solo5-hvt", "tender solo5-spt",
                                          NULL,      "for muen",         "for genode",
                                          "for Xen", "unknown"};
    for (uint32_t target = 1; target < ARRAY_LENGTH(reasons); target++) {
        if (reasons[target] == NULL)
            continue;
        struct elf_maker maker = elf_maker(true, EM_X86_64);
        add_solo5(&maker, true, target);
        /* A file for Xen carries these too: they must not lead to a boot. */
        maker_add_multiboot(&maker, 0x10003);
        maker_add_pvh(&maker);
        assert_made(&maker, (struct expected){DETECTION_REFUSED, target == 6 ? "xen" : "solo5",
                                              "amd64", "", "", "note Solo5 ABI1", reasons[target]});
    }
    struct elf_maker maker = elf_maker(true, EM_AARCH64);
    add_solo5(&maker, true, 1);
    assert_made(&maker, (struct expected){DETECTION_REFUSED, "solo5", "arm64", "", "", NULL,
                                          "tender solo5-hvt"});
}

static void a_manifest_that_does_not_fit_is_refused(void **state)
{
    (void)state;
    static const uint32_t counts[] = {4, 65, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LENGTH(counts); i++) {
        struct elf_maker maker = elf_maker(true, EM_X86_64);
        AUTO_BUFFER struct buffer manifest = solo5_manifest(counts[i]);
        add_solo5(&maker, false, 3);
        maker_add_note(&maker, false, "Solo5", 0x3154464d, manifest.data,
                       (uint32_t)manifest.length);
        maker_add_multiboot(&maker, 0x10003);
        assert_made(&maker, (struct expected){DETECTION_REFUSED, "", "amd64", "", "", NULL,
                                              "does not fit its note"});
    }
    static const char *const names[] = {"", "a\"/><x", "a\nb", "../x"};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        struct elf_maker maker = elf_maker(true, EM_X86_64);
        AUTO_BUFFER struct buffer manifest = solo5_manifest(4);
        add_manifest_entry(&manifest, names[i], 2);
        add_solo5(&maker, false, 3);
        maker_add_note(&maker, false, "Solo5", 0x3154464d, manifest.data,
                       (uint32_t)manifest.length);
        assert_made(&maker, (struct expected){DETECTION_REFUSED, "", "amd64", "", "", NULL,
                                              "Solo5's manifest has a device"});
    }
}

static void unikraft_for_qemu_is_told_from_other_builds(void **state)
{
    (void)state;
    struct elf_maker maker = elf_maker(false, EM_386);
    maker_add(&maker, ".uk_bootinfo", SHT_PROGBITS, PT_NULL, "info", 4);
    maker_add_multiboot(&maker, 3);
    assert_made(&maker, (struct expected){DETECTION_CERTAIN, "unikraft", "amd64", "multiboot", "pc",
                                          "section .uk_bootinfo", NULL});
    maker = elf_maker(true, EM_X86_64);
    maker_add(&maker, ".uk_bootinfo", SHT_PROGBITS, PT_NULL, "info", 4);
    assert_made(&maker, (struct expected){DETECTION_REFUSED, "unikraft", "amd64", "", "", NULL,
                                          "built for Firecracker"});
    maker = elf_maker(true, EM_X86_64);
    maker_add(&maker, ".uk_bootinfo", SHT_PROGBITS, PT_NULL, "info", 4);
    maker_add_multiboot(&maker, 3);
    assert_made(&maker, (struct expected){DETECTION_REFUSED, "unikraft", "amd64", "", "", NULL,
                                          "QEMU loads only a 32-bit one"});
    maker = elf_maker(true, EM_X86_64);
    maker_add(&maker, ".uk_libinfo", SHT_PROGBITS, PT_NULL, "info", 4);
    maker_add_note(&maker, true, "Xen", 6, "Unikraft", 9);
    assert_made(&maker, (struct expected){DETECTION_REFUSED, "xen", "amd64", "", "", NULL,
                                          "Unikraft built for Xen"});
    maker = elf_maker(true, EM_AARCH64);
    maker_add(&maker, ".uk_bootinfo", SHT_PROGBITS, PT_NULL, "info", 4);
    assert_made(&maker, (struct expected){DETECTION_CERTAIN, "unikraft", "arm64", "elf", "virt",
                                          "QEMU or for Firecracker does not show", NULL});
}

static void add_library(struct buffer *list, uint16_t type, const char *text)
{
    uint32_t record = 6 + (uint32_t)strlen(text) + 1, header = 6 + record;
    uint16_t version = 1;
    buffer_append(list, &header, 4);
    buffer_append(list, &version, 2);
    buffer_append(list, &type, 2);
    buffer_append(list, &record, 4);
    buffer_append(list, text, strlen(text) + 1);
}

static void unikraft_names_its_libraries(void **state)
{
    (void)state;
    AUTO_BUFFER struct buffer list = {0};
    add_library(&list, 6, "0.16.3");
    add_library(&list, 1, "libuknetdev");
    add_library(&list, 1, "libvirtio\n_net");
    for (size_t length = list.length; length > 40; length--) {
        struct elf_maker maker = elf_maker(false, EM_386);
        maker_add(&maker, ".uk_libinfo", SHT_PROGBITS, PT_NULL, list.data, length);
        maker_add_multiboot(&maker, 3);
        assert_made(&maker,
                    (struct expected){DETECTION_CERTAIN, "unikraft", "amd64", "multiboot", "pc",
                                      length == list.length
                                          ? "Unikraft 0.16.3 of 2 libraries: libuknetdev "
                                          : "section .uk_libinfo",
                                      NULL});
    }
}

static void osv_rumprun_nanos_and_linux_are_told_by_their_marks(void **state)
{
    (void)state;
    struct elf_maker maker = elf_maker(true, EM_X86_64);
    maker_add_note(&maker, true, "Xen", 6, "osv", 4);
    maker_add_pvh(&maker);
    assert_made(&maker, (struct expected){DETECTION_CERTAIN, "osv", "amd64", "pvh", "pc",
                                          "guest \"osv\"", NULL});
    maker = elf_maker(true, EM_X86_64);
    maker_add(&maker, "link_set_rump_components", SHT_PROGBITS, PT_NULL, "set", 4);
    maker_add_multiboot(&maker, 0x10000);
    assert_made(&maker, (struct expected){DETECTION_CERTAIN, "rumprun", "amd64", "multiboot", "pc",
                                          "link_set_rump", NULL});
    maker = elf_maker(true, EM_X86_64);
    maker_add_pvh(&maker);
    maker_add(&maker, ".rodata", SHT_PROGBITS, PT_NULL, "NVMTFS", 7);
    assert_made(&maker, (struct expected){DETECTION_CERTAIN, "nanos", "amd64", "pvh", "microvm",
                                          "NVMTFS", NULL});
    /* QEMU stops at a multiboot header before it looks for the note. */
    maker = elf_maker(true, EM_X86_64);
    maker_add_multiboot(&maker, 3);
    maker_add_pvh(&maker);
    maker_add(&maker, ".rodata", SHT_PROGBITS, PT_NULL, "NVMTFS", 7);
    assert_made(&maker, (struct expected){DETECTION_REFUSED, "nanos", "amd64", "", "", NULL,
                                          "QEMU loads only a 32-bit one"});
    maker = elf_maker(true, EM_X86_64);
    maker_add_note(&maker, true, "Xen", 6, "linux", 6);
    maker_add_pvh(&maker);
    assert_made(&maker, (struct expected){DETECTION_CERTAIN, "linux", "amd64", "pvh", "",
                                          "guest \"linux\"", NULL});
}

static void a_hermit_application_is_no_kernel(void **state)
{
    (void)state;
    static const unsigned machines[] = {EM_X86_64, EM_AARCH64};
    for (size_t i = 0; i < ARRAY_LENGTH(machines); i++) {
        struct elf_maker maker = elf_maker(true, machines[i]);
        maker.type = ET_DYN;
        maker_add_note(&maker, true, "HERMIT", 0x5a00, "\3", 1);
        assert_made(&maker,
                    (struct expected){DETECTION_REFUSED, "hermit", i == 0 ? "amd64" : "arm64", "",
                                      "", "entry version 3", "this file is its initrd"});
    }
}

static void what_runs_on_xen_alone_is_refused(void **state)
{
    (void)state;
    struct elf_maker maker = elf_maker(true, EM_X86_64);
    maker_add(&maker, "__xen_guest", SHT_PROGBITS, PT_NULL, "GUEST_OS=Ling,XEN_VER=xen-3.0", 30);
    assert_made(&maker, (struct expected){DETECTION_REFUSED, "xen", "amd64", "", "", NULL,
                                          "a Xen guest: Ling"});
    maker = elf_maker(true, EM_X86_64);
    maker_add_note(&maker, true, "Xen", 6, "Mini-OS", 8);
    maker_add_pvh(&maker);
    assert_made(&maker, (struct expected){DETECTION_REFUSED, "xen", "amd64", "", "", NULL,
                                          "a Xen guest: Mini-OS"});
    maker = elf_maker(true, EM_X86_64);
    maker_add_word_note(&maker, true, "Xen", 1, 0x1000);
    assert_made(&maker, (struct expected){DETECTION_REFUSED, "xen", "amd64", "", "", NULL,
                                          "Xen's own toolstack"});
}

static void a_boot_header_alone_is_generic(void **state)
{
    (void)state;
    struct elf_maker maker = elf_maker(true, EM_X86_64);
    maker_add_pvh(&maker);
    assert_made(&maker, (struct expected){DETECTION_GENERIC, "generic", "amd64", "pvh", "pc",
                                          "note Xen 18: PVH entry 0x100000", NULL});
    maker = elf_maker(false, EM_386);
    maker_add_multiboot(&maker, 3);
    assert_made(&maker, (struct expected){DETECTION_GENERIC, "generic", "amd64", "multiboot", "pc",
                                          "multiboot header at offset", NULL});
    /* QEMU takes the multiboot header. */
    maker = elf_maker(true, EM_X86_64);
    maker_add_multiboot(&maker, 0x10000);
    maker_add_pvh(&maker);
    assert_made(&maker, (struct expected){DETECTION_GENERIC, "generic", "amd64", "multiboot", "pc",
                                          "with load addresses", NULL});
}

static void a_note_where_no_loader_looks_is_no_entry(void **state)
{
    (void)state;
    struct elf_maker maker = elf_maker(true, EM_X86_64);
    maker_add_word_note(&maker, false, "Xen", 18, 0x100000);
    assert_made(&maker, (struct expected){DETECTION_UNDECIDED, "", "amd64", "", "",
                                          "in no PT_NOTE segment", "neither a multiboot header"});
    maker = elf_maker(true, EM_X86_64);
    maker_add_note(&maker, true, "Xen", 18, "", 0);
    assert_made(&maker, (struct expected){DETECTION_UNDECIDED, "", "amd64", "", "", NULL,
                                          "neither a multiboot header nor a PVH note"});
    maker = elf_maker(true, EM_X86_64);
    maker_add_word_note(&maker, true, "xen", 18, 0x100000);
    assert_made(&maker, (struct expected){DETECTION_UNDECIDED, "", "amd64", "", "", NULL, NULL});
}

static void ordinary_programs_and_other_machines_are_refused(void **state)
{
    (void)state;
    struct elf_maker maker = elf_maker(true, EM_X86_64);
    maker_add_segment(&maker, PT_INTERP, MAKER_HEAD, 4);
    assert_made(&maker, (struct expected){DETECTION_REFUSED, "", "amd64", "", "", "PT_INTERP",
                                          "an ordinary program"});
    maker = elf_maker(true, EM_AARCH64);
    maker_add_note(&maker, true, "GNU", 1, "\0\0\0\0\3\0\0\0\2\0\0\0\0\0\0\0", 16);
    assert_made(&maker, (struct expected){DETECTION_REFUSED, "", "arm64", "", "", "note GNU 1",
                                          "an ordinary program"});
    maker = elf_maker(true, EM_AARCH64);
    assert_made(&maker, (struct expected){DETECTION_UNDECIDED, "", "arm64", "elf", "", NULL,
                                          "declare family generic"});
    maker = elf_maker(true, EM_RISCV);
    assert_made(&maker, (struct expected){DETECTION_REFUSED, "", "riscv", "", "", NULL,
                                          "nodes boot amd64 and arm64"});
    maker = elf_maker(true, EM_X86_64);
    maker.type = ET_REL;
    assert_made(&maker, (struct expected){DETECTION_REFUSED, "", "amd64", "", "", NULL,
                                          "an object file, link it first"});
}

static void assert_bytes(const void *bytes, size_t length, struct expected expected)
{
    struct detection detection = detect_copy(bytes, length);
    assert_detection(&detection, &expected);
}

static void make_bzimage(unsigned char *bytes, size_t size, const char *version)
{
    memset(bytes, 0, size);
    bytes[0x1f1] = 1;
    bytes[0x1fe] = 0x55;
    bytes[0x1ff] = 0xaa;
    memcpy(bytes + 0x202, "HdrS", 4);
    bytes[0x206] = 0x0f;
    bytes[0x207] = 0x02;
    bytes[0x211] = 1;
    bytes[0x236] = 1;
    if (version[0] != '\0') {
        bytes[0x20f] = 1; /* 0x100 + 0x200 */
        strcpy((char *)bytes + 0x300, version);
    }
}

static void linux_is_told_by_its_header_and_version(void **state)
{
    (void)state;
    unsigned char bytes[0x1000];
    make_bzimage(bytes, sizeof bytes, "6.1.0-13-cloud-amd64 (debian@example) #1 SMP");
    assert_bytes(bytes, sizeof bytes,
                 (struct expected){DETECTION_CERTAIN, "linux", "amd64", "linux", "pc",
                                   "boot protocol 2.15, 64-bit entry", NULL});
    make_bzimage(bytes, sizeof bytes, "iPXE 1.21.1");
    assert_bytes(bytes, sizeof bytes,
                 (struct expected){DETECTION_GENERIC, "generic", "amd64", "linux", "pc",
                                   "version \"iPXE 1.21.1\"", NULL});
    make_bzimage(bytes, sizeof bytes, "");
    bytes[0x20f] = 0xff; /* a version outside the file */
    assert_bytes(
        bytes, sizeof bytes,
        (struct expected){DETECTION_GENERIC, "generic", "amd64", "linux", "pc", NULL, NULL});
    make_bzimage(bytes, sizeof bytes, "");
    memset(bytes + 0x1f4, 0xff, 4);
    assert_bytes(
        bytes, sizeof bytes,
        (struct expected){DETECTION_REFUSED, "", "amd64", "", "", NULL, "the file is cut short"});
    make_bzimage(bytes, sizeof bytes, "");
    bytes[0x207] = 1;
    assert_bytes(bytes, sizeof bytes,
                 (struct expected){DETECTION_REFUSED, "", "amd64", "", "", NULL, "too old"});
    for (size_t length = 0x206; length < 0x280; length++) {
        make_bzimage(bytes, sizeof bytes, "");
        struct detection detection = detect_copy(bytes, length);
        detection_release(&detection);
    }
}

static void osv_behind_a_linux_header_is_still_osv(void **state)
{
    (void)state;
    unsigned char head[0x800];
    struct elf_maker maker = elf_maker(true, EM_X86_64);
    maker_add_note(&maker, true, "Xen", 6, "OSv", 4);
    maker_add_pvh(&maker);
    struct made_elf made = maker_finish(&maker);
    AUTO_BUFFER struct buffer file = {0};
    make_bzimage(head, sizeof head, "");
    buffer_append(&file, head, sizeof head);
    buffer_append(&file, made.bytes.data, made.bytes.length);
    buffer_finish(&made.bytes);
    assert_bytes(file.data, file.length,
                 (struct expected){DETECTION_CERTAIN, "osv", "amd64", "linux", "",
                                   "OSv's ELF kernel at offset 0x800", NULL});
}

static void an_arm64_image_is_linux_when_it_says_so(void **state)
{
    (void)state;
    char bytes[256] = "";
    memcpy(bytes + 0x38, "ARM\x64", 4);
    assert_bytes(bytes, sizeof bytes,
                 (struct expected){DETECTION_GENERIC, "generic", "arm64", "linux", "virt",
                                   "ARM\\x64 at 0x38", NULL});
    strcpy(bytes + 0x80, "Linux version 6.1.0");
    assert_bytes(
        bytes, sizeof bytes,
        (struct expected){DETECTION_CERTAIN, "linux", "arm64", "linux", "virt", NULL, NULL});
    bytes[24] = 1;
    assert_bytes(bytes, sizeof bytes,
                 (struct expected){DETECTION_REFUSED, "", "arm64", "", "", NULL, "big-endian"});
}

static void what_is_no_kernel_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        enum detection_verdict verdict;
        const char *reason;
    } files[] = {
        {"", 0, DETECTION_REFUSED, "the file is empty"},
        {"x", 1, DETECTION_UNDECIDED, "begins with the bytes 78"},
        {"\x1f\x8b\x08", 3, DETECTION_UNDECIDED, "a gzip file"},
        {"MZ\0\0zimg", 8, DETECTION_REFUSED, "zboot"},
        {"MZ\x90\0\3\0\0\0", 8, DETECTION_REFUSED, "EFI firmware"},
        {"#!/bin/sh\n", 10, DETECTION_UNDECIDED, "a script"},
        {"070701000", 9, DETECTION_UNDECIDED, "a cpio archive"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(files); i++) {
        struct detection detection = detect_copy(files[i].bytes, files[i].length);
        assert_int_equal(detection.verdict, files[i].verdict);
        assert_has_text(detection.reason, files[i].reason);
        detection_release(&detection);
    }
}

static void a_flat_multiboot_file_needs_load_addresses(void **state)
{
    (void)state;
    uint32_t words[64] = {0};
    words[8] = 0x1badb002;
    words[9] = 0x10000;
    words[10] = -(0x1badb002u + 0x10000u);
    assert_bytes(words, sizeof words,
                 (struct expected){DETECTION_GENERIC, "generic", "amd64", "multiboot", "pc",
                                   "at offset 32 with load addresses", NULL});
    words[9] = 0;
    words[10] = -0x1badb002u;
    assert_bytes(
        words, sizeof words,
        (struct expected){DETECTION_REFUSED, "", "amd64", "", "", NULL, "does not say where"});
    words[10]++;
    assert_bytes(words, sizeof words,
                 (struct expected){DETECTION_UNDECIDED, "", "", "", "", NULL, NULL});
}

static void check_made(struct elf_maker *maker, const char *family, const char *protocol,
                       const char *architecture, const char *message)
{
    struct made_elf made = maker_finish(maker);
    struct detection detection = detect_copy(made.bytes.data, made.bytes.length);
    struct error error = ERROR_INIT;
    buffer_finish(&made.bytes);
    int result = detection_check(&detection, "a.elf", family, protocol, architecture, &error);
    detection_release(&detection);
    if (message == NULL && result < 0)
        fail_msg("%s", error.message);
    assert_int_equal(result, message == NULL ? 0 : -1);
    if (message == NULL)
        return;
    assert_int_equal(error.code, ERROR_INVALID);
    assert_has_text(error.message, "a.elf: ");
    assert_has_text(error.message, message);
}

static void a_declared_family_must_not_contradict_the_bytes(void **state)
{
    (void)state;
    struct elf_maker maker;
#define SOLO5()                                                                                    \
    (maker = elf_maker(true, EM_X86_64), add_solo5(&maker, false, 3),                              \
     maker_add_multiboot(&maker, 0x10003), &maker)
#define PLAIN_PVH() (maker = elf_maker(true, EM_X86_64), maker_add_pvh(&maker), &maker)
#define XEN()       (maker = elf_maker(true, EM_X86_64), add_solo5(&maker, true, 6), &maker)
#define ARM()       (maker = elf_maker(true, EM_AARCH64), &maker)
    check_made(SOLO5(), "solo5", "multiboot", "amd64", NULL);
    check_made(SOLO5(), "generic", "multiboot", "amd64", NULL);
    check_made(SOLO5(), "unikraft", "multiboot", "amd64",
               "declared as family unikraft, but it is Solo5 (virtio): declare family solo5");
    check_made(SOLO5(), "solo5", "pvh", "amd64",
               "declared to boot by pvh, but it boots by multiboot");
    check_made(SOLO5(), "solo5", "multiboot", "arm64", "declared for arm64, but it is for amd64");
    check_made(SOLO5(), "solo5", "pvh", "amd64", "seen: ELF64 for amd64; ");
    /* A boot header alone contradicts no family that boots by it. */
    check_made(PLAIN_PVH(), "shoal", "pvh", "amd64", NULL);
    check_made(PLAIN_PVH(), "hermit", "pvh", "amd64", NULL);
    check_made(PLAIN_PVH(), "rumprun", "multiboot", "amd64", "it boots by pvh");
    check_made(XEN(), "xen", "xen", "amd64", NULL);
    check_made(XEN(), "solo5", "multiboot", "amd64", "QEMU cannot boot it");
    check_made(XEN(), "generic", "multiboot", "amd64", "QEMU cannot boot it");
    check_made(ARM(), "generic", "elf", "arm64", NULL);
    check_made(ARM(), "shoal", "elf", "arm64", NULL);
    check_made(ARM(), "linux", "linux", "arm64", "it boots by elf");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_note_of_its_own_tells_shoals_runtime),
        cmocka_unit_test(solo5_for_virtio_boots_and_names_its_devices),
        cmocka_unit_test(ocaml_in_the_bytes_tells_mirageos),
        cmocka_unit_test(solo5_for_other_targets_is_refused_with_its_name),
        cmocka_unit_test(a_manifest_that_does_not_fit_is_refused),
        cmocka_unit_test(unikraft_for_qemu_is_told_from_other_builds),
        cmocka_unit_test(unikraft_names_its_libraries),
        cmocka_unit_test(osv_rumprun_nanos_and_linux_are_told_by_their_marks),
        cmocka_unit_test(a_hermit_application_is_no_kernel),
        cmocka_unit_test(what_runs_on_xen_alone_is_refused),
        cmocka_unit_test(a_boot_header_alone_is_generic),
        cmocka_unit_test(a_note_where_no_loader_looks_is_no_entry),
        cmocka_unit_test(ordinary_programs_and_other_machines_are_refused),
        cmocka_unit_test(linux_is_told_by_its_header_and_version),
        cmocka_unit_test(osv_behind_a_linux_header_is_still_osv),
        cmocka_unit_test(an_arm64_image_is_linux_when_it_says_so),
        cmocka_unit_test(what_is_no_kernel_is_named),
        cmocka_unit_test(a_flat_multiboot_file_needs_load_addresses),
        cmocka_unit_test(a_declared_family_must_not_contradict_the_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
