#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#include "registry/metadata/leases.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

struct test_clock {
    struct clock clock; /* first */
    uint64_t now;
};

static uint64_t tell(const struct clock *clock)
{
    return ((const struct test_clock *)clock)->now;
}

static struct test_clock clock_at(uint64_t now)
{
    return (struct test_clock){.clock = {.monotonic_ms = tell, .wall_ms = tell}, .now = now};
}

static void a_lease_holds_for_its_time_and_is_renewed(void **state)
{
    (void)state;
    struct test_clock clock = clock_at(5000);
    struct leases *leases = leases_create(1000, &clock.clock);
    clock.now = 10000;
    assert_false(leases_hold(leases, "r", A));
    leases_take(leases, "r", A);
    assert_true(leases_hold(leases, "r", A));
    assert_false(leases_hold(leases, "r", B));
    assert_false(leases_hold(leases, "other", A));
    clock.now += 999;
    assert_true(leases_hold(leases, "r", A));
    leases_take(leases, "r", A);
    clock.now += 999;
    assert_true(leases_hold(leases, "r", A));
    clock.now += 1;
    assert_false(leases_hold(leases, "r", A));
    leases_destroy(leases);
}

static void after_a_start_everything_is_leased(void **state)
{
    (void)state;
    struct test_clock clock = clock_at(0);
    struct leases *leases = leases_create(1000, &clock.clock);
    assert_true(leases_hold(leases, "r", A));
    clock.now = 999;
    assert_true(leases_hold(leases, "r", A));
    clock.now = 1000;
    assert_false(leases_hold(leases, "r", A));
    leases_destroy(leases);
}

static void without_a_duration_nothing_is_leased(void **state)
{
    (void)state;
    struct test_clock clock = clock_at(0);
    struct leases *leases = leases_create(0, &clock.clock);
    leases_take(leases, "r", A);
    assert_false(leases_hold(leases, "r", A));
    leases_destroy(leases);
}

struct taker {
    struct leases *leases;
    atomic_bool has_taken;
};

static void *take(void *data)
{
    struct taker *taker = data;
    leases_take(taker->leases, "r", A);
    atomic_store(&taker->has_taken, true);
    return NULL;
}

static void nobody_takes_one_while_they_are_frozen(void **state)
{
    (void)state;
    const struct timespec moment = {.tv_nsec = 50000000};
    struct test_clock clock = clock_at(0);
    struct taker taker = {.leases = leases_create(1000, &clock.clock)};
    pthread_t thread;
    clock.now = 1000;
    leases_freeze(taker.leases);
    assert_int_equal(pthread_create(&thread, NULL, take, &taker), 0);
    nanosleep(&moment, NULL);
    assert_false(atomic_load(&taker.has_taken));
    assert_false(leases_hold(taker.leases, "r", A));
    leases_thaw(taker.leases);
    pthread_join(thread, NULL);
    assert_true(leases_hold(taker.leases, "r", A));
    leases_destroy(taker.leases);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lease_holds_for_its_time_and_is_renewed),
        cmocka_unit_test(after_a_start_everything_is_leased),
        cmocka_unit_test(without_a_duration_nothing_is_leased),
        cmocka_unit_test(nobody_takes_one_while_they_are_frozen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
