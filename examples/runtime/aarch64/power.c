/* The ends of a guest, by the firmware's calls (PSCI, Arm DEN 0022, chapter 5). */
#include <stdint.h>

#include "../machine.h"
#include "internal.h"

#define FIRMWARE_OFF   0x84000008
#define FIRMWARE_RESET 0x84000009

static const struct device_tree *power_machine;

void power_init(const struct device_tree *machine)
{
    power_machine = machine;
}

static void call_firmware(uint32_t function)
{
    register uint64_t number __asm__("x0") = function;
    if (power_machine->firmware == FIRMWARE_MONITOR_CALL) {
        __asm__ volatile("smc #0" : "+r"(number) : : "x1", "x2", "x3", "memory");
    } else if (power_machine->firmware == FIRMWARE_HYPERVISOR_CALL) {
        __asm__ volatile("hvc #0" : "+r"(number) : : "x1", "x2", "x3", "memory");
    }
}

_Noreturn void machine_power_off(void)
{
    call_firmware(FIRMWARE_OFF);
    machine_hang();
}

/* Where no device takes the report, a reset is still another end than power-off: whoever watches
 * the hypervisor's own events can tell them apart. */
_Noreturn void machine_crash(void)
{
    panic_device_report(&power_machine->pci);
    call_firmware(FIRMWARE_RESET);
    machine_hang();
}

_Noreturn void machine_hang(void)
{
    for (;;) {
        __asm__ volatile("msr daifset, #15; wfi" : : : "memory");
    }
}
