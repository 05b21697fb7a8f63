/* Interrupts: the vector table, the local controller (LAPIC) and the global ones (IOAPIC). */
#include <stddef.h>
#include <stdint.h>

#include <shoal/runtime.h>

#include "../machine.h"
#include "internal.h"
#include "layout.h"
#include "ports.h"
#include "registers.h"

#define LOCAL_BASE             0xfee00000
#define LOCAL_END_OF_INTERRUPT 0xb0
#define LOCAL_SPURIOUS         0xf0
#define LOCAL_SOFTWARE_ENABLE  0x100
#define LOCAL_IDENTIFIER       0x20

#define GLOBAL_FIRST           0xfec00000
#define GLOBAL_SECOND          0xfec10000
#define GLOBAL_WINDOW          0x10
#define GLOBAL_VERSION         0x01
#define GLOBAL_REDIRECTION     0x10
#define GLOBAL_LEVEL_TRIGGERED 0x8000
#define GLOBAL_LINES           24

#define EXCEPTION_COUNT      32
#define GATE_INTERRUPT       0x8e00
#define EXCEPTION_STACK_SIZE 4096

struct gate {
    uint16_t offset_low;
    uint16_t selector;
    uint16_t stack_and_type;
    uint16_t offset_middle;
    uint32_t offset_high;
    uint32_t reserved;
};

struct __attribute__((packed)) task_state {
    uint32_t reserved_begin;
    uint64_t privilege_stacks[3];
    uint64_t reserved_middle;
    uint64_t interrupt_stacks[7];
    uint64_t reserved_end;
    uint16_t reserved_word;
    uint16_t port_map_offset;
};

struct __attribute__((packed)) table_pointer {
    uint16_t limit;
    uint64_t address;
};

/* What interrupt_common leaves on the stack. */
struct interrupt_frame {
    uint64_t r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax;
    uint64_t vector, error;
    uint64_t instruction, code_segment, flags, stack, stack_segment;
};

extern const uintptr_t interrupt_stubs[LAYOUT_VECTOR_COUNT];
extern uint64_t descriptor_table[];

void interrupt_dispatch(const struct interrupt_frame *frame);

uint32_t local_interrupt_read(unsigned offset)
{
    return register_read_32(LOCAL_BASE + offset);
}

void local_interrupt_write(unsigned offset, uint32_t value)
{
    register_write_32(LOCAL_BASE + offset, value);
}

static void panic_on_exception(const struct interrupt_frame *frame)
{
    static const char *const names[EXCEPTION_COUNT] = {
        [0] = "division by zero", [3] = "breakpoint",          [6] = "invalid instruction",
        [8] = "double fault",     [13] = "general protection", [14] = "page fault",
        [16] = "floating point",  [17] = "alignment",          [18] = "machine check",
    };
    uintptr_t address;
    __asm__ volatile("mov %%cr2, %0" : "=r"(address));
    const char *name = names[frame->vector] != NULL ? names[frame->vector] : "exception";
    shoal_panic("%s (vector %u, error 0x%x) at 0x%lx, address 0x%lx, stack 0x%lx", name,
                (unsigned)frame->vector, (unsigned)frame->error, (unsigned long)frame->instruction,
                (unsigned long)address, (unsigned long)frame->stack);
}

void interrupt_dispatch(const struct interrupt_frame *frame)
{
    if (frame->vector < EXCEPTION_COUNT) {
        panic_on_exception(frame);
    }
    if (frame->vector == LAYOUT_VECTOR_SPURIOUS) {
        return; /* the controller expects no acknowledgement for these */
    }
    if (frame->vector == LAYOUT_VECTOR_CONSOLE) {
        serial_handle_interrupt();
    } else if (frame->vector == LAYOUT_VECTOR_VIRTIO) {
        devices_handle_interrupt();
    }
    /* The timer has nothing to do but to end the sleep. */
    local_interrupt_write(LOCAL_END_OF_INTERRUPT, 0);
}

/* Exceptions get a stack of their own: the fault may be the boot stack's overflow. */
static void load_task_state(void)
{
    static struct task_state state;
    static char stack[EXCEPTION_STACK_SIZE] __attribute__((aligned(16)));
    uint64_t base = (uintptr_t)&state;
    uint64_t limit = sizeof(state) - 1;
    uint64_t *descriptor = &descriptor_table[LAYOUT_TASK_SELECTOR / 8];

    state.interrupt_stacks[0] = (uintptr_t)stack + sizeof(stack);
    state.port_map_offset = sizeof(state);
    descriptor[0] = limit | (base & 0xffffff) << 16 | 0x89ULL << 40 | (base >> 24 & 0xff) << 56;
    descriptor[1] = base >> 32;
    __asm__ volatile("ltr %w0" : : "r"(LAYOUT_TASK_SELECTOR) : "memory");
}

static void load_vector_table(void)
{
    static struct gate gates[LAYOUT_VECTOR_COUNT];
    for (unsigned i = 0; i < LAYOUT_VECTOR_COUNT; i++) {
        uintptr_t stub = interrupt_stubs[i];
        gates[i].offset_low = (uint16_t)stub;
        gates[i].selector = LAYOUT_CODE_SELECTOR;
        gates[i].stack_and_type = GATE_INTERRUPT | (i < EXCEPTION_COUNT ? 1 : 0);
        gates[i].offset_middle = (uint16_t)(stub >> 16);
        gates[i].offset_high = (uint32_t)(stub >> 32);
    }
    struct table_pointer pointer = {sizeof(gates) - 1, (uintptr_t)gates};
    __asm__ volatile("lidt %0" : : "m"(pointer) : "memory");
}

static uint32_t global_read(uintptr_t base, unsigned number)
{
    register_write_32(base, number);
    return register_read_32(base + GLOBAL_WINDOW);
}

static void global_write(uintptr_t base, unsigned number, uint32_t value)
{
    register_write_32(base, number);
    register_write_32(base + GLOBAL_WINDOW, value);
}

unsigned interrupts_second_controller_base(void)
{
    uint32_t version = global_read(GLOBAL_SECOND, GLOBAL_VERSION);
    /* Absent, the address reads as all zeros or all ones. */
    bool present = (version >> 16 & 0xff) == GLOBAL_LINES - 1;
    return present ? GLOBAL_LINES : 0;
}

int interrupts_route(unsigned line, unsigned vector)
{
    uintptr_t base = GLOBAL_FIRST;
    if (line >= GLOBAL_LINES) {
        unsigned second = interrupts_second_controller_base();
        if (second == 0 || line - second >= GLOBAL_LINES) {
            return -1;
        }
        base = GLOBAL_SECOND;
        line -= second;
    }
    unsigned entry = GLOBAL_REDIRECTION + 2 * line;
    uint32_t destination = local_interrupt_read(LOCAL_IDENTIFIER) & 0xff000000;
    global_write(base, entry + 1, destination);
    /* Level: a request that comes while another is served is delivered after it. */
    global_write(base, entry, GLOBAL_LEVEL_TRIGGERED | vector);
    return 0;
}

void interrupts_init(void)
{
    load_task_state();
    load_vector_table();
    local_interrupt_write(LOCAL_SPURIOUS, LOCAL_SOFTWARE_ENABLE | LAYOUT_VECTOR_SPURIOUS);
}

void machine_interrupts_disable(void)
{
    __asm__ volatile("cli" : : : "memory");
}

void machine_interrupts_enable(void)
{
    __asm__ volatile("sti" : : : "memory");
}
