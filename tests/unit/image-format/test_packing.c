/* Packed layers: zstd streams and tar archives, honest and hostile. The archives are made by the
 * system's tar and zstd, or put together by hand where those refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image-format/packing.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "tests/unit/image-format/fixture.h"

static int set_up(void **state)
{
    *state = temporary_folder();
    return 0;
}

static int tear_down(void **state)
{
    file_remove_tree(*state, NULL);
    free(*state);
    return 0;
}

/* Runs a shell command in the test's folder. */
static void run(const char *folder, const char *command)
{
    AUTO_FREE char *text = xasprintf("cd '%s' && { %s; } >/dev/null 2>&1", folder, command);
    if (system(text) != 0)
        fail_msg("failed: %s", command);
}

static int open_in(const char *folder, const char *name, int flags)
{
    AUTO_FREE char *path = xasprintf("%s/%s", folder, name);
    int descriptor = open(path, flags | O_CLOEXEC, 0600);
    assert_true(descriptor >= 0);
    return descriptor;
}

static char *content_of(const char *folder, const char *name, size_t *ret_length)
{
    AUTO_FREE char *path = xasprintf("%s/%s", folder, name);
    char *text = NULL;
    assert_int_equal(file_read(path, 64 << 20, &text, ret_length, NULL), 0);
    return text;
}

static int extract(const char *folder, const char *archive, struct packing_wanted *wanted,
                   struct error *error)
{
    AUTO_CLOSE int from = open_in(folder, archive, O_RDONLY);
    AUTO_CLOSE int to = open_in(folder, "out", O_RDWR | O_CREAT | O_TRUNC);
    wanted->to = to;
    return packing_extract(from, wanted, 1, NULL, error);
}

static void assert_extracts(const char *folder, const char *archive, const char *path,
                            const char *expected)
{
    struct packing_wanted wanted = {.path = path, .size_max = 1 << 20};
    struct error error = ERROR_INIT;
    if (extract(folder, archive, &wanted, &error) < 0)
        fail_msg("%s", error.message);
    assert_int_equal(wanted.found, 1);
    AUTO_FREE char *got = content_of(folder, "out", NULL);
    assert_string_equal(got, expected);
    assert_int_equal(wanted.size, strlen(expected));
}

static void assert_refused(const char *folder, const char *archive, const char *path,
                           uint64_t size_max, const char *message)
{
    struct packing_wanted wanted = {.path = path, .size_max = size_max};
    struct error error = ERROR_INIT;
    assert_int_equal(extract(folder, archive, &wanted, &error), -1);
    assert_int_equal(error.code, ERROR_INVALID);
    if (strstr(error.message, message) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", message, error.message);
}

static void a_file_is_taken_out_of_every_kind_of_tar(void **state)
{
    const char *folder = *state;
    run(folder, "mkdir -p unikraft/bin && printf kernel >unikraft/bin/kernel && "
                "tar cf plain.tar unikraft && tar czf gzip.tar unikraft && "
                "tar -I zstd -cf zstd.tar unikraft && tar -P --transform 's,^,/,' -cf root.tar "
                "unikraft && tar --format=posix -cf pax.tar ./unikraft");
    const char *const archives[] = {"plain.tar", "gzip.tar", "zstd.tar", "root.tar", "pax.tar"};
    for (size_t i = 0; i < ARRAY_LENGTH(archives); i++) {
        assert_extracts(folder, archives[i], "/unikraft/bin/kernel", "kernel");
        assert_extracts(folder, archives[i], "unikraft/bin/kernel", "kernel");
    }
}

static void what_is_not_there_is_not_found(void **state)
{
    const char *folder = *state;
    struct packing_wanted wanted = {.path = "/other", .size_max = 100};
    run(folder, "printf x >a && tar cf a.tar a && : >empty.tar && tar cf none.tar -T /dev/null");
    assert_int_equal(extract(folder, "a.tar", &wanted, NULL), 0);
    assert_int_equal(wanted.found, 0);
    assert_int_equal(extract(folder, "none.tar", &wanted, NULL), 0);
    assert_int_equal(wanted.found, 0);
}

static void a_whiteout_hides_what_lower_layers_have(void **state)
{
    const char *folder = *state;
    struct packing_wanted wanted = {.path = "/d/kernel", .size_max = 100};
    run(folder, "mkdir d && touch d/.wh.kernel && tar cf one.tar d && rm d/.wh.kernel && "
                "touch .wh.d && tar cf two.tar .wh.d && rm .wh.d && touch d/.wh..wh..opq && "
                "printf new >d/kernel && tar cf three.tar d");
    assert_int_equal(extract(folder, "one.tar", &wanted, NULL), 0);
    assert_int_equal(wanted.found, -1);
    wanted.found = 0;
    assert_int_equal(extract(folder, "two.tar", &wanted, NULL), 0);
    assert_int_equal(wanted.found, -1);
    assert_extracts(folder, "three.tar", "/d/kernel", "new");
}

static void names_that_climb_are_refused(void **state)
{
    const char *folder = *state;
    run(folder, "printf x >k && tar -P --transform 's,^,../,' -cf up.tar k && "
                "tar -P --transform 's,^,a/../../,' -cf middle.tar k");
    assert_refused(folder, "up.tar", "/k", 100, "\"..\" is refused");
    assert_refused(folder, "middle.tar", "/k", 100, "\"..\" is refused");
}

static void links_and_other_things_are_refused(void **state)
{
    const char *folder = *state;
    run(folder, "printf x >file && ln -s /etc/shadow symbolic && ln file hard && mkfifo fifo && "
                "mkdir folder && tar cf all.tar file symbolic hard fifo folder");
    assert_refused(folder, "all.tar", "/symbolic", 100, "is a link");
    assert_refused(folder, "all.tar", "/hard", 100, "is a link");
    assert_refused(folder, "all.tar", "/fifo", 100, "not a regular file");
    /* A folder's name ends with "/" in an archive: it is simply not the file. */
    struct packing_wanted wanted = {.path = "/folder", .size_max = 100};
    assert_int_equal(extract(folder, "all.tar", &wanted, NULL), 0);
    assert_int_equal(wanted.found, 0);
}

static void a_file_that_stands_there_twice_is_refused(void **state)
{
    run(*state, "printf a >k && tar cf twice.tar k && printf b >k && tar rf twice.tar k");
    assert_refused(*state, "twice.tar", "/k", 100, "twice");
}

static void sizes_are_bounded(void **state)
{
    const char *folder = *state;
    run(folder, "truncate -s 101 k && tar cf big.tar k && tar -I zstd -cf bomb.tar k && "
                "truncate -s 9G huge && tar -cf - --sparse huge | cat >sparse.tar");
    assert_refused(folder, "big.tar", "/k", 100, "more than 100 bytes");
    assert_refused(folder, "bomb.tar", "/k", 100, "more than 100 bytes");
    assert_refused(folder, "sparse.tar", "/k", 100, "unpacks to more than");
}

static void what_is_no_archive_is_refused(void **state)
{
    const char *folder = *state;
    run(folder, "head -c 5000 /dev/urandom >noise && printf x >k && tar cf k.tar k && "
                "head -c 700 k.tar >cut.tar && gzip -c k.tar | head -c 60 >cut.tgz && "
                "printf '\\177ELF' >elf");
    assert_refused(folder, "noise", "/k", 100, "");
    assert_refused(folder, "elf", "/k", 100, "");
    assert_refused(folder, "cut.tgz", "/k", 100, "");
}

/* Compressed data inside compressed data may give nothing for days. */
static void only_one_compression_is_undone(void **state)
{
    const char *folder = *state;
    run(folder, "printf x >k && tar cf k.tar k && gzip -c k.tar | gzip -c >gzips.tar && "
                "gzip -c k.tar | zstd -qc >both.tar");
    assert_refused(folder, "gzips.tar", "/k", 100, "no tar archive");
    assert_refused(folder, "both.tar", "/k", 100, "no tar archive");
}

/* Also of what is passed over, and over several archives. */
static void the_work_for_bytes_in_memory_is_bounded_in_all(void **state)
{
    const char *folder = *state;
    struct packing_wanted wanted = {.path = "/other", .to = -1, .size_max = 100};
    uint64_t total = 1500;
    size_t length;
    run(folder, "truncate -s 1000 k && tar czf k.tar k");
    AUTO_FREE char *bytes = content_of(folder, "k.tar", &length);
    assert_int_equal(packing_extract_bytes(bytes, length, &total, &wanted, 1, NULL), 0);
    assert_int_equal(total, 500);
    assert_int_equal(packing_extract_bytes(bytes, length, &total, &wanted, 1, NULL), -1);
    assert_int_equal(total, 0);
}

static int unpack(const char *folder, const char *name, uint64_t size, struct error *error)
{
    AUTO_CLOSE int from = open_in(folder, name, O_RDONLY);
    AUTO_CLOSE int to = open_in(folder, "out", O_RDWR | O_CREAT | O_TRUNC);
    return packing_unpack_zstd(from, size, to, NULL, error);
}

static void compress(const char *folder, const char *from_name, const char *to_name)
{
    AUTO_CLOSE int from = open_in(folder, from_name, O_RDONLY);
    AUTO_CLOSE int to = open_in(folder, to_name, O_RDWR | O_CREAT | O_TRUNC);
    struct error error = ERROR_INIT;
    if (packing_compress_zstd(from, to, &error) < 0)
        fail_msg("%s", error.message);
}

static void what_was_compressed_unpacks_to_the_same(void **state)
{
    const char *folder = *state;
    size_t length, again;
    run(folder, "seq 1 100000 >data");
    compress(folder, "data", "one.zst");
    compress(folder, "data", "two.zst");
    run(folder, "cmp one.zst two.zst && zstd -dc one.zst | cmp - data && "
                "[ \"$(stat -c %s one.zst)\" -lt \"$(stat -c %s data)\" ]");
    AUTO_FREE char *data = content_of(folder, "data", &length);
    assert_int_equal(unpack(folder, "one.zst", length, NULL), 0);
    AUTO_FREE char *out = content_of(folder, "out", &again);
    assert_int_equal(length, again);
    assert_memory_equal(data, out, length);
}

static void a_stream_of_another_size_than_said_is_refused(void **state)
{
    const char *folder = *state;
    struct error error = ERROR_INIT;
    run(folder, "head -c 100000000 /dev/zero | zstd -q -o bomb.zst");
    assert_int_equal(unpack(folder, "bomb.zst", 5000, &error), -1);
    assert_int_equal(error.code, ERROR_INVALID);
    assert_non_null(strstr(error.message, "more than the 5000 bytes"));
    AUTO_FREE char *path = xasprintf("%s/out", folder);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_true(status.st_size <= 5000);
    assert_int_equal(unpack(folder, "bomb.zst", 100000001, &error), -1);
    assert_non_null(strstr(error.message, "ends 1 bytes before"));
}

static void what_is_no_zstd_stream_is_refused(void **state)
{
    const char *folder = *state;
    struct error error = ERROR_INIT;
    run(folder,
        "printf hello >plain && gzip -c plain >plain.gz && zstd -q plain -o z.zst && "
        "head -c 9 z.zst >cut.zst && { cat z.zst; printf trailing; } >tail.zst && : >empty");
    const char *const names[] = {"plain", "plain.gz", "cut.zst", "empty"};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        if (unpack(folder, names[i], 5, &error) == 0)
            fail_msg("accepted %s", names[i]);
        assert_int_equal(error.code, ERROR_INVALID);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_is_taken_out_of_every_kind_of_tar, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_there_is_not_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_whiteout_hides_what_lower_layers_have, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_that_climb_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(links_and_other_things_are_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_file_that_stands_there_twice_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(sizes_are_bounded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_archive_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(only_one_compression_is_undone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_work_for_bytes_in_memory_is_bounded_in_all, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_was_compressed_unpacks_to_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_stream_of_another_size_than_said_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_zstd_stream_is_refused, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
