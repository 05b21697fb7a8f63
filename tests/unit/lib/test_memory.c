/* The heap of a large process, as the kernel tells of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/memory.h"

#define MIB       ((intptr_t)1 << 20)
#define HUGE_PAGE (2 * MIB)
#define SMALL     (32 * MIB)

/* A sanitizer has an allocator of its own. */
static void skip_other_allocators(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip();
#endif
}

static uintptr_t heap_end(void)
{
    return (uintptr_t)sbrk(0);
}

static bool can_be_huge(void)
{
    char text[64] = "";
    FILE *file = fopen("/sys/kernel/mm/transparent_hugepage/enabled", "re");
    if (file == NULL)
        return false;
    bool known = fgets(text, sizeof text, file) != NULL && strstr(text, "[never]") == NULL;
    fclose(file);
    return known;
}

/* Whether huge pages were asked for at an address. */
static bool is_asked(uintptr_t address)
{
    char line[256];
    bool inside = false, asked = false;
    FILE *file = fopen("/proc/self/smaps", "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL) {
        char *rest;
        uintptr_t begin = strtoull(line, &rest, 16);
        if (*rest == '-')
            inside = begin <= address && address < strtoull(rest + 1, NULL, 16);
        else if (inside && strncmp(line, "VmFlags:", 8) == 0)
            asked = strstr(line, " hg") != NULL;
    }
    fclose(file);
    return asked;
}

static void a_small_heap_stays_as_it_is(void **state)
{
    (void)state;
    struct memory_heap heap = {0};
    memory_follow_heap(&heap);
    uintptr_t first = heap.asked;
    assert_int_equal(first % HUGE_PAGE, 0);
    assert_true(first >= heap_end() - HUGE_PAGE + SMALL);
    memory_follow_heap(&heap);
    assert_int_equal(heap.asked, first);
    assert_ptr_not_equal(sbrk(SMALL / 2), (void *)-1);
    memory_follow_heap(&heap);
    assert_int_equal(heap.asked, first);
    assert_ptr_not_equal(sbrk(-SMALL / 2), (void *)-1);
}

static void what_a_large_one_grows_by_is_asked_for_once(void **state)
{
    (void)state;
    struct memory_heap heap = {0};
    memory_follow_heap(&heap);
    uintptr_t first = heap.asked;
    assert_ptr_not_equal(sbrk(SMALL + 4 * HUGE_PAGE), (void *)-1);
    memory_follow_heap(&heap);
    assert_int_equal(heap.asked, heap_end() / HUGE_PAGE * HUGE_PAGE);
    assert_true(heap.asked >= first + 4 * HUGE_PAGE);
    if (can_be_huge()) {
        assert_true(is_asked(first));
        assert_true(is_asked(heap.asked - 1));
        assert_false(is_asked(first - 1));
    }
    uintptr_t second = heap.asked;
    assert_ptr_not_equal(sbrk(-4 * HUGE_PAGE), (void *)-1);
    memory_follow_heap(&heap); /* it shrank: what comes there again was asked for */
    assert_int_equal(heap.asked, second);
    assert_ptr_not_equal(sbrk(-SMALL), (void *)-1);
}

static void it_grows_in_large_steps_and_what_is_large_is_apart(void **state)
{
    (void)state;
    skip_other_allocators();
    memory_prepare_heap();
    uintptr_t before = heap_end();
    void *blocks[256];
    size_t count = 0;
    while (heap_end() == before && count < 256)
        blocks[count++] = malloc(512 << 10); /* in the heap, which has no room for all of them */
    assert_true(heap_end() - before >= 16 * MIB);
    uintptr_t grown = heap_end();
    for (int i = 0; i < 2; i++) { /* also when one like it was freed before */
        char *apart = malloc(24 << 20);
        assert_non_null(apart);
        assert_false((uintptr_t)apart > before && (uintptr_t)apart < heap_end());
        free(apart);
    }
    assert_int_equal(heap_end(), grown);
    while (count > 0)
        free(blocks[--count]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_heap_stays_as_it_is),
        cmocka_unit_test(what_a_large_one_grows_by_is_asked_for_once),
        cmocka_unit_test(it_grows_in_large_steps_and_what_is_large_is_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
