/* Images on their way from a registry, which does what the test says, to the host half's store. */
#include "tests/unit/lib/registry_fixture.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "agent/host/image_store.h"
#include "agent/image_downloads.h"
#include "image-format/packing.h"

#define REPO    "default/hello"
#define WAITERS 50
/* More than is hashed of a leftover in one turn of the loop. */
#define SIZE ((size_t)6 << 20)

struct world {
    struct scripted_registry *registry;
    struct scripted *answer; /* the blob's */
    char folder[32];
    char *staging, *staged, *partial;
    char digest[DIGEST_TEXT_MAX];
    char *bytes;
    int peer; /* the host half's end */
    uv_poll_t poll;
    struct image_store *images;
    unsigned imports;
    struct host_client *host;
    struct image_cache *cache;
    unsigned removed; /* images, by the cache */
    struct image_downloads *downloads;
    struct image_waiter waiters[WAITERS];
    size_t waiting;
    bool all_done;
    enum error_code code;
    char message[ERROR_MESSAGE_MAX];
    char cause[CAUSE_MAX]; /* the last that was told */
    bool was_told;         /* of one */
};

/* --- the host half --- */

static void on_request(uv_poll_t *poll, int status, int events)
{
    struct world *world = poll->data;
    struct host_message message, answer = {.type = HOST_ANSWER};
    struct error error = ERROR_INIT;
    int descriptor;
    (void)events;
    assert_int_equal(status, 0);
    assert_int_equal(host_message_receive(world->peer, &message, &descriptor, NULL), 1);
    assert_int_equal(host_message_check(&message, NULL), 0);
    assert_int_equal(message.type, HOST_IMPORT);
    world->imports++;
    answer.sequence = message.sequence;
    if (image_store_import(world->images, message.import.digest, message.import.size, &error) < 0) {
        answer.answer.code = error.code;
        snprintf(answer.answer.message, sizeof answer.answer.message, "%.500s", error.message);
    }
    assert_int_equal(host_message_send(world->peer, &answer, -1, NULL), 0);
}

static void on_lost(void *data)
{
    (void)data;
}

static void open_host(struct world *world)
{
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    struct host_client_options options = {
        .loop = &world->registry->harness.loop, .channel = pair[0], .on_lost = on_lost};
    assert_int_equal(host_client_create(&options, &world->host, NULL), 0);
    world->peer = pair[1];
    world->images = image_store_create(world->folder, "/shown", NULL);
    assert_non_null(world->images);
    uv_poll_init(&world->registry->harness.loop, &world->poll, world->peer);
    world->poll.data = world;
    uv_poll_start(&world->poll, UV_READABLE, on_request);
}

/* --- the cache: one image that nobody uses --- */

static bool is_used(const char *digest, const char *architecture, void *data)
{
    (void)digest;
    (void)architecture;
    (void)data;
    return false;
}

static void remove_chain(const char *digest, const char *architecture, void *data)
{
    (void)digest;
    (void)architecture;
    ((struct world *)data)->removed++;
}

static void open_downloads(struct world *world, const char *url)
{
    struct image_downloads_options options = {.loop = &world->registry->harness.loop,
                                              .http = world->registry->harness.client,
                                              .host = world->host,
                                              .chains_directory = world->folder,
                                              .staging_directory = world->staging,
                                              .stall_timeout_s = 1,
                                              .cache = world->cache};
    image_downloads_destroy(world->downloads);
    world->downloads = image_downloads_create(&options);
    image_downloads_set_registry(world->downloads, url);
}

/* --- the world --- */

static int set_up(void **state)
{
    struct world *world = xcalloc(1, sizeof *world);
    world->registry = script_open(1);
    strcpy(world->folder, "/tmp/shoal-pulls-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    world->staging = xasprintf("%s/staging", world->folder);
    assert_int_equal(file_make_directory(world->staging, 0700, NULL), 0);
    world->bytes = xmalloc(SIZE);
    for (size_t i = 0; i < SIZE; i++)
        world->bytes[i] = (char)(i * 7 + i / 251);
    digest_of_bytes(world->bytes, SIZE, world->digest);
    world->staged = xasprintf("%s/%s", world->staging, digest_hex(world->digest));
    world->partial = xasprintf("%s.partial", world->staged);
    AUTO_FREE char *path = xasprintf("/v2/" REPO "/blobs/%s", world->digest);
    world->answer =
        script_add(world->registry, path, "application/octet-stream", world->bytes, SIZE);
    struct image_cache_options cache = {.clock = clock_system(),
                                        .limit = UINT64_MAX,
                                        .age_ms = UINT32_MAX,
                                        .is_used = is_used,
                                        .remove_chain = remove_chain,
                                        .data = world};
    world->cache = image_cache_create(&cache);
    open_host(world);
    open_downloads(world, world->registry->url);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    image_downloads_destroy(world->downloads);
    image_cache_destroy(world->cache);
    host_client_destroy(world->host);
    uv_close((uv_handle_t *)&world->poll, NULL);
    script_close(world->registry);
    close(world->peer);
    image_store_destroy(world->images);
    umount2(world->staging, MNT_DETACH);
    assert_int_equal(file_remove_tree(world->folder, NULL), 0);
    free(world->staging);
    free(world->staged);
    free(world->partial);
    free(world->bytes);
    free(world);
    return 0;
}

static void on_state(enum instance_state instance, const char *cause, const char *message,
                     void *data)
{
    struct world *world = data;
    (void)instance;
    if (cause[0] == '\0')
        return;
    snprintf(world->cause, sizeof world->cause, "%s", cause);
    snprintf(world->message, sizeof world->message, "%s", message);
    world->was_told = true;
}

static void on_done(const struct error *error, void *data)
{
    struct world *world = data;
    world->code = error != NULL ? error->code : ERROR_NONE;
    if (error != NULL)
        snprintf(world->message, sizeof world->message, "%s", error->message);
    world->all_done = --world->waiting == 0;
}

static void begin(struct world *world, size_t count)
{
    world->all_done = false;
    world->waiting = count;
    for (size_t i = 0; i < count; i++)
        world->waiters[i] =
            (struct image_waiter){.on_state = on_state, .on_done = on_done, .data = world};
}

static void fetch(struct world *world, size_t count)
{
    begin(world, count);
    for (size_t i = 0; i < count; i++)
        image_downloads_fetch_part(world->downloads, REPO, world->digest, SIZE, &world->waiters[i]);
}

static void wait_for(struct world *world, const bool *what)
{
    if (!harness_wait(&world->registry->harness, what))
        fail_msg("nothing came; the last cause was %s: %s", world->cause, world->message);
}

static void expect_here(struct world *world)
{
    uint64_t size;
    AUTO_CLOSE int file = -1;
    wait_for(world, &world->all_done);
    if (world->code != ERROR_NONE)
        fail_msg("%s", world->message);
    assert_int_equal(image_store_open(world->images, world->digest, &file, &size, NULL), 0);
    assert_int_equal(size, SIZE);
    assert_int_equal(access(world->staged, F_OK), -1);
    assert_int_equal(access(world->partial, F_OK), -1);
}

static void expect_refused(struct world *world, const char *message)
{
    wait_for(world, &world->all_done);
    assert_int_equal(world->code, ERROR_SIGNATURE);
    if (strstr(world->message, message) == NULL)
        fail_msg("%s", world->message);
    assert_int_equal(access(world->staged, F_OK), -1);
    assert_int_equal(access(world->partial, F_OK), -1);
    assert_int_equal(image_cache_observe(world->cache).files, 0);
}

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
    AUTO_CLOSE int second = accept(stalling->listener, NULL, NULL);
    read_head(second, stalling->second, sizeof stalling->second);
    send_part(second, "206 Partial Content", SIZE - SIZE / 2, bytes + SIZE / 2, SIZE - SIZE / 2);
    return NULL;
}

static void a_registry_that_stalls_is_left_and_asked_again(void **state)
{
    struct world *world = *state;
    struct stalling stalling = {.listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                                .world = world};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    assert_int_equal(bind(stalling.listener, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(stalling.listener, 2), 0);
    assert_int_equal(getsockname(stalling.listener, (struct sockaddr *)&address, &length), 0);
    assert_int_equal(pthread_create(&stalling.thread, NULL, serve_stalling, &stalling), 0);
    AUTO_FREE char *url = xasprintf("http://127.0.0.1:%u", ntohs(address.sin_port));
    AUTO_FREE char *range = xasprintf("\r\nRange: bytes=%zu-\r\n", SIZE / 2);
    open_downloads(world, url);
    fetch(world, 2);
    expect_here(world);
    pthread_join(stalling.thread, NULL);
    close(stalling.listener);
    assert_string_equal(world->cause, "registry_unreachable");
    assert_non_null(strstr(stalling.second, range));
}

static void a_full_disk_says_what_is_missing_and_waits_for_room(void **state)
{
    struct world *world = *state;
    if (geteuid() != 0)
        skip();
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

/* --- packed layers --- */

/* The blob as a layer that holds an initrd. */
static void pack(struct world *world, struct image_verified *ret_image)
{
    AUTO_FREE char *plain = xasprintf("%s/plain", world->folder);
    AUTO_FREE char *packed = xasprintf("%s/packed", world->folder);
    AUTO_FREE char *bytes = NULL;
    size_t length = 0;
    struct image_layer *layer = &ret_image->layers[0];
    assert_int_equal(file_write(plain, world->bytes, SIZE, 0600, NULL), 0);
    AUTO_CLOSE int from = open(plain, O_RDONLY | O_CLOEXEC);
    AUTO_CLOSE int to = open(packed, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(packing_compress_zstd(from, to, NULL), 0);
    assert_int_equal(file_read(packed, SIZE, &bytes, &length, NULL), 0);
    digest_of_bytes(bytes, length, layer->digest);
    layer->size = length;
    ret_image->layer_count = 1;
    ret_image->parts[0] =
        (struct image_part){.kind = IMAGE_PART_INITRD, .packing = IMAGE_PACKING_ZSTD, .size = SIZE};
    memcpy(ret_image->parts[0].digest, world->digest, sizeof world->digest);
    ret_image->part_count = 1;
    strcpy(ret_image->made_for, "shoal");
    strcpy(ret_image->config.architecture, "amd64");
    AUTO_FREE char *path = xasprintf("/v2/" REPO "/blobs/%s", layer->digest);
    world->answer = script_add(world->registry, path, "application/zstd", bytes, length);
}

static void import(struct world *world, size_t count)
{
    begin(world, count);
    for (size_t i = 0; i < count; i++)
        image_downloads_import_part(world->downloads, world->digest, SIZE, &world->waiters[i]);
    wait_for(world, &world->all_done);
}

/* The same kernel in two images: packed in one, as it is in the other. */
static void what_is_only_looked_for_here_takes_no_download_along(void **state)
{
    struct world *world = *state;
    begin(world, 2);
    image_downloads_import_part(world->downloads, world->digest, SIZE, &world->waiters[0]);
    image_downloads_fetch_part(world->downloads, REPO, world->digest, SIZE, &world->waiters[1]);
    expect_here(world);
    assert_int_equal(world->answer->requests, 1);
}

static void a_packed_layer_is_unpacked_once(void **state)
{
    struct world *world = *state;
    struct image_verified image = {0};
    struct image_chain chain = {0};
    pack(world, &image);
    import(world, WAITERS);
    assert_int_equal(world->code, ERROR_NOT_FOUND);
    begin(world, WAITERS);
    for (size_t i = 0; i < WAITERS; i++)
        image_downloads_unpack(world->downloads, REPO, image.layers[0].digest, &image, &chain,
                               &world->waiters[i]);
    wait_for(world, &world->all_done);
    assert_int_equal(world->code, ERROR_NONE);
    import(world, WAITERS);
    expect_here(world);
    assert_int_equal(world->answer->requests, 1);
    /* After a restart too: the host half has what came out, so nothing is unpacked again. */
    open_downloads(world, world->registry->url);
    import(world, WAITERS);
    expect_here(world);
    assert_int_equal(world->answer->requests, 1);
}

/* The blob as an initrd in a tar archive, which alone tells its digest. */
static void pack_tar(struct world *world, struct image_verified *ret_image)
{
    AUTO_FREE char *packed = xasprintf("%s/packed", world->folder);
    AUTO_FREE char *bytes = NULL;
    size_t length = 0;
    struct image_layer *layer = &ret_image->layers[0];
    const struct packing_file file = {.name = "initrd", .bytes = world->bytes, .size = SIZE};
    AUTO_CLOSE int to = open(packed, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(packing_write_tar(to, &file, 1, NULL), 0);
    assert_int_equal(file_read(packed, 2 * SIZE, &bytes, &length, NULL), 0);
    digest_of_bytes(bytes, length, layer->digest);
    layer->size = length;
    ret_image->layer_count = 1;
    ret_image->parts[0] =
        (struct image_part){.kind = IMAGE_PART_INITRD, .packing = IMAGE_PACKING_TAR};
    strcpy(ret_image->parts[0].path, "/initrd");
    ret_image->part_count = 1;
    strcpy(ret_image->manifest_digest, layer->digest); /* any */
    strcpy(ret_image->made_for, "shoal");
    strcpy(ret_image->config.architecture, "amd64");
    AUTO_FREE char *path = xasprintf("/v2/" REPO "/blobs/%s", layer->digest);
    world->answer = script_add(world->registry, path, "application/x-tar", bytes, length);
}

static void what_a_tar_held_is_known_after_a_restart(void **state)
{
    struct world *world = *state;
    struct image_verified image = {0}, asked;
    struct image_chain chain = {0};
    pack_tar(world, &image);
    strcpy(chain.pinned, image.layers[0].digest);
    asked = image;
    assert_false(image_downloads_recall(world->downloads, &chain, &asked));
    begin(world, 1);
    image_downloads_unpack(world->downloads, REPO, chain.pinned, &image, &chain,
                           &world->waiters[0]);
    wait_for(world, &world->all_done);
    if (world->code != ERROR_NONE)
        fail_msg("%s", world->message);
    import(world, 1);
    expect_here(world);
    open_downloads(world, world->registry->url);
    assert_true(image_downloads_recall(world->downloads, &chain, &asked));
    assert_string_equal(asked.parts[0].digest, world->digest);
    assert_int_equal(asked.parts[0].size, SIZE);
    image_verified_release(&asked);
    import(world, 1);
    expect_here(world);
    assert_int_equal(world->answer->requests, 1);
    /* It goes with the chain. */
    image_downloads_remove_chain(world->downloads, chain.pinned, "amd64");
    open_downloads(world, world->registry->url);
    asked = image;
    assert_false(image_downloads_recall(world->downloads, &chain, &asked));
}

int main(void)
{
    /* What is mounted here is seen by nobody else. */
    if (geteuid() == 0 &&
        (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0))
        return 1;
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(fifty_that_wait_share_a_download),
        TEST(a_download_goes_on_after_a_restart),
        TEST(other_bytes_are_refused),
        TEST(more_or_fewer_bytes_are_refused),
        TEST(a_busy_registry_is_asked_again),
        TEST(a_registry_that_stalls_is_left_and_asked_again),
        TEST(a_full_disk_says_what_is_missing_and_waits_for_room),
        TEST(leftovers_go_when_they_are_old),
        TEST(what_is_only_looked_for_here_takes_no_download_along),
        TEST(a_packed_layer_is_unpacked_once),
        TEST(what_a_tar_held_is_known_after_a_restart),
    };
    return geteuid() == 0 ? cmocka_run_group_tests(tests, NULL, NULL) : 0;
}
