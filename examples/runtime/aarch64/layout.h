/* Numbers that the assembly, the linker script and the C code of this architecture share. */
#ifndef RUNTIME_AARCH64_LAYOUT_H
#define RUNTIME_AARCH64_LAYOUT_H

#define LAYOUT_ABI_VERSION 1 /* SHOAL_ABI_VERSION; runtime.c checks that they agree */

/* Where `virt` has its memory. A loader that enters an ELF leaves the device tree there if the
 * image leaves it the room. */
#define LAYOUT_MEMORY_BASE 0x40000000
#define LAYOUT_IMAGE_BASE  0x40200000
#define LAYOUT_STACK_SIZE  0x8000

/* Attributes of memory, by their index in MAIR_EL1. */
#define LAYOUT_MEMORY_NORMAL 0 /* cached, write-back */
#define LAYOUT_MEMORY_DEVICE 1 /* nGnRE */

/* Fields of a translation table's entry (Arm ARM, D8.3). */
#define LAYOUT_PAGE_TABLE     0x3 /* a table; in the last level, a page */
#define LAYOUT_PAGE_BLOCK     0x1
#define LAYOUT_PAGE_KIND(i)   ((i) << 2)
#define LAYOUT_PAGE_READ_ONLY (1 << 7)
#define LAYOUT_PAGE_SHARED    (3 << 8)  /* with all processors */
#define LAYOUT_PAGE_ACCESSED  (1 << 10) /* else the first access faults */
#define LAYOUT_PAGE_LOCAL     (1 << 11) /* belongs to one address space, the number in TTBR0 */

/* TCR_EL1: 4 KiB pages, tables cached, no upper half. The boot table covers 4 GiB, the final one
 * 512; both begin at level 1. */
#define LAYOUT_TRANSLATION      (1 << 23 | 3 << 12 | 1 << 10 | 1 << 8)
#define LAYOUT_TRANSLATION_BOOT 32
#define LAYOUT_TRANSLATION_FULL 25

#endif
