/* A heap of gigabytes: what is in it is walked in no order, and with small pages much of the time
 * goes into finding where they are.
 *
 * The heap is malloc's, of the main thread, which alone may call this. */
#pragma once

#include <stdint.h>

struct memory_heap {
    uintptr_t asked; /* huge pages were asked for up to here; 0: it was not looked at yet */
};

/* Before the first allocation that matters: growing and freeing costs less. */
void memory_prepare_heap(void);
/* Asks the kernel for huge pages where the heap has grown. `heap` is zeroed at first, and there is
 * one. To be called often: it costs nothing when nothing has grown. */
void memory_follow_heap(struct memory_heap *heap);
