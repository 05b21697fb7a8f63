/* The network is the kernel's: what is left are the runtime's timers. */
#include "../runtime/network.h"

#include "../runtime/machine.h"
#include "internal.h"

#define TICK_NANOSECONDS        1000000000ull
#define MILLISECOND_NANOSECONDS 1000000ull
#define FLUSH_MILLISECONDS      20

static struct {
    uint32_t address;
    uint64_t next_tick;
} network;

uint32_t network_listen_address(void)
{
    return network.address;
}

void network_start(const struct arguments *arguments, void *heap)
{
    (void)heap;
    network.address = arguments->address;
}

void network_poll(void)
{
    uint64_t now = machine_clock_nanoseconds();
    if (now >= network.next_tick) {
        network.next_tick = now + TICK_NANOSECONDS;
        http_sockets_tick();
    }
}

/* An acknowledgement wakes nobody: whoever ends has to look for it. */
uint64_t network_prepare_sleep(void)
{
    if (http_sockets_are_stopping() && !network_is_quiet()) {
        return MILLISECOND_NANOSECONDS;
    }
    uint64_t now = machine_clock_nanoseconds();
    if (http_sockets_count() == 0) {
        return UINT64_MAX;
    }
    return network.next_tick > now ? network.next_tick - now : 1;
}

/* A machine that ends takes with it what its kernel has not sent. */
void network_flush(void)
{
    for (unsigned i = 0; i < FLUSH_MILLISECONDS && http_sockets_count_unacknowledged() > 0; i++) {
        machine_sleep(MILLISECOND_NANOSECONDS);
    }
}

bool network_is_quiet(void)
{
    return http_sockets_count_unacknowledged() == 0;
}
