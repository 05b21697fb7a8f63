/* Image files and console logs of the host half, on a folder of the test's own. Needs root, which
 * the host half is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/host/console.h"
#include "agent/host/guest_user.h"
#include "agent/host/image_store.h"
#include "agent/host/overlays.h"
#include "image-format/qcow2.h"
#include "lib/buffer.h"
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
    struct image_store *store = image_store_create(*state, "/shown", NULL);
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
    struct image_store *store = image_store_create(*state, "/shown", NULL);
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

/* Opens it from its start, or says why not. */
static int open_image(struct image_store *store, const char *digest, struct error *error)
{
    uint64_t size = 0;
    int file = -1;
    if (image_store_open(store, digest, &file, &size, error) < 0)
        return -1;
    assert_int_equal(lseek(file, 0, SEEK_CUR), 0);
    assert_int_equal(size, 6);
    close(file);
    return 0;
}

static struct image_store *import_kernel(const char *folder, char ret_digest[DIGEST_TEXT_MAX])
{
    struct image_store *store = image_store_create(folder, "/shown", NULL);
    assert_non_null(store);
    digest_of_bytes("kernel", 6, ret_digest);
    stage(folder, ret_digest, "kernel");
    assert_int_equal(image_store_import(store, ret_digest, 6, NULL), 0);
    return store;
}

/* The other half may keep the file that it staged open, or by another name. */
static void who_staged_a_file_cannot_change_what_came_in(void **state)
{
    char digest[DIGEST_TEXT_MAX];
    const char *folder = *state;
    if (geteuid() != 0)
        skip();
    struct image_store *store = image_store_create(folder, "/shown", NULL);
    digest_of_bytes("kernel", 6, digest);
    stage(folder, digest, "kernel");
    AUTO_FREE char *staged = xasprintf("%s/staging/%s", folder, digest_hex(digest));
    AUTO_FREE char *other = xasprintf("%s/staging/other", folder);
    AUTO_CLOSE int file = open(staged, O_WRONLY | O_CLOEXEC);
    assert_int_equal(link(staged, other), 0);
    assert_int_equal(image_store_import(store, digest, 6, NULL), 0);
    assert_int_equal(open_image(store, digest, NULL), 0);
    uint64_t hashed = image_store_hashed(store);
    assert_int_equal(pwrite(file, "kernal", 6, 0), 6);
    assert_int_equal(file_write(other, "kernal", 6, 0600, NULL), 0);
    assert_int_equal(open_image(store, digest, NULL), 0);
    assert_int_equal(image_store_hashed(store), hashed); /* nothing of it was touched */
    image_store_destroy(store);
}

static void what_was_altered_on_disk_does_not_boot(void **state)
{
    char digest[DIGEST_TEXT_MAX];
    struct error error = ERROR_INIT;
    if (geteuid() != 0)
        skip();
    struct image_store *store = import_kernel(*state, digest);
    AUTO_FREE char *path = xasprintf("%s/host/images/%s", (char *)*state, digest_hex(digest));
    assert_int_equal(open_image(store, digest, NULL), 0);
    /* Another file in its place. */
    assert_int_equal(file_write(path, "kernal", 6, 0444, NULL), 0);
    assert_int_equal(open_image(store, digest, &error), -1);
    assert_int_equal(error.code, ERROR_SIGNATURE);
    /* The same file, with its time of modification set back. */
    assert_int_equal(file_write(path, "kernel", 6, 0444, NULL), 0);
    assert_int_equal(open_image(store, digest, NULL), 0);
    struct stat before;
    int file = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(fstat(file, &before), 0);
    usleep(20000); /* times of change are as fine as the kernel's tick */
    assert_int_equal(pwrite(file, "a", 1, 4), 1);
    const struct timespec times[2] = {before.st_atim, before.st_mtim};
    assert_int_equal(futimens(file, times), 0);
    close(file);
    assert_int_equal(open_image(store, digest, &error), -1);
    assert_int_equal(error.code, ERROR_SIGNATURE);
    /* What can be written to again is not what was proven. */
    assert_int_equal(file_write(path, "kernel", 6, 0644, NULL), 0);
    assert_int_equal(open_image(store, digest, &error), -1);
    assert_int_equal(error.code, ERROR_DENIED);
    image_store_destroy(store);
}

static void note_image(void *context, const char *digest, uint64_t size, uint64_t age_ms)
{
    struct buffer *found = context;
    assert_in_range(age_ms, 0, 3600000);
    buffer_printf(found, "%s %llu\n", digest, (unsigned long long)size);
}

static void image_files_are_listed_and_dropped(void **state)
{
    char digest[DIGEST_TEXT_MAX];
    if (geteuid() != 0)
        skip();
    struct image_store *store = import_kernel(*state, digest);
    AUTO_FREE char *cut = xasprintf("%s/host/images/%s.new", (char *)*state, digest_hex(digest));
    AUTO_FREE char *expected = xasprintf("%s 6\n", digest);
    AUTO_BUFFER struct buffer found = {0}, left = {0};
    assert_int_equal(file_write(cut, "ker", 3, 0600, NULL), 0);
    image_store_each(store, note_image, &found);
    assert_string_equal(buffer_text(&found), expected);
    image_store_destroy(store);
    store = image_store_create(*state, "/shown", NULL);
    assert_int_equal(access(cut, F_OK), -1);
    assert_int_equal(open_image(store, digest, NULL), 0);
    assert_int_equal(image_store_drop(store, digest, NULL), 0);
    assert_int_equal(image_store_drop(store, digest, NULL), 0);
    assert_int_equal(open_image(store, digest, NULL), -1);
    image_store_each(store, note_image, &left);
    assert_int_equal(left.length, 0);
    image_store_destroy(store);
}

struct opener {
    pthread_t thread;
    struct image_store *store;
    const char *digest;
    int result;
};

static void *open_once(void *context)
{
    struct opener *opener = context;
    uint64_t size;
    AUTO_CLOSE int file = -1;
    opener->result = image_store_open(opener->store, opener->digest, &file, &size, NULL);
    return NULL;
}

static void fifty_boots_hash_an_image_once(void **state)
{
    enum { BOOTS = 50, SIZE = 1 << 20 };
    char digest[DIGEST_TEXT_MAX];
    struct opener openers[BOOTS];
    if (geteuid() != 0)
        skip();
    AUTO_FREE char *bytes = xmalloc(SIZE);
    memset(bytes, 'k', SIZE);
    digest_of_bytes(bytes, SIZE, digest);
    AUTO_FREE char *path = xasprintf("%s/staging/%s", (char *)*state, digest_hex(digest));
    assert_int_equal(file_write(path, bytes, SIZE, 0600, NULL), 0);
    struct image_store *store = image_store_create(*state, "/shown", NULL);
    assert_int_equal(image_store_import(store, digest, SIZE, NULL), 0);
    assert_int_equal(image_store_hashed(store), 0);
    for (int i = 0; i < BOOTS; i++) {
        openers[i] = (struct opener){.store = store, .digest = digest, .result = -1};
        assert_int_equal(pthread_create(&openers[i].thread, NULL, open_once, &openers[i]), 0);
    }
    for (int i = 0; i < BOOTS; i++) {
        pthread_join(openers[i].thread, NULL);
        assert_int_equal(openers[i].result, 0);
    }
    assert_int_equal(image_store_import(store, digest, SIZE, NULL), 0);
    assert_int_equal(image_store_hashed(store), SIZE);
    image_store_destroy(store);
    /* Nothing is believed across a start. */
    store = image_store_create(*state, "/shown", NULL);
    assert_int_equal(open_once(&(struct opener){.store = store, .digest = digest}) == NULL, 1);
    assert_int_equal(image_store_hashed(store), SIZE);
    image_store_destroy(store);
}

static void an_image_is_shown_where_others_see_it(void **state)
{
    if (geteuid() != 0)
        skip();
    struct image_store *store = image_store_create(*state, "/run/shoal/1/i", NULL);
    AUTO_FREE char *path = image_store_shown(store, "sha256:0123");
    assert_string_equal(path, "/run/shoal/1/i/0123");
    image_store_destroy(store);
}

/* ---- overlays ---- */

static size_t size_of(const char *folder, const char *name)
{
    AUTO_FREE char *path = xasprintf("%s/%s", folder, name);
    struct stat status;
    return stat(path, &status) == 0 ? (size_t)status.st_size : 0;
}

static struct overlays *open_overlays(const char *folder)
{
    AUTO_FREE char *shown = xasprintf("%s/host/overlays", folder);
    assert_int_equal(chmod(folder, 0711), 0); /* QEMU's users pass */
    struct overlays *overlays = overlays_create(folder, shown, NULL);
    assert_non_null(overlays);
    return overlays;
}

static void an_overlay_is_its_users_and_opens_nothing(void **state)
{
    if (geteuid() != 0)
        skip();
    struct overlays *overlays = open_overlays(*state);
    struct overlay_base base = {.path = "/there/is/no/such", .format = "qcow2", .size = 1 << 20};
    struct error error = ERROR_INIT;
    AUTO_FREE char *path = NULL;
    AUTO_FREE char *again = NULL;
    struct stat status;
    if (overlays_make(overlays, "0001000000a1", 0, &base, 0x70000001, &path, &error) < 0)
        fail_msg("%s", error.message);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_uid, 0x70000001);
    assert_int_equal(status.st_mode & 07777, 0600);
    unsigned char head[QCOW2_HEAD_MAX];
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = read(file, head, sizeof head);
    close(file);
    uint64_t size;
    assert_true(qcow2_is(head, (size_t)got));
    assert_int_equal(qcow2_check(head, (size_t)got, (uint64_t)status.st_size, &size, &error), -1);
    assert_non_null(strstr(error.message, "backing file"));
    /* What the guest wrote before its restart is gone. */
    assert_int_equal(truncate(path, 1), 0);
    assert_int_equal(overlays_make(overlays, "0001000000a1", 0, &base, 0x70000001, &again, NULL),
                     0);
    assert_int_equal(stat(again, &status), 0);
    assert_true(status.st_size > 1);
    base.format = "no-such-format";
    assert_int_equal(overlays_make(overlays, "0001000000a1", 1, &base, 0x70000001, &again, &error),
                     -1);
    if (strstr(error.message, "does not accept value") == NULL)
        fail_msg("%s", error.message);
    overlays_destroy(overlays);
}

static bool is_first(void *context, const char *id)
{
    (void)context;
    return strcmp(id, "0001000000a1") == 0;
}

static void overlays_go_with_their_instance(void **state)
{
    static const char *const names[] = {"0001000000a1.0", "0001000000a1.7", "0001000000a2.0",
                                        "stray", "0001000000a1x.0"};
    struct overlays *overlays = open_overlays(*state);
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        AUTO_FREE char *path = xasprintf("%s/%s", overlays_folder(overlays), names[i]);
        assert_int_equal(file_write(path, "x", 1, 0600, NULL), 0);
    }
    overlays_sweep(overlays, is_first, NULL);
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        assert_int_equal(size_of(overlays_folder(overlays), names[i]), i < 2);
    overlays_remove(overlays, "0001000000a1");
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        assert_int_equal(size_of(overlays_folder(overlays), names[i]), 0);
    overlays_destroy(overlays);
}

static int judge(const char *folder, const void *bytes, size_t length,
                 struct overlay_base *ret_base, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/disk", folder);
    assert_int_equal(file_write(path, bytes, length, 0600, NULL), 0);
    AUTO_CLOSE int file = open(path, O_RDONLY | O_CLOEXEC);
    return overlay_judge(file, length, ret_base, error);
}

static void a_disk_is_raw_unless_it_says_qcow2(void **state)
{
    struct overlay_base base = {0};
    struct error error = ERROR_INIT;
    assert_int_equal(judge(*state, "hello", 5, &base, NULL), 0);
    assert_string_equal(base.format, "raw");
    assert_int_equal(base.size, 512);
    assert_int_equal(judge(*state, "KDMV, of another kind", 21, &base, NULL), 0);
    assert_string_equal(base.format, "raw");
    assert_int_equal(judge(*state, "", 0, &base, &error), -1);
    assert_int_equal(judge(*state, "QFI\xfb and no more", 16, &base, &error), -1);
    assert_non_null(strstr(error.message, "cut short"));
}

/* ---- the console ---- */

static struct consoles *open_consoles(uv_loop_t *loop, const char *folder)
{
    struct console_file_options options = {.folder = folder,
                                           .size = CONSOLE_LOG_SIZE_MIN,
                                           .files = 3,
                                           .reader = getegid(),
                                           .clock = clock_system()};
    return consoles_create(loop, &options);
}

static void count_call(void *context)
{
    (*(int *)context)++;
}

static void what_is_watched_for_is_seen_across_pieces(void **state)
{
    static const char *const pieces[] = {"h", "al", "halte", "d, ", "halt", "ed\nhalt", "ing"};
    int ends[2], calls = 0;
    uv_loop_t loop;
    uv_loop_init(&loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    struct consoles *consoles = open_consoles(&loop, *state);
    struct console *console = console_create(consoles, ends[0], "0001000000a1", false);
    console_watch(console, "halted", count_call, &calls);
    for (size_t i = 0; i < ARRAY_LENGTH(pieces); i++) {
        size_t length = strlen(pieces[i]);
        assert_int_equal(write(ends[1], pieces[i], length), length);
        char next;
        while (recv(ends[0], &next, 1, MSG_PEEK) > 0)
            uv_run(&loop, UV_RUN_ONCE);
        assert_int_equal(calls, i < 3 ? 0 : i < 5 ? 1 : 2);
    }
    console_destroy(console);
    consoles_destroy(consoles);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    close(ends[1]);
}

static void whoever_is_attached_reads_and_types(void **state)
{
    int ends[2], peer, other;
    char text[64] = "";
    uv_loop_t loop;
    uv_loop_init(&loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    struct consoles *consoles = open_consoles(&loop, *state);
    struct console *console = console_create(consoles, ends[0], "0001000000a1", false);
    assert_int_equal(console_attach(console, &peer, NULL), 0);
    for (int i = 1; i < CONSOLE_READERS_MAX; i++) {
        assert_int_equal(console_attach(console, &other, NULL), 0);
        if (i > 1)
            close(other);
    }
    assert_int_equal(console_attach(console, &other, NULL), -1);
    assert_int_equal(write(ends[1], "login: ", 7), 7);
    while (recv(peer, text, sizeof text, MSG_DONTWAIT) != 7)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_string_equal(text, "login: ");
    assert_int_equal(write(peer, "root", 4), 4);
    while (recv(ends[1], text, sizeof text, MSG_DONTWAIT) != 4)
        uv_run(&loop, UV_RUN_NOWAIT);
    assert_memory_equal(text, "root", 4);
    assert_int_equal(console_attach(console, &other, NULL), 0); /* those that left made room */
    close(other);
    console_destroy(console);
    consoles_destroy(consoles);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(recv(peer, text, sizeof text, 0), 0); /* the guest has ended */
    assert_int_equal(uv_loop_close(&loop), 0);
    close(peer);
    close(ends[1]);
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
    struct consoles *consoles = open_consoles(&loop, *state);
    struct console *console = console_create(consoles, ends[0], "0001000000a1", false);
    for (int i = 0; i < 300; i++) {
        while (write(ends[1], line, sizeof line) < 0)
            uv_run(&loop, UV_RUN_NOWAIT);
    }
    assert_int_equal(write(ends[1], "last words", 10), 10);
    assert_int_equal(console_send(console, 0x04, NULL), 0);
    assert_int_equal(read(ends[1], line, sizeof line), 1);
    assert_int_equal(line[0], 0x04);
    console_destroy(console);
    consoles_mark(consoles, "0001000000a1", "ended", "by itself");
    consoles_destroy(consoles);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    close(ends[1]);
    size_t newest = size_of(*state, "0001000000a1.log");
    assert_in_range(newest, 11, CONSOLE_LOG_SIZE_MIN);
    assert_in_range(size_of(*state, "0001000000a1.log.1"), 1, CONSOLE_LOG_SIZE_MIN);
    assert_in_range(size_of(*state, "0001000000a1.log.2"), 1, CONSOLE_LOG_SIZE_MIN);
    assert_int_equal(size_of(*state, "0001000000a1.log.3"), 0);
    AUTO_FREE char *path = xasprintf("%s/0001000000a1.log", (char *)*state);
    AUTO_FREE char *text = NULL;
    assert_int_equal(file_read(path, CONSOLE_LOG_SIZE_MIN, &text, NULL, NULL), 0);
    assert_non_null(strstr(text, "Z L last words\n"));
    assert_non_null(strstr(text, "Z M ended: by itself\n"));
    size_t older = size_of(*state, "0001000000a1.log.1");
    console_retire_logs(*state, "0001000000a1");
    assert_int_equal(size_of(*state, "0001000000a1.log"), 0);
    assert_int_equal(size_of(*state, "0001000000a1.log.1"), 0);
    assert_int_equal(size_of(*state, "0001000000a1.log.2"), 0);
    assert_int_equal(size_of(*state, "0001000000a1.ended"), newest);
    assert_int_equal(size_of(*state, "0001000000a1.ended.1"), older);
}

static void the_last_words_of_the_last_that_ended_are_kept(void **state)
{
    char id[13];
    for (unsigned i = 0; i < CONSOLE_ENDED_KEPT + 3; i++) {
        snprintf(id, sizeof id, "0001%08x", i);
        AUTO_FREE char *path = xasprintf("%s/%s.log", (char *)*state, id);
        int descriptor = open(path, O_WRONLY | O_CREAT, 0600);
        assert_int_equal(write(descriptor, "done\n", 5), 5);
        /* Written a second after the one before. */
        const struct timespec times[2] = {{.tv_sec = 1000 + i}, {.tv_sec = 1000 + i}};
        assert_int_equal(futimens(descriptor, times), 0);
        close(descriptor);
        console_retire_logs(*state, id);
    }
    assert_int_equal(size_of(*state, "000100000002.ended"), 0);
    assert_int_equal(size_of(*state, "000100000003.ended"), 5);
    AUTO_FREE char *newest = xasprintf("%s.ended", id);
    assert_int_equal(size_of(*state, newest), 5);
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
        cmocka_unit_test_setup_teardown(who_staged_a_file_cannot_change_what_came_in, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(what_was_altered_on_disk_does_not_boot, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(image_files_are_listed_and_dropped, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(fifty_boots_hash_an_image_once, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(an_image_is_shown_where_others_see_it, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(an_overlay_is_its_users_and_opens_nothing, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(overlays_go_with_their_instance, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_disk_is_raw_unless_it_says_qcow2, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(what_is_watched_for_is_seen_across_pieces, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(the_last_words_of_the_last_that_ended_are_kept, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(whoever_is_attached_reads_and_types, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_console_log_is_bounded_and_whole_at_its_end, make_folder,
                                        remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
