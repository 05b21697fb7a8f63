/* Access to devices' registers in memory. */
#ifndef RUNTIME_X86_64_REGISTERS_H
#define RUNTIME_X86_64_REGISTERS_H

#include <stdint.h>

static inline uint8_t register_read_8(uintptr_t address)
{
    return *(const volatile uint8_t *)address;
}

static inline uint32_t register_read_32(uintptr_t address)
{
    return *(const volatile uint32_t *)address;
}

static inline void register_write_32(uintptr_t address, uint32_t value)
{
    *(volatile uint32_t *)address = value;
}

#endif
