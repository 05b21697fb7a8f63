/* The ways a guest ends. */
#include <stdint.h>

#include "../machine.h"
#include "ports.h"

#define PANIC_PORT          0x505
#define PANIC_PORT_PANICKED 1

/* A fault with no vector table is a fault while faulting, twice: the processor resets, and the
 * hypervisor, told not to reboot, ends the guest. It works with and without ACPI. */
_Noreturn void machine_power_off(void)
{
    struct __attribute__((packed)) {
        uint16_t limit;
        uint64_t address;
    } empty = {0, 0};
    for (;;) {
        __asm__ volatile("cli; lidt %0; int3" : : "m"(empty) : "memory");
    }
}

_Noreturn void machine_crash(void)
{
    port_write_8(PANIC_PORT, PANIC_PORT_PANICKED);
    machine_power_off();
}

_Noreturn void machine_hang(void)
{
    for (;;) {
        __asm__ volatile("cli; hlt" : : : "memory");
    }
}
