/* Time: the processor's time stamp counter for the clock, the local timer for waking up. */
#include <stdint.h>

#include "../machine.h"
#include "internal.h"
#include "layout.h"
#include "ports.h"

#define DIVIDE_BY_1             0xb
#define CALIBRATION_NANOSECONDS 1000000
/* The local timer counts 32 bits of nanoseconds; a longer sleep is several. */
#define SLEEP_LIMIT_NANOSECONDS 4000000000U

#define CPUID_FEATURES            1
#define CPUID_FEATURES_HYPERVISOR (1U << 31)
#define CPUID_FEATURES_RANDOM     (1U << 30)
#define CPUID_HYPERVISOR          0x40000000
#define CPUID_HYPERVISOR_TIMING   0x40000010

/* The clock's constants, set once by clock_init. */
static struct {
    uint64_t origin;     /* time stamp at boot */
    uint64_t multiplier; /* nanoseconds a tick, times 2^32 */
} clock_scale;

/* The frequency the hypervisor states, in kHz; 0 when it states none. */
static uint64_t read_stated_frequency(void)
{
    uint32_t registers[4];
    cpuid_read(CPUID_FEATURES, registers);
    if ((registers[2] & CPUID_FEATURES_HYPERVISOR) == 0) {
        return 0;
    }
    cpuid_read(CPUID_HYPERVISOR, registers);
    if (registers[0] < CPUID_HYPERVISOR_TIMING || registers[0] > CPUID_HYPERVISOR + 0xffff) {
        return 0; /* a leaf above the maximum answers with another leaf's numbers */
    }
    cpuid_read(CPUID_HYPERVISOR_TIMING, registers);
    return registers[0];
}

/* Measures the time stamp against the local timer, which counts nanoseconds under QEMU and KVM
 * alike. */
static uint64_t measure_frequency(void)
{
    local_interrupt_write(LOCAL_TIMER_INITIAL, 0xffffffff);
    uint32_t first = local_interrupt_read(LOCAL_TIMER_CURRENT);
    uint64_t begin = timestamp_read();
    uint32_t passed;
    do {
        passed = first - local_interrupt_read(LOCAL_TIMER_CURRENT);
    } while (passed < CALIBRATION_NANOSECONDS);
    uint64_t ticks = timestamp_read() - begin;
    local_interrupt_write(LOCAL_TIMER_INITIAL, 0);
    return ticks * 1000000 / passed;
}

void clock_init(void)
{
    clock_scale.origin = timestamp_read();
    local_interrupt_write(LOCAL_TIMER_DIVIDE, DIVIDE_BY_1);
    local_interrupt_write(LOCAL_TIMER_VECTOR, LAYOUT_VECTOR_TIMER);
    uint64_t kilohertz = read_stated_frequency();
    if (kilohertz == 0) {
        kilohertz = measure_frequency();
    }
    clock_scale.multiplier = (1000000ULL << 32) / (kilohertz != 0 ? kilohertz : 1);
}

uint64_t machine_clock_nanoseconds(void)
{
    uint64_t ticks = timestamp_read() - clock_scale.origin;
    uint64_t high = (ticks >> 32) * clock_scale.multiplier;
    uint64_t low = (ticks & 0xffffffff) * clock_scale.multiplier;
    return high + (low >> 32);
}

void machine_sleep(uint64_t nanoseconds)
{
    if (nanoseconds > SLEEP_LIMIT_NANOSECONDS) {
        nanoseconds = SLEEP_LIMIT_NANOSECONDS;
    }
    /* Zero would switch the timer off. */
    local_interrupt_write(LOCAL_TIMER_INITIAL, nanoseconds > 0 ? (uint32_t)nanoseconds : 1);
    /* Enabling takes effect after the next instruction: no wake-up falls between the two. */
    __asm__ volatile("sti; hlt" : : : "memory");
}

uint64_t machine_random_seed(void)
{
    uint32_t registers[4];
    cpuid_read(CPUID_FEATURES, registers);
    uint64_t seed = 0;
    if ((registers[2] & CPUID_FEATURES_RANDOM) != 0) {
        for (unsigned attempt = 0; attempt < 10; attempt++) {
            uint8_t filled;
            __asm__ volatile("rdrand %0; setc %1" : "=r"(seed), "=qm"(filled) : : "cc");
            if (filled) {
                break;
            }
        }
    }
    return seed ^ timestamp_read();
}
