/* Device trees: what is found lies in the tree, and its numbers are those of an interrupt
 * controller. */
#include "examples/runtime/aarch64/device_tree.h"
#include "tests/fuzz/fuzz.h"

#define IMAGE           0x40200000
#define INTERRUPT_LIMIT 1020

static void expect_interrupt(struct device_tree_interrupt interrupt)
{
    EXPECT(interrupt.number == 0 || (interrupt.number >= 16 && interrupt.number < INTERRUPT_LIMIT));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE uint8_t *exact = xmemdup(bytes, length);
    struct device_tree machine;
    const char *problem = NULL;
    int result = device_tree_read(&machine, exact, length, IMAGE, &problem);
    EXPECT((result == 0) == (problem == NULL));
    EXPECT(machine.slot_count <= DEVICE_TREE_SLOTS_MAX);
    for (unsigned i = 0; i < machine.slot_count; i++) {
        expect_interrupt(machine.slots[i].interrupt);
        EXPECT(machine.slots[i].address + DEVICE_TREE_SLOT_SIZE > machine.slots[i].address);
    }
    expect_interrupt(machine.timer);
    expect_interrupt(machine.console_interrupt);
    if (result == 0) {
        EXPECT(strlen(machine.command_line) < length || length == 0);
        EXPECT(machine.memory_end > IMAGE);
        EXPECT(machine.timer.number != 0);
        EXPECT(machine.controller == CONTROLLER_GICV2 || machine.controller == CONTROLLER_GICV3);
    }
    return 0;
}
