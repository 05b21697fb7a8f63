/* The life of one instance as a table: what a phase becomes by what happens, and what is to be done
 * for it. Nothing but the table: no clock, no records. Any thread. */
#pragma once

#include <stdbool.h>

#include "lib/api/states.h"

/* A phase says what the instance is about, what its microVM does and what follows when it is gone.
 *
 *   new -> queued -> fetching <-> verifying        judging <- waiting <- restarting
 *    |                               |                |          ^           ^
 *    |                               v                |          |           |
 *    |                            booting <-----------+          |           |
 *    |                               |                           |           |
 *    |                               +-- gone by itself -------->+           |
 *    |                               v                           |           |
 *    +-- found -> unnamed ------> running <-> ready -- gone -----+           |
 *                                    |          |                            |
 *                                    +----------+-- broken: asked to end ----+
 *
 *   wanted as a standby: running or ready -> pausing -> standby -> running, once it is wanted
 *   gone or broken, and not to be restarted:   failing -> failed, or stopped when it did its work
 *   told to stop: stopping -> stopped; while it boots: cancelling -> stopping
 *   over, and its microVM was found all the same: stopped_left -> stopped, failed_left -> failed */
enum instance_phase {
    INSTANCE_PHASE_NEW,      /* nobody has named it */
    INSTANCE_PHASE_QUEUED,   /* its image is asked for */
    INSTANCE_PHASE_FETCHING, /* its image comes */
    INSTANCE_PHASE_VERIFYING,
    INSTANCE_PHASE_BOOTING, /* the microVM is asked for, not answered */
    INSTANCE_PHASE_UNNAMED, /* a microVM was found that no assignment has named yet */
    INSTANCE_PHASE_RUNNING,
    INSTANCE_PHASE_READY,
    INSTANCE_PHASE_PAUSING,    /* was ready, is to wait: its guest is asked to be paused */
    INSTANCE_PHASE_STANDBY,    /* its guest is paused */
    INSTANCE_PHASE_RESTARTING, /* in place: its microVM has to go first */
    INSTANCE_PHASE_WAITING,    /* the same: until its delay has passed */
    INSTANCE_PHASE_JUDGING,    /* the same: its image is verified again */
    INSTANCE_PHASE_CANCELLING, /* told to stop while the microVM is asked for */
    INSTANCE_PHASE_STOPPING,
    INSTANCE_PHASE_FAILING,
    INSTANCE_PHASE_STOPPED,
    INSTANCE_PHASE_STOPPED_LEFT,
    INSTANCE_PHASE_FAILED,
    INSTANCE_PHASE_FAILED_LEFT,
    INSTANCE_PHASE_COUNT,
};
extern const char *const instance_phase_names[];

enum instance_vm {
    INSTANCE_VM_NONE,
    INSTANCE_VM_BOOTING, /* asked for, not answered */
    INSTANCE_VM_RUNNING,
    INSTANCE_VM_ENDING, /* asked to end, not gone */
};

struct instance_phase_facts {
    enum instance_state state; /* what the scheduler hears */
    enum instance_vm vm;
};
const struct instance_phase_facts *instance_phase_facts(enum instance_phase phase);

/* What happens to an instance. Whether one that is lost is started again was decided before
 * (restart_policy.h): the events of a loss say so. */
enum instance_event {
    /* by the assignment */
    INSTANCE_EVENT_RUN,
    INSTANCE_EVENT_STOP,
    INSTANCE_EVENT_PAUSE, /* it is ready, and wanted as a standby */
    INSTANCE_EVENT_CHECKS_CHANGED,
    /* by its image */
    INSTANCE_EVENT_IMAGE_FETCHING,
    INSTANCE_EVENT_IMAGE_VERIFYING,
    INSTANCE_EVENT_IMAGE_READY,
    INSTANCE_EVENT_IMAGE_FAILED,
    /* by its microVM */
    INSTANCE_EVENT_BOOTED,
    INSTANCE_EVENT_PAUSED,
    INSTANCE_EVENT_BOOT_REFUSED,   /* and will be, however often it is tried */
    INSTANCE_EVENT_GONE,           /* as was asked for, or it never came */
    INSTANCE_EVENT_LOST_AGAIN,     /* gone by itself, and is started again */
    INSTANCE_EVENT_LOST_FAILED,    /* gone by itself, and is not */
    INSTANCE_EVENT_LOST_COMPLETED, /* gone by itself, as it should */
    INSTANCE_EVENT_BROKEN_AGAIN,   /* there, has to go, and is started again */
    INSTANCE_EVENT_BROKEN_FAILED,  /* there, has to go, and is not */
    /* by its checks */
    INSTANCE_EVENT_READY,
    INSTANCE_EVENT_UNREADY,
    /* by the clock */
    INSTANCE_EVENT_RESTART_DUE,
    INSTANCE_EVENT_END_OVERDUE,
    /* by an agent that started: FOUND and later RESUMED, or ABSENT */
    INSTANCE_EVENT_FOUND,    /* its microVM runs */
    INSTANCE_EVENT_UNPAUSED, /* it is not paused, as it should be */
    INSTANCE_EVENT_RESUMED,  /* go on with the microVM that was found */
    INSTANCE_EVENT_ABSENT,   /* go on: there is no microVM */
    INSTANCE_EVENT_COUNT,
};
extern const char *const instance_event_names[];

/* What is to be done, a set. */
enum instance_action {
    /* Fetch, verify and import the image; only verify it again when it is ready. */
    INSTANCE_PREPARE = 1 << 0,
    INSTANCE_ABANDON = 1 << 1, /* give up a preparation that runs */
    INSTANCE_BOOT = 1 << 2,
    INSTANCE_END = 1 << 3,  /* ask the guest to end, kill it after its grace time */
    INSTANCE_KILL = 1 << 4, /* at once */
    INSTANCE_WATCH = 1 << 5,
    INSTANCE_UNWATCH = 1 << 6,
    INSTANCE_PAUSE = 1 << 7,
    INSTANCE_UNPAUSE = 1 << 8,
};

struct instance_step {
    bool is_there;
    enum instance_phase to;
    unsigned actions;
};

/* NULL: nothing follows from that event in that phase, which goes on. */
const struct instance_step *instance_machine_step(enum instance_phase phase,
                                                  enum instance_event event);
