#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/xalloc.h"

static char folder[] = "/tmp/shoal-log.XXXXXX";

static char *content(const char *path)
{
    char *text = NULL;
    assert_int_equal(file_read(path, 1 << 20, &text, NULL, NULL), 0);
    return text;
}

static void a_file_gets_one_line_an_event(void **state)
{
    (void)state;
    AUTO_FREE char *path = xasprintf("%s/one", folder);
    struct log_file *file = NULL;
    assert_int_equal(log_file_open(path, &file, NULL), 0);
    log_file_write(file, "method", "GET", "path", "/a b\n\"c\"", "status", LOG_NUMBER(200), NULL);
    log_file_write(file, "user", NULL, NULL);
    log_file_close(file);
    AUTO_FREE char *text = content(path);
    assert_int_equal(strncmp(text, "ts=20", 5), 0);
    assert_non_null(strstr(text, " method=GET path=\"/a b\\n\\\"c\\\"\" status=200\nts="));
    assert_non_null(strstr(text, " user=\"\"\n"));
}

static void a_file_moved_away_is_made_anew(void **state)
{
    (void)state;
    AUTO_FREE char *path = xasprintf("%s/two", folder);
    AUTO_FREE char *old = xasprintf("%s/two.1", folder);
    struct log_file *file = NULL;
    assert_int_equal(log_file_open(path, &file, NULL), 0);
    log_file_write(file, "n", "1", NULL);
    assert_int_equal(rename(path, old), 0);
    log_file_write(file, "n", "2", NULL);
    assert_int_equal(log_file_reopen(file, path, NULL), 0);
    log_file_write(file, "n", "3", NULL);
    log_file_close(file);
    AUTO_FREE char *before = content(old);
    AUTO_FREE char *after = content(path);
    assert_non_null(strstr(before, "n=1"));
    assert_non_null(strstr(before, "n=2"));
    assert_non_null(strstr(after, "n=3"));
    assert_null(strstr(after, "n=2"));
}

static void a_path_that_cannot_be_opened_is_named(void **state)
{
    (void)state;
    struct log_file *file = NULL;
    struct error error = ERROR_INIT;
    assert_int_equal(log_file_open("/nowhere/at/all", &file, &error), -1);
    assert_non_null(strstr(error.message, "/nowhere/at/all"));
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) == NULL ? -1 : 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return file_remove_tree(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_gets_one_line_an_event),
        cmocka_unit_test(a_file_moved_away_is_made_anew),
        cmocka_unit_test(a_path_that_cannot_be_opened_is_named),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
