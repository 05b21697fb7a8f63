#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/figures.h"
#include "agent/host/hypervisor_qemu_internal.h"
#include "agent/host/usage_sources.h"
#include "lib/cleanup.h"

#define SECOND_NS UINT64_C(1000000000)
#define ID        "000100000001"

/* --- what the kernel says --- */

static void statm_tells_resident_and_private_memory(void **state)
{
    (void)state;
    struct usage_process process = {0};
    assert_true(usage_parse_statm("25000 9800 5000 3000 0 12000 0\n", 4096, &process));
    assert_int_equal(process.memory, 9800 * 4096);
    assert_int_equal(process.memory_private, 4800 * 4096);
}

static void statm_of_another_form_is_refused(void **state)
{
    (void)state;
    struct usage_process process = {0};
    assert_false(usage_parse_statm("", 4096, &process));
    assert_false(usage_parse_statm("25000 9800", 4096, &process));
    assert_false(usage_parse_statm("a b c d", 4096, &process));
    assert_false(usage_parse_statm("1 2 3", 4096, &process));
    assert_false(usage_parse_statm("1 18446744073709551615 3", 4096, &process));
    assert_int_equal(process.memory, 0);
}

static const char links[] =
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop "
    "fifo colls carrier compressed\n"
    "    lo:       0       0    0    0    0     0          0         0        0       0    0    0  "
    " "
    " 0     0       0          0\n"
    "sh000100000001: 1044      14    0    3    0     0          0         0     2088      28    0  "
    " "
    " 5    0     0       0          0\n";

static void every_link_is_told_with_what_passed(void **state)
{
    (void)state;
    const char *at = links;
    char name[16];
    struct usage_link link;
    assert_true(usage_next_link(&at, name, sizeof name, &link));
    assert_string_equal(name, "lo");
    assert_true(usage_next_link(&at, name, sizeof name, &link));
    assert_string_equal(name, "sh000100000001");
    assert_int_equal(link.received_bytes, 1044);
    assert_int_equal(link.received_packets, 14);
    assert_int_equal(link.received_drops, 3);
    assert_int_equal(link.sent_bytes, 2088);
    assert_int_equal(link.sent_packets, 28);
    assert_int_equal(link.sent_drops, 5);
    assert_false(usage_next_link(&at, name, sizeof name, &link));
}

static void lines_of_another_form_are_passed_over(void **state)
{
    (void)state;
    const char *at =
        "sh1: 1 2 3\na name with a blank: 1 2\n: 1 2\nmuch_longer_than_any_name_is: 1\n"
        "sh2: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 x\n"
        "sh3:1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16";
    char name[16];
    struct usage_link link;
    assert_true(usage_next_link(&at, name, sizeof name, &link));
    assert_string_equal(name, "sh3");
    assert_int_equal(link.sent_drops, 12);
    assert_false(usage_next_link(&at, name, sizeof name, &link));
}

static void a_process_is_read_with_its_processor_time(void **state)
{
    (void)state;
    struct usage_process first, second;
    assert_int_equal(usage_read_process(getpid(), geteuid(), &first, NULL), 0);
    assert_true(first.memory > 0);
    assert_true(first.memory_private <= first.memory);
    for (volatile int i = 0; i < 10000000; i++)
        ;
    assert_int_equal(usage_read_process(getpid(), geteuid(), &second, NULL), 0);
    assert_true(second.cpu_ns > first.cpu_ns);
}

static void somebody_elses_process_is_not_read(void **state)
{
    (void)state;
    struct usage_process process;
    struct error error = ERROR_INIT;
    assert_int_equal(usage_read_process(getpid(), geteuid() + 1, &process, &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_int_equal(usage_read_process(0, geteuid(), &process, &error), -1);
}

static void the_machine_is_told_with_its_processors_and_memory(void **state)
{
    (void)state;
    struct usage_machine machine = {0};
    assert_true(
        usage_parse_cpu("cpu  100 20 30 4000 500 6 7 8 0 0\ncpu0 50 10 15 2000 250 3 3 4 0 0\n"
                        "cpu1 50 10 15 2000 250 3 4 4 0 0\nintr 1 2 3\n",
                        100, &machine));
    assert_int_equal(machine.processors, 2);
    assert_int_equal(machine.cpu_ns, 163 * UINT64_C(10000000));
    assert_true(usage_parse_meminfo("MemTotal:       24576 kB\nMemFree:  100 kB\n"
                                    "MemAvailable:   20480 kB\n",
                                    &machine));
    assert_int_equal(machine.memory, 24576 * 1024);
    assert_int_equal(machine.memory_available, 20480 * 1024);
    assert_false(usage_parse_cpu("cpu  100 20\n", 100, &machine));
    assert_false(usage_parse_cpu("cpu  100 20 30 4000 500 6 7\n", 100, &machine));
    assert_false(usage_parse_cpu("", 100, &machine));
    assert_false(usage_parse_meminfo("MemTotal: 5 kB\n", &machine));
    assert_int_equal(usage_read_machine(&machine, NULL), 0);
    assert_true(machine.processors > 0 && machine.memory_available <= machine.memory);
}

static int decode_disks(const char *text, struct hypervisor_disk_use *ret_use)
{
    AUTO_JSON struct json_object *value = NULL;
    assert_int_equal(json_parse(text, strlen(text), &value, NULL), 0);
    return qemu_decode_disks(value, ret_use, NULL);
}

static void qemus_disks_are_added_up(void **state)
{
    (void)state;
    struct hypervisor_disk_use use;
    assert_int_equal(
        decode_disks("[{\"device\": \"\", \"stats\": {\"rd_bytes\": 4096, \"rd_operations\": 2,"
                     " \"wr_bytes\": 512, \"wr_operations\": 1, \"flush_operations\": 1},"
                     " \"parent\": {\"stats\": {\"rd_bytes\": 9}}},"
                     "{\"stats\": {\"rd_bytes\": 1024, \"rd_operations\": 1, \"wr_bytes\": 0,"
                     " \"wr_operations\": 0}}]",
                     &use),
        0);
    assert_int_equal(use.disks, 2);
    assert_int_equal(use.read_bytes, 5120);
    assert_int_equal(use.read_operations, 3);
    assert_int_equal(use.written_bytes, 512);
    assert_int_equal(use.write_operations, 1);
    assert_int_equal(decode_disks("[]", &use), 0);
    assert_int_equal(use.disks, 0);
}

static void what_is_no_list_of_disks_is_refused(void **state)
{
    (void)state;
    struct hypervisor_disk_use use = {.disks = 7};
    assert_int_equal(decode_disks("{}", &use), -1);
    assert_int_equal(decode_disks("[7]", &use), -1);
    assert_int_equal(decode_disks("[{\"stats\": {\"rd_bytes\": 1}}]", &use), -1);
    assert_int_equal(decode_disks("[{\"stats\": {\"rd_bytes\": -1, \"rd_operations\": 1,"
                                  " \"wr_bytes\": 0, \"wr_operations\": 0}}]",
                                  &use),
                     -1);
    assert_int_equal(use.disks, 7);
}

/* --- samples --- */

static struct host_usage sample(const char *id, uint64_t at_ns, uint64_t cpu_ns, uint64_t bytes)
{
    struct host_usage usage = {.taken_ns = at_ns, .count = 1};
    strcpy(usage.entries[0].id, id);
    usage.entries[0].cpu_ns = cpu_ns;
    usage.entries[0].memory = 14 << 20;
    usage.entries[0].received_bytes = bytes;
    usage.entries[0].sent_bytes = 2 * bytes;
    return usage;
}

static void take(struct figures *figures, const char *id, uint64_t at_ns, uint64_t cpu_ns,
                 uint64_t bytes)
{
    struct host_usage usage = sample(id, at_ns, cpu_ns, bytes);
    figures_take(figures, &usage);
}

static void one_sample_gives_totals_and_no_rates(void **state)
{
    (void)state;
    struct figures *figures = figures_create();
    struct api_instance_figures told = {0};
    assert_false(figures_fill(figures, ID, SECOND_NS, &told));
    take(figures, ID, SECOND_NS, 5000000, 1000);
    assert_true(figures_fill(figures, ID, 3 * SECOND_NS, &told));
    assert_int_equal(told.age_ms, 2000);
    assert_int_equal(told.interval_ms, 0);
    assert_int_equal(told.cpu_us, 5000);
    assert_int_equal(told.cpu_ppm, 0);
    assert_int_equal(told.received_bytes, 1000);
    assert_int_equal(told.received_rate, 0);
    figures_destroy(figures);
}

static void rates_are_of_the_last_two_samples(void **state)
{
    (void)state;
    struct figures *figures = figures_create();
    struct api_instance_figures told = {0};
    take(figures, ID, 1 * SECOND_NS, 0, 0);
    take(figures, ID, 6 * SECOND_NS, 10000000, 5000);
    take(figures, ID, 11 * SECOND_NS, 2510000000, 15000);
    assert_true(figures_fill(figures, ID, 11 * SECOND_NS, &told));
    assert_int_equal(told.interval_ms, 5000);
    assert_int_equal(told.cpu_ppm, 500000); /* half a processor */
    assert_int_equal(told.received_rate, 2000);
    assert_int_equal(told.sent_rate, 4000);
    assert_int_equal(told.memory, 14 << 20);
    figures_destroy(figures);
}

static void disks_have_rates_once_they_are_known_twice(void **state)
{
    (void)state;
    struct figures *figures = figures_create();
    struct api_instance_figures told = {0};
    struct host_usage usage = sample(ID, SECOND_NS, 0, 0);
    figures_take(figures, &usage);
    for (unsigned i = 1; i <= 2; i++) {
        usage = sample(ID, (1 + 5 * i) * SECOND_NS, 0, 0);
        usage.entries[0].disks = 2;
        usage.entries[0].read_bytes = 100000 * i;
        usage.entries[0].written_bytes = 50000 * i;
        usage.entries[0].write_operations = 7 * i;
        figures_take(figures, &usage);
        assert_true(figures_fill(figures, ID, usage.taken_ns, &told));
        assert_int_equal(told.read_bytes, 100000 * i);
        assert_int_equal(told.read_rate, i == 2 ? 20000 : 0);
        assert_int_equal(told.write_rate, i == 2 ? 10000 : 0);
        assert_int_equal(told.write_operations, 7 * i);
    }
    figures_destroy(figures);
}

static void a_new_boot_begins_anew(void **state)
{
    (void)state;
    struct figures *figures = figures_create();
    struct api_instance_figures told = {0};
    take(figures, ID, 1 * SECOND_NS, 9000000, 5000);
    take(figures, ID, 6 * SECOND_NS, 1000000, 100);
    assert_true(figures_fill(figures, ID, 6 * SECOND_NS, &told));
    assert_int_equal(told.interval_ms, 0);
    assert_int_equal(told.cpu_us, 1000);
    assert_int_equal(told.received_rate, 0);
    figures_destroy(figures);
}

static void a_sample_that_comes_twice_counts_once(void **state)
{
    (void)state;
    struct figures *figures = figures_create();
    struct api_instance_figures told = {0};
    take(figures, ID, 1 * SECOND_NS, 0, 0);
    take(figures, ID, 6 * SECOND_NS, 10000000, 5000);
    take(figures, ID, 6 * SECOND_NS, 20000000, 5000);
    assert_true(figures_fill(figures, ID, 6 * SECOND_NS, &told));
    assert_int_equal(told.cpu_ppm, 2000);
    figures_destroy(figures);
}

static void who_has_ended_or_is_silent_has_no_figures(void **state)
{
    (void)state;
    struct figures *figures = figures_create();
    struct api_instance_figures told = {0};
    take(figures, ID, SECOND_NS, 0, 0);
    take(figures, "000100000002", SECOND_NS, 0, 0);
    figures_forget(figures, "000100000002");
    figures_forget(figures, "000100000003");
    assert_int_equal(figures_count(figures), 1);
    take(figures, "000100000004", 120 * SECOND_NS, 0, 0);
    assert_int_equal(figures_count(figures), 1);
    assert_false(figures_fill(figures, ID, 120 * SECOND_NS, &told));
    assert_true(figures_fill(figures, "000100000004", 120 * SECOND_NS, &told));
    figures_destroy(figures);
}

static void the_nodes_rates_are_of_the_last_two_samples(void **state)
{
    (void)state;
    struct figures *figures = figures_create();
    struct api_node_figures told = {0};
    struct host_node node = {.taken_ns = SECOND_NS, .processors = 2, .memory = 100};
    assert_false(figures_fill_node(figures, SECOND_NS, &told));
    figures_take_node(figures, &node);
    assert_true(figures_fill_node(figures, SECOND_NS, &told));
    assert_int_equal(told.interval_ms, 0);
    assert_int_equal(told.cpu_ppm, 0);
    node.taken_ns = 6 * SECOND_NS;
    node.cpu_ns = 5 * SECOND_NS;
    node.agent_cpu_ns = SECOND_NS / 20;
    figures_take_node(figures, &node);
    assert_true(figures_fill_node(figures, 7 * SECOND_NS, &told));
    assert_int_equal(told.age_ms, 1000);
    assert_int_equal(told.cpu_ppm, 1000000);
    assert_int_equal(told.agent_cpu_ppm, 10000);
    assert_int_equal(told.memory, 100);
    figures_destroy(figures);
}

static void thousands_are_found_again(void **state)
{
    (void)state;
    struct figures *figures = figures_create();
    struct api_instance_figures told = {0};
    for (unsigned i = 0; i < 4096; i++) {
        char id[INSTANCE_ID_MAX];
        snprintf(id, sizeof id, "0001%08x", (i * 1237) % 4096);
        take(figures, id, SECOND_NS, 1000000 * (uint64_t)((i * 1237) % 4096), 0);
    }
    assert_int_equal(figures_count(figures), 4096);
    assert_true(figures_fill(figures, "000100000abc", SECOND_NS, &told));
    assert_int_equal(told.cpu_us, 1000 * 0xabc);
    figures_destroy(figures);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statm_tells_resident_and_private_memory),
        cmocka_unit_test(statm_of_another_form_is_refused),
        cmocka_unit_test(every_link_is_told_with_what_passed),
        cmocka_unit_test(lines_of_another_form_are_passed_over),
        cmocka_unit_test(a_process_is_read_with_its_processor_time),
        cmocka_unit_test(somebody_elses_process_is_not_read),
        cmocka_unit_test(qemus_disks_are_added_up),
        cmocka_unit_test(what_is_no_list_of_disks_is_refused),
        cmocka_unit_test(one_sample_gives_totals_and_no_rates),
        cmocka_unit_test(rates_are_of_the_last_two_samples),
        cmocka_unit_test(disks_have_rates_once_they_are_known_twice),
        cmocka_unit_test(a_new_boot_begins_anew),
        cmocka_unit_test(a_sample_that_comes_twice_counts_once),
        cmocka_unit_test(who_has_ended_or_is_silent_has_no_figures),
        cmocka_unit_test(the_machine_is_told_with_its_processors_and_memory),
        cmocka_unit_test(the_nodes_rates_are_of_the_last_two_samples),
        cmocka_unit_test(thousands_are_found_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
