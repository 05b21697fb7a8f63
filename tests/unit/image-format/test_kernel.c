/* What counts as a kernel of family shoal. */
#include "tests/unit/image-format/fixture.h"

#include "image-format/kernel.h"

static void assert_refused(const void *bytes, size_t length, const char *message)
{
    struct error error = ERROR_INIT;
    /* A copy of exactly that size: the sanitizer sees any byte read beyond it. */
    void *copy = xmemdup(bytes, length);
    assert_int_equal(kernel_check_pvh("a.elf", copy, length, &error), -1);
    free(copy);
    assert_int_equal(error.code, ERROR_INVALID);
    if (strncmp(error.message, "a.elf: ", 7) != 0 || strstr(error.message, message) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", message, error.message);
}

static void an_elf_with_a_pvh_note_is_a_kernel(void **state)
{
    (void)state;
    struct tiny_kernel kernel = tiny_kernel(0);
    assert_int_equal(kernel_check_pvh("a.elf", &kernel, sizeof kernel, NULL), 0);
}

static void other_files_are_refused_with_what_was_seen(void **state)
{
    (void)state;
    assert_refused("", 0, "found 0 bytes");
    char script[100] = "#!/bin/sh\n";
    assert_refused(script, sizeof script, "begins with 23 21 2f 62");
    struct tiny_kernel kernel = tiny_kernel(0);
    kernel.header.e_ident[EI_CLASS] = ELFCLASS32;
    assert_refused(&kernel, sizeof kernel, "found a 32-bit little-endian one");
    kernel = tiny_kernel(0);
    kernel.header.e_ident[EI_DATA] = ELFDATA2MSB;
    assert_refused(&kernel, sizeof kernel, "found a 64-bit big-endian one");
    kernel = tiny_kernel(0);
    kernel.header.e_machine = EM_AARCH64;
    assert_refused(&kernel, sizeof kernel, "found one for arm64");
    kernel = tiny_kernel(0);
    kernel.header.e_type = ET_REL;
    assert_refused(&kernel, sizeof kernel, "type 1");
    kernel = tiny_kernel(0);
    kernel.load.p_type = PT_NULL;
    assert_refused(&kernel, sizeof kernel, "nothing to load");
}

static void a_missing_or_other_note_is_no_pvh_entry(void **state)
{
    (void)state;
    struct tiny_kernel kernel = tiny_kernel(0);
    kernel.note.p_type = PT_NULL;
    assert_refused(&kernel, sizeof kernel, "without a PVH entry");
    kernel = tiny_kernel(0);
    kernel.pvh.header.n_type = 17;
    assert_refused(&kernel, sizeof kernel, "without a PVH entry");
    kernel = tiny_kernel(0);
    kernel.pvh.name[0] = 'x';
    assert_refused(&kernel, sizeof kernel, "without a PVH entry");
    kernel = tiny_kernel(0);
    kernel.pvh.header.n_descsz = 0;
    assert_refused(&kernel, sizeof kernel, "without a PVH entry");
}

static void sizes_and_offsets_beyond_the_file_are_refused(void **state)
{
    (void)state;
    struct tiny_kernel kernel = tiny_kernel(0);
    kernel.header.e_phoff = UINT64_MAX - 8;
    assert_refused(&kernel, sizeof kernel, "do not lie within");
    kernel = tiny_kernel(0);
    kernel.header.e_phnum = 60;
    assert_refused(&kernel, sizeof kernel, "do not lie within");
    kernel = tiny_kernel(0);
    kernel.header.e_phnum = 0;
    assert_refused(&kernel, sizeof kernel, "do not lie within");
    kernel = tiny_kernel(0);
    kernel.load.p_filesz = sizeof kernel + 1;
    assert_refused(&kernel, sizeof kernel, "cut short");
    kernel = tiny_kernel(0);
    kernel.note.p_offset = UINT64_MAX;
    assert_refused(&kernel, sizeof kernel, "cut short");
    kernel = tiny_kernel(0);
    kernel.pvh.header.n_namesz = UINT32_MAX;
    assert_refused(&kernel, sizeof kernel, "without a PVH entry");
    kernel = tiny_kernel(0);
    kernel.pvh.header.n_descsz = UINT32_MAX - 2;
    assert_refused(&kernel, sizeof kernel, "without a PVH entry");
    kernel = tiny_kernel(0);
    for (size_t length = 0; length < sizeof kernel; length++)
        assert_refused(&kernel, length, "a.elf");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_elf_with_a_pvh_note_is_a_kernel),
        cmocka_unit_test(other_files_are_refused_with_what_was_seen),
        cmocka_unit_test(a_missing_or_other_note_is_no_pvh_entry),
        cmocka_unit_test(sizes_and_offsets_beyond_the_file_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
