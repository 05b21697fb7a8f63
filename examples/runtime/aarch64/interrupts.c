/* Interrupts: the controllers GICv2 and GICv3 (Arm IHI 0048 and 0069), and exceptions. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <shoal/runtime.h>

#include "../machine.h"
#include "internal.h"
#include "registers.h"

#define SHARED_FIRST  32
#define NUMBER_LIMIT  1020 /* from here on: nothing is pending */
#define PRIORITY      0x80
#define PRIORITY_MASK 0xf0

/* The distributor, and of a GICv3 the second frame of a redistributor. */
#define DISTRIBUTOR_CONTROL       0x000
#define DISTRIBUTOR_GROUP         0x080
#define DISTRIBUTOR_ENABLE        0x100
#define DISTRIBUTOR_PRIORITY      0x400
#define DISTRIBUTOR_TARGETS       0x800
#define DISTRIBUTOR_CONFIGURATION 0xc00
#define DISTRIBUTOR_ROUTE         0x6000
#define DISTRIBUTOR_CONTROL_GICV2 0x01
#define DISTRIBUTOR_CONTROL_GICV3 0x13 /* affinity routing, both groups */
#define DISTRIBUTOR_CONTROL_BUSY  (1U << 31)
#define REDISTRIBUTOR_WAKER       0x014
#define REDISTRIBUTOR_PRIVATE     0x10000
#define WAKER_SLEEP               0x2
#define WAKER_ASLEEP              0x4
#define REGISTER_PATIENCE         100000

#define INTERFACE_CONTROL       0x00
#define INTERFACE_PRIORITY_MASK 0x04
#define INTERFACE_ACKNOWLEDGE   0x0c
#define INTERFACE_END           0x10

/* The GICv3's processor interface, for assemblers that do not know its names. */
#define ICC_PRIORITY_MASK "s3_0_c4_c6_0"
#define ICC_ACKNOWLEDGE   "s3_0_c12_c12_0"
#define ICC_END           "s3_0_c12_c12_1"
#define ICC_CONTROL       "s3_0_c12_c12_4"
#define ICC_ENABLE        "s3_0_c12_c12_5"
#define ICC_GROUP_ENABLE  "s3_0_c12_c12_7"

static struct {
    enum device_tree_controller kind;
    uintptr_t distributor;
    uintptr_t interface;
    uint32_t timer;
    uint32_t console;
    unsigned faults;
} controller;

void interrupts_dispatch(void);
_Noreturn void interrupts_panic(uint64_t vector, uint64_t syndrome, uint64_t instruction,
                                uint64_t address, uint64_t stack);

static bool is_gicv3(void)
{
    return controller.kind == CONTROLLER_GICV3;
}

/* Waits, but not for ever, until all of these bits are zero. */
static void wait_for_zero(uintptr_t address, uint32_t bits)
{
    unsigned patience = REGISTER_PATIENCE;
    while ((register_read_32(address) & bits) != 0 && patience > 0) {
        patience--;
    }
}

static void start_gicv2(void)
{
    register_write_32(controller.distributor + DISTRIBUTOR_CONTROL, DISTRIBUTOR_CONTROL_GICV2);
    register_write_32(controller.interface + INTERFACE_PRIORITY_MASK, PRIORITY_MASK);
    register_write_32(controller.interface + INTERFACE_CONTROL, 1);
}

static void start_gicv3(void)
{
    uintptr_t waker = controller.interface + REDISTRIBUTOR_WAKER;
    register_write_32(controller.distributor + DISTRIBUTOR_CONTROL, DISTRIBUTOR_CONTROL_GICV3);
    wait_for_zero(controller.distributor + DISTRIBUTOR_CONTROL, DISTRIBUTOR_CONTROL_BUSY);
    register_write_32(waker, register_read_32(waker) & ~(uint32_t)WAKER_SLEEP);
    wait_for_zero(waker, WAKER_ASLEEP);
    SYSTEM_REGISTER_WRITE(ICC_ENABLE, SYSTEM_REGISTER_READ(ICC_ENABLE) | 1);
    INSTRUCTION_BARRIER();
    SYSTEM_REGISTER_WRITE(ICC_PRIORITY_MASK, PRIORITY_MASK);
    SYSTEM_REGISTER_WRITE(ICC_CONTROL, 0);
    SYSTEM_REGISTER_WRITE(ICC_GROUP_ENABLE, 1);
    INSTRUCTION_BARRIER();
}

void interrupts_init(const struct device_tree *machine)
{
    controller.kind = machine->controller;
    controller.distributor = machine->distributor;
    controller.interface = machine->interface;
    controller.timer = machine->timer.number;
    controller.console = machine->console_interrupt.number;
    if (is_gicv3()) {
        start_gicv3();
    } else {
        start_gicv2();
    }
}

/* Sends a shared interrupt to this processor. */
static void route_here(uint32_t number)
{
    if (is_gicv3()) {
        uint64_t affinity = SYSTEM_REGISTER_READ("mpidr_el1") & 0xff00ffffff;
        uintptr_t route = controller.distributor + DISTRIBUTOR_ROUTE + (uintptr_t)8 * number;
        register_write_32(route, (uint32_t)affinity);
        register_write_32(route + 4, (uint32_t)(affinity >> 32));
    } else {
        /* The first registers of targets name the processor that reads them. */
        uint8_t self = register_read_8(controller.distributor + DISTRIBUTOR_TARGETS);
        register_write_8(controller.distributor + DISTRIBUTOR_TARGETS + number, self);
    }
}

void interrupts_enable(struct device_tree_interrupt interrupt)
{
    uint32_t number = interrupt.number;
    uint32_t bit = 1U << number % 32;
    uintptr_t base = controller.distributor;
    if (is_gicv3() && number < SHARED_FIRST) {
        base = controller.interface + REDISTRIBUTOR_PRIVATE;
    }
    uintptr_t word = base + (uintptr_t)4 * (number / 32);
    uintptr_t configuration = base + DISTRIBUTOR_CONFIGURATION + (uintptr_t)4 * (number / 16);
    uint32_t edge = 2U << 2 * (number % 16);
    uint32_t configured = register_read_32(configuration);

    register_write_32(configuration, interrupt.edge ? configured | edge : configured & ~edge);
    register_write_8(base + DISTRIBUTOR_PRIORITY + number, PRIORITY);
    if (is_gicv3()) {
        uintptr_t group = word + DISTRIBUTOR_GROUP;
        register_write_32(group, register_read_32(group) | bit);
    }
    if (number >= SHARED_FIRST) {
        route_here(number);
    }
    register_write_32(word + DISTRIBUTOR_ENABLE, bit);
}

static void handle(uint32_t number)
{
    if (number == controller.timer) {
        clock_handle_interrupt();
    } else if (number == controller.console) {
        serial_handle_interrupt();
    } else {
        devices_handle_interrupt();
    }
}

void interrupts_dispatch(void)
{
    if (is_gicv3()) {
        uint32_t number = (uint32_t)SYSTEM_REGISTER_READ(ICC_ACKNOWLEDGE) & 0xffffff;
        if (number < NUMBER_LIMIT) {
            MEMORY_BARRIER();
            handle(number);
            SYSTEM_REGISTER_WRITE(ICC_END, number);
        }
        return;
    }
    uint32_t acknowledged = register_read_32(controller.interface + INTERFACE_ACKNOWLEDGE);
    uint32_t number = acknowledged & 0x3ff;
    if (number < NUMBER_LIMIT) {
        handle(number);
        register_write_32(controller.interface + INTERFACE_END, acknowledged);
    }
}

/* What the exception's class says (Arm ARM, ESR_EL1.EC). */
static const char *name_exception(uint64_t vector, uint64_t syndrome)
{
    static const char *const kinds[4] = {"exception", "interrupt", "fast interrupt",
                                         "system error"};
    if (vector % 4 != 0) {
        return kinds[vector % 4];
    }
    switch (syndrome >> 26 & 63) {
    case 0x00:
    case 0x0e:
        return "invalid instruction";
    case 0x07:
        return "floating point";
    case 0x21:
        return "jump fault";
    case 0x22:
    case 0x26:
        return "alignment";
    case 0x25:
        return "page fault";
    case 0x3c:
        return "breakpoint";
    default:
        return kinds[0];
    }
}

_Noreturn void interrupts_panic(uint64_t vector, uint64_t syndrome, uint64_t instruction,
                                uint64_t address, uint64_t stack)
{
    /* Telling of a fault may fault, and so may ending because of that. */
    controller.faults++;
    if (controller.faults == 2) {
        machine_power_off();
    } else if (controller.faults > 2) {
        machine_hang();
    }
    shoal_panic("%s (vector %u, syndrome 0x%x) at 0x%lx, address 0x%lx, stack 0x%lx",
                name_exception(vector, syndrome), (unsigned)vector, (unsigned)syndrome,
                (unsigned long)instruction, (unsigned long)address, (unsigned long)stack);
}

void machine_interrupts_disable(void)
{
    __asm__ volatile("msr daifset, #2" : : : "memory");
}

void machine_interrupts_enable(void)
{
    __asm__ volatile("msr daifclr, #2" : : : "memory");
}
