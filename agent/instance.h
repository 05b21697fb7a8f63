/* One instance on this node: its record and the machine that says what is done next.
 *
 * The machine is pure: it is told what happened, moves the state (lib/api/states.h draws the
 * table), logs each move with its cause, and returns which actions are due; the runner does them.
 * Time comes from the instance's clock. It knows neither processes nor sockets. Loop thread only.
 *
 *   prepare (fetch, verify, import) -> boot -> watch -> ready
 *      ^                                        |
 *      +----------------------------------------+ restart in place: same id, same address  */
#pragma once

#include "agent/host_protocol.h"
#include "agent/restart_policy.h"
#include "lib/api/agent.h"
#include "lib/clock.h"

/* What we know of the microVM itself. */
enum instance_vm {
    INSTANCE_VM_NONE,
    INSTANCE_VM_BOOTING, /* asked for, not answered */
    INSTANCE_VM_RUNNING,
    INSTANCE_VM_ENDING, /* asked to end, not gone */
};

/* What follows when the microVM is gone. */
enum instance_next {
    INSTANCE_NEXT_UNDECIDED, /* nobody asked it to end */
    INSTANCE_NEXT_RESTART,
    INSTANCE_NEXT_FAIL,
    INSTANCE_NEXT_STOP,
};

/* Actions, a set. */
enum instance_action {
    /* Fetch, verify and import the image; only verify it again when it is ready. */
    INSTANCE_PREPARE = 1 << 0,
    INSTANCE_ABANDON = 1 << 1, /* give up a preparation that runs */
    INSTANCE_BOOT = 1 << 2,
    INSTANCE_END = 1 << 3,  /* ask the guest to end, kill it after its grace time */
    INSTANCE_KILL = 1 << 4, /* at once */
    INSTANCE_WATCH = 1 << 5,
    INSTANCE_UNWATCH = 1 << 6,
};

struct instance {
    const struct clock *clock;
    char id[INSTANCE_ID_MAX];
    bool is_assigned; /* false: a microVM was found running that no assignment has named yet */
    struct api_assigned_instance assigned;
    enum instance_state state;
    char cause[CAUSE_MAX];
    char message[REASON_MAX];
    uint32_t restarts;
    struct restart_history history;
    enum instance_next next;
    enum host_stop_method stop_method;
    char kernel[DIGEST_TEXT_MAX];
    uint64_t boot_ms; /* boot to first pass of the check; 0: not yet */

    /* Monotonic milliseconds; 0 where it says so means "not set". */
    uint64_t state_since_ms;
    uint64_t booted_at_ms;
    uint64_t boot_deadline_ms; /* 0: none */
    uint64_t restart_at_ms;    /* 0: none */
    uint64_t end_check_ms;     /* 0: none; when to ask again for its end */

    enum instance_vm vm;
    bool image_ready; /* verified and imported by this process, for this instance */
    bool is_judged;   /* may boot once: what is trusted may change before the next boot */
    bool preparing;
    char adopted_image[DIGEST_TEXT_MAX]; /* what its microVM was booted from; "": by us */
    bool is_listed;                      /* named by the last full assignment or a later one */

    /* For the record only: the same moments on the wall clock. */
    uint64_t state_since_wall_ms;
    uint64_t last_restart_wall_ms;
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
unsigned instance_boot_failed(struct instance *instance, const char *message);
/* It cannot boot, however often it is tried. */
unsigned instance_boot_refused(struct instance *instance, const char *message);
unsigned instance_ended(struct instance *instance, enum host_end_cause cause, const char *message);
unsigned instance_became_ready(struct instance *instance);
unsigned instance_became_unready(struct instance *instance, const char *message);
unsigned instance_became_unhealthy(struct instance *instance, const char *message);
/* A deadline of instance_next_deadline has passed, or not: looks at the clock. */
unsigned instance_tick(struct instance *instance);
/* At start: its microVM was found running, booted from `image`. */
void instance_adopted(struct instance *instance, const char *image, uint64_t uptime_ms);
/* After adoption, whether there was something to adopt or not: what a restarted agent does. */
unsigned instance_resume(struct instance *instance);

/* When to call instance_tick; UINT64_MAX: not until something happens. */
uint64_t instance_next_deadline(const struct instance *instance);
/* Whether nothing of it is left to wait for, so that it may be forgotten once it is not listed. */
bool instance_is_over(const struct instance *instance);
void instance_observe(const struct instance *instance, const char *accel,
                      struct api_observed_instance *ret_observed);
