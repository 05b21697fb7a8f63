/* Access to devices' registers and the processor's own: instructions that C has no words for. A
 * hypervisor can only imitate a device for the plainest loads and stores, which a compiler does
 * not promise. */
#ifndef RUNTIME_AARCH64_REGISTERS_H
#define RUNTIME_AARCH64_REGISTERS_H

#include <stdint.h>

static inline uint8_t register_read_8(uintptr_t address)
{
    uint8_t value;
    __asm__ volatile("ldrb %w0, [%1]" : "=r"(value) : "r"(address) : "memory");
    return value;
}

static inline uint32_t register_read_32(uintptr_t address)
{
    uint32_t value;
    __asm__ volatile("ldr %w0, [%1]" : "=r"(value) : "r"(address) : "memory");
    return value;
}

static inline void register_write_8(uintptr_t address, uint8_t value)
{
    __asm__ volatile("strb %w0, [%1]" : : "r"(value), "r"(address) : "memory");
}

static inline void register_write_32(uintptr_t address, uint32_t value)
{
    __asm__ volatile("str %w0, [%1]" : : "r"(value), "r"(address) : "memory");
}

#define SYSTEM_REGISTER_READ(name)                                                                 \
    ({                                                                                             \
        uint64_t system_value;                                                                     \
        __asm__ volatile("mrs %0, " name : "=r"(system_value) : : "memory");                       \
        system_value;                                                                              \
    })

#define SYSTEM_REGISTER_WRITE(name, value)                                                         \
    __asm__ volatile("msr " name ", %0" : : "r"((uint64_t)(value)) : "memory")

#define INSTRUCTION_BARRIER() __asm__ volatile("isb" : : : "memory")

/* Everything before is done before anything after begins, devices included. */
#define MEMORY_BARRIER() __asm__ volatile("dsb sy" : : : "memory")

#endif
