/*
 * What the runtime needs from a machine: one implementation per architecture, in a folder of that
 * name, which also has registers.h (access to devices' registers in memory) and layout.h (with the
 * ABI's version, for the ELF note). Nothing here knows about the network or the service. One thread
 * calls all of it; interrupt handlers stay inside the implementation and only wake the machine up.
 */
#ifndef RUNTIME_MACHINE_H
#define RUNTIME_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the hypervisor told the machine at boot. */
struct machine_boot_information {
    const char *command_line; /* NUL-terminated; to be copied before memory is used */
    char **words;             /* instead of the line where it is split already; ends with NULL */
    char **environment;       /* "NAME=value" beside --env, ends with NULL; NULL: none */
    uintptr_t memory_end;     /* first address after the memory that begins with the image */
};

/* The architecture's entry code ends here (runtime.c). */
_Noreturn void runtime_start(const struct machine_boot_information *information);

/* First address after the image; memory from here to memory_end is free. */
uintptr_t machine_image_end(void);

/* Console: the serial port. Reading gives -1 when nothing is waiting. */
#define MACHINE_CONSOLE_STOP 0x04 /* begins the end */
void machine_console_write(const char *text, size_t length);
int machine_console_read(void);
bool machine_console_is_waiting(void);

uint64_t machine_clock_nanoseconds(void);
uint64_t machine_random_seed(void);

/* Sleeping without losing a wake-up: disable, look whether there is work, then either enable or
 * sleep. Sleeping enables interrupts and returns after one, or after `nanoseconds` at the latest.
 */
void machine_interrupts_disable(void);
void machine_interrupts_enable(void);
void machine_sleep(uint64_t nanoseconds);

/* The slots where a virtio-mmio device may be; an empty one has device id 0. */
unsigned machine_virtio_slot_count(void);
uintptr_t machine_virtio_slot_address(unsigned slot);

/* Routes a slot's interrupt, and acknowledges it at the device from then on. `line` is the number
 * the hypervisor named on the command line, -1 when it named none. Returns 0, -1 when the line
 * does not exist. */
int machine_virtio_interrupt_enable(unsigned slot, int line);

_Noreturn void machine_power_off(void);
/* Tells the hypervisor that the guest panicked, then ends it. */
_Noreturn void machine_crash(void);
_Noreturn void machine_hang(void);

#endif
