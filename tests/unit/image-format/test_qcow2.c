#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <string.h>

#include "image-format/qcow2.h"

/* A disk of 64 MiB as qemu-img makes one: version 3, clusters of 64 KiB, the end mark behind the
 * header. */
static void make(unsigned char head[QCOW2_HEAD_MAX])
{
    memset(head, 0, QCOW2_HEAD_MAX);
    memcpy(head, "QFI\xfb", 4);
    head[7] = 3;     /* version */
    head[23] = 16;   /* bits of a cluster */
    head[28] = 0x04; /* size: 64 MiB */
    head[39] = 1;    /* L1 entries */
    head[45] = 0x03; /* L1 at 0x30000 */
    head[99] = 4;    /* refcount order */
    head[103] = 104; /* header length */
}

#define FILE_SIZE 262144

static int check(const unsigned char *head, struct error *error)
{
    uint64_t size;
    return qcow2_check(head, QCOW2_HEAD_MAX, FILE_SIZE, &size, error);
}

static void a_whole_disk_is_taken_with_its_size(void **state)
{
    (void)state;
    unsigned char head[QCOW2_HEAD_MAX];
    uint64_t size = 0;
    make(head);
    assert_true(qcow2_is(head, sizeof head));
    assert_int_equal(qcow2_check(head, sizeof head, FILE_SIZE, &size, NULL), 0);
    assert_int_equal(size, 64 << 20);
    head[79] = 0x18; /* zstd and subclusters */
    assert_int_equal(check(head, NULL), 0);
    make(head);
    head[7] = 2; /* version 2 ends before the features: zeros there are the end mark */
    memset(head + 72, 0, 32);
    assert_int_equal(check(head, NULL), 0);
}

static void assert_declined(size_t at, unsigned char value, const char *why)
{
    unsigned char head[QCOW2_HEAD_MAX];
    struct error error = ERROR_INIT;
    make(head);
    head[at] = value;
    assert_int_equal(check(head, &error), -1);
    if (strstr(error.message, why) == NULL)
        fail_msg("byte %zu: %s", at, error.message);
    assert_true(error.code == ERROR_UNSUPPORTED || error.code == ERROR_INVALID ||
                error.code == ERROR_TOO_LARGE);
}

static void what_names_other_files_is_refused(void **state)
{
    (void)state;
    assert_declined(15, 120, "names a backing file");
    assert_declined(19, 11, "names a backing file");
    assert_declined(79, 0x04, "keeps its data in another file");
    unsigned char head[QCOW2_HEAD_MAX];
    struct error error = ERROR_INIT;
    make(head);
    memcpy(head + 104, "\x44\x41\x54\x41\0\0\0\x0b/etc/passwd", 19);
    assert_int_equal(check(head, &error), -1);
    assert_non_null(strstr(error.message, "keeps its data in another file"));
}

static void what_cannot_be_read_is_refused(void **state)
{
    (void)state;
    assert_declined(35, 1, "encrypted");
    assert_declined(35, 2, "encrypted");
    assert_declined(63, 1, "snapshots");
    assert_declined(79, 0x01, "not closed properly");
    assert_declined(79, 0x02, "damaged");
    assert_declined(72, 0x80, "not known here");
    assert_declined(7, 4, "unknown version");
    assert_declined(23, 8, "impossible size");
    assert_declined(23, 22, "impossible size");
    assert_declined(20, 1, "impossible size");
    assert_declined(28, 0, "size is 0");
    assert_declined(25, 1, "larger than 1 TiB");
    assert_declined(40, 0xff, "outside the file");
    assert_declined(36, 0xff, "outside the file");
    assert_declined(99, 7, "makes no sense");
    assert_declined(103, 103, "makes no sense");
    assert_declined(100, 0xff, "makes no sense");
}

static void a_header_that_ends_early_is_refused(void **state)
{
    (void)state;
    unsigned char head[QCOW2_HEAD_MAX];
    uint64_t size;
    make(head);
    memset(head + 104, 0x11, sizeof head - 104); /* extensions without an end */
    for (size_t length = 0; length < 256; length++)
        assert_int_equal(qcow2_check(head, length, FILE_SIZE, &size, NULL), -1);
    assert_int_equal(check(head, NULL), -1);
    assert_false(qcow2_is("QFI", 3));
    assert_false(qcow2_is("raw!", 4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_whole_disk_is_taken_with_its_size),
        cmocka_unit_test(what_names_other_files_is_refused),
        cmocka_unit_test(what_cannot_be_read_is_refused),
        cmocka_unit_test(a_header_that_ends_early_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
