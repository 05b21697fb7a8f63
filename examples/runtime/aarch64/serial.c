/* The console: a PL011 (Arm DDI 0183). */
#include <stdint.h>

#include "../machine.h"
#include "internal.h"
#include "registers.h"

#define SERIAL_DATA             0x00
#define SERIAL_FLAGS            0x18
#define SERIAL_LINE_CONTROL     0x2c
#define SERIAL_CONTROL          0x30
#define SERIAL_INTERRUPT_ENABLE 0x38
#define SERIAL_INTERRUPT_CLEAR  0x44

#define FLAG_RECEIVE_EMPTY     0x10
#define FLAG_TRANSMIT_FULL     0x20
#define LINE_EIGHT_BITS        0x60
#define LINE_QUEUES            0x10
#define CONTROL_RUN            0x301 /* both directions */
#define INTERRUPT_RECEIVED     0x10
#define INTERRUPT_RECEIVE_LATE 0x40 /* a few bytes wait for more */
#define INTERRUPT_ALL          0x7ff
/* A console nobody reads must not stop the guest: after so many looks the byte is given up. */
#define TRANSMIT_PATIENCE 100000
#define INPUT_SIZE        64

static struct {
    uintptr_t base; /* 0: no console */
    /* Filled by the interrupt handler, emptied by machine_console_read; indexes never wrap. */
    volatile uint32_t written;
    volatile uint32_t read;
    volatile uint8_t input[INPUT_SIZE];
} serial;

void serial_init(const struct device_tree *machine)
{
    serial.base = machine->console;
    if (serial.base == 0) {
        return;
    }
    register_write_32(serial.base + SERIAL_LINE_CONTROL, LINE_EIGHT_BITS | LINE_QUEUES);
    register_write_32(serial.base + SERIAL_CONTROL, CONTROL_RUN);
    register_write_32(serial.base + SERIAL_INTERRUPT_CLEAR, INTERRUPT_ALL);
    if (machine->console_interrupt.number != 0) {
        interrupts_enable(machine->console_interrupt);
        register_write_32(serial.base + SERIAL_INTERRUPT_ENABLE,
                          INTERRUPT_RECEIVED | INTERRUPT_RECEIVE_LATE);
    }
}

/* Takes everything that waits: what does not fit is lost, as on any serial line. */
void serial_handle_interrupt(void)
{
    while ((register_read_32(serial.base + SERIAL_FLAGS) & FLAG_RECEIVE_EMPTY) == 0) {
        uint8_t byte = (uint8_t)register_read_32(serial.base + SERIAL_DATA);
        if (serial.written - serial.read < INPUT_SIZE) {
            serial.input[serial.written % INPUT_SIZE] = byte;
            serial.written = serial.written + 1;
        }
    }
    register_write_32(serial.base + SERIAL_INTERRUPT_CLEAR,
                      INTERRUPT_RECEIVED | INTERRUPT_RECEIVE_LATE);
}

bool machine_console_is_waiting(void)
{
    return serial.read != serial.written;
}

int machine_console_read(void)
{
    if (serial.read == serial.written) {
        return -1;
    }
    uint8_t byte = serial.input[serial.read % INPUT_SIZE];
    serial.read = serial.read + 1;
    return byte;
}

void machine_console_write(const char *text, size_t length)
{
    if (serial.base == 0) {
        return;
    }
    for (size_t i = 0; i < length; i++) {
        unsigned patience = TRANSMIT_PATIENCE;
        while ((register_read_32(serial.base + SERIAL_FLAGS) & FLAG_TRANSMIT_FULL) != 0 &&
               patience > 0) {
            patience--;
        }
        if (patience > 0) {
            register_write_32(serial.base + SERIAL_DATA, (uint8_t)text[i]);
        }
    }
}
