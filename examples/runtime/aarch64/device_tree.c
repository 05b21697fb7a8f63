#include "device_tree.h"

#include <string.h>

#include "fdt.h"

#define SHARED_FIRST     32
#define PRIVATE_FIRST    16
#define INTERRUPT_CELLS  3
#define INTERRUPT_LIMIT  1020
#define KIND_SHARED      0
#define KIND_PRIVATE     1
#define TRIGGER_MASK     0xf
#define TRIGGER_EDGE     1
#define TIMER_VIRTUAL    2 /* secure, physical, virtual, hypervisor's: in this order */
#define PCI_SPACE_MASK   0x03000000
#define PCI_SPACE_MEMORY 0x02000000
#define PCI_RANGE_CELLS  7 /* flags and 64-bit address on the bus, address, size */
#define PCI_BUS_SIZE     0x100000

/* The node being read and what its parent says about its numbers. */
struct reader {
    struct device_tree *machine;
    struct fdt_node node;
    uint64_t inside;
    unsigned address_cells;
    unsigned size_cells;
    uint32_t interrupt_cells;
    const char *problem;
};

/* The region `index` of a node's `reg`; false unless it is there, has at least `size` bytes and
 * does not wrap around. */
static bool read_region(const struct reader *reader, unsigned index, uint64_t size,
                        uint64_t *ret_address, uint64_t *ret_size)
{
    struct fdt_value value;
    uint64_t address, found;
    unsigned cell = index * (reader->address_cells + reader->size_cells);
    if (!fdt_find(&reader->node, "reg", &value) ||
        !fdt_read_number(value, cell, reader->address_cells, &address) ||
        !fdt_read_number(value, cell + reader->address_cells, reader->size_cells, &found) ||
        found < size || address + found < address) {
        return false;
    }
    *ret_address = address;
    *ret_size = found;
    return true;
}

/* One of a node's interrupts (Linux, bindings/interrupt-controller/arm,gic.yaml). */
static bool read_interrupt(const struct fdt_node *node, unsigned index,
                           struct device_tree_interrupt *ret_interrupt)
{
    struct fdt_value value;
    uint32_t kind, number, flags;
    unsigned cell = index * INTERRUPT_CELLS;
    if (!fdt_find(node, "interrupts", &value) || !fdt_read_cell(value, cell, &kind) ||
        !fdt_read_cell(value, cell + 1, &number) || !fdt_read_cell(value, cell + 2, &flags)) {
        return false;
    }
    uint32_t first = kind == KIND_SHARED ? SHARED_FIRST : PRIVATE_FIRST;
    uint32_t limit = kind == KIND_SHARED ? INTERRUPT_LIMIT : SHARED_FIRST;
    if (kind > KIND_PRIVATE || number >= limit - first) {
        return false;
    }
    ret_interrupt->number = first + number;
    ret_interrupt->edge = (flags & TRIGGER_MASK) == TRIGGER_EDGE;
    return true;
}

static void read_memory(struct reader *reader)
{
    uint64_t address, size;
    for (unsigned i = 0; read_region(reader, i, 1, &address, &size); i++) {
        if (reader->inside >= address && reader->inside - address < size) {
            reader->machine->memory_end = address + size;
        }
    }
}

static void read_chosen(struct reader *reader)
{
    struct fdt_value value;
    if (fdt_find(&reader->node, "bootargs", &value)) {
        reader->machine->command_line = fdt_read_text(value);
        if (reader->machine->command_line == NULL) {
            reader->problem = "/chosen/bootargs is no text";
        }
    }
    if (fdt_find(&reader->node, "rng-seed", &value) ||
        fdt_find(&reader->node, "kaslr-seed", &value)) {
        (void)fdt_read_number(value, 0, 2, &reader->machine->random_seed);
    }
}

static void read_controller(struct reader *reader, enum device_tree_controller kind)
{
    struct fdt_value value;
    uint64_t size;
    uint64_t interface =
        kind == CONTROLLER_GICV2 ? DEVICE_TREE_INTERFACE_SIZE : DEVICE_TREE_REDISTRIBUTOR;
    /* GICv3 may have several redistributor regions; the boot processor is in the first. */
    if (!read_region(reader, 0, DEVICE_TREE_DISTRIBUTOR_SIZE, &reader->machine->distributor,
                     &size) ||
        !read_region(reader, 1, interface, &reader->machine->interface, &size) ||
        !fdt_find(&reader->node, "#interrupt-cells", &value) ||
        !fdt_read_cell(value, 0, &reader->interrupt_cells) ||
        reader->interrupt_cells != INTERRUPT_CELLS) {
        reader->problem = "the interrupt controller's node is incomplete";
        return;
    }
    reader->machine->controller = kind;
}

static void read_timer(struct reader *reader)
{
    struct fdt_value value;
    if (fdt_find(&reader->node, "clock-frequency", &value)) {
        (void)fdt_read_cell(value, 0, &reader->machine->timer_frequency);
    }
    if (!read_interrupt(&reader->node, TIMER_VIRTUAL, &reader->machine->timer)) {
        reader->problem = "the timer has no interrupt";
    }
}

static void read_firmware(struct reader *reader)
{
    struct fdt_value method;
    if (!fdt_find(&reader->node, "method", &method)) {
        return;
    }
    if (fdt_has_string(method, "hvc")) {
        reader->machine->firmware = FIRMWARE_HYPERVISOR_CALL;
    } else if (fdt_has_string(method, "smc")) {
        reader->machine->firmware = FIRMWARE_MONITOR_CALL;
    }
}

/* The first one the guest may use is the console. */
static void read_console(struct reader *reader)
{
    uint64_t size;
    if (reader->machine->console == 0 &&
        read_region(reader, 0, DEVICE_TREE_CONSOLE_SIZE, &reader->machine->console, &size)) {
        (void)read_interrupt(&reader->node, 0, &reader->machine->console_interrupt);
    }
}

static void read_slot(struct reader *reader)
{
    struct device_tree *machine = reader->machine;
    struct device_tree_slot slot;
    uint64_t size;
    if (machine->slot_count < DEVICE_TREE_SLOTS_MAX &&
        read_region(reader, 0, DEVICE_TREE_SLOT_SIZE, &slot.address, &size) &&
        read_interrupt(&reader->node, 0, &slot.interrupt)) {
        machine->slots[machine->slot_count++] = slot;
    }
}

static void read_pci(struct reader *reader)
{
    struct device_tree_pci pci = {0};
    struct fdt_value ranges;
    uint64_t size;
    uint32_t space, bus_address;
    if (!read_region(reader, 0, PCI_BUS_SIZE, &pci.configuration, &size) ||
        !fdt_find(&reader->node, "ranges", &ranges)) {
        return;
    }
    for (unsigned cell = 0; fdt_read_cell(ranges, cell, &space); cell += PCI_RANGE_CELLS) {
        if ((space & PCI_SPACE_MASK) == PCI_SPACE_MEMORY &&
            fdt_read_cell(ranges, cell + 2, &bus_address) &&
            fdt_read_number(ranges, cell + 3, 2, &pci.window) &&
            fdt_read_number(ranges, cell + 5, 2, &pci.window_size)) {
            pci.window_bus_address = bus_address;
            reader->machine->pci = pci;
            return;
        }
    }
}

static bool is_disabled(const struct fdt_node *node)
{
    struct fdt_value status;
    return fdt_find(node, "status", &status) && !fdt_has_string(status, "okay") &&
           !fdt_has_string(status, "ok");
}

/* What a node of this kind tells; only the kinds that a guest of ours has a use for. */
static void read_compatible(struct reader *reader, struct fdt_value kinds)
{
    if (fdt_has_string(kinds, "virtio,mmio")) {
        read_slot(reader);
    } else if (fdt_has_string(kinds, "arm,pl011")) {
        read_console(reader);
    } else if (fdt_has_string(kinds, "arm,gic-v3")) {
        read_controller(reader, CONTROLLER_GICV3);
    } else if (fdt_has_string(kinds, "arm,cortex-a15-gic") ||
               fdt_has_string(kinds, "arm,gic-400")) {
        read_controller(reader, CONTROLLER_GICV2);
    } else if (fdt_has_string(kinds, "arm,armv8-timer") ||
               fdt_has_string(kinds, "arm,armv7-timer")) {
        read_timer(reader);
    } else if (fdt_has_string(kinds, "arm,psci-0.2") || fdt_has_string(kinds, "arm,psci-1.0")) {
        read_firmware(reader);
    } else if (fdt_has_string(kinds, "pci-host-ecam-generic")) {
        read_pci(reader);
    }
}

/* A lookup goes through all the properties of a node, and there are many nodes: as few as
 * possible. */
static void read_node(struct reader *reader)
{
    struct fdt_value value;
    if (fdt_find(&reader->node, "compatible", &value)) {
        if (!is_disabled(&reader->node)) {
            read_compatible(reader, value);
        }
    } else if (reader->node.depth == 2 && strcmp(reader->node.name, "chosen") == 0) {
        read_chosen(reader);
    } else if (fdt_find(&reader->node, "device_type", &value) && fdt_has_string(value, "memory") &&
               !is_disabled(&reader->node)) {
        read_memory(reader);
    }
}

/* How many cells the numbers of the nodes in this one have. */
static unsigned read_cell_count(const struct fdt_node *node, const char *name, unsigned fallback)
{
    struct fdt_value value;
    uint32_t count;
    if (!fdt_find(node, name, &value) || !fdt_read_cell(value, 0, &count)) {
        return fallback;
    }
    return count <= 2 ? count : 0; /* a number of 0 cells is never read */
}

static const char *find_missing(const struct reader *reader)
{
    if (reader->problem != NULL) {
        return reader->problem;
    }
    if (reader->machine->memory_end == 0) {
        return "no memory around the image";
    }
    if (reader->machine->controller == 0) {
        return "no interrupt controller of a known kind (GICv2, GICv3)";
    }
    return reader->machine->timer.number != 0 ? NULL : "no timer";
}

int device_tree_read(struct device_tree *ret_machine, const void *bytes, size_t size,
                     uint64_t inside, const char **ret_problem)
{
    struct fdt tree;
    unsigned address_cells[FDT_DEPTH_MAX + 1] = {2}, size_cells[FDT_DEPTH_MAX + 1] = {1};
    *ret_machine = (struct device_tree){.command_line = ""};
    if (fdt_open(&tree, bytes, size) != 0) {
        *ret_problem = "not a device tree";
        return -1;
    }
    struct reader reader = {.machine = ret_machine, .node = fdt_begin(&tree), .inside = inside};
    struct fdt_node before = reader.node;
    int result;
    while ((result = fdt_next(&reader.node)) == 1 && reader.problem == NULL) {
        unsigned parent = reader.node.depth - 1;
        if (parent > 0 && before.depth == parent) {
            address_cells[parent] = read_cell_count(&before, "#address-cells", 2);
            size_cells[parent] = read_cell_count(&before, "#size-cells", 1);
        }
        reader.address_cells = address_cells[parent];
        reader.size_cells = size_cells[parent];
        read_node(&reader);
        before = reader.node;
    }
    *ret_problem = result < 0 ? "broken" : find_missing(&reader);
    return *ret_problem == NULL ? 0 : -1;
}
