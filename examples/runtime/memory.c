#include "memory.h"

#include <shoal/runtime.h>

#define ALIGNMENT 64

static struct {
    uintptr_t next;
    uintptr_t end;
} memory;

void memory_init(uintptr_t begin, uintptr_t end)
{
    memory.next = (begin + ALIGNMENT - 1) & ~(uintptr_t)(ALIGNMENT - 1);
    memory.end = end;
}

void *memory_take(size_t size, const char *purpose)
{
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    if (memory.next >= memory.end || size > memory.end - memory.next) {
        shoal_panic("out of memory: %zu bytes for %s, %zu are free; give the guest more", size,
                    purpose, memory.next < memory.end ? memory.end - memory.next : 0);
    }
    void *result = (void *)memory.next;
    memory.next += size;
    /* The hypervisor hands out zeroed memory; clearing it again would touch all of it. */
    return result;
}
