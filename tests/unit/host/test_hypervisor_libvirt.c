/* Our use of libvirt against libvirt's own test driver, which runs nothing but answers, tells of
 * events and keeps metadata as the others do. Its domains are there while a connection is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <libvirt/libvirt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/host/hypervisor.h"
#include "agent/host/libvirt_known.h"
#include "image-format/family.h"

#define DIGEST "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define ID     "0001000003f2"
#define OTHER  "0001000003f3"

struct heard {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char id[INSTANCE_ID_MAX];
    enum hypervisor_end end;
    size_t count;
    struct hypervisor *hypervisor;
    virConnectPtr daemon; /* keeps the domains while no agent is there */
};

static void on_ended(void *context, const char *id, enum hypervisor_end end)
{
    struct heard *heard = context;
    pthread_mutex_lock(&heard->lock);
    strcpy(heard->id, id);
    heard->end = end;
    heard->count++;
    pthread_cond_signal(&heard->changed);
    pthread_mutex_unlock(&heard->lock);
}

static void open_as(struct heard *heard, const char *root)
{
    struct error error = ERROR_INIT;
    struct hypervisor_libvirt_options options = {.uri = "test:///default", .root = root};
    struct hypervisor_listener listener = {.ended = on_ended, .context = heard};
    if (hypervisor_libvirt_open(&options, &listener, &heard->hypervisor, &error) < 0)
        fail_msg("%s", error.message);
}

static int begin(void **state)
{
    struct heard *heard = calloc(1, sizeof *heard);
    pthread_mutex_init(&heard->lock, NULL);
    pthread_cond_init(&heard->changed, NULL);
    open_as(heard, "/run/shoal/test");
    heard->daemon = virConnectOpen("test:///default");
    *state = heard;
    return 0;
}

static int finish(void **state)
{
    struct heard *heard = *state;
    hypervisor_destroy(heard->hypervisor, ID, NULL);
    hypervisor_destroy(heard->hypervisor, OTHER, NULL);
    hypervisor_close(heard->hypervisor);
    virConnectClose(heard->daemon);
    free(heard);
    return 0;
}

static int create(struct heard *heard, const char *id, struct error *error)
{
    const struct family *family = family_find("shoal");
    struct microvm_spec spec = {
        .kernel = DIGEST,
        .image = DIGEST,
        .address = "10.64.0.2",
        .family = "shoal",
        .boot = family_find_boot(family, "amd64", "pvh", "microvm", NULL),
        .kernel_path = "/kernel",
        .initrd_path = "",
        .console_path = "/console",
        .command_line = "--greeting 'a & b'",
        .memory = (uint64_t)32 << 20,
        .limit = (uint64_t)96 << 20,
        .vcpus = 2,
        .uid = 0x70000001,
        .gid = 0x70000001,
    };
    pid_t pid;
    strcpy(spec.id, id);
    snprintf(spec.tap, sizeof spec.tap, "sh%s", id);
    host_mac_of_instance(id, spec.mac);
    return hypervisor_create(heard->hypervisor, &spec, &pid, error);
}

static void start(struct heard *heard, const char *id)
{
    struct error error = ERROR_INIT;
    if (create(heard, id, &error) < 0 || hypervisor_resume(heard->hypervisor, id, &error) < 0)
        fail_msg("%s", error.message);
}

static void assert_heard(struct heard *heard, const char *id, enum hypervisor_end end)
{
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 60;
    pthread_mutex_lock(&heard->lock);
    while (heard->count == 0 &&
           pthread_cond_timedwait(&heard->changed, &heard->lock, &deadline) == 0)
        ;
    assert_int_equal(heard->count, 1);
    assert_string_equal(heard->id, id);
    assert_int_equal(heard->end, end);
    pthread_mutex_unlock(&heard->lock);
}

static size_t adopt(struct heard *heard, struct hypervisor_found *ret_first)
{
    struct hypervisor_found *found;
    size_t count;
    struct error error = ERROR_INIT;
    if (hypervisor_adopt(heard->hypervisor, &found, &count, &error) < 0)
        fail_msg("%s", error.message);
    if (count > 0)
        *ret_first = found[0];
    free(found);
    return count;
}

static void a_microvm_is_made_once(void **state)
{
    struct heard *heard = *state;
    struct error error = ERROR_INIT;
    start(heard, ID);
    assert_int_equal(create(heard, ID, &error), -1);
    assert_non_null(strstr(error.message, "create the microVM: "));
    assert_non_null(strstr(error.message, "already"));
}

static void what_is_not_there_is_said_so(void **state)
{
    struct heard *heard = *state;
    struct error error = ERROR_INIT;
    assert_int_equal(hypervisor_resume(heard->hypervisor, ID, &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_int_equal(hypervisor_press_power(heard->hypervisor, ID, &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_int_equal(hypervisor_destroy(heard->hypervisor, ID, NULL), 0);
    assert_int_equal(hypervisor_await_gone(heard->hypervisor, ID, NULL), 0);
}

static void an_end_by_force_is_told(void **state)
{
    struct heard *heard = *state;
    start(heard, ID);
    assert_int_equal(hypervisor_destroy(heard->hypervisor, ID, NULL), 0);
    assert_heard(heard, ID, HYPERVISOR_END_STOP);
    assert_int_equal(hypervisor_await_gone(heard->hypervisor, ID, NULL), 0);
}

static void a_guest_that_obeys_its_button_ends(void **state)
{
    struct heard *heard = *state;
    start(heard, ID);
    assert_int_equal(hypervisor_press_power(heard->hypervisor, ID, NULL), 0);
    assert_heard(heard, ID, HYPERVISOR_END_EXIT);
}

static void the_next_agent_finds_what_runs_by_its_metadata(void **state)
{
    struct heard *heard = *state;
    struct hypervisor_found found;
    start(heard, ID);
    hypervisor_close(heard->hypervisor);
    open_as(heard, "/run/shoal/test");
    assert_int_equal(adopt(heard, &found), 1);
    assert_string_equal(found.identity.id, ID);
    assert_string_equal(found.identity.kernel, DIGEST);
    assert_string_equal(found.identity.image, DIGEST);
    assert_string_equal(found.identity.address, "10.64.0.2");
    assert_string_equal(found.identity.family, "shoal");
    assert_int_equal(hypervisor_destroy(heard->hypervisor, ID, NULL), 0);
    assert_heard(heard, ID, HYPERVISOR_END_STOP);
}

static void what_stands_still_is_found_and_said_to(void **state)
{
    struct heard *heard = *state;
    struct hypervisor_found found;
    struct error error = ERROR_INIT;
    assert_int_equal(create(heard, ID, &error), 0);
    hypervisor_close(heard->hypervisor);
    open_as(heard, "/run/shoal/test");
    assert_int_equal(adopt(heard, &found), 1);
    assert_true(found.paused);
    assert_int_equal(hypervisor_resume(heard->hypervisor, ID, NULL), 0);
    hypervisor_close(heard->hypervisor);
    open_as(heard, "/run/shoal/test");
    assert_int_equal(adopt(heard, &found), 1);
    assert_false(found.paused);
}

/* libvirt's test driver begins with a domain "test", which stays as well. */
static void others_microvms_are_left_alone(void **state)
{
    struct heard *heard = *state;
    struct hypervisor_found found;
    struct error error = ERROR_INIT;
    start(heard, ID);
    hypervisor_close(heard->hypervisor);
    open_as(heard, "/run/shoal/another");
    assert_int_equal(adopt(heard, &found), 0);
    assert_int_equal(create(heard, ID, &error), -1);
    hypervisor_close(heard->hypervisor);
    open_as(heard, "/run/shoal/test");
    assert_int_equal(adopt(heard, &found), 1);
}

static void xen_is_refused_with_what_to_do(void **state)
{
    struct heard *heard = *state;
    struct hypervisor *hypervisor;
    struct error error = ERROR_INIT;
    struct hypervisor_libvirt_options options = {.uri = "xen:///system", .root = "/run/shoal/test"};
    struct hypervisor_listener listener = {.ended = on_ended, .context = heard};
    assert_int_equal(hypervisor_libvirt_open(&options, &listener, &hypervisor, &error), -1);
    assert_int_equal(error.code, ERROR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "qemu:///embed"));
}

/* With no other open: a process has one at a time. */
static void a_daemon_that_is_not_there_is_said_at_once(void **state)
{
    (void)state;
    struct hypervisor *hypervisor;
    struct error error = ERROR_INIT;
    struct hypervisor_libvirt_options options = {
        .uri = "qemu:///system?socket=/nonexistent/libvirt-sock", .root = "/run/shoal/test"};
    struct hypervisor_listener listener = {.ended = on_ended};
    assert_int_equal(hypervisor_libvirt_open(&options, &listener, &hypervisor, &error), -1);
    assert_non_null(strstr(error.message, "is libvirtd running?"));
}

/* ---- why QEMU says that it shuts down ---- */

static void the_first_reason_counts(void **state)
{
    (void)state;
    static const struct {
        const char *details;
        enum hypervisor_end end;
    } cases[] = {
        {"{\"guest\":true,\"reason\":\"guest-reset\"}", HYPERVISOR_END_RESET},
        {"{\"guest\":true,\"reason\":\"guest-shutdown\"}", HYPERVISOR_END_EXIT},
        {"{\"guest\":true,\"reason\":\"guest-panic\"}", HYPERVISOR_END_PANIC},
        {"{\"guest\":false,\"reason\":\"host-signal\"}", HYPERVISOR_END_DEATH},
        {"{\"guest\":false,\"reason\":\"something-new\"}", HYPERVISOR_END_DEATH},
        {"{\"guest\":true}", HYPERVISOR_END_STOP},
        {"{\"reason\":1}", HYPERVISOR_END_STOP},
        {"no JSON", HYPERVISOR_END_STOP},
    };
    struct libvirt_known *known = libvirt_known_create();
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        libvirt_known_begin(known, ID, false);
        libvirt_known_shut_down(known, ID, cases[i].details);
        if (cases[i].end != HYPERVISOR_END_STOP)
            libvirt_known_shut_down(known, ID, "{\"reason\":\"host-signal\"}");
        assert_int_equal(libvirt_known_end(known, ID, HYPERVISOR_END_STOP), cases[i].end);
        assert_false(libvirt_known_has(known, ID));
    }
    libvirt_known_shut_down(known, ID, cases[0].details); /* of nobody */
    libvirt_known_begin(known, ID, false);
    assert_int_equal(libvirt_known_end(known, ID, HYPERVISOR_END_STOP), HYPERVISOR_END_STOP);
    libvirt_known_destroy(known);
}

static void those_that_are_made_come_in_order(void **state)
{
    (void)state;
    char at[INSTANCE_ID_MAX] = "";
    struct libvirt_known *known = libvirt_known_create();
    libvirt_known_begin(known, "000000000003", true);
    libvirt_known_begin(known, "000000000001", true);
    libvirt_known_begin(known, "000000000002", false);
    assert_true(libvirt_known_next(known, at));
    assert_string_equal(at, "000000000001");
    libvirt_known_end(known, at, HYPERVISOR_END_EXIT);
    libvirt_known_finish_making(known, "000000000002");
    assert_true(libvirt_known_next(known, at));
    assert_string_equal(at, "000000000002");
    assert_true(libvirt_known_next(known, at));
    assert_string_equal(at, "000000000003");
    assert_false(libvirt_known_next(known, at));
    libvirt_known_destroy(known);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, finish)
    const struct CMUnitTest tests[] = {
        TEST(a_microvm_is_made_once),
        TEST(what_is_not_there_is_said_so),
        TEST(an_end_by_force_is_told),
        TEST(a_guest_that_obeys_its_button_ends),
        TEST(the_next_agent_finds_what_runs_by_its_metadata),
        TEST(what_stands_still_is_found_and_said_to),
        TEST(others_microvms_are_left_alone),
        TEST(xen_is_refused_with_what_to_do),
        cmocka_unit_test(a_daemon_that_is_not_there_is_said_at_once),
        cmocka_unit_test(the_first_reason_counts),
        cmocka_unit_test(those_that_are_made_come_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
