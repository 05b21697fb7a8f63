/*
 * Translation: memory and devices mapped onto themselves, so that a NULL pointer, an overflow of
 * the stack, a write to code or constants and a jump into data end in a panic and not in quiet
 * damage.
 */
#include <stddef.h>

#include "../machine.h"
#include "internal.h"
#include "layout.h"
#include "registers.h"

#define ENTRIES    512
#define PAGE_SIZE  0x1000
#define BLOCK_SIZE 0x200000
#define GIANT_SIZE 0x40000000
/* Below this `virt` has its flash: nothing of ours, and where a NULL pointer leads. */
#define FLASH_END 0x08000000

#define NEVER_EXECUTE (3ULL << 53)
#define COMMON        (LAYOUT_PAGE_ACCESSED | LAYOUT_PAGE_LOCAL)
#define DEVICE        (COMMON | LAYOUT_PAGE_KIND(LAYOUT_MEMORY_DEVICE) | NEVER_EXECUTE)
#define MEMORY        (COMMON | LAYOUT_PAGE_KIND(LAYOUT_MEMORY_NORMAL) | LAYOUT_PAGE_SHARED)

/* The address space's number: translations of the boot table, which differ in size, are those of
 * space 0 and never meet these. */
#define ADDRESS_SPACE (1ULL << 48)

static struct {
    uint64_t giants[ENTRIES];  /* level 1, 512 GiB */
    uint64_t devices[ENTRIES]; /* level 2, the first GiB */
    uint64_t memory[ENTRIES];  /* level 2, the second GiB */
    uint64_t image[ENTRIES];   /* level 3, the image's 2 MiB */
} tables __attribute__((aligned(PAGE_SIZE)));

extern char image_begin[], image_constants[], image_writable[], image_end[], boot_stack_guard[];

uintptr_t machine_image_end(void)
{
    return (uintptr_t)image_end;
}

static uint64_t table_entry(const uint64_t *table)
{
    return (uintptr_t)table | LAYOUT_PAGE_TABLE;
}

static uint64_t image_entry(uintptr_t address)
{
    uint64_t entry = address | LAYOUT_PAGE_TABLE | MEMORY;
    if (address == (uintptr_t)boot_stack_guard) {
        return 0;
    }
    if (address >= (uintptr_t)image_begin && address < (uintptr_t)image_constants) {
        return entry | LAYOUT_PAGE_READ_ONLY;
    }
    if (address >= (uintptr_t)image_constants && address < (uintptr_t)image_writable) {
        return entry | LAYOUT_PAGE_READ_ONLY | NEVER_EXECUTE;
    }
    return entry | NEVER_EXECUTE;
}

static void fill_tables(uint64_t memory_end)
{
    for (uintptr_t i = FLASH_END / BLOCK_SIZE; i < ENTRIES; i++) {
        tables.devices[i] = i * BLOCK_SIZE | LAYOUT_PAGE_BLOCK | DEVICE;
    }
    for (uintptr_t i = 0; i < ENTRIES; i++) {
        uintptr_t address = LAYOUT_MEMORY_BASE + i * BLOCK_SIZE;
        if (address < memory_end) {
            tables.memory[i] = address | LAYOUT_PAGE_BLOCK | MEMORY | NEVER_EXECUTE;
        }
        tables.image[i] = image_entry(LAYOUT_IMAGE_BASE + i * PAGE_SIZE);
    }
    tables.memory[(LAYOUT_IMAGE_BASE - LAYOUT_MEMORY_BASE) / BLOCK_SIZE] =
        table_entry(tables.image);
    tables.giants[0] = table_entry(tables.devices);
    tables.giants[1] = table_entry(tables.memory);
}

void page_tables_init(uint64_t memory_end)
{
    fill_tables(memory_end);
    MEMORY_BARRIER();
    SYSTEM_REGISTER_WRITE("ttbr0_el1", (uintptr_t)&tables | ADDRESS_SPACE);
    INSTRUCTION_BARRIER();
    /* The tables serve either size, so that nothing goes missing in between. */
    uint64_t control = SYSTEM_REGISTER_READ("tcr_el1");
    SYSTEM_REGISTER_WRITE("tcr_el1", (control & ~63ULL) | LAYOUT_TRANSLATION_FULL);
    INSTRUCTION_BARRIER();
    __asm__ volatile("tlbi vmalle1; dsb nsh; isb" : : : "memory");
}

int page_tables_map_device(uint64_t address)
{
    uint64_t giant = address / GIANT_SIZE;
    uint64_t entry = giant * GIANT_SIZE | LAYOUT_PAGE_BLOCK | DEVICE;
    if (giant == 0) {
        return address >= FLASH_END ? 0 : -1;
    }
    if (giant >= ENTRIES || (tables.giants[giant] != 0 && tables.giants[giant] != entry)) {
        return -1;
    }
    tables.giants[giant] = entry;
    MEMORY_BARRIER();
    INSTRUCTION_BARRIER();
    return 0;
}
