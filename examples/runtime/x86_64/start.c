/* From the entry code to the runtime: the start info of PVH, and memory protection. */
#include <stddef.h>
#include <stdint.h>

#include "../machine.h"
#include "internal.h"
#include "layout.h"

/* The boot protocol's structures, version 1 (xen/include/public/arch-x86/hvm/start_info.h). */
struct start_information {
    uint32_t magic;
    uint32_t version;
    uint32_t flags;
    uint32_t module_count;
    uint64_t modules;
    uint64_t command_line;
    uint64_t firmware_tables;
    uint64_t memory_map;
    uint32_t memory_map_entries;
    uint32_t reserved;
};

struct memory_map_entry {
    uint64_t address;
    uint64_t size;
    uint32_t type;
    uint32_t reserved;
};

#define START_MAGIC     0x336ec578
#define MEMORY_TYPE_RAM 1
#define PAGE_SIZE       4096
#define PAGE_PRESENT    0x1
#define PAGE_WRITABLE   0x2
/* Memory above this holds devices or is not mapped. */
#define MEMORY_LIMIT 0xc0000000

extern uint64_t page_directories[];
extern char image_begin[], image_writable[], image_end[], boot_stack_guard[];

_Noreturn void x86_64_start(const struct start_information *start);

uintptr_t machine_image_end(void)
{
    return (uintptr_t)image_end;
}

static uintptr_t find_memory_end(const struct start_information *start)
{
    const struct memory_map_entry *map =
        (const struct memory_map_entry *)(uintptr_t)start->memory_map;
    for (uint32_t i = 0; start->version >= 1 && i < start->memory_map_entries; i++) {
        uint64_t end = map[i].address + map[i].size;
        if (map[i].type == MEMORY_TYPE_RAM && map[i].address <= LAYOUT_IMAGE_BASE &&
            end >= machine_image_end()) {
            return end < MEMORY_LIMIT ? (uintptr_t)end : MEMORY_LIMIT;
        }
    }
    return machine_image_end();
}

/* Replaces the first 2 MiB's page by 512 small ones, so that a NULL pointer, an overflow of the
 * stack and a write to code or constants end in a panic and not in quiet damage. The linker script
 * asserts that the constants and the stack lie in those 2 MiB. */
static void protect_memory(void)
{
    static uint64_t page_table[512] __attribute__((aligned(PAGE_SIZE)));
    for (uintptr_t i = 0; i < 512; i++) {
        uintptr_t address = i * PAGE_SIZE;
        bool constant = address >= (uintptr_t)image_begin && address < (uintptr_t)image_writable;
        bool absent = address == 0 || address == (uintptr_t)boot_stack_guard;
        page_table[i] = absent ? 0 : address | PAGE_PRESENT | (constant ? 0 : PAGE_WRITABLE);
    }
    page_directories[0] = (uintptr_t)page_table | PAGE_PRESENT | PAGE_WRITABLE;
    uintptr_t map;
    __asm__ volatile("mov %%cr3, %0; mov %0, %%cr3" : "=r"(map) : : "memory");
}

_Noreturn void x86_64_start(const struct start_information *start)
{
    static struct machine_boot_information information;
    information.command_line = "";
    information.memory_end = machine_image_end();
    bool firmware_tables = false;
    if (start->magic == START_MAGIC) {
        if (start->command_line != 0) {
            information.command_line = (const char *)(uintptr_t)start->command_line;
        }
        information.memory_end = find_memory_end(start);
        firmware_tables = start->firmware_tables != 0;
    }
    protect_memory();
    interrupts_init();
    clock_init();
    serial_init();
    devices_init(firmware_tables);
    runtime_start(&information);
}
