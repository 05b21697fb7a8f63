/* The guests' network in a namespace of the test's own; as root. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "agent/host/namespace.h"
#include "agent/host/network.h"
#include "lib/cleanup.h"
#include "lib/file.h"

#define MANY 1100 /* descriptors: more than an fd_set has room for */

struct fixture {
    char directory[64];
    char node[32];
    struct network *network;
};

static int set_up(void **state)
{
    static struct fixture fixture;
    struct error error;
    if (geteuid() != 0)
        return 0;
    strcpy(fixture.directory, "/tmp/shoal-network.XXXXXX");
    assert_non_null(mkdtemp(fixture.directory));
    snprintf(fixture.node, sizeof fixture.node, "unit-%d", (int)getpid());
    if (network_create(fixture.node, fixture.directory, &fixture.network, &error) < 0)
        fail_msg("%s", error.message);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    char name[48];
    if (fixture == NULL)
        return 0;
    network_destroy(fixture->network);
    snprintf(name, sizeof name, "shoal-%s", fixture->node);
    assert_int_equal(namespace_remove(name, NULL), 0);
    return file_remove_tree(fixture->directory, NULL);
}

/* So that whatever is opened next has a number that select(2) cannot take. */
static void open_many(int files[MANY])
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max < MANY + 100)
        skip();
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    for (size_t i = 0; i < MANY; i++) {
        files[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_true(files[i] >= 0);
    }
}

/* As they are where hundreds of microVMs run. */
static void taps_come_and_go_while_many_descriptors_are_open(void **state)
{
    const struct fixture *fixture = *state;
    int files[MANY];
    if (fixture == NULL)
        skip();
    open_many(files);
    struct error error;
    AUTO_CLOSE int tap = -1;
    if (network_configure(fixture->network, "10.64.9.0/24", &error) < 0 ||
        network_tap_open(fixture->network, "sh000100000002", "52:00:00:00:00:02", "10.64.9.2", &tap,
                         &error) < 0)
        fail_msg("%s", error.message);
    char(*ids)[INSTANCE_ID_MAX];
    size_t count;
    assert_int_equal(network_list_taps(fixture->network, &ids, &count, NULL), 0);
    assert_int_equal(count, 1);
    assert_string_equal(ids[0], "000100000002");
    free(ids);
    assert_int_equal(network_tap_remove(fixture->network, "sh000100000002", "52:00:00:00:00:02",
                                        "10.64.9.2", NULL),
                     0);
    for (size_t i = 0; i < MANY; i++)
        close(files[i]);
}

/* What one call was told of does not stay behind for the next one. */
static void a_pin_that_nftables_refuses_is_named_and_the_next_one_passes(void **state)
{
    const struct fixture *fixture = *state;
    if (fixture == NULL)
        skip();
    struct error error;
    int tap;
    assert_int_equal(network_configure(fixture->network, "10.64.9.0/24", NULL), 0);
    assert_int_equal(network_tap_open(fixture->network, "sh000100000003", "52:00:00:00:00:03",
                                      "nonsense", &tap, &error),
                     -1);
    assert_non_null(strstr(error.message, "nftables: "));
    assert_int_equal(network_tap_open(fixture->network, "sh000100000003", "52:00:00:00:00:03",
                                      "10.64.9.3", &tap, NULL),
                     0);
    close(tap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(taps_come_and_go_while_many_descriptors_are_open, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(
            a_pin_that_nftables_refuses_is_named_and_the_next_one_passes, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
