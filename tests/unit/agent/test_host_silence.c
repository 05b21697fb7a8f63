/* When the host half counts as silent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/host_silence.h"

#define START UINT64_C(1000000)

/* Looks as often as the loop does; the last step that was one. */
static enum host_silence_step look_until(struct host_silence *silence, uint64_t from, uint64_t to)
{
    enum host_silence_step last = HOST_SILENCE_NOTHING;
    for (uint64_t now = from; now <= to; now += HOST_SILENCE_LOOK_MS) {
        enum host_silence_step step = host_silence_look(silence, now);
        if (step != HOST_SILENCE_NOTHING)
            last = step;
    }
    return last;
}

static void who_says_nothing_is_asked_and_then_silent(void **state)
{
    (void)state;
    struct host_silence silence = {0};
    assert_int_equal(host_silence_hear(&silence, START), 0);
    assert_int_equal(look_until(&silence, START, START + HOST_SILENCE_ASK_MS - 1),
                     HOST_SILENCE_NOTHING);
    assert_int_equal(host_silence_look(&silence, START + HOST_SILENCE_ASK_MS), HOST_SILENCE_ASK);
    assert_int_equal(
        look_until(&silence, START + HOST_SILENCE_ASK_MS + 1, START + HOST_SILENCE_MS - 1),
        HOST_SILENCE_NOTHING);
    assert_int_equal(host_silence_length(&silence, START + HOST_SILENCE_MS - 1), 0);
    assert_int_equal(host_silence_look(&silence, START + HOST_SILENCE_MS), HOST_SILENCE_BEGINS);
    assert_int_equal(host_silence_length(&silence, START + HOST_SILENCE_MS), HOST_SILENCE_MS);
    /* It is told once, and counts on. */
    assert_int_equal(look_until(&silence, START + HOST_SILENCE_MS + 1, START + 98000),
                     HOST_SILENCE_NOTHING);
    assert_int_equal(host_silence_length(&silence, START + 98000), 98000);
}

static void a_word_ends_it_and_it_may_begin_anew(void **state)
{
    (void)state;
    struct host_silence silence = {0};
    host_silence_hear(&silence, START);
    look_until(&silence, START, START + 30000);
    assert_int_equal(host_silence_hear(&silence, START + 30000), 30000);
    assert_int_equal(host_silence_hear(&silence, START + 30001), 0);
    assert_int_equal(host_silence_length(&silence, START + 30001), 0);
    assert_int_equal(look_until(&silence, START + 30001, START + 30001 + HOST_SILENCE_MS),
                     HOST_SILENCE_BEGINS);
}

static void who_answers_when_asked_is_not_silent(void **state)
{
    (void)state;
    struct host_silence silence = {0};
    host_silence_hear(&silence, START);
    for (uint64_t now = START; now < START + 120000; now += HOST_SILENCE_LOOK_MS) {
        enum host_silence_step step = host_silence_look(&silence, now);
        assert_int_not_equal(step, HOST_SILENCE_BEGINS);
        if (step == HOST_SILENCE_ASK)
            host_silence_hear(&silence, now);
    }
}

static void the_first_word_is_waited_for(void **state)
{
    (void)state;
    struct host_silence silence = {0};
    assert_int_equal(look_until(&silence, START, START + 600000), HOST_SILENCE_NOTHING);
    assert_int_equal(host_silence_length(&silence, START + 600000), 0);
}

/* Both halves were stopped, or the machine was: what the other sent is read only afterwards. */
static void time_in_which_nobody_looked_is_not_counted(void **state)
{
    (void)state;
    struct host_silence silence = {0};
    host_silence_hear(&silence, START);
    look_until(&silence, START, START + 5000);
    assert_int_equal(host_silence_look(&silence, START + 605000), HOST_SILENCE_NOTHING);
    /* 5 s before it, and 10 s after it. */
    assert_int_equal(look_until(&silence, START + 606000, START + 614000), HOST_SILENCE_ASK);
    assert_int_equal(host_silence_look(&silence, START + 615000), HOST_SILENCE_BEGINS);
    /* A word that was read before anybody looked is not put into the future. */
    host_silence_hear(&silence, START + 900000);
    host_silence_look(&silence, START + 900001);
    assert_int_equal(host_silence_length(&silence, START + 900001), 0);
    assert_int_equal(look_until(&silence, START + 901000, START + 916000), HOST_SILENCE_BEGINS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_says_nothing_is_asked_and_then_silent),
        cmocka_unit_test(a_word_ends_it_and_it_may_begin_anew),
        cmocka_unit_test(who_answers_when_asked_is_not_silent),
        cmocka_unit_test(the_first_word_is_waited_for),
        cmocka_unit_test(time_in_which_nobody_looked_is_not_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
