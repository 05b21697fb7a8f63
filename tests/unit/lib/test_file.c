/* Whole files and folders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/shoal-file.XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state)
{
    (void)state;
    return file_remove_tree(folder, NULL);
}

static void what_is_written_reads_back_with_its_mode(void **state)
{
    (void)state;
    AUTO_FREE char *path = xasprintf("%s/a", folder);
    AUTO_FREE char *data = NULL;
    size_t length;
    struct stat status;
    assert_int_equal(file_write(path, "one\0two", 7, 0640, NULL), 0);
    assert_int_equal(file_read(path, 7, &data, &length, NULL), 0);
    assert_int_equal(length, 7);
    assert_memory_equal(data, "one\0two", 8);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
}

static void writing_replaces_and_leaves_nothing_beside(void **state)
{
    (void)state;
    AUTO_FREE char *path = xasprintf("%s/b", folder);
    AUTO_FREE char *listing = xasprintf("ls -A %s | grep -c '^b'", folder);
    AUTO_FREE char *data = NULL;
    assert_int_equal(file_write(path, "old", 3, 0600, NULL), 0);
    assert_int_equal(file_write(path, "newer", 5, 0600, NULL), 0);
    assert_int_equal(file_read(path, 100, &data, NULL, NULL), 0);
    assert_string_equal(data, "newer");
    char count[8] = "";
    FILE *output = popen(listing, "r");
    assert_non_null(fgets(count, sizeof count, output));
    pclose(output);
    assert_string_equal(count, "1\n");
}

static void a_file_over_the_limit_is_refused_and_outputs_stay(void **state)
{
    (void)state;
    AUTO_FREE char *path = xasprintf("%s/c", folder);
    char *data = (char *)path;
    size_t length = 99;
    struct error error = ERROR_INIT;
    assert_int_equal(file_write(path, "12345678", 8, 0600, NULL), 0);
    assert_int_equal(file_read(path, 7, &data, &length, &error), -1);
    assert_int_equal(error.code, ERROR_TOO_LARGE);
    assert_ptr_equal(data, path);
    assert_int_equal(length, 99);
}

static void a_missing_file_is_named(void **state)
{
    (void)state;
    char *data = NULL;
    struct error error = ERROR_INIT;
    assert_int_equal(file_read("/nonexistent/file", 10, &data, NULL, &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "/nonexistent/file"));
}

static void folders_are_made_with_their_parents_and_again(void **state)
{
    (void)state;
    AUTO_FREE char *path = xasprintf("%s/x/y/z", folder);
    struct stat status;
    assert_int_equal(file_make_directory(path, 0700, NULL), 0);
    assert_int_equal(file_make_directory(path, 0700, NULL), 0);
    assert_int_equal(stat(path, &status), 0);
    assert_true(S_ISDIR(status.st_mode));
}

static void removing_a_tree_does_not_follow_links(void **state)
{
    (void)state;
    AUTO_FREE char *kept = xasprintf("%s/kept", folder);
    AUTO_FREE char *tree = xasprintf("%s/tree", folder);
    AUTO_FREE char *link = xasprintf("%s/tree/link", folder);
    AUTO_FREE char *file = xasprintf("%s/kept/file", folder);
    assert_int_equal(file_make_directory(kept, 0700, NULL), 0);
    assert_int_equal(file_make_directory(tree, 0700, NULL), 0);
    assert_int_equal(file_write(file, "x", 1, 0600, NULL), 0);
    assert_int_equal(symlink(kept, link), 0);
    assert_int_equal(file_remove_tree(tree, NULL), 0);
    assert_int_equal(access(tree, F_OK), -1);
    assert_int_equal(access(file, F_OK), 0);
    assert_int_equal(file_remove_tree(tree, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_reads_back_with_its_mode),
        cmocka_unit_test(writing_replaces_and_leaves_nothing_beside),
        cmocka_unit_test(a_file_over_the_limit_is_refused_and_outputs_stay),
        cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(folders_are_made_with_their_parents_and_again),
        cmocka_unit_test(removing_a_tree_does_not_follow_links),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
