/*
 * What the files of this architecture tell each other. Interrupt handlers run with interrupts
 * disabled on the boot stack; exceptions run on a stack of their own and never return.
 */
#ifndef RUNTIME_X86_64_INTERNAL_H
#define RUNTIME_X86_64_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

/* interrupts.c */
void interrupts_init(void);
/* Routes global interrupt `line` to a vector. Returns 0, -1 when no controller has that line. */
int interrupts_route(unsigned line, unsigned vector);
/* Where the second interrupt controller's lines begin, 0 when there is none. */
unsigned interrupts_second_controller_base(void);
uint32_t local_interrupt_read(unsigned offset);
void local_interrupt_write(unsigned offset, uint32_t value);

#define LOCAL_TIMER_VECTOR  0x320
#define LOCAL_TIMER_INITIAL 0x380
#define LOCAL_TIMER_CURRENT 0x390
#define LOCAL_TIMER_DIVIDE  0x3e0

/* clock.c: needs interrupts_init before it. */
void clock_init(void);

/* serial.c: needs interrupts_init before it. */
void serial_init(void);
void serial_handle_interrupt(void);

/* devices.c */
void devices_init(bool firmware_tables);
void devices_handle_interrupt(void);

#endif
