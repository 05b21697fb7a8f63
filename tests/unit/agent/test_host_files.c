/* Image files and console logs of the host half, on a folder of the test's own. Needs root, which
 * the host half is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/host/console.h"
#include "agent/host/guest_user.h"
#include "agent/host/image_store.h"
#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/xalloc.h"

static int make_folder(void **state)
{
    char *folder = xstrdup("/tmp/shoal-test-host.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    AUTO_FREE char *staging = xasprintf("%s/staging", folder);
    *state = folder;
    return file_make_directory(staging, 0700, NULL);
}

static int remove_folder(void **state)
{
    int result = file_remove_tree(*state, NULL);
    free(*state);
    return result;
}

static void stage(const char *folder, const char *digest, const char *text)
{
    AUTO_FREE char *path = xasprintf("%s/staging/%s", folder, digest_hex(digest));
    assert_int_equal(file_write(path, text, strlen(text), 0600, NULL), 0);
}

static void an_image_comes_in_by_its_digest(void **state)
{
    char digest[DIGEST_TEXT_MAX];
    struct stat status;
    if (geteuid() != 0)
        skip();
    struct image_store *store = image_store_create(*state, NULL);
    assert_non_null(store);
    digest_of_bytes("kernel", 6, digest);
    stage(*state, digest, "kernel");
    assert_int_equal(image_store_import(store, digest, 6, NULL), 0);
    AUTO_FREE char *path = xasprintf("%s/host/images/%s", (char *)*state, digest_hex(digest));
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0444);
    stage(*state, digest, "gone wrong meanwhile");
    assert_int_equal(image_store_import(store, digest, 6, NULL), 0);
    image_store_destroy(store);
}

static void other_bytes_are_refused_and_named(void **state)
{
    char digest[DIGEST_TEXT_MAX], found[DIGEST_TEXT_MAX];
    struct error error = ERROR_INIT;
    if (geteuid() != 0)
        skip();
    struct image_store *store = image_store_create(*state, NULL);
    digest_of_bytes("kernel", 6, digest);
    digest_of_bytes("kernal", 6, found);
    stage(*state, digest, "kernal");
    assert_int_equal(image_store_import(store, digest, 6, &error), -1);
    assert_int_equal(error.code, ERROR_SIGNATURE);
    assert_non_null(strstr(error.message, digest));
    assert_non_null(strstr(error.message, found));
    AUTO_FREE char *path = xasprintf("%s/host/images/%s", (char *)*state, digest_hex(digest));
    assert_int_equal(access(path, F_OK), -1);
    image_store_destroy(store);
}

static void what_was_altered_on_disk_does_not_boot(void **state)
{
    char digest[DIGEST_TEXT_MAX];
    struct error error = ERROR_INIT;
    if (geteuid() != 0)
        skip();
    struct image_store *store = image_store_create(*state, NULL);
    digest_of_bytes("kernel", 6, digest);
    stage(*state, digest, "kernel");
    assert_int_equal(image_store_import(store, digest, 6, NULL), 0);
    AUTO_FREE char *path = xasprintf("%s/host/images/%s", (char *)*state, digest_hex(digest));
    AUTO_FREE char *target = xasprintf("%s/target", (char *)*state);
    assert_int_equal(image_store_place(store, digest, target, NULL), 0);
    assert_int_equal(unlink(target), 0);
    assert_int_equal(file_write(path, "kernal", 6, 0444, NULL), 0);
    assert_int_equal(image_store_place(store, digest, target, &error), -1);
    assert_int_equal(error.code, ERROR_SIGNATURE);
    assert_int_equal(access(target, F_OK), -1);
    image_store_destroy(store);
}

static size_t size_of(const char *folder, const char *name)
{
    AUTO_FREE char *path = xasprintf("%s/%s", folder, name);
    struct stat status;
    return stat(path, &status) == 0 ? (size_t)status.st_size : 0;
}

static void a_console_log_is_bounded_and_whole_at_its_end(void **state)
{
    int ends[2];
    uv_loop_t loop;
    char line[1024];
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    uv_loop_init(&loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    struct console *console = console_create(&loop, ends[0], *state, "0001000000a1", getegid());
    for (int i = 0; i < 3 * 1024; i++) {
        while (write(ends[1], line, sizeof line) < 0)
            uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(write(ends[1], "last words\n", 11), 11);
    assert_int_equal(console_send(console, 0x04, NULL), 0);
    assert_int_equal(read(ends[1], line, sizeof line), 1);
    assert_int_equal(line[0], 0x04);
    while (recv(ends[0], line, 1, MSG_PEEK) > 0)
        uv_run(&loop, UV_RUN_NOWAIT);
    console_destroy(console);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    close(ends[1]);
    size_t newest = size_of(*state, "0001000000a1.log");
    assert_in_range(newest, 11, CONSOLE_LOG_LIMIT);
    assert_in_range(size_of(*state, "0001000000a1.log.1"), 1, CONSOLE_LOG_LIMIT);
    AUTO_FREE char *path = xasprintf("%s/0001000000a1.log", (char *)*state);
    AUTO_FREE char *text = NULL;
    assert_int_equal(file_read(path, CONSOLE_LOG_LIMIT, &text, NULL, NULL), 0);
    assert_string_equal(text + newest - 11, "last words\n");
    console_remove_logs(*state, "0001000000a1");
    assert_int_equal(size_of(*state, "0001000000a1.log.1"), 0);
}

static void instances_run_under_users_of_their_own(void **state)
{
    (void)state;
    assert_int_equal(guest_user_of("000100000001"), GUEST_USER_BASE + 1);
    assert_int_not_equal(guest_user_of("000100000001"), guest_user_of("000100000002"));
    /* the same number again, after a restore */
    for (unsigned term = 2; term < 100; term++) {
        char id[13];
        snprintf(id, sizeof id, "%04x00000001", term);
        uint32_t user = guest_user_of(id);
        assert_true(user >= GUEST_USER_BASE);
        assert_true(user < 0x80000000U);
        assert_true(user < GUEST_USER_BASE + 1 - 100000 || user > GUEST_USER_BASE + 1 + 100000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(instances_run_under_users_of_their_own),
        cmocka_unit_test_setup_teardown(an_image_comes_in_by_its_digest, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(other_bytes_are_refused_and_named, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(what_was_altered_on_disk_does_not_boot, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_console_log_is_bounded_and_whole_at_its_end, make_folder,
                                        remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
