#include "agent/instance.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"

/* How long after its grace time a microVM may still be there before its end is asked for again. */
#define END_CHECK_SLACK_MS 20000

static uint64_t now_of(const struct instance *instance)
{
    return clock_monotonic_ms(instance->clock);
}

static void explain(struct instance *instance, const char *cause, const char *message)
{
    snprintf(instance->cause, sizeof instance->cause, "%s", cause);
    snprintf(instance->message, sizeof instance->message, "%s", message);
}

enum instance_state instance_state(const struct instance *instance)
{
    return instance_phase_facts(instance->phase)->state;
}

enum instance_vm instance_vm(const struct instance *instance)
{
    return instance->is_recalled ? INSTANCE_VM_NONE : instance_phase_facts(instance->phase)->vm;
}

uint64_t instance_boot_age(const struct instance *instance)
{
    uint64_t now = now_of(instance);
    return now > instance->booted_at_ms ? now - instance->booted_at_ms : 0;
}

bool instance_is_over(const struct instance *instance)
{
    return instance_state_is_over(instance_state(instance)) &&
           instance_vm(instance) == INSTANCE_VM_NONE;
}

void instance_init(struct instance *instance, const char *id, const struct clock *clock)
{
    *instance = (struct instance){.clock = clock, .phase = INSTANCE_PHASE_NEW};
    snprintf(instance->id, sizeof instance->id, "%s", id);
    instance->state_since_ms = now_of(instance);
}

void instance_finish(struct instance *instance)
{
    json_record_release(&api_assigned_instance_record, &instance->assigned);
}

/* --- the machine --- */

static bool may(const struct instance *instance, enum instance_event event)
{
    return instance_machine_step(instance->phase, event) != NULL;
}

/* The one place where a phase changes. */
static void enter(struct instance *instance, enum instance_phase to, enum instance_event event)
{
    if (instance->phase == to)
        return;
    enum instance_phase from = instance->phase;
    instance->hang[0] = '\0';
    enum instance_state before = instance_state(instance);
    instance->phase = to;
    if (instance_state(instance) != before)
        instance->state_since_ms = now_of(instance);
    log_info("instance moved", "id", instance->id, "service", instance->assigned.service, "from",
             instance_phase_names[from], "to", instance_phase_names[to], "event",
             instance_event_names[event], "cause", instance->cause, "reason", instance->message);
}

static void begin_boot(struct instance *instance)
{
    instance->booted_at_ms = now_of(instance);
    instance->boot_ms = 0;
    instance->boot_deadline_ms = 0;
    instance->adopted_image[0] = '\0';
    instance->was_asked_to_end = false;
    for (size_t i = BOOT_STEP_QUEUE; i < BOOT_STEPS; i++)
        instance->steps.us[i] = 0;
}

/* What is left of the whole boot passed until the check did. */
static void settle_steps(struct instance *instance)
{
    uint64_t *us = instance->steps.us, spent = 0, whole = instance->boot_ms * 1000;
    for (size_t i = BOOT_STEP_QUEUE; i < BOOT_STEP_READY; i++)
        spent += us[i];
    us[BOOT_STEP_READY] = whole > spent ? whole - spent : 0;
}

static void begin_end(struct instance *instance, uint64_t grace_ms)
{
    instance->boot_deadline_ms = 0;
    instance->end_check_ms = now_of(instance) + grace_ms + END_CHECK_SLACK_MS;
}

/* What happened, put to the table; cause and message are set before. */
static unsigned put(struct instance *instance, enum instance_event event)
{
    const struct instance_step *step = instance_machine_step(instance->phase, event);
    if (step == NULL)
        return 0;
    enter(instance, step->to, event);
    if (step->actions & INSTANCE_BOOT)
        begin_boot(instance);
    if (step->actions & INSTANCE_END) {
        begin_end(instance, instance->assigned.stop.grace_ms);
        instance->was_asked_to_end = instance->stop_method != HOST_STOP_KILL;
    }
    if (step->actions & INSTANCE_KILL)
        begin_end(instance, 0);
    return step->actions;
}

/* --- losing a boot --- */

struct loss {
    const char *cause;
    const char *message;
    bool is_failure; /* not: the guest ended by itself and told of nothing bad */
    bool is_there;   /* its microVM still has to be ended */
    bool is_free;    /* takes none of its attempts */
};

static unsigned lose_for_good(struct instance *instance, const struct loss *loss)
{
    if (!loss->is_failure && instance->assigned.restart.policy != API_RESTART_ALWAYS) {
        explain(instance, INSTANCE_CAUSE_COMPLETED, loss->message);
        return put(instance, INSTANCE_EVENT_LOST_COMPLETED);
    }
    explain(instance, loss->cause, loss->message);
    return put(instance,
               loss->is_there ? INSTANCE_EVENT_BROKEN_FAILED : INSTANCE_EVENT_LOST_FAILED);
}

static void explain_restart(struct instance *instance, const struct loss *loss, uint64_t delay_ms)
{
    char delay[TEXT_DURATION_MAX], text[REASON_MAX], attempt[32] = "";
    text_format_duration(delay_ms, delay, sizeof delay);
    if (!loss->is_free)
        snprintf(attempt, sizeof attempt, " %" PRIu32 " of %" PRIu32, instance->history.attempts,
                 instance->assigned.restart.attempts);
    snprintf(text, sizeof text, "%.400s; restart%s after %s", loss->message, attempt, delay);
    explain(instance, loss->cause, text);
}

/* The boot is lost, by itself or because it has to be: again in place, or no more. */
static unsigned lose(struct instance *instance, const struct loss *loss)
{
    if (!may(instance, loss->is_there ? INSTANCE_EVENT_BROKEN_AGAIN : INSTANCE_EVENT_LOST_AGAIN))
        return 0;
    struct restart_decision decision = restart_policy_decide(
        &instance->assigned.restart, &instance->history, loss->is_failure, now_of(instance));
    instance->boot_deadline_ms = 0;
    if (!decision.restart)
        return lose_for_good(instance, loss);
    explain_restart(instance, loss, decision.delay_ms);
    instance->restarts++;
    instance->boot_ms = 0;
    instance->woken_at_ms = 0;
    instance->restart_at_ms = now_of(instance) + decision.delay_ms;
    return put(instance, loss->is_there ? INSTANCE_EVENT_BROKEN_AGAIN : INSTANCE_EVENT_LOST_AGAIN);
}

/* --- what happened --- */

/* Settings apply in place: the checks are among them. */
static bool health_is_same(const struct api_health *one, const struct api_health *other)
{
    AUTO_FREE char *first = json_record_text(&api_health_record, one);
    AUTO_FREE char *second = json_record_text(&api_health_record, other);
    return strcmp(first, second) == 0;
}

static bool is_foreign(const struct instance *instance)
{
    return instance->is_assigned && instance->adopted_image[0] != '\0' &&
           strcmp(instance->adopted_image, instance->assigned.image_digest) != 0;
}

static unsigned replace_foreign(struct instance *instance)
{
    const struct loss loss = {
        .cause = INSTANCE_CAUSE_ADOPTION_MISMATCH,
        .message = instance_cause_meaning(INSTANCE_CAUSE_ADOPTION_MISMATCH),
        .is_failure = true,
        .is_there = true,
    };
    return lose(instance, &loss);
}

static void begin_deadline(struct instance *instance)
{
    uint64_t timeout = instance->assigned.boot_timeout_ms;
    instance->boot_deadline_ms = timeout > 0 ? now_of(instance) + timeout : 0;
}

/* It has its boot_timeout from now on: it was its turn to run only now, or nobody looked at it
 * meanwhile. */
static void expect_ready(struct instance *instance)
{
    if (instance->phase == INSTANCE_PHASE_RUNNING && instance->boot_ms == 0)
        begin_deadline(instance);
}

/* A standby is wanted: as after a boot, it has so long to be ready. */
static unsigned wake(struct instance *instance)
{
    begin_deadline(instance);
    instance->woken_at_ms = now_of(instance);
    return put(instance, INSTANCE_EVENT_RUN);
}

static unsigned run(struct instance *instance)
{
    if (instance->phase == INSTANCE_PHASE_STANDBY)
        return wake(instance);
    if (instance->phase == INSTANCE_PHASE_UNNAMED && is_foreign(instance))
        return replace_foreign(instance);
    bool was_unnamed = instance->phase == INSTANCE_PHASE_UNNAMED;
    unsigned actions = put(instance, INSTANCE_EVENT_RUN);
    if (was_unnamed)
        expect_ready(instance);
    /* A standby whose record is lost. */
    if (was_unnamed && instance->is_paused && !instance->is_debugged)
        actions |= INSTANCE_UNPAUSE;
    return actions;
}

unsigned instance_assign(struct instance *instance, const struct api_assigned_instance *assigned)
{
    bool same_health = health_is_same(&instance->assigned.health, &assigned->health);
    json_record_release(&api_assigned_instance_record, &instance->assigned);
    json_record_copy(&api_assigned_instance_record, assigned, &instance->assigned);
    instance->is_assigned = true;
    instance->is_listed = true;
    if (assigned->wanted == API_WANTED_STOP) {
        /* What the scheduler has to say about it, it tells people itself. */
        if (assigned->stop_cause[0] != '\0' && !instance_state_is_over(instance_state(instance)))
            explain(instance, assigned->stop_cause, "");
        return put(instance, INSTANCE_EVENT_STOP);
    }
    bool is_standby = assigned->wanted == API_WANTED_STANDBY;
    if (is_standby && instance->phase == INSTANCE_PHASE_READY)
        return put(instance, INSTANCE_EVENT_PAUSE);
    if (may(instance, INSTANCE_EVENT_RUN) &&
        !(is_standby && instance->phase == INSTANCE_PHASE_STANDBY))
        return run(instance);
    return same_health ? 0 : put(instance, INSTANCE_EVENT_CHECKS_CHANGED);
}

/* Later the cause of the last restart is what people want to see. */
static bool boots_first(const struct instance *instance)
{
    return instance_state(instance) <= INSTANCE_VERIFYING;
}

void instance_image_moved(struct instance *instance, enum instance_state state, const char *cause,
                          const char *message)
{
    if (boots_first(instance) || cause[0] != '\0')
        explain(instance, cause, message);
    put(instance, state == INSTANCE_FETCHING ? INSTANCE_EVENT_IMAGE_FETCHING
                                             : INSTANCE_EVENT_IMAGE_VERIFYING);
}

unsigned instance_image_ready(struct instance *instance)
{
    instance->image_ready = true;
    if (boots_first(instance)) {
        explain(instance, "", "");
        /* It may have been told of a failed download last. */
        put(instance, INSTANCE_EVENT_IMAGE_VERIFYING);
    }
    return put(instance, INSTANCE_EVENT_IMAGE_READY);
}

unsigned instance_image_failed(struct instance *instance, const char *cause, const char *message)
{
    if (may(instance, INSTANCE_EVENT_IMAGE_FAILED))
        explain(instance, cause, message);
    return put(instance, INSTANCE_EVENT_IMAGE_FAILED);
}

unsigned instance_booted(struct instance *instance)
{
    unsigned actions = put(instance, INSTANCE_EVENT_BOOTED);
    expect_ready(instance);
    return actions;
}

unsigned instance_boot_failed(struct instance *instance, const char *message)
{
    const struct loss loss = {
        .cause = INSTANCE_CAUSE_BOOT_FAILED, .message = message, .is_failure = true};
    if (instance_vm(instance) != INSTANCE_VM_BOOTING)
        return 0;
    return may(instance, INSTANCE_EVENT_GONE) ? put(instance, INSTANCE_EVENT_GONE)
                                              : lose(instance, &loss);
}

unsigned instance_paused(struct instance *instance)
{
    unsigned actions = put(instance, INSTANCE_EVENT_PAUSED);
    /* It was wanted meanwhile. */
    if (instance->phase == INSTANCE_PHASE_STANDBY && instance->assigned.wanted == API_WANTED_RUN)
        actions |= wake(instance);
    return actions;
}

unsigned instance_pause_failed(struct instance *instance, const char *message)
{
    const struct loss loss = {
        .cause = "pause_failed", .message = message, .is_failure = true, .is_there = true};
    return lose(instance, &loss);
}

unsigned instance_boot_refused(struct instance *instance, const char *message)
{
    if (may(instance, INSTANCE_EVENT_BOOT_REFUSED))
        explain(instance, INSTANCE_CAUSE_IMAGE_INVALID, message);
    return put(instance, INSTANCE_EVENT_BOOT_REFUSED);
}

static const char *const end_causes[] = {
    [HOST_END_GUEST_EXIT] = INSTANCE_CAUSE_GUEST_EXIT,
    [HOST_END_GUEST_PANIC] = INSTANCE_CAUSE_GUEST_PANIC,
    [HOST_END_KILLED] = INSTANCE_CAUSE_HYPERVISOR_KILLED,
    [HOST_END_STOPPED] = INSTANCE_CAUSE_GUEST_EXIT,
    [HOST_END_STOP_KILLED] = INSTANCE_CAUSE_HYPERVISOR_KILLED,
    [HOST_END_GUEST_RESET] = INSTANCE_CAUSE_GUEST_RESET,
    [HOST_END_OOM] = INSTANCE_CAUSE_OOM,
    [HOST_END_HUNG] = INSTANCE_CAUSE_HUNG,
};

static unsigned ended_by_itself(struct instance *instance, enum host_end_cause cause,
                                const char *message)
{
    const char *name = end_causes[cause];
    const struct loss loss = {
        .cause = name,
        .message = message[0] != '\0' ? message : instance_cause_meaning(name),
        .is_failure = cause != HOST_END_GUEST_EXIT,
    };
    return lose(instance, &loss);
}

/* Why it was to stop the scheduler knows better, and says it. */
static const char *stop_cause_of(const struct instance *instance, enum host_end_cause cause)
{
    bool was_deaf = cause == HOST_END_STOP_KILLED && instance->was_asked_to_end;
    return was_deaf ? INSTANCE_CAUSE_STOP_KILLED : INSTANCE_CAUSE_STOPPED;
}

unsigned instance_ended(struct instance *instance, enum host_end_cause cause, const char *message)
{
    if (instance_vm(instance) == INSTANCE_VM_NONE)
        return 0;
    instance->end_check_ms = 0;
    if (!may(instance, INSTANCE_EVENT_GONE))
        return ended_by_itself(instance, cause, message);
    if (instance->phase == INSTANCE_PHASE_STOPPING && instance->assigned.stop_cause[0] == '\0')
        explain(instance, stop_cause_of(instance, cause), "");
    unsigned actions = put(instance, INSTANCE_EVENT_GONE);
    return actions | instance_tick(instance);
}

void instance_steps_measured(struct instance *instance, const struct host_boot_steps *measured)
{
    uint64_t *us = instance->steps.us;
    us[BOOT_STEP_QUEUE] = measured->queue_us;
    us[BOOT_STEP_CREATE] = measured->create_us;
    us[BOOT_STEP_START] = measured->start_us;
    us[BOOT_STEP_FIRST_PACKET] = measured->first_packet_us;
    if (instance->boot_ms > 0)
        settle_steps(instance);
}

/* Ready again after its check failed is no wake. */
static void note_wake(struct instance *instance)
{
    uint64_t took = now_of(instance) - instance->woken_at_ms;
    instance->wake_ms = instance->woken_at_ms == 0 ? 0 : took > 0 ? took : 1;
    instance->woken_at_ms = 0;
}

unsigned instance_became_ready(struct instance *instance)
{
    if (!may(instance, INSTANCE_EVENT_READY))
        return 0;
    instance->boot_deadline_ms = 0;
    if (instance->boot_ms == 0) {
        uint64_t took = now_of(instance) - instance->booted_at_ms;
        instance->boot_ms = took > 0 ? took : 1;
        settle_steps(instance);
    }
    note_wake(instance);
    if (strcmp(instance->cause, INSTANCE_CAUSE_UNREADY) == 0)
        explain(instance, "", "");
    return put(instance, instance->assigned.wanted == API_WANTED_STANDBY ? INSTANCE_EVENT_PAUSE
                                                                         : INSTANCE_EVENT_READY);
}

unsigned instance_became_unready(struct instance *instance, const char *message)
{
    if (may(instance, INSTANCE_EVENT_UNREADY))
        explain(instance, INSTANCE_CAUSE_UNREADY, message);
    return put(instance, INSTANCE_EVENT_UNREADY);
}

unsigned instance_became_unhealthy(struct instance *instance, const char *message)
{
    if (!instance_is_judged(instance))
        return 0;
    const struct loss loss = {.cause = INSTANCE_CAUSE_UNHEALTHY,
                              .message = message,
                              .is_failure = true,
                              .is_there = true};
    return lose(instance, &loss);
}

/* --- deadlines --- */

void instance_saw_miss(struct instance *instance, const char *message)
{
    snprintf(instance->last_miss, sizeof instance->last_miss, "%.255s", message);
}

static unsigned miss_boot(struct instance *instance)
{
    char timeout[TEXT_DURATION_MAX], text[REASON_MAX];
    text_format_duration(instance->assigned.boot_timeout_ms, timeout, sizeof timeout);
    snprintf(text, sizeof text, "not ready within boot_timeout %s%s%s", timeout,
             instance->last_miss[0] != '\0' ? ": " : "", instance->last_miss);
    const struct loss loss = {.cause = INSTANCE_CAUSE_BOOT_TIMEOUT,
                              .message = text,
                              .is_failure = true,
                              .is_there = true};
    return lose(instance, &loss);
}

uint64_t instance_next_deadline(const struct instance *instance)
{
    uint64_t next = 0;
    if (instance->phase == INSTANCE_PHASE_WAITING)
        return instance->restart_at_ms;
    if (instance_vm(instance) == INSTANCE_VM_RUNNING)
        next = instance->boot_deadline_ms;
    else if (instance_vm(instance) == INSTANCE_VM_ENDING)
        next = instance->end_check_ms;
    return next > 0 ? next : UINT64_MAX;
}

unsigned instance_tick(struct instance *instance)
{
    if (now_of(instance) < instance_next_deadline(instance))
        return 0;
    if (instance_vm(instance) == INSTANCE_VM_RUNNING && !instance_is_judged(instance)) {
        begin_deadline(instance);
        return 0;
    }
    if (instance_vm(instance) == INSTANCE_VM_RUNNING)
        return miss_boot(instance);
    if (instance->phase == INSTANCE_PHASE_WAITING)
        return put(instance, INSTANCE_EVENT_RESTART_DUE);
    log_warn("the microVM is still there: asking for its end again", "id", instance->id);
    return put(instance, INSTANCE_EVENT_END_OVERDUE);
}

/* --- a restarted agent --- */

void instance_debugged(struct instance *instance, bool debugged)
{
    if (instance->is_debugged && !debugged && instance->boot_deadline_ms != 0)
        begin_deadline(instance);
    instance->is_debugged = debugged;
}

void instance_frozen(struct instance *instance, bool frozen)
{
    if (!frozen && instance->boot_deadline_ms != 0)
        begin_deadline(instance);
    if (frozen)
        instance->freezes++;
    else if (instance->freezes > 0)
        instance->freezes--;
    instance->hang[0] = '\0';
}

bool instance_is_judged(const struct instance *instance)
{
    return !instance->is_debugged && instance->freezes == 0;
}

void instance_adopted(struct instance *instance, const char *image, uint64_t uptime_ms,
                      bool is_paused)
{
    instance->is_paused = is_paused;
    snprintf(instance->adopted_image, sizeof instance->adopted_image, "%s", image);
    uint64_t now = now_of(instance);
    instance->is_recalled = false;
    instance->booted_at_ms = now > uptime_ms ? now - uptime_ms : 0;
    /* What happened since the record was written is not known step by step. */
    put(instance, INSTANCE_EVENT_FOUND);
    expect_ready(instance);
    log_info("microVM adopted", "id", instance->id, "service", instance->assigned.service, "phase",
             instance_phase_names[instance->phase], "uptime_ms", LOG_NUMBER(uptime_ms));
}

/* The node was brought down, or rebooted: not the guest's fault, and none of its attempts. */
static unsigned restart_with_the_node(struct instance *instance)
{
    const struct loss loss = {
        .cause = INSTANCE_CAUSE_NODE_RESTARTED,
        .message = instance_cause_meaning(INSTANCE_CAUSE_NODE_RESTARTED),
        .is_failure = true,
        .is_free = true,
    };
    struct restart_history before = instance->history;
    instance->history = (struct restart_history){0};
    unsigned actions = lose(instance, &loss);
    instance->history = before;
    return actions;
}

/* Its microVM is gone, or never was. */
static unsigned resume_without_vm(struct instance *instance)
{
    bool was_running = instance_phase_facts(instance->phase)->vm == INSTANCE_VM_RUNNING;
    return was_running ? restart_with_the_node(instance) : put(instance, INSTANCE_EVENT_ABSENT);
}

unsigned instance_resume(struct instance *instance)
{
    bool was_there = instance_vm(instance) != INSTANCE_VM_NONE;
    instance->is_recalled = false;
    if (!was_there)
        return resume_without_vm(instance);
    if (is_foreign(instance) && may(instance, INSTANCE_EVENT_BROKEN_AGAIN))
        return replace_foreign(instance);
    if (instance->phase == INSTANCE_PHASE_STANDBY && !instance->is_paused)
        return put(instance, INSTANCE_EVENT_UNPAUSED);
    unsigned actions = put(instance, INSTANCE_EVENT_RESUMED);
    /* The agent ended before it was let go. */
    bool should_run =
        instance->phase == INSTANCE_PHASE_RUNNING || instance->phase == INSTANCE_PHASE_READY;
    return should_run && instance->is_paused && !instance->is_debugged ? actions | INSTANCE_UNPAUSE
                                                                       : actions;
}
