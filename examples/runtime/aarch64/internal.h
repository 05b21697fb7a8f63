/*
 * What the files of this architecture tell each other. Interrupt handlers run with interrupts
 * disabled on the boot stack; exceptions run on a stack of their own and never return. Until
 * page_tables_init all memory may be written and executed.
 */
#ifndef RUNTIME_AARCH64_INTERNAL_H
#define RUNTIME_AARCH64_INTERNAL_H

#include <stdint.h>

#include "device_tree.h"

/* page_tables.c: maps devices and the memory up to `memory_end` onto themselves, and protects the
 * image. */
void page_tables_init(uint64_t memory_end);
/* The first address behind what page_tables_init can map of memory. */
#define PAGE_TABLES_MEMORY_LIMIT 0x80000000
/* Maps the GiB around a device's address; devices below 1 GiB are mapped anyway. Returns 0, -1
 * where the tables have memory, flash or an end. */
int page_tables_map_device(uint64_t address);

/* interrupts.c: needs page_tables_init before it, as the following. */
void interrupts_init(const struct device_tree *machine);
void interrupts_enable(struct device_tree_interrupt interrupt);

/* clock.c */
void clock_init(const struct device_tree *machine);
void clock_handle_interrupt(void);

/* serial.c; without a console in the tree, writes go nowhere. */
void serial_init(const struct device_tree *machine);
void serial_handle_interrupt(void);

/* devices.c */
void devices_init(const struct device_tree *machine);
void devices_handle_interrupt(void);

/* power.c */
void power_init(const struct device_tree *machine);

/* panic_device.c: tells the hypervisor of a panic, if it has a device for that. */
void panic_device_report(const struct device_tree_pci *pci);

#endif
