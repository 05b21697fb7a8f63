#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>

#include "examples/runtime/aarch64/device_tree.h"
#include "examples/runtime/aarch64/fdt.h"
#include "tests/unit/examples/tree_writer.h"

#define IMAGE 0x40200000

/* The nodes as QEMU's virt has them, each by itself so that tests can leave one out. */
enum part {
    PART_MEMORY = 1,
    PART_CONTROLLER = 2,
    PART_TIMER = 4,
    PART_CHOSEN = 8,
    PART_DEVICES = 16,
    PART_ALL = 31,
};

static void write_controller(struct tree_writer *tree, const char *compatible)
{
    tree_begin(tree, "intc@8000000");
    tree_text(tree, "compatible", compatible);
    TREE_CELLS(tree, "#interrupt-cells", 3);
    TREE_CELLS(tree, "reg", 0, 0x8000000, 0, 0x10000, 0, 0x80a0000, 0, 0xf60000);
    tree_end(tree);
}

static void write_devices(struct tree_writer *tree)
{
    static const char psci[] = "arm,psci-1.0\0arm,psci-0.2\0arm,psci";
    tree_begin(tree, "psci");
    tree_property(tree, "compatible", psci, sizeof psci);
    tree_text(tree, "method", "smc");
    tree_end(tree);
    tree_begin(tree, "pl011@9040000");
    tree_text(tree, "compatible", "arm,pl011");
    tree_text(tree, "status", "disabled");
    TREE_CELLS(tree, "reg", 0, 0x9040000, 0, 0x1000);
    tree_end(tree);
    tree_begin(tree, "pl011@9000000");
    tree_text(tree, "compatible", "arm,pl011");
    TREE_CELLS(tree, "interrupts", 0, 1, 4);
    TREE_CELLS(tree, "reg", 0, 0x9000000, 0, 0x1000);
    tree_end(tree);
    tree_begin(tree, "virtio_mmio@a000000");
    tree_text(tree, "compatible", "virtio,mmio");
    TREE_CELLS(tree, "interrupts", 0, 16, 1);
    TREE_CELLS(tree, "reg", 0, 0xa000000, 0, 0x200);
    tree_end(tree);
    tree_begin(tree, "pcie@10000000");
    tree_text(tree, "compatible", "pci-host-ecam-generic");
    TREE_CELLS(tree, "#address-cells", 3);
    TREE_CELLS(tree, "reg", 0x40, 0x10000000, 0, 0x10000000);
    TREE_CELLS(tree, "ranges", 0x01000000, 0, 0, 0, 0x3eff0000, 0, 0x10000, 0x02000000, 0,
               0x10000000, 0, 0x10000000, 0, 0x2eff0000);
    tree_end(tree);
}

static void write_parts(struct tree_writer *tree, unsigned parts)
{
    tree_begin(tree, "");
    TREE_CELLS(tree, "#address-cells", 2);
    TREE_CELLS(tree, "#size-cells", 2);
    if (parts & PART_MEMORY) {
        tree_begin(tree, "memory@40000000");
        tree_text(tree, "device_type", "memory");
        TREE_CELLS(tree, "reg", 0, 0x40000000, 0, 0x2000000);
        tree_end(tree);
    }
    if (parts & PART_CONTROLLER)
        write_controller(tree, "arm,gic-v3");
    if (parts & PART_TIMER) {
        tree_begin(tree, "timer");
        tree_text(tree, "compatible", "arm,armv8-timer");
        TREE_CELLS(tree, "interrupts", 1, 13, 4, 1, 14, 4, 1, 11, 4, 1, 10, 4);
        tree_end(tree);
    }
    if (parts & PART_DEVICES)
        write_devices(tree);
    if (parts & PART_CHOSEN) {
        tree_begin(tree, "chosen");
        tree_text(tree, "bootargs", "--ip=10.0.0.2/24");
        TREE_CELLS(tree, "rng-seed", 1, 2, 3, 4);
        tree_end(tree);
    }
    tree_end(tree);
    tree_cell(tree, TREE_END);
}

static struct tree_writer *write_tree(unsigned parts)
{
    struct tree_writer *tree = calloc(1, sizeof *tree);
    assert_non_null(tree);
    write_parts(tree, parts);
    tree_finish(tree);
    return tree;
}

/* Reads a copy of exactly that size, for a sanitizer to see a byte too many. */
static int read_exactly(struct device_tree *ret_machine, const uint8_t *bytes, size_t size,
                        const char **ret_problem)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    int result = device_tree_read(ret_machine, copy, size, IMAGE, ret_problem);
    assert_true((result == 0) == (*ret_problem == NULL));
    free(copy);
    return result;
}

static void assert_refused(struct tree_writer *tree, const char *why)
{
    struct device_tree machine;
    const char *problem = NULL;
    assert_int_equal(read_exactly(&machine, tree->bytes, tree->size, &problem), -1);
    assert_string_equal(problem, why);
    free(tree);
}

static void everything_the_machine_has_is_found(void **state)
{
    (void)state;
    struct tree_writer *tree = write_tree(PART_ALL);
    struct device_tree machine;
    const char *problem = NULL;
    assert_int_equal(device_tree_read(&machine, tree->bytes, tree->size, IMAGE, &problem), 0);
    assert_string_equal(machine.command_line, "--ip=10.0.0.2/24");
    assert_int_equal(machine.memory_end, 0x42000000);
    assert_int_equal(machine.controller, CONTROLLER_GICV3);
    assert_int_equal(machine.distributor, 0x8000000);
    assert_int_equal(machine.interface, 0x80a0000);
    assert_int_equal(machine.timer.number, 27);
    assert_false(machine.timer.edge);
    assert_int_equal(machine.console, 0x9000000);
    assert_int_equal(machine.console_interrupt.number, 33);
    assert_int_equal(machine.firmware, FIRMWARE_MONITOR_CALL);
    assert_int_equal(machine.slot_count, 1);
    assert_int_equal(machine.slots[0].address, 0xa000000);
    assert_int_equal(machine.slots[0].interrupt.number, 48);
    assert_true(machine.slots[0].interrupt.edge);
    assert_int_equal(machine.pci.configuration, 0x4010000000);
    assert_int_equal(machine.pci.window, 0x10000000);
    assert_int_equal(machine.pci.window_bus_address, 0x10000000);
    assert_int_equal(machine.random_seed, 0x100000002);
    free(tree);
}

static void what_a_guest_cannot_do_without_is_named(void **state)
{
    (void)state;
    assert_refused(write_tree(PART_ALL & ~PART_MEMORY), "no memory around the image");
    assert_refused(write_tree(PART_ALL & ~PART_CONTROLLER),
                   "no interrupt controller of a known kind (GICv2, GICv3)");
    assert_refused(write_tree(PART_ALL & ~PART_TIMER), "no timer");
    struct tree_writer *tree = write_tree(PART_ALL & ~(PART_CHOSEN | PART_DEVICES));
    struct device_tree machine;
    const char *problem = NULL;
    assert_int_equal(read_exactly(&machine, tree->bytes, tree->size, &problem), 0);
    assert_string_equal(machine.command_line, "");
    assert_int_equal(machine.slot_count, 0);
    assert_int_equal(machine.console, 0);
    free(tree);
}

/* Every cut, in place of a tree that lies about its size. */
static void a_tree_cut_short_is_refused(void **state)
{
    (void)state;
    struct tree_writer *tree = write_tree(PART_ALL);
    for (uint32_t size = 0; size < tree->size; size++) {
        struct device_tree machine;
        const char *problem = NULL;
        assert_int_equal(read_exactly(&machine, tree->bytes, size, &problem), -1);
        if (size >= TREE_HEADER) {
            tree_put_cell(tree->bytes + 4, size);
            assert_int_equal(read_exactly(&machine, tree->bytes, size, &problem), -1);
            tree_put_cell(tree->bytes + 4, tree->size);
        }
    }
    free(tree);
}

/* Every cell of the tree, the header's included, as the numbers that break readers. */
static void no_number_leads_outside(void **state)
{
    (void)state;
    static const uint32_t numbers[] = {0, 1, 3, 9, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff};
    struct tree_writer *tree = write_tree(PART_ALL);
    for (uint32_t at = 0; at + 4 <= tree->size; at += 4) {
        uint8_t kept[4];
        memcpy(kept, tree->bytes + at, 4);
        for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
            struct device_tree machine;
            const char *problem = NULL;
            tree_put_cell(tree->bytes + at, numbers[i]);
            (void)read_exactly(&machine, tree->bytes, tree->size, &problem);
        }
        memcpy(tree->bytes + at, kept, 4);
    }
    free(tree);
}

static void nodes_nested_too_deep_are_refused(void **state)
{
    (void)state;
    struct tree_writer *tree = calloc(1, sizeof *tree);
    for (int i = 0; i <= FDT_DEPTH_MAX; i++)
        tree_begin(tree, "x");
    for (int i = 0; i <= FDT_DEPTH_MAX; i++)
        tree_end(tree);
    tree_cell(tree, TREE_END);
    tree_finish(tree);
    assert_refused(tree, "broken");
}

static void an_end_without_a_beginning_is_refused(void **state)
{
    (void)state;
    struct tree_writer *tree = calloc(1, sizeof *tree);
    tree_begin(tree, "");
    tree_end(tree);
    tree_end(tree);
    tree_cell(tree, TREE_END);
    tree_finish(tree);
    assert_refused(tree, "broken");
}

static void names_without_an_end_are_refused(void **state)
{
    (void)state;
    struct tree_writer *tree = write_tree(PART_ALL);
    tree->bytes[tree->size - 1] = 'x'; /* the last of the names of properties */
    assert_refused(tree, "not a device tree");
    tree = calloc(1, sizeof *tree);
    tree_cell(tree, TREE_BEGIN);
    tree_cell(tree, 0x61626364);
    tree_finish(tree);
    assert_refused(tree, "broken");
}

static void a_command_line_that_is_no_text_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        uint32_t size;
    } lines[] = {{"", 0}, {"abc", 3}, {"a\0b", 4}};
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        struct tree_writer *tree = calloc(1, sizeof *tree);
        tree_begin(tree, "");
        tree_begin(tree, "chosen");
        tree_property(tree, "bootargs", lines[i].bytes, lines[i].size);
        tree_end(tree);
        tree_end(tree);
        tree_cell(tree, TREE_END);
        tree_finish(tree);
        assert_refused(tree, "/chosen/bootargs is no text");
    }
}

static void write_slot(struct tree_writer *tree, uint32_t address_high, uint32_t size,
                       uint32_t kind, uint32_t number)
{
    tree_begin(tree, "virtio_mmio");
    tree_text(tree, "compatible", "virtio,mmio");
    TREE_CELLS(tree, "interrupts", kind, number, 1);
    TREE_CELLS(tree, "reg", address_high, 0xffffff00, 0, size);
    tree_end(tree);
}

static void slots_that_make_no_sense_are_left_out(void **state)
{
    (void)state;
    struct tree_writer *tree = calloc(1, sizeof *tree);
    struct device_tree machine;
    const char *problem = NULL;
    tree_begin(tree, "");
    TREE_CELLS(tree, "#address-cells", 2);
    TREE_CELLS(tree, "#size-cells", 2);
    write_slot(tree, 0, 0x100, 0, 16);          /* too small */
    write_slot(tree, 0xffffffff, 0x200, 0, 16); /* around the end of memory */
    write_slot(tree, 0, 0x200, 0, 988);         /* no such interrupt */
    write_slot(tree, 0, 0x200, 1, 16);
    write_slot(tree, 0, 0x200, 2, 16); /* of no known kind */
    for (int i = 0; i < DEVICE_TREE_SLOTS_MAX + 8; i++)
        write_slot(tree, 0, 0x200, 0, (uint32_t)i);
    tree_end(tree);
    tree_cell(tree, TREE_END);
    tree_finish(tree);
    assert_int_equal(read_exactly(&machine, tree->bytes, tree->size, &problem), -1);
    assert_string_equal(problem, "no memory around the image");
    assert_int_equal(machine.slot_count, DEVICE_TREE_SLOTS_MAX);
    for (unsigned i = 0; i < machine.slot_count; i++)
        assert_int_equal(machine.slots[i].interrupt.number, 32 + i);
    free(tree);
}

static void a_controller_without_its_registers_is_refused(void **state)
{
    (void)state;
    struct tree_writer *tree = calloc(1, sizeof *tree);
    tree_begin(tree, "");
    TREE_CELLS(tree, "#address-cells", 2);
    TREE_CELLS(tree, "#size-cells", 2);
    tree_begin(tree, "intc@8000000");
    tree_text(tree, "compatible", "arm,cortex-a15-gic");
    TREE_CELLS(tree, "#interrupt-cells", 3);
    TREE_CELLS(tree, "reg", 0, 0x8000000, 0, 0x10000);
    tree_end(tree);
    tree_end(tree);
    tree_cell(tree, TREE_END);
    tree_finish(tree);
    assert_refused(tree, "the interrupt controller's node is incomplete");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_the_machine_has_is_found),
        cmocka_unit_test(what_a_guest_cannot_do_without_is_named),
        cmocka_unit_test(a_tree_cut_short_is_refused),
        cmocka_unit_test(no_number_leads_outside),
        cmocka_unit_test(nodes_nested_too_deep_are_refused),
        cmocka_unit_test(an_end_without_a_beginning_is_refused),
        cmocka_unit_test(names_without_an_end_are_refused),
        cmocka_unit_test(a_command_line_that_is_no_text_is_refused),
        cmocka_unit_test(slots_that_make_no_sense_are_left_out),
        cmocka_unit_test(a_controller_without_its_registers_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
