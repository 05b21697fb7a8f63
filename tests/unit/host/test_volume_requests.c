/* What is asked about volumes, against a hypervisor in memory. Needs root, as volumes do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/host/volume_requests.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "tests/fake/hypervisor_fake.h"
#include "tests/fake/worker_fake.h"

#define ID  "000100000001"
#define MIB ((uint64_t)1 << 20)

static const struct host_volume_key data = {"default", "counter", 0, "data"};

struct node {
    char folder[40];
    uv_loop_t loop;
    struct hypervisor_fake *world;
    struct volume_requests requests;
    int decider; /* the other end */
};

static void post(void *context, struct worker_job *job)
{
    (void)context;
    job->done(job);
}

static void on_ended(void *context, const char *id, enum hypervisor_end end)
{
    (void)context;
    (void)id;
    (void)end;
}

static int set_up(void **state)
{
    struct node *node = xcalloc(1, sizeof *node);
    struct hypervisor_listener listener = {.ended = on_ended};
    struct channel_listener nobody = {.context = node};
    int ends[2];
    AUTO_FREE char *path = NULL;
    strcpy(node->folder, "/tmp/shoal-test-requests.XXXXXX");
    assert_non_null(mkdtemp(node->folder));
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    uv_loop_init(&node->loop);
    node->decider = ends[1];
    node->world = hypervisor_fake_create();
    struct volumes *volumes = volumes_create(node->folder, "/run/shoal/1/w", 0, NULL);
    assert_non_null(volumes);
    assert_int_equal(volumes_attach(volumes, ID, &data, MIB, 0x70000005U, &path, NULL), 0);
    node->requests = (struct volume_requests){
        .worker = worker_fake_create(1, post, NULL),
        .lister = worker_fake_create(1, post, NULL),
        .volumes = volumes,
        .hypervisor = hypervisor_fake_open(node->world, &listener),
        .run_directory = node->folder,
        .channel = channel_create(&node->loop, ends[0], &nobody),
    };
    *state = node;
    return 0;
}

static int tear_down(void **state)
{
    struct node *node = *state;
    channel_destroy(node->requests.channel);
    uv_run(&node->loop, UV_RUN_DEFAULT);
    uv_loop_close(&node->loop);
    worker_destroy(node->requests.worker);
    worker_destroy(node->requests.lister);
    volumes_destroy(node->requests.volumes);
    hypervisor_close(node->requests.hypervisor);
    hypervisor_fake_destroy(node->world);
    close(node->decider);
    int result = file_remove_tree(node->folder, NULL);
    free(node);
    return result;
}

static void ask(const struct node *node, uint32_t type)
{
    struct host_message message = {.type = type, .sequence = type};
    if (type == HOST_VOLUME)
        message.volume = (struct host_volume_request){
            .operation = HOST_VOLUME_SNAPSHOT, .key = data, .snapshot = "first"};
    volume_requests_take(&node->requests, &message);
}

static void finish_one(struct worker *worker)
{
    worker_fake_run(worker);
    worker_fake_post(worker, 0);
}

static void await_answer(struct node *node, uint32_t type, struct host_answer *ret_answer)
{
    struct host_message message;
    struct error error = ERROR_INIT;
    int descriptor = -1;
    uv_run(&node->loop, UV_RUN_NOWAIT);
    if (host_message_receive(node->decider, &message, &descriptor, &error) < 0)
        fail_msg("%s", error.message);
    assert_int_equal(message.type, HOST_ANSWER);
    assert_int_equal(message.sequence, type);
    *ret_answer = message.answer;
    if (descriptor >= 0)
        close(descriptor);
}

static void a_list_does_not_wait_for_a_copy(void **state)
{
    struct node *node = *state;
    struct host_answer answer;
    ask(node, HOST_VOLUME);
    ask(node, HOST_VOLUMES);
    finish_one(node->requests.lister);
    await_answer(node, HOST_VOLUMES, &answer);
    assert_int_equal(answer.code, ERROR_NONE);
    finish_one(node->requests.worker);
    await_answer(node, HOST_VOLUME, &answer);
    assert_int_not_equal(answer.code, ERROR_NONE); /* there is no such microVM to pause */
}

/* It could let the guest go on in the middle of the copy. */
static void what_a_debugger_holds_is_not_copied(void **state)
{
    struct node *node = *state;
    struct host_answer answer;
    AUTO_FREE char *folder = xasprintf("%s/g", node->folder);
    AUTO_FREE char *socket = xasprintf("%s/" ID, folder);
    assert_int_equal(file_make_directory(folder, 0700, NULL), 0);
    assert_int_equal(file_write(socket, "", 0, 0600, NULL), 0);
    ask(node, HOST_VOLUME);
    finish_one(node->requests.worker);
    await_answer(node, HOST_VOLUME, &answer);
    assert_int_equal(answer.code, ERROR_CONFLICT);
    assert_non_null(strstr(answer.message, "shoal debug " ID " --stop"));
}

#define TEST(NAME) cmocka_unit_test_setup_teardown(NAME, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_list_does_not_wait_for_a_copy),
        TEST(what_a_debugger_holds_is_not_copied),
    };
    if (geteuid() != 0)
        return 0;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
