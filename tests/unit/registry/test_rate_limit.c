#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "registry/rate_limit.h"

static void a_burst_passes_and_then_the_rate_counts(void **state)
{
    (void)state;
    struct rate_limit *limit = rate_limit_create(10, 3);
    uint64_t now = 5000, wait = 0;
    for (int i = 0; i < 3; i++)
        assert_true(rate_limit_take(limit, "127.0.0.1", now, &wait));
    assert_false(rate_limit_take(limit, "127.0.0.1", now, &wait));
    assert_int_equal(wait, 100);
    assert_false(rate_limit_take(limit, "127.0.0.1", now + 99, &wait));
    assert_int_equal(wait, 1);
    assert_true(rate_limit_take(limit, "127.0.0.1", now + 100, &wait));
    assert_false(rate_limit_take(limit, "127.0.0.1", now + 100, &wait));
    rate_limit_destroy(limit);
}

static void a_quiet_address_has_its_burst_again_and_no_more(void **state)
{
    (void)state;
    struct rate_limit *limit = rate_limit_create(1000, 2);
    uint64_t wait = 0;
    assert_true(rate_limit_take(limit, "10.0.0.1", 1, &wait));
    int passed = 0;
    while (rate_limit_take(limit, "10.0.0.1", UINT64_MAX / 2, &wait))
        passed++;
    assert_int_equal(passed, 2);
    rate_limit_destroy(limit);
}

static void addresses_count_for_themselves(void **state)
{
    (void)state;
    struct rate_limit *limit = rate_limit_create(1, 1);
    uint64_t wait = 0;
    assert_true(rate_limit_take(limit, "10.0.0.1", 1, &wait));
    assert_true(rate_limit_take(limit, "10.0.0.2", 1, &wait));
    assert_false(rate_limit_take(limit, "10.0.0.1", 1, &wait));
    assert_true(rate_limit_take(limit, "2001:db8:0:1::1", 1, &wait));
    assert_true(rate_limit_take(limit, "2001:db8:0:2::1", 1, &wait));
    assert_false(rate_limit_take(limit, "2001:db8:0:1::2", 1, &wait)); /* the same /64 */
    rate_limit_destroy(limit);
}

static void more_addresses_than_places_are_served(void **state)
{
    (void)state;
    struct rate_limit *limit = rate_limit_create(1, 1);
    uint64_t wait = 0;
    for (unsigned i = 0; i < 20000; i++) {
        char address[32];
        snprintf(address, sizeof address, "10.%u.%u.%u", i >> 16, i >> 8 & 255, i & 255);
        assert_true(rate_limit_take(limit, address, 1 + i, &wait));
    }
    rate_limit_destroy(limit);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_burst_passes_and_then_the_rate_counts),
        cmocka_unit_test(a_quiet_address_has_its_burst_again_and_no_more),
        cmocka_unit_test(addresses_count_for_themselves),
        cmocka_unit_test(more_addresses_than_places_are_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
