/* A smoke of the simulation (tests/sim/): some scenarios keep every promise, a seed is one story,
 * and bugs that are put in on purpose are found. `make sim` plays more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/instance.h"
#include "scheduler/counters.h"
#include "scheduler/publication.h"
#include "tests/sim/scenario.h"

#define FIRST_SEED   1
#define SCENARIOS    300
#define SCENARIOS_IN 200 /* until a bug is found */

/* --- bugs on purpose: the linker puts these in place of the core's own (Makefile) --- */

static enum bug {
    BUG_NONE,
    BUG_UNAVAILABLE,
    BUG_SURGE,
    BUG_DRAIN,
    BUG_IDS,
    BUG_OLD_BACKUP,
    BUG_ADOPTION,
} bug;

void __real_reconcile_decide(const struct reconcile_input *input, struct reconcile_result *result);
void __wrap_reconcile_decide(const struct reconcile_input *input, struct reconcile_result *result);
bool __real_publication_is_drained(const struct publication *publication,
                                   const struct model_instance *instance);
bool __wrap_publication_is_drained(const struct publication *publication,
                                   const struct model_instance *instance);
void __real_counters_begin(struct document_counters *counters, uint64_t term);
void __wrap_counters_begin(struct document_counters *counters, uint64_t term);
bool __real_counters_know(const struct document_counters *counters, uint64_t term, const char *id);
bool __wrap_counters_know(const struct document_counters *counters, uint64_t term, const char *id);
void __real_instance_adopted(struct instance *instance, const char *image, uint64_t uptime_ms,
                             bool is_paused);
void __wrap_instance_adopted(struct instance *instance, const char *image, uint64_t uptime_ms,
                             bool is_paused);

void __wrap_reconcile_decide(const struct reconcile_input *input, struct reconcile_result *result)
{
    struct reconcile_input wrong = *input;
    if (bug == BUG_UNAVAILABLE)
        wrong.max_unavailable = input->replicas;
    if (bug == BUG_SURGE)
        wrong.max_surge++;
    __real_reconcile_decide(&wrong, result);
}

bool __wrap_publication_is_drained(const struct publication *publication,
                                   const struct model_instance *instance)
{
    return bug == BUG_DRAIN || __real_publication_is_drained(publication, instance);
}

void __wrap_counters_begin(struct document_counters *counters, uint64_t term)
{
    if (bug == BUG_IDS)
        counters->instances = 0;
    __real_counters_begin(counters, term);
}

bool __wrap_counters_know(const struct document_counters *counters, uint64_t term, const char *id)
{
    return bug == BUG_OLD_BACKUP || __real_counters_know(counters, term, id);
}

void __wrap_instance_adopted(struct instance *instance, const char *image, uint64_t uptime_ms,
                             bool is_paused)
{
    if (bug != BUG_ADOPTION)
        __real_instance_adopted(instance, image, uptime_ms, is_paused);
}

/* --- the tests --- */

static char *play(uint64_t seed)
{
    struct scenario scenario = scenario_of_seed(seed);
    return scenario_play(&scenario, 0).failure;
}

static void scenarios_keep_every_promise(void **state)
{
    (void)state;
    for (uint64_t seed = FIRST_SEED; seed < FIRST_SEED + SCENARIOS; seed++) {
        char *failure = play(seed);
        if (failure != NULL)
            fail_msg("seed %llu: %s; see `make sim SEED=%llu`", (unsigned long long)seed, failure,
                     (unsigned long long)seed);
    }
    print_message("%d scenarios from seed %d\n", SCENARIOS, FIRST_SEED);
}

static void a_seed_is_one_story(void **state)
{
    (void)state;
    for (uint64_t seed = FIRST_SEED; seed < FIRST_SEED + 5; seed++) {
        struct scenario scenario = scenario_of_seed(seed);
        struct scenario_result once = scenario_record(&scenario);
        struct scenario_result again = scenario_record(&scenario);
        assert_int_equal(once.events, again.events);
        assert_true(once.trace_hash == again.trace_hash);
        free(once.failure);
        free(again.failure);
    }
}

static void find(enum bug wanted, const char *told)
{
    char *failure = NULL;
    bug = wanted;
    for (uint64_t seed = FIRST_SEED; seed < FIRST_SEED + SCENARIOS_IN && failure == NULL; seed++)
        failure = play(seed);
    bug = BUG_NONE;
    assert_non_null(failure);
    if (strstr(failure, told) == NULL)
        fail_msg("it was found as \"%s\", not as \"%s\"", failure, told);
    free(failure);
}

static void bugs_on_purpose_are_found(void **state)
{
    (void)state;
    find(BUG_UNAVAILABLE, "promise 1");
    find(BUG_SURGE, "promise 1");
    find(BUG_DRAIN, "promise 3");
    find(BUG_IDS, "handed out again");
    find(BUG_OLD_BACKUP, "old backup");
    find(BUG_ADOPTION, "boot what is there");
}

static void a_failure_shrinks_to_few_steps(void **state)
{
    (void)state;
    uint64_t seed = FIRST_SEED;
    bug = BUG_DRAIN;
    struct scenario scenario = scenario_of_seed(seed);
    char *failure;
    while ((failure = play(seed)) == NULL)
        scenario = scenario_of_seed(++seed);
    free(failure);
    scenario = scenario_of_seed(seed);
    scenario_shrink(&scenario);
    failure = scenario_play(&scenario, 0).failure;
    bug = BUG_NONE;
    size_t kept = 0;
    for (size_t i = 0; i < scenario.step_count; i++)
        kept += !scenario.skips[i];
    assert_non_null(failure);
    assert_true(kept < scenario.step_count);
    free(failure);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scenarios_keep_every_promise),
        cmocka_unit_test(a_seed_is_one_story),
        cmocka_unit_test(bugs_on_purpose_are_found),
        cmocka_unit_test(a_failure_shrinks_to_few_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
