#include "lib/memory.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#define HUGE_PAGE ((uintptr_t)2 << 20)
/* A small heap stays as it is: its last page would be a large part of it. */
#define SMALL_HEAP ((uintptr_t)32 << 20)
/* What it grows by, so that pages are asked for before they are used. */
#define GROWTH (16 << 20)
#define LARGE  (1 << 20) /* has a mapping of its own */

void memory_prepare_heap(void)
{
    mallopt(M_TOP_PAD, GROWTH);
    mallopt(M_TRIM_THRESHOLD, 2 * GROWTH);
    mallopt(M_MMAP_THRESHOLD, LARGE);
    /* What is freed joins its neighbours at once, not all of it together at some time. */
    mallopt(M_MXFAST, 0);
}

void memory_follow_heap(struct memory_heap *heap)
{
    char *end = sbrk(0);
    uintptr_t place = (uintptr_t)end / HUGE_PAGE * HUGE_PAGE;
    if (heap->asked == 0)
        heap->asked = place + SMALL_HEAP;
    if (place <= heap->asked)
        return;
    /* Whether the kernel has any is its own affair. */
    madvise(end - ((uintptr_t)end - heap->asked), place - heap->asked, MADV_HUGEPAGE);
    heap->asked = place;
}
