/*
 * Where QEMU's microvm machine puts its virtio-mmio slots and their interrupts. Three layouts:
 *
 *     ACPI off                  8 slots, lines from 5, first controller
 *     ACPI on, one controller   8 slots, lines from 16, first controller
 *     ACPI on, two controllers  24 slots, lines from 24, second controller
 */
#include <stdint.h>

#include "../machine.h"
#include "internal.h"
#include "layout.h"
#include "registers.h"

#define SLOT_BASE                  0xfeb00000
#define SLOT_SIZE                  0x200
#define SLOT_INTERRUPT_STATUS      0x60
#define SLOT_INTERRUPT_ACKNOWLEDGE 0x64
#define SLOT_LIMIT                 24

static struct {
    unsigned count;
    unsigned first_line;
    uint32_t attached; /* one bit a slot whose interrupt is ours */
} slots;

void devices_init(bool firmware_tables)
{
    unsigned second = firmware_tables ? interrupts_second_controller_base() : 0;
    slots.count = second != 0 ? SLOT_LIMIT : 8;
    slots.first_line = second != 0 ? second : firmware_tables ? 16 : 5;
}

unsigned machine_virtio_slot_count(void)
{
    return slots.count;
}

uintptr_t machine_virtio_slot_address(unsigned slot)
{
    return SLOT_BASE + (uintptr_t)slot * SLOT_SIZE;
}

int machine_virtio_interrupt_enable(unsigned slot, int line)
{
    slots.attached |= 1U << slot;
    return interrupts_route(line >= 0 ? (unsigned)line : slots.first_line + slot,
                            LAYOUT_VECTOR_VIRTIO);
}

void devices_handle_interrupt(void)
{
    for (unsigned slot = 0; slot < slots.count; slot++) {
        if ((slots.attached >> slot & 1) == 0) {
            continue;
        }
        uintptr_t address = machine_virtio_slot_address(slot);
        uint32_t status = register_read_32(address + SLOT_INTERRUPT_STATUS);
        if (status != 0) {
            register_write_32(address + SLOT_INTERRUPT_ACKNOWLEDGE, status);
        }
    }
}
