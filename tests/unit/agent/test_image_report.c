/* A folder of any number of image files is told of without overflowing the channel. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/host/image_report.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

struct world {
    char folder[40];
    uv_loop_t loop;
    struct image_store *images;
    struct channel *channel;
    int peer;
    bool is_gone;
    unsigned messages;
    uint64_t files;
    unsigned char seen[IMAGE_REPORT_MAX * 2]; /* by the number that the name ends with */
};

static void on_received(void *context, const struct host_message *message)
{
    (void)context;
    (void)message;
}

static void on_gone(void *context)
{
    ((struct world *)context)->is_gone = true;
}

static int set_up(void **state)
{
    struct world *world = xcalloc(1, sizeof *world);
    int pair[2];
    *state = world;
    /* In memory: thousands of files are made. */
    strcpy(world->folder, "/dev/shm/shoal-report-XXXXXX");
    uv_loop_init(&world->loop);
    if (geteuid() != 0)
        return 0;
    assert_non_null(mkdtemp(world->folder));
    world->images = image_store_create(world->folder, "/shown", NULL);
    assert_non_null(world->images);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    const struct channel_listener listener = {on_received, on_gone, world};
    world->channel = channel_create(&world->loop, pair[0], &listener);
    world->peer = pair[1];
    assert_int_equal(fcntl(world->peer, F_SETFL, O_NONBLOCK), 0);
    channel_start(world->channel);
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    channel_destroy(world->channel);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    if (geteuid() == 0) {
        close(world->peer);
        image_store_destroy(world->images);
        assert_int_equal(file_remove_tree(world->folder, NULL), 0);
    }
    assert_int_equal(uv_loop_close(&world->loop), 0);
    free(world);
    return 0;
}

static void make_files(const struct world *world, unsigned count)
{
    AUTO_CLOSE int folder =
        open(image_store_folder(world->images), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (unsigned i = 0; i < count; i++) {
        char name[65];
        snprintf(name, sizeof name, "%064x", i);
        AUTO_CLOSE int file = openat(folder, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
        assert_true(file >= 0);
    }
}

static void take(struct world *world, const struct host_message *message)
{
    assert_int_equal(message->type, HOST_IMAGES);
    assert_int_equal(host_message_check(message, NULL), 0);
    world->messages++;
    for (uint32_t i = 0; i < message->images.count; i++) {
        unsigned long number = strtoul(message->images.entries[i].digest + 63, NULL, 16);
        assert_in_range(number, 0, sizeof world->seen - 1);
        assert_int_equal(world->seen[number]++, 0);
        world->files++;
    }
}

/* The other half reads only now. */
static void read_all(struct world *world)
{
    struct host_message message;
    struct error error;
    int descriptor;
    while (!world->is_gone) {
        uv_run(&world->loop, UV_RUN_NOWAIT);
        error = (struct error)ERROR_INIT;
        if (host_message_receive(world->peer, &message, &descriptor, &error) == 1)
            take(world, &message);
        else if (error.code == ERROR_TIMEOUT)
            return;
        else
            fail_msg("%s", error.message);
    }
}

static void all_files_are_told_of(void **state)
{
    struct world *world = *state;
    if (geteuid() != 0)
        skip();
    image_report_send(world->images, world->channel);
    read_all(world);
    assert_int_equal(world->messages, 0); /* none are here */
    make_files(world, HOST_IMAGES_ENTRIES + 1);
    image_report_send(world->images, world->channel);
    read_all(world);
    assert_int_equal(world->messages, 2);
    assert_int_equal(world->files, HOST_IMAGES_ENTRIES + 1);
}

static void no_number_of_files_overflows_the_channel(void **state)
{
    struct world *world = *state;
    if (geteuid() != 0)
        skip();
    make_files(world, IMAGE_REPORT_MAX + 5);
    image_report_send(world->images, world->channel);
    read_all(world);
    assert_false(world->is_gone);
    assert_int_equal(world->files, IMAGE_REPORT_MAX);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(all_files_are_told_of),
        TEST(no_number_of_files_overflows_the_channel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
