/* Time: the generic timer's virtual counter for the clock, its comparator for waking up. */
#include <stdint.h>

#include <shoal/runtime.h>

#include "../machine.h"
#include "internal.h"
#include "registers.h"

#define NANOSECONDS          1000000000ULL
#define SLEEP_LIMIT_SECONDS  4
#define FREQUENCY_LIMIT      4000000000ULL /* so that no product below overflows */
#define TIMER_ENABLED        1
#define FEATURE_RANDOM_SHIFT 60 /* ID_AA64ISAR0_EL1.RNDR */
#define RANDOM_NUMBER        "s3_3_c2_c4_0"

/* The clock's constants, set once by clock_init. */
static struct {
    uint64_t origin;     /* the counter at boot */
    uint64_t frequency;  /* ticks a second */
    uint64_t multiplier; /* nanoseconds a tick, times 2^32 */
    uint64_t seed;       /* random bits from the device tree */
} clock_scale;

/* The counter may be read before the instructions in front of it are done. */
static uint64_t read_counter(void)
{
    INSTRUCTION_BARRIER();
    return SYSTEM_REGISTER_READ("cntvct_el0");
}

void clock_init(const struct device_tree *machine)
{
    uint64_t frequency = SYSTEM_REGISTER_READ("cntfrq_el0");
    if (machine->timer_frequency != 0) {
        frequency = machine->timer_frequency; /* is there where the register is wrong */
    }
    if (frequency == 0 || frequency > FREQUENCY_LIMIT) {
        shoal_panic("the timer's frequency is %lu Hz", (unsigned long)frequency);
    }
    clock_scale.origin = read_counter();
    clock_scale.frequency = frequency;
    clock_scale.multiplier = (NANOSECONDS << 32) / frequency;
    clock_scale.seed = machine->random_seed;
    SYSTEM_REGISTER_WRITE("cntv_ctl_el0", 0);
    interrupts_enable(machine->timer);
}

uint64_t machine_clock_nanoseconds(void)
{
    uint64_t ticks = read_counter() - clock_scale.origin;
    uint64_t high = (ticks >> 32) * clock_scale.multiplier;
    uint64_t low = (ticks & 0xffffffff) * clock_scale.multiplier;
    return high + (low >> 32);
}

/* The comparator asks until it is switched off; the sleep it ends is over. */
void clock_handle_interrupt(void)
{
    SYSTEM_REGISTER_WRITE("cntv_ctl_el0", 0);
    INSTRUCTION_BARRIER();
}

void machine_sleep(uint64_t nanoseconds)
{
    if (nanoseconds > SLEEP_LIMIT_SECONDS * NANOSECONDS) {
        nanoseconds = SLEEP_LIMIT_SECONDS * NANOSECONDS;
    }
    uint64_t ticks = nanoseconds * clock_scale.frequency / NANOSECONDS;
    SYSTEM_REGISTER_WRITE("cntv_cval_el0", read_counter() + ticks);
    SYSTEM_REGISTER_WRITE("cntv_ctl_el0", TIMER_ENABLED);
    INSTRUCTION_BARRIER();
    /* A pending interrupt ends the wait although it is masked: none falls between the two. */
    __asm__ volatile("dsb sy; wfi" : : : "memory");
    machine_interrupts_enable();
}

uint64_t machine_random_seed(void)
{
    uint64_t seed = clock_scale.seed ^ SYSTEM_REGISTER_READ("cntvct_el0");
    if (SYSTEM_REGISTER_READ("id_aa64isar0_el1") >> FEATURE_RANDOM_SHIFT != 0) {
        seed ^= SYSTEM_REGISTER_READ(RANDOM_NUMBER); /* zero when it has none at hand */
    }
    return seed;
}
