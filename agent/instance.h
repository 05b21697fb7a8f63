/* One instance on this node: its record, and what happens to it put to the machine
 * (instance_machine.h), which says what is done next.
 *
 * Pure: it is told what happened, moves the phase, logs each move with its cause, and returns which
 * actions are due; the runner does them. Time comes from the instance's clock. It knows neither
 * processes nor sockets. Loop thread only. */
#pragma once

#include "agent/host_protocol.h"
#include "agent/instance_machine.h"
#include "agent/restart_policy.h"
#include "lib/api/agent.h"
#include "lib/api/boot_steps.h"
#include "lib/clock.h"

/* For the record only: its restarts by ages, which a wall clock that jumps does not touch. */
struct instance_ages {
    uint64_t saved_ms; /* monotonic */
    uint64_t last_restart_age_ms;
    uint64_t restart_in_ms;
};

struct instance {
    const struct clock *clock;
    char id[INSTANCE_ID_MAX];
    bool is_assigned; /* an assignment has named it */
    struct api_assigned_instance assigned;
    enum instance_phase phase;
    char cause[CAUSE_MAX];
    char message[REASON_MAX];
    uint32_t restarts;
    struct restart_history history;
    enum host_stop_method stop_method;
    char kernel[DIGEST_TEXT_MAX];
    uint64_t boot_ms;            /* boot to first pass of the check; 0: not yet */
    uint64_t wake_ms;            /* resumed to ready; 0: it was not resumed for what it is now */
    struct api_boot_steps steps; /* of the last boot, as far as it has come */

    /* Monotonic milliseconds; 0 where it says so means "not set". */
    uint64_t state_since_ms;
    uint64_t booted_at_ms;
    uint64_t woken_at_ms;      /* 0: it is not a standby that wakes */
    uint64_t boot_deadline_ms; /* 0: none */
    uint64_t restart_at_ms;    /* 0: at once */
    uint64_t end_check_ms;     /* 0: none; when to ask again for its end */

    char hang[256];      /* which call does not return, as long as the phase lasts; "": none */
    char last_miss[256]; /* what its readiness check saw last; "": nothing that is known */

    bool is_debugged;      /* its gdb stub is on: a guest that stands still is not judged by that */
    uint32_t freezes;      /* copies of its volumes under way, which pause it: the same */
    bool is_recalled;      /* from a record: whether its microVM is there is not known yet */
    bool is_paused;        /* as it was found at the start */
    bool was_asked_to_end; /* and has its grace time; else it is killed at once */
    bool image_ready;      /* verified and imported by this process, for this instance */
    char adopted_image[DIGEST_TEXT_MAX]; /* what its microVM was booted from; "": by us */
    bool is_listed;                      /* named by the last full assignment or a later one */

    uint64_t state_since_wall_ms; /* for the record only */
    struct instance_ages record;
};

/* What survives a restart of the agent, as a table. */
extern const struct json_record instance_record;

void instance_init(struct instance *instance, const char *id, const struct clock *clock);
void instance_finish(struct instance *instance);
/* Text for the local state; the caller frees it. */
char *instance_save(struct instance *instance);
/* `ret_instance` is initialised by this. */
int instance_load(const char *text, const struct clock *clock, struct instance *ret_instance,
                  struct error *error);

/* --- what happened; each returns the actions that are due --- */
/* The assignment says (again) what the instance is to be. The template of one id never changes. */
unsigned instance_assign(struct instance *instance, const struct api_assigned_instance *assigned);
/* The preparation went to `state` (fetching or verifying), or waits with a cause; "" for none. */
void instance_image_moved(struct instance *instance, enum instance_state state, const char *cause,
                          const char *message);
unsigned instance_image_ready(struct instance *instance);
unsigned instance_image_failed(struct instance *instance, const char *cause, const char *message);
unsigned instance_booted(struct instance *instance);
/* What the host half measured of the boot, perhaps only after it was ready. */
void instance_steps_measured(struct instance *instance, const struct host_boot_steps *measured);
unsigned instance_boot_failed(struct instance *instance, const char *message);
/* Its guest is paused, as was asked for, or is not. */
unsigned instance_paused(struct instance *instance);
unsigned instance_pause_failed(struct instance *instance, const char *message);
/* It cannot boot, however often it is tried. */
unsigned instance_boot_refused(struct instance *instance, const char *message);
unsigned instance_ended(struct instance *instance, enum host_end_cause cause, const char *message);
unsigned instance_became_ready(struct instance *instance);
unsigned instance_became_unready(struct instance *instance, const char *message);
unsigned instance_became_unhealthy(struct instance *instance, const char *message);
/* What its readiness check saw last, for the reason of a boot that runs out of time. */
void instance_saw_miss(struct instance *instance, const char *message);
/* What is asked of the host half hangs there: told of as long as nothing moves. */
void instance_hangs(struct instance *instance, const char *message);
/* A deadline of instance_next_deadline has passed, or not: looks at the clock. */
unsigned instance_tick(struct instance *instance);
/* Its gdb stub was switched on or off: on, its liveness and its time to boot do not count; off,
 * the time begins anew. */
void instance_debugged(struct instance *instance, bool debugged);
/* A copy of one of its volumes, for which it may be paused, began or is over: as instance_debugged.
 * There may be several. */
void instance_frozen(struct instance *instance, bool frozen);
/* Whether its checks and its time to boot count. */
bool instance_is_judged(const struct instance *instance);
/* At start: its microVM was found, booted from `image`. */
void instance_adopted(struct instance *instance, const char *image, uint64_t uptime_ms,
                      bool is_paused);
/* After adoption, whether there was something to adopt or not: what a restarted agent does. */
unsigned instance_resume(struct instance *instance);

/* What the scheduler hears of its phase. */
enum instance_state instance_state(const struct instance *instance);
enum instance_vm instance_vm(const struct instance *instance);
/* Milliseconds since its last boot was asked for. */
uint64_t instance_boot_age(const struct instance *instance);
/* When to call instance_tick; UINT64_MAX: not until something happens. */
uint64_t instance_next_deadline(const struct instance *instance);
/* Whether nothing of it is left to wait for, so that it may be forgotten once it is not listed. */
bool instance_is_over(const struct instance *instance);
/* Why its microVM is ended, for the guest's log: one line; "" where there is nothing to say. */
void instance_explain_end(const struct instance *instance, char *ret_reason, size_t size);
void instance_observe(const struct instance *instance, const char *accel,
                      struct api_observed_instance *ret_observed);
