/* From the entry code to the runtime: the device tree, and the machine's parts in order. */
#include <stddef.h>
#include <stdint.h>

#include <shoal/runtime.h>

#include "../machine.h"
#include "internal.h"
#include "layout.h"

#define TREE_SIZE_LIMIT 0x200000
/* Where `virt` has its first serial port: for saying that the tree cannot be read. */
#define CONSOLE_OF_LAST_RESORT 0x09000000

_Noreturn void aarch64_start(uintptr_t tree);

/* What to say a panic with when the tree gave too little. */
static void make_do(struct device_tree *machine)
{
    if (machine->console == 0) {
        machine->console = CONSOLE_OF_LAST_RESORT;
    }
    if (machine->firmware == FIRMWARE_NONE) {
        machine->firmware = FIRMWARE_HYPERVISOR_CALL;
    }
    machine->console_interrupt.number = 0;
}

static void map_devices(const struct device_tree *machine)
{
    int result = page_tables_map_device(machine->distributor);
    result |= page_tables_map_device(machine->interface);
    result |= machine->console != 0 ? page_tables_map_device(machine->console) : 0;
    for (unsigned i = 0; i < machine->slot_count; i++) {
        result |= page_tables_map_device(machine->slots[i].address);
    }
    if (result != 0) {
        shoal_panic("device tree: a device lies where none can be reached");
    }
}

_Noreturn void aarch64_start(uintptr_t tree)
{
    static struct device_tree machine;
    static struct machine_boot_information information;
    const char *problem;
    if (tree == 0) {
        tree = LAYOUT_MEMORY_BASE;
    }
    int result = device_tree_read(&machine, (const void *)tree, TREE_SIZE_LIMIT,
                                  machine_image_end(), &problem);
    if (machine.memory_end > PAGE_TABLES_MEMORY_LIMIT) {
        machine.memory_end = PAGE_TABLES_MEMORY_LIMIT;
    }
    power_init(&machine);
    if (result != 0) {
        make_do(&machine);
        serial_init(&machine);
        shoal_panic("device tree: %s", problem);
    }
    page_tables_init(machine.memory_end);
    map_devices(&machine);
    interrupts_init(&machine);
    serial_init(&machine);
    clock_init(&machine);
    devices_init(&machine);
    information.command_line = machine.command_line;
    information.memory_end = machine.memory_end;
    runtime_start(&information);
}
