/* A registry that does what the test says, downloads from it, and the host half's store behind
 * them. Needs root. */
#pragma once

#include "tests/unit/lib/registry_fixture.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "agent/host/image_store.h"
#include "agent/image_downloads.h"

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
    unsigned stall_timeout_s;
    char cause[CAUSE_MAX]; /* the last that was told */
    bool was_told;         /* of one */
};

/* --- the host half --- */

static inline void on_request(uv_poll_t *poll, int status, int events)
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

static inline void on_lost(void *data)
{
    (void)data;
}

static inline void open_host(struct world *world)
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

static inline bool is_used(const char *digest, const char *architecture, void *data)
{
    (void)digest;
    (void)architecture;
    (void)data;
    return false;
}

static inline void remove_chain(const char *digest, const char *architecture, void *data)
{
    (void)digest;
    (void)architecture;
    ((struct world *)data)->removed++;
}

static inline void open_downloads(struct world *world, const char *url)
{
    struct image_downloads_options options = {.loop = &world->registry->harness.loop,
                                              .http = world->registry->harness.client,
                                              .host = world->host,
                                              .chains_directory = world->folder,
                                              .staging_directory = world->staging,
                                              .stall_timeout_s = world->stall_timeout_s,
                                              .cache = world->cache};
    image_downloads_destroy(world->downloads);
    world->downloads = image_downloads_create(&options);
    image_downloads_set_registry(world->downloads, url);
}

/* --- the world --- */

static inline char *images_folder(const struct world *world)
{
    return xasprintf("%s/host/images", world->folder);
}

static inline int set_up(void **state)
{
    struct world *world = xcalloc(1, sizeof *world);
    world->registry = script_open(1);
    world->stall_timeout_s = 1;
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

static inline int tear_down(void **state)
{
    struct world *world = *state;
    image_downloads_destroy(world->downloads);
    image_cache_destroy(world->cache);
    host_client_destroy(world->host);
    uv_close((uv_handle_t *)&world->poll, NULL);
    script_close(world->registry);
    close(world->peer);
    image_store_destroy(world->images);
    AUTO_FREE char *images = images_folder(world);
    umount2(world->staging, MNT_DETACH);
    umount2(images, MNT_DETACH);
    assert_int_equal(file_remove_tree(world->folder, NULL), 0);
    free(world->staging);
    free(world->staged);
    free(world->partial);
    free(world->bytes);
    free(world);
    return 0;
}

static inline void on_state(enum instance_state instance, const char *cause, const char *message,
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

static inline void on_done(const struct error *error, void *data)
{
    struct world *world = data;
    world->code = error != NULL ? error->code : ERROR_NONE;
    if (error != NULL)
        snprintf(world->message, sizeof world->message, "%s", error->message);
    world->all_done = --world->waiting == 0;
}

static inline void begin(struct world *world, size_t count)
{
    world->all_done = false;
    world->waiting = count;
    for (size_t i = 0; i < count; i++)
        world->waiters[i] =
            (struct image_waiter){.on_state = on_state, .on_done = on_done, .data = world};
}

static inline void fetch(struct world *world, size_t count)
{
    begin(world, count);
    for (size_t i = 0; i < count; i++)
        image_downloads_fetch_part(world->downloads, REPO, world->digest, SIZE, &world->waiters[i]);
}

static inline void wait_for(struct world *world, const bool *what)
{
    if (!harness_wait(&world->registry->harness, what))
        fail_msg("nothing came; the last cause was %s: %s", world->cause, world->message);
}

static inline void expect_here(struct world *world)
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

static inline void expect_refused(struct world *world, const char *message)
{
    wait_for(world, &world->all_done);
    assert_int_equal(world->code, ERROR_SIGNATURE);
    if (strstr(world->message, message) == NULL)
        fail_msg("%s", world->message);
    assert_int_equal(access(world->staged, F_OK), -1);
    assert_int_equal(access(world->partial, F_OK), -1);
    assert_int_equal(image_cache_observe(world->cache).files, 0);
}

/* What a test mounts is seen by nobody else. */
static inline bool separate_mounts(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}
