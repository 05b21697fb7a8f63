/* Images on their way from a registry, which does what the test says, to the host half's store. */
#include "tests/unit/agent/pulls_fixture.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>

/* --- what is promised --- */

static void fifty_that_wait_share_a_download(void **state)
{
    struct world *world = *state;
    fetch(world, WAITERS);
    expect_here(world);
    assert_int_equal(world->answer->requests, 1);
    assert_int_equal(world->imports, 2); /* is it there, and here it is */
    assert_int_equal(image_cache_observe(world->cache).bytes, SIZE);
    /* Those that come later need no registry; the file is hashed for the first of all boots. */
    fetch(world, WAITERS);
    expect_here(world);
    assert_int_equal(world->answer->requests, 1);
    assert_int_equal(image_store_hashed(world->images), SIZE);
}

/* What an agent left that ended in the middle. */
static void a_download_goes_on_after_a_restart(void **state)
{
    struct world *world = *state;
    size_t had = SIZE - (SIZE / 7);
    AUTO_FREE char *range = xasprintf("bytes=%zu-", had);
    assert_int_equal(file_write(world->partial, world->bytes, had, 0600, NULL), 0);
    fetch(world, 1);
    expect_here(world);
    assert_string_equal(world->answer->last_range, range);
}

static void other_bytes_are_refused(void **state)
{
    struct world *world = *state;
    world->answer->bytes[SIZE / 2] ^= 1;
    fetch(world, 2);
    expect_refused(world, world->digest);
}

static void more_or_fewer_bytes_are_refused(void **state)
{
    struct world *world = *state;
    world->answer->length--;
    fetch(world, 1);
    expect_refused(world, "instead of the expected");
    AUTO_FREE char *longer = xmalloc(SIZE + 1000);
    memcpy(longer, world->bytes, SIZE);
    memset(longer + SIZE, 'x', 1000);
    free(world->answer->bytes);
    world->answer->bytes = TAKE_POINTER(longer);
    world->answer->length = SIZE + 1000;
    fetch(world, 1);
    expect_refused(world, "more than the expected");
}

static void a_busy_registry_is_asked_again(void **state)
{
    struct world *world = *state;
    world->answer->failures = 1;
    fetch(world, 3);
    expect_here(world);
    assert_string_equal(world->cause, "registry_unreachable");
    assert_int_equal(world->answer->requests, 2);
}

/* A part of the bytes, and then nothing, but the connection stays. */
struct stalling {
    int listener;
    const struct world *world;
    pthread_t thread;
    int go[2];         /* a pipe; once something is in it the rest comes after all */
    char second[2048]; /* request */
};

static void read_head(int connection, char *ret_text, size_t size)
{
    size_t length = 0;
    ret_text[0] = '\0';
    while (length + 1 < size && strstr(ret_text, "\r\n\r\n") == NULL) {
        ssize_t got = read(connection, ret_text + length, size - 1 - length);
        if (got <= 0)
            return;
        length += (size_t)got;
        ret_text[length] = '\0';
    }
}

static void send_part(int connection, const char *status, size_t announced, const char *bytes,
                      size_t length)
{
    AUTO_FREE char *head =
        xasprintf("HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", status, announced);
    file_write_all(connection, head, strlen(head), NULL);
    file_write_all(connection, bytes, length, NULL);
}

static void *serve_stalling(void *data)
{
    struct stalling *stalling = data;
    const char *bytes = stalling->world->bytes;
    char request[2048];
    AUTO_CLOSE int first = accept(stalling->listener, NULL, NULL);
    read_head(first, request, sizeof request);
    send_part(first, "200 OK", SIZE, bytes, SIZE / 2);
    if (stalling->go[0] >= 0 && read(stalling->go[0], request, 1) == 1)
        file_write_all(first, bytes + SIZE / 2, SIZE - SIZE / 2, NULL);
    AUTO_CLOSE int second = accept(stalling->listener, NULL, NULL);
    read_head(second, stalling->second, sizeof stalling->second);
    if (strstr(stalling->second, "\r\nRange:") == NULL)
        send_part(second, "200 OK", SIZE, bytes, SIZE);
    else
        send_part(second, "206 Partial Content", SIZE - SIZE / 2, bytes + SIZE / 2,
                  SIZE - SIZE / 2);
    return NULL;
}

static void open_stalling(struct stalling *stalling, struct world *world)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    *stalling = (struct stalling){
        .listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), .world = world, .go = {-1, -1}};
    assert_int_equal(bind(stalling->listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(stalling->listener, 2), 0);
    assert_int_equal(getsockname(stalling->listener, (struct sockaddr *)&address, &length), 0);
    AUTO_FREE char *url = xasprintf("http://127.0.0.1:%u", ntohs(address.sin_port));
    open_downloads(world, url);
}

static void begin_stalling(struct stalling *stalling)
{
    assert_int_equal(pthread_create(&stalling->thread, NULL, serve_stalling, stalling), 0);
}

static void expect_goes_on(struct world *world, struct stalling *stalling)
{
    AUTO_FREE char *range = xasprintf("\r\nRange: bytes=%zu-\r\n", SIZE / 2);
    expect_here(world);
    pthread_join(stalling->thread, NULL);
    close(stalling->listener);
    assert_non_null(strstr(stalling->second, range));
}

static void a_registry_that_stalls_is_left_and_asked_again(void **state)
{
    struct world *world = *state;
    struct stalling stalling;
    open_stalling(&stalling, world);
    begin_stalling(&stalling);
    fetch(world, 2);
    expect_goes_on(world, &stalling);
    assert_string_equal(world->cause, "registry_unreachable");
}

static void wait_for_half(struct world *world)
{
    struct stat status;
    for (int i = 0; i < PATIENCE_MS; i += 10) {
        uv_run(&world->registry->harness.loop, UV_RUN_NOWAIT);
        if (stat(world->partial, &status) == 0 && status.st_size == (off_t)(SIZE / 2))
            return;
        usleep(10000);
    }
    fail_msg("no half of the file came");
}

static bool is_open(const char *path)
{
    DIR *folder = opendir("/proc/self/fd");
    struct dirent *entry;
    bool found = false;
    while ((entry = readdir(folder)) != NULL) {
        char target[PATH_MAX] = "";
        if (readlinkat(dirfd(folder), entry->d_name, target, sizeof target - 1) > 0)
            found = found || strcmp(target, path) == 0;
    }
    closedir(folder);
    return found;
}

/* As the agent ends: those who wait leave, and the downloads go while bytes still come. */
static void a_download_that_is_cut_off_by_an_end_goes_on(void **state)
{
    struct world *world = *state;
    struct stalling stalling;
    world->stall_timeout_s = 60;
    open_stalling(&stalling, world);
    begin_stalling(&stalling);
    fetch(world, 2);
    wait_for_half(world);
    assert_true(is_open(world->partial));
    image_downloads_leave(&world->waiters[0]);
    image_downloads_leave(&world->waiters[1]);
    AUTO_FREE char *url = xstrdup(image_downloads_registry(world->downloads));
    open_downloads(world, url);
    uv_run(&world->registry->harness.loop, UV_RUN_NOWAIT); /* files are closed with their timers */
    assert_false(is_open(world->partial));
    fetch(world, 1);
    expect_goes_on(world, &stalling);
    assert_string_equal(world->cause, "");
}

static void a_full_disk_says_what_is_missing_and_waits_for_room(void **state)
{
    struct world *world = *state;
    image_cache_use(world->cache, &(struct image_cache_name){"r", "unused", "amd64"}, 1, NULL, 0);
    /* Less than is left to others in any case. */
    assert_int_equal(mount("tmpfs", world->staging, "tmpfs", 0, "size=8m"), 0);
    fetch(world, 1);
    wait_for(world, &world->was_told);
    assert_string_equal(world->cause, "no_space");
    assert_non_null(strstr(world->message, "28 MiB are needed"));
    assert_non_null(strstr(world->message, "8 MiB free, 20 MiB are missing"));
    assert_int_equal(world->removed, 1);
    assert_int_equal(world->answer->requests, 0);
    assert_int_equal(mount("tmpfs", world->staging, "tmpfs", MS_REMOUNT, "size=64m"), 0);
    expect_here(world);
}

/* Takes what is left of a disk. */
static void fill(const char *path)
{
    static const char zeroes[65536];
    AUTO_CLOSE int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ssize_t wrote = 1;
    while (wrote > 0)
        wrote = write(file, zeroes, sizeof zeroes);
    assert_int_equal(errno, ENOSPC);
}

static void a_disk_that_fills_up_on_the_way_is_waited_for(void **state)
{
    struct world *world = *state;
    struct stalling stalling;
    AUTO_FREE char *filler = xasprintf("%s/filler", world->staging);
    assert_int_equal(mount("tmpfs", world->staging, "tmpfs", 0, "size=32m"), 0);
    world->stall_timeout_s = 60;
    open_stalling(&stalling, world);
    assert_int_equal(pipe2(stalling.go, O_CLOEXEC), 0);
    begin_stalling(&stalling);
    fetch(world, 1);
    wait_for_half(world);
    fill(filler);
    assert_int_equal(write(stalling.go[1], "g", 1), 1);
    wait_for(world, &world->was_told);
    assert_string_equal(world->cause, "no_space");
    assert_int_equal(access(world->partial, F_OK), -1); /* it takes no room from others */
    assert_int_equal(unlink(filler), 0);
    expect_here(world);
    pthread_join(stalling.thread, NULL);
    close(stalling.listener);
    close(stalling.go[0]);
    close(stalling.go[1]);
}

/* The host half's copy is what does not fit. */
static void a_disk_that_is_full_at_the_import_is_waited_for(void **state)
{
    struct world *world = *state;
    AUTO_FREE char *images = images_folder(world);
    assert_int_equal(mount("tmpfs", images, "tmpfs", 0, "size=1m,mode=711"), 0);
    fetch(world, 1);
    wait_for(world, &world->was_told);
    assert_string_equal(world->cause, "no_space");
    assert_non_null(strstr(world->message, world->digest));
    AUTO_FREE char *cut = xasprintf("%s/%s.new", images, digest_hex(world->digest));
    assert_int_equal(access(cut, F_OK), -1);
    assert_int_equal(mount("tmpfs", images, "tmpfs", MS_REMOUNT, "size=64m"), 0);
    expect_here(world);
    assert_int_equal(world->answer->requests, 1);
}

static void leftovers_go_when_they_are_old(void **state)
{
    struct world *world = *state;
    AUTO_FREE char *old = xasprintf("%s/%064d.partial", world->staging, 1);
    AUTO_FREE char *young = xasprintf("%s/%064d", world->staging, 2);
    const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(file_write(old, "12345", 5, 0600, NULL), 0);
    assert_int_equal(file_write(young, "12345", 5, 0600, NULL), 0);
    assert_int_equal(utimensat(AT_FDCWD, old, times, 0), 0);
    assert_int_equal(image_downloads_sweep(world->downloads, 3600000), 5);
    assert_int_equal(access(old, F_OK), -1);
    assert_int_equal(access(young, F_OK), 0);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN); /* a client may hang up on the test's server */
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(fifty_that_wait_share_a_download),
        TEST(a_download_goes_on_after_a_restart),
        TEST(a_download_that_is_cut_off_by_an_end_goes_on),
        TEST(other_bytes_are_refused),
        TEST(more_or_fewer_bytes_are_refused),
        TEST(a_busy_registry_is_asked_again),
        TEST(a_registry_that_stalls_is_left_and_asked_again),
        TEST(a_full_disk_says_what_is_missing_and_waits_for_room),
        TEST(a_disk_that_fills_up_on_the_way_is_waited_for),
        TEST(a_disk_that_is_full_at_the_import_is_waited_for),
        TEST(leftovers_go_when_they_are_old),
    };
    if (geteuid() != 0)
        return 0;
    return separate_mounts() ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
}
