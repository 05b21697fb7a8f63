/* Why a microVM ended, from what was told of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "agent/host/guest_end.h"

/* As wait() gives them. */
#define KILLED_BY(signal)  (signal)
#define ENDED_WITH(status) ((status) << 8)

static void every_end_is_judged(void **state)
{
    static const struct {
        struct guest_end_facts facts;
        enum host_end_cause cause;
        const char *says;
    } rows[] = {
        {{.end = HYPERVISOR_END_EXIT}, HOST_END_GUEST_EXIT, "by itself"},
        {{.end = HYPERVISOR_END_EXIT, .is_stopping = true}, HOST_END_STOPPED, "stopped"},
        {{.end = HYPERVISOR_END_RESET}, HOST_END_GUEST_EXIT, "by itself"},
        {{.end = HYPERVISOR_END_RESET, .powers_off = true}, HOST_END_GUEST_RESET, "triple fault"},
        {{.end = HYPERVISOR_END_RESET, .powers_off = true, .is_stopping = true},
         HOST_END_STOPPED,
         "stopped"},
        {{.end = HYPERVISOR_END_PANIC}, HOST_END_GUEST_PANIC, "panic"},
        {{.end = HYPERVISOR_END_PANIC, .is_stopping = true}, HOST_END_GUEST_PANIC, "panic"},
        {{.end = HYPERVISOR_END_DEATH, .is_stopping = true}, HOST_END_STOPPED, "stopped"},
        {{.end = HYPERVISOR_END_STOP}, HOST_END_STOP_KILLED, "by force"},
        {{.end = HYPERVISOR_END_STOP, .is_stopping = true}, HOST_END_STOP_KILLED, "by force"},
        {{.end = HYPERVISOR_END_STOP, .is_stopping = true, .reason = "unhealthy: no answer"},
         HOST_END_STOP_KILLED,
         "stopped by force: unhealthy: no answer"},
        {{.end = HYPERVISOR_END_EXIT, .is_stopping = true, .reason = "scaled_down"},
         HOST_END_STOPPED,
         "stopped: scaled_down"},
        {{.end = HYPERVISOR_END_PANIC, .is_stopping = true, .reason = "scaled_down"},
         HOST_END_GUEST_PANIC,
         "the guest told of a panic"},
        {{.end = HYPERVISOR_END_STOP, .is_halted = true}, HOST_END_GUEST_EXIT, "by itself"},
        {{.end = HYPERVISOR_END_STOP, .is_halted = true, .is_stopping = true},
         HOST_END_STOPPED,
         "stopped"},
        {{.end = HYPERVISOR_END_STOP, .is_hung = true}, HOST_END_HUNG, "did not go on"},
        {{.end = HYPERVISOR_END_DEATH, .is_hung = true}, HOST_END_HUNG, "did not go on"},
        {{.end = HYPERVISOR_END_DEATH}, HOST_END_KILLED, "process ended"},
        {{.end = HYPERVISOR_END_DEATH, .is_reaped = true, .wait_status = KILLED_BY(9)},
         HOST_END_KILLED,
         "signal 9"},
        {{.end = HYPERVISOR_END_DEATH, .is_reaped = true, .wait_status = ENDED_WITH(3)},
         HOST_END_KILLED,
         "status 3"},
        {{.end = HYPERVISOR_END_DEATH, .is_oom = true, .limit = 96 << 20}, HOST_END_OOM, "96Mi"},
        {{.end = HYPERVISOR_END_DEATH,
          .is_oom = true,
          .is_reaped = true,
          .wait_status = KILLED_BY(9)},
         HOST_END_OOM,
         "want of memory"},
        /* The kernel killed something else there: it ended by itself. */
        {{.end = HYPERVISOR_END_DEATH,
          .is_oom = true,
          .is_reaped = true,
          .wait_status = ENDED_WITH(1)},
         HOST_END_KILLED,
         "status 1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[HOST_MESSAGE_TEXT_MAX];
        enum host_end_cause cause = guest_end_judge(&rows[i].facts, text, sizeof text);
        if (cause != rows[i].cause || strstr(text, rows[i].says) == NULL)
            fail_msg("row %zu: cause %d, \"%s\"", i, (int)cause, text);
    }
}

static void one_without_a_group_of_its_own_is_never_said_to_lack_memory(void **state)
{
    struct guest_memory memory;
    struct guest_end_facts facts = {.end = HYPERVISOR_END_DEATH};
    (void)state;
    guest_memory_begin(getpid(), &memory);
    assert_string_equal(memory.group.memory, "");
    guest_memory_look(&memory, &facts);
    assert_false(facts.is_oom);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_end_is_judged),
        cmocka_unit_test(one_without_a_group_of_its_own_is_never_said_to_lack_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
