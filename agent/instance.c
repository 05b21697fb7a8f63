#include "agent/instance.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"

/* How long after its grace time a microVM may still be there before its end is asked for again. */
#define END_CHECK_SLACK_MS 20000
#define CAUSE_UNREADY      "unready"

static uint64_t now_of(const struct instance *instance)
{
    return clock_monotonic_ms(instance->clock);
}

static void explain(struct instance *instance, const char *cause, const char *message)
{
    snprintf(instance->cause, sizeof instance->cause, "%s", cause);
    snprintf(instance->message, sizeof instance->message, "%s", message);
}

/* The one place where a state changes. */
static void move(struct instance *instance, enum instance_state to)
{
    if (instance->state == to)
        return;
    const char *from_name = instance_state_names[instance->state];
    if (!instance_state_may_move(instance->state, to)) {
        log_error("an instance's move is not in the table: it stays", "id", instance->id, "from",
                  from_name, "to", instance_state_names[to]);
        return;
    }
    instance->state = to;
    instance->state_since_ms = now_of(instance);
    log_info("instance moved", "id", instance->id, "service", instance->assigned.service, "from",
             from_name, "to", instance_state_names[to], "cause", instance->cause, "reason",
             instance->message);
}

void instance_init(struct instance *instance, const char *id, const struct clock *clock)
{
    *instance = (struct instance){.clock = clock, .state = INSTANCE_PENDING};
    snprintf(instance->id, sizeof instance->id, "%s", id);
    instance->state_since_ms = now_of(instance);
}

void instance_finish(struct instance *instance)
{
    json_record_release(&api_assigned_instance_record, &instance->assigned);
}

bool instance_is_over(const struct instance *instance)
{
    return instance_state_is_over(instance->state) && instance->vm == INSTANCE_VM_NONE;
}

/* --- starting --- */

static unsigned prepare(struct instance *instance)
{
    instance->preparing = true;
    return INSTANCE_PREPARE;
}

static unsigned boot(struct instance *instance)
{
    instance->restart_at_ms = 0;
    instance->next = INSTANCE_NEXT_UNDECIDED;
    instance->adopted_image[0] = '\0';
    if (!instance->image_ready || !instance->is_judged)
        return prepare(instance);
    instance->is_judged = false;
    uint64_t now = now_of(instance);
    instance->vm = INSTANCE_VM_BOOTING;
    instance->booted_at_ms = now;
    instance->boot_ms = 0;
    uint64_t timeout = instance->assigned.boot_timeout_ms;
    instance->boot_deadline_ms = timeout > 0 ? now + timeout : 0;
    move(instance, INSTANCE_STARTING);
    return INSTANCE_BOOT;
}

/* --- ending --- */

static unsigned end(struct instance *instance, enum instance_next next, enum instance_action how)
{
    instance->next = next;
    instance->vm = INSTANCE_VM_ENDING;
    instance->boot_deadline_ms = 0;
    uint64_t grace = how == INSTANCE_END ? instance->assigned.stop.grace_ms : 0;
    instance->end_check_ms = now_of(instance) + grace + END_CHECK_SLACK_MS;
    return INSTANCE_UNWATCH | (unsigned)how;
}

/* The guest has ended as it should: what was asked of it is done. */
static unsigned complete(struct instance *instance, const char *message)
{
    explain(instance, INSTANCE_CAUSE_COMPLETED, message);
    move(instance, INSTANCE_STOPPED);
    return INSTANCE_UNWATCH;
}

/* The boot is lost, by itself or because it has to be: again in place, or no more. */
static unsigned restart_or_fail(struct instance *instance, const char *cause, const char *message,
                                bool failed)
{
    struct restart_decision decision = restart_policy_decide(
        &instance->assigned.restart, &instance->history, failed, now_of(instance));
    bool is_running = instance->vm == INSTANCE_VM_RUNNING;
    instance->boot_deadline_ms = 0;
    if (!decision.restart && !failed && instance->assigned.restart.policy != API_RESTART_ALWAYS)
        return complete(instance, message);
    if (!decision.restart) {
        explain(instance, cause, message);
        if (is_running) {
            move(instance, INSTANCE_STOPPING);
            return end(instance, INSTANCE_NEXT_FAIL, INSTANCE_KILL);
        }
        move(instance, INSTANCE_FAILED);
        return INSTANCE_UNWATCH;
    }
    char delay[TEXT_DURATION_MAX];
    text_format_duration(decision.delay_ms, delay, sizeof delay);
    char text[REASON_MAX];
    snprintf(text, sizeof text, "%.400s; restart %" PRIu32 " of %" PRIu32 " after %s", message,
             instance->history.attempts, instance->assigned.restart.attempts, delay);
    explain(instance, cause, text);
    instance->restarts++;
    instance->boot_ms = 0;
    instance->restart_at_ms = now_of(instance) + decision.delay_ms;
    move(instance, INSTANCE_STARTING);
    log_info("instance is restarted in place", "id", instance->id, "cause", cause, "restarts",
             LOG_NUMBER(instance->restarts), "reason", text);
    if (is_running)
        return end(instance, INSTANCE_NEXT_RESTART, INSTANCE_KILL);
    return INSTANCE_UNWATCH;
}

static unsigned stop(struct instance *instance)
{
    if (instance_state_is_over(instance->state) ||
        (instance->state == INSTANCE_STOPPING && instance->next == INSTANCE_NEXT_STOP))
        return 0;
    instance->restart_at_ms = 0;
    instance->boot_deadline_ms = 0;
    instance->next = INSTANCE_NEXT_STOP;
    switch (instance->vm) {
    case INSTANCE_VM_NONE:
        instance->preparing = false;
        move(instance, INSTANCE_STOPPED);
        return INSTANCE_ABANDON | INSTANCE_UNWATCH;
    case INSTANCE_VM_RUNNING:
        move(instance, INSTANCE_STOPPING);
        return end(instance, INSTANCE_NEXT_STOP, INSTANCE_END);
    case INSTANCE_VM_BOOTING:
    case INSTANCE_VM_ENDING:
        break;
    }
    move(instance, INSTANCE_STOPPING);
    return INSTANCE_UNWATCH;
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
    return restart_or_fail(instance, "adoption_mismatch",
                           "the microVM that runs was booted from another image", true);
}

/* Nobody looked at an adopted guest meanwhile: it gets the whole time from now on. */
static void expect_ready(struct instance *instance)
{
    uint64_t timeout = instance->assigned.boot_timeout_ms;
    if (instance->is_assigned && instance->state == INSTANCE_RUNNING && instance->boot_ms == 0 &&
        timeout > 0)
        instance->boot_deadline_ms = now_of(instance) + timeout;
}

/* A microVM that nobody had named is named now. */
static unsigned take_over(struct instance *instance)
{
    if (is_foreign(instance))
        return replace_foreign(instance);
    expect_ready(instance);
    return INSTANCE_UNWATCH | INSTANCE_WATCH;
}

unsigned instance_assign(struct instance *instance, const struct api_assigned_instance *assigned)
{
    bool was_assigned = instance->is_assigned;
    bool same_health = health_is_same(&instance->assigned.health, &assigned->health);
    json_record_release(&api_assigned_instance_record, &instance->assigned);
    json_record_copy(&api_assigned_instance_record, assigned, &instance->assigned);
    instance->is_assigned = true;
    instance->is_listed = true;
    if (assigned->wanted == API_WANTED_STOP) {
        /* What the scheduler has to say about it, it tells people itself. */
        if (assigned->stop_cause[0] != '\0' && !instance_state_is_over(instance->state))
            explain(instance, assigned->stop_cause, "");
        return stop(instance);
    }
    if (instance->vm == INSTANCE_VM_RUNNING && !was_assigned)
        return take_over(instance);
    if (instance->vm == INSTANCE_VM_RUNNING && !same_health)
        return INSTANCE_UNWATCH | INSTANCE_WATCH;
    if (instance->vm == INSTANCE_VM_NONE && instance->state == INSTANCE_PENDING &&
        !instance->preparing)
        return prepare(instance);
    return 0;
}

void instance_image_moved(struct instance *instance, enum instance_state state, const char *cause,
                          const char *message)
{
    /* Later the cause of the last restart is what people want to see. */
    bool is_first = instance->state <= INSTANCE_VERIFYING;
    if (is_first || cause[0] != '\0')
        explain(instance, cause, message);
    if (is_first)
        move(instance, state);
}

unsigned instance_image_ready(struct instance *instance)
{
    instance->preparing = false;
    instance->image_ready = true;
    instance->is_judged = true;
    if (instance->state <= INSTANCE_VERIFYING) {
        explain(instance, "", "");
        move(instance, INSTANCE_VERIFYING); /* when it was told of a failed download last */
    }
    return boot(instance);
}

unsigned instance_image_failed(struct instance *instance, const char *cause, const char *message)
{
    instance->preparing = false;
    explain(instance, cause, message);
    move(instance, INSTANCE_FAILED);
    return 0;
}

unsigned instance_booted(struct instance *instance)
{
    if (instance->vm != INSTANCE_VM_BOOTING)
        return 0;
    instance->vm = INSTANCE_VM_RUNNING;
    if (instance->next == INSTANCE_NEXT_STOP)
        return end(instance, INSTANCE_NEXT_STOP, INSTANCE_KILL);
    move(instance, INSTANCE_RUNNING);
    return INSTANCE_WATCH;
}

unsigned instance_boot_failed(struct instance *instance, const char *message)
{
    if (instance->vm != INSTANCE_VM_BOOTING)
        return 0;
    instance->vm = INSTANCE_VM_NONE;
    if (instance->next == INSTANCE_NEXT_STOP) {
        move(instance, INSTANCE_STOPPED);
        return 0;
    }
    return restart_or_fail(instance, "boot_failed", message, true);
}

unsigned instance_boot_refused(struct instance *instance, const char *message)
{
    if (instance->vm != INSTANCE_VM_BOOTING)
        return 0;
    instance->vm = INSTANCE_VM_NONE;
    explain(instance, "image_invalid", message);
    move(instance, instance->next == INSTANCE_NEXT_STOP ? INSTANCE_STOPPED : INSTANCE_FAILED);
    return 0;
}

static unsigned ended_by_itself(struct instance *instance, enum host_end_cause cause,
                                const char *message)
{
    const char *name = "hypervisor_died";
    const char *text = "the hypervisor's process died or was killed";
    if (cause == HOST_END_GUEST_EXIT) {
        name = "guest_exit";
        text = "the guest ended by itself";
    } else if (cause == HOST_END_GUEST_PANIC) {
        name = "guest_panic";
        text = "the guest panicked";
    }
    return restart_or_fail(instance, name, message[0] != '\0' ? message : text,
                           cause != HOST_END_GUEST_EXIT);
}

unsigned instance_ended(struct instance *instance, enum host_end_cause cause, const char *message)
{
    if (instance->vm == INSTANCE_VM_NONE)
        return 0;
    instance->vm = INSTANCE_VM_NONE;
    instance->end_check_ms = 0;
    switch (instance->next) {
    case INSTANCE_NEXT_STOP:
        move(instance, INSTANCE_STOPPED);
        return INSTANCE_UNWATCH;
    case INSTANCE_NEXT_FAIL:
        move(instance, INSTANCE_FAILED);
        return INSTANCE_UNWATCH;
    case INSTANCE_NEXT_RESTART:
        return INSTANCE_UNWATCH | instance_tick(instance);
    case INSTANCE_NEXT_UNDECIDED:
        break;
    }
    return ended_by_itself(instance, cause, message);
}

unsigned instance_became_ready(struct instance *instance)
{
    if (instance->state != INSTANCE_RUNNING)
        return 0;
    instance->boot_deadline_ms = 0;
    if (instance->boot_ms == 0) {
        uint64_t took = now_of(instance) - instance->booted_at_ms;
        instance->boot_ms = took > 0 ? took : 1;
    }
    if (strcmp(instance->cause, CAUSE_UNREADY) == 0)
        explain(instance, "", "");
    move(instance, INSTANCE_READY);
    return 0;
}

unsigned instance_became_unready(struct instance *instance, const char *message)
{
    if (instance->state != INSTANCE_READY)
        return 0;
    explain(instance, CAUSE_UNREADY, message);
    move(instance, INSTANCE_RUNNING);
    return 0;
}

unsigned instance_became_unhealthy(struct instance *instance, const char *message)
{
    if (instance->vm != INSTANCE_VM_RUNNING)
        return 0;
    return restart_or_fail(instance, "unhealthy", message, true);
}

unsigned instance_tick(struct instance *instance)
{
    uint64_t now = now_of(instance);
    if (instance->vm == INSTANCE_VM_RUNNING && instance->boot_deadline_ms > 0 &&
        now >= instance->boot_deadline_ms) {
        char timeout[TEXT_DURATION_MAX], text[128];
        text_format_duration(instance->assigned.boot_timeout_ms, timeout, sizeof timeout);
        snprintf(text, sizeof text, "not ready within boot_timeout %s", timeout);
        return restart_or_fail(instance, "boot_timeout", text, true);
    }
    if (instance->vm == INSTANCE_VM_NONE && instance->restart_at_ms > 0 &&
        now >= instance->restart_at_ms)
        return boot(instance);
    if (instance->vm == INSTANCE_VM_ENDING && instance->end_check_ms > 0 &&
        now >= instance->end_check_ms) {
        log_warn("the microVM is still there: asking for its end again", "id", instance->id);
        instance->end_check_ms = now + END_CHECK_SLACK_MS;
        return INSTANCE_KILL;
    }
    return 0;
}

uint64_t instance_next_deadline(const struct instance *instance)
{
    uint64_t next = 0;
    if (instance->vm == INSTANCE_VM_RUNNING)
        next = instance->boot_deadline_ms;
    else if (instance->vm == INSTANCE_VM_NONE)
        next = instance->restart_at_ms;
    else if (instance->vm == INSTANCE_VM_ENDING)
        next = instance->end_check_ms;
    return next > 0 ? next : UINT64_MAX;
}

/* --- a restarted agent --- */

void instance_adopted(struct instance *instance, const char *image, uint64_t uptime_ms)
{
    snprintf(instance->adopted_image, sizeof instance->adopted_image, "%s", image);
    uint64_t now = now_of(instance);
    instance->vm = INSTANCE_VM_RUNNING;
    instance->restart_at_ms = 0;
    instance->booted_at_ms = now > uptime_ms ? now - uptime_ms : 0;
    if (instance->state < INSTANCE_RUNNING) {
        /* What happened since the record was written is not known step by step. */
        instance->state = INSTANCE_RUNNING;
        instance->state_since_ms = now;
        instance->next = INSTANCE_NEXT_UNDECIDED;
    }
    expect_ready(instance);
    log_info("microVM adopted", "id", instance->id, "service", instance->assigned.service, "state",
             instance_state_names[instance->state], "uptime_ms", LOG_NUMBER(uptime_ms));
}

/* The node was brought down, or rebooted: not the guest's fault, and none of its attempts. */
static unsigned restart_with_the_node(struct instance *instance)
{
    struct restart_history before = instance->history;
    instance->history = (struct restart_history){0};
    unsigned effects = restart_or_fail(instance, INSTANCE_CAUSE_NODE_RESTARTED,
                                       "its microVM was gone when the agent started", true);
    instance->history = before;
    return effects;
}

/* Its microVM is gone, or never was. */
static unsigned resume_without_vm(struct instance *instance)
{
    switch (instance->state) {
    case INSTANCE_PENDING:
    case INSTANCE_FETCHING:
    case INSTANCE_VERIFYING:
        return prepare(instance);
    case INSTANCE_STARTING:
        return boot(instance);
    case INSTANCE_RUNNING:
    case INSTANCE_READY:
        return restart_with_the_node(instance);
    case INSTANCE_DRAINING:
    case INSTANCE_STOPPING:
        move(instance, instance->next == INSTANCE_NEXT_FAIL ? INSTANCE_FAILED : INSTANCE_STOPPED);
        return 0;
    case INSTANCE_STOPPED:
    case INSTANCE_FAILED:
    case INSTANCE_UNKNOWN:
        break;
    }
    return 0;
}

unsigned instance_resume(struct instance *instance)
{
    if (instance->vm == INSTANCE_VM_NONE)
        return resume_without_vm(instance);
    if (is_foreign(instance))
        return replace_foreign(instance);
    if (instance_state_is_over(instance->state) || instance->next == INSTANCE_NEXT_FAIL)
        return end(instance, INSTANCE_NEXT_FAIL, INSTANCE_KILL);
    if (instance->state == INSTANCE_STOPPING)
        return end(instance, INSTANCE_NEXT_STOP, INSTANCE_END);
    return instance->is_assigned ? INSTANCE_WATCH : 0;
}

void instance_observe(const struct instance *instance, const char *accel,
                      struct api_observed_instance *ret_observed)
{
    uint64_t now = now_of(instance);
    struct api_observed_instance observed = {
        .state = instance->state,
        .restarts = instance->restarts,
        .state_age_ms = now - instance->state_since_ms,
        .boot_ms = instance->boot_ms,
    };
    if (instance->vm == INSTANCE_VM_RUNNING || instance->vm == INSTANCE_VM_ENDING)
        observed.uptime_ms = now - instance->booted_at_ms;
    memcpy(observed.id, instance->id, sizeof observed.id);
    memcpy(observed.cause, instance->cause, sizeof observed.cause);
    memcpy(observed.message, instance->message, sizeof observed.message);
    snprintf(observed.accel, sizeof observed.accel, "%s", accel);
    *ret_observed = observed;
}
