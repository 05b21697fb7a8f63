/*
 * QEMU's pvpanic-pci (docs/specs/pvpanic.txt): the one way to tell a hypervisor that the guest
 * panicked which this machine has. Looked for only then, so that it costs a healthy guest nothing;
 * nobody has set up the bus before.
 */
#include <stdint.h>

#include "internal.h"
#include "registers.h"

#define DEVICE_IDENTITY 0x00111b36
#define DEVICES         32
#define DEVICE_STRIDE   0x8000
#define NOTHING         0xffffffff
#define BUS_IDENTITY    0x00
#define BUS_COMMAND     0x04
#define BUS_BASE        0x10
#define COMMAND_MEMORY  0x2
#define WINDOW_SIZE     0x1000
#define PANICKED        1

void panic_device_report(const struct device_tree_pci *pci)
{
    if (pci->configuration == 0 || pci->window_size < WINDOW_SIZE ||
        page_tables_map_device(pci->configuration) != 0 ||
        page_tables_map_device(pci->window) != 0) {
        return;
    }
    for (unsigned i = 0; i < DEVICES; i++) {
        uintptr_t device = pci->configuration + (uintptr_t)i * DEVICE_STRIDE;
        if (register_read_32(device + BUS_IDENTITY) == DEVICE_IDENTITY) {
            register_write_32(device + BUS_BASE, pci->window_bus_address);
            register_write_32(device + BUS_COMMAND, COMMAND_MEMORY);
            MEMORY_BARRIER();
            register_write_8(pci->window, PANICKED);
            return;
        }
    }
}
