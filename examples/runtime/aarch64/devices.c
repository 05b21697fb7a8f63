/* The virtio-mmio slots, as the device tree lists them. */
#include <stdint.h>

#include "../machine.h"
#include "internal.h"
#include "registers.h"

#define SLOT_INTERRUPT_STATUS      0x60
#define SLOT_INTERRUPT_ACKNOWLEDGE 0x64

static struct {
    const struct device_tree *machine;
    uint64_t attached; /* one bit a slot whose interrupt is ours */
} slots;

_Static_assert(DEVICE_TREE_SLOTS_MAX <= 64, "a bit for each slot");

void devices_init(const struct device_tree *machine)
{
    slots.machine = machine;
}

unsigned machine_virtio_slot_count(void)
{
    return slots.machine->slot_count;
}

uintptr_t machine_virtio_slot_address(unsigned slot)
{
    return slots.machine->slots[slot].address;
}

int machine_virtio_interrupt_enable(unsigned slot, int line)
{
    (void)line; /* the device tree knows, the command line of this machine never says */
    slots.attached |= 1ULL << slot;
    interrupts_enable(slots.machine->slots[slot].interrupt);
    return 0;
}

void devices_handle_interrupt(void)
{
    for (uint64_t rest = slots.attached; rest != 0; rest &= rest - 1) {
        uintptr_t address = machine_virtio_slot_address((unsigned)__builtin_ctzll(rest));
        uint32_t status = register_read_32(address + SLOT_INTERRUPT_STATUS);
        if (status != 0) {
            register_write_32(address + SLOT_INTERRUPT_ACKNOWLEDGE, status);
        }
    }
}
