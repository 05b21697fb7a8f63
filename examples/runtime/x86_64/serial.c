/* The console: the first serial port. */
#include <stdint.h>

#include "../machine.h"
#include "internal.h"
#include "layout.h"
#include "ports.h"

#define SERIAL_BASE             0x3f8
#define SERIAL_LINE             4
#define SERIAL_DATA             (SERIAL_BASE + 0)
#define SERIAL_INTERRUPT_ENABLE (SERIAL_BASE + 1)
#define SERIAL_FIFO_CONTROL     (SERIAL_BASE + 2)
#define SERIAL_LINE_CONTROL     (SERIAL_BASE + 3)
#define SERIAL_MODEM_CONTROL    (SERIAL_BASE + 4)
#define SERIAL_LINE_STATUS      (SERIAL_BASE + 5)
#define SERIAL_SCRATCH          (SERIAL_BASE + 7)

#define STATUS_RECEIVED          0x01
#define STATUS_TRANSMITTER_EMPTY 0x20
/* A console nobody reads must not stop the guest: after so many looks the byte is given up. */
#define TRANSMIT_PATIENCE 100000
#define INPUT_SIZE        64

static struct {
    bool present;
    /* Filled by the interrupt handler, emptied by machine_console_read; indexes never wrap. */
    volatile uint32_t written;
    volatile uint32_t read;
    volatile uint8_t input[INPUT_SIZE];
} serial;

void serial_init(void)
{
    port_write_8(SERIAL_SCRATCH, 0x5a);
    serial.present = port_read_8(SERIAL_SCRATCH) == 0x5a;
    if (!serial.present) {
        return;
    }
    port_write_8(SERIAL_LINE_CONTROL, 0x03); /* 8 bits, no parity */
    port_write_8(SERIAL_FIFO_CONTROL, 0x07);
    port_write_8(SERIAL_MODEM_CONTROL, 0x0b); /* ready, and the interrupt line connected */
    port_write_8(SERIAL_INTERRUPT_ENABLE, 0x01);
    (void)interrupts_route(SERIAL_LINE, LAYOUT_VECTOR_CONSOLE);
}

/* Takes everything that waits: what does not fit is lost, as on any serial line. */
void serial_handle_interrupt(void)
{
    while ((port_read_8(SERIAL_LINE_STATUS) & STATUS_RECEIVED) != 0) {
        uint8_t byte = port_read_8(SERIAL_DATA);
        if (serial.written - serial.read < INPUT_SIZE) {
            serial.input[serial.written % INPUT_SIZE] = byte;
            serial.written = serial.written + 1;
        }
    }
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
    if (!serial.present) {
        return;
    }
    for (size_t i = 0; i < length; i++) {
        unsigned patience = TRANSMIT_PATIENCE;
        while ((port_read_8(SERIAL_LINE_STATUS) & STATUS_TRANSMITTER_EMPTY) == 0 && patience > 0) {
            patience--;
        }
        if (patience > 0) {
            port_write_8(SERIAL_DATA, (uint8_t)text[i]);
        }
    }
}
