/* Shared by guests.c, guest_steps.c (states, on the loop) and guest_jobs.c (blocking steps, on the
 * workers). */
#pragma once

#include "agent/host/call_watch.h"
#include "agent/host/guest_end.h"
#include "agent/host/guests.h"

enum guest_state { GUEST_BOOTING, GUEST_RUNNING, GUEST_ENDING, GUEST_ENDED };

struct console;
struct consoles;

struct guest {
    struct guest *next;
    struct guests *guests;
    enum guest_state state;
    char id[INSTANCE_ID_MAX];
    char family[HOST_FAMILY_MAX];
    char kernel[DIGEST_TEXT_MAX]; /* "": boots from its first disk */
    char image[DIGEST_TEXT_MAX];
    char mac[18];
    char tap[NETWORK_TAP_MAX];
    char address[ADDRESS_MAX]; /* "": never booted here */
    pid_t pid;
    struct console *console;
    uv_timer_t grace; /* until a stop turns to force */
    struct host_stop stop;
    bool stopping;    /* `stop` was asked for */
    bool destroying;  /* a job that ends it by force is under way */
    bool pausing;     /* a job that pauses or resumes it is under way */
    bool paused;      /* its guest stands still */
    bool debugging;   /* a job that switches its gdb stub is under way */
    bool pressing;    /* a job that presses its power button is under way */
    bool halted;      /* it said that it has ended, and is ended by force */
    bool hung;        /* its process was found stopped, or does not answer, and is killed */
    bool ended_early; /* its end was told while it was booting */
    bool end_is_done; /* nothing of it is left; waits for those two jobs */
    enum hypervisor_end end;
    bool reaped; /* its process, with wait_status */
    int wait_status;
    bool oom; /* seen while its control group was there, with the limit */
    uint64_t memory_limit;
    struct guest_memory memory;
    unsigned missed_pulses;   /* looks in a row that did not find its process running */
    uint64_t begun_before_ms; /* uptime at adopted_at: when it was adopted, or booted here */
    uint64_t adopted_at;
    bool diskless;                 /* known to have none; their use is not asked for */
    uint32_t disk_pause;           /* looks at it that are left out, since it did not answer */
    struct host_boot_steps steps;  /* of a boot of ours */
    uint64_t started_ns, spoke_ns; /* uv_hrtime; 0: not yet, or not by us */
};

struct guests {
    struct guests_options options;
    char *console_folder;
    struct consoles *consoles;
    struct guest *first;
    size_t count;
    struct guest_pulse *pulse;
};

/* A blocking step. What it needs of the guest does not change while it runs. */
struct guest_job {
    struct worker_job job;
    struct guest *guest;
    uint64_t sequence;
    int result;
    struct error error;
    struct host_boot boot;      /* boot */
    struct call_under_way turn; /* boot: until it begins */
    const struct family_boot *way;
    uint64_t submitted_ns, begun_ns, created_ns, started_ns; /* boot */
    bool pause;                                              /* pause: or let it go on */
    pid_t pid;                                               /* boot: of the hypervisor's process */
    struct guest_memory memory;                              /* boot: of that process */
    int console;                                             /* boot: connected */
    int tap; /* boot: for a hypervisor that takes one; else -1 */
};

/* On the loop, of one that runs: it has ended; it is to end by force, once. */
void guest_begin_end(struct guest *guest, enum hypervisor_end end);
void guest_begin_destroy(struct guest *guest);

struct guest_job *guest_job_create(struct guest *guest, uint64_t sequence,
                                   void (*run)(struct worker_job *),
                                   void (*done)(struct worker_job *));
/* To the worker that ends microVMs. */
void guest_job_submit(struct guest *guest, uint64_t sequence, void (*run)(struct worker_job *),
                      void (*done)(struct worker_job *));
/* guest_steps.c: loop thread. A boot is asked for; its guest has begun. */
void guest_steps_begin(struct guest *guest, struct guest_job *job);
void guest_steps_started(struct guest *guest, const struct guest_job *job);
void guest_job_boot(struct worker_job *job);
void guest_job_press(struct worker_job *job);
void guest_job_destroy(struct worker_job *job);
void guest_job_end(struct worker_job *job);
void guest_job_forget(struct worker_job *job);

/* NULL: there is none. */
struct guest *guests_find(struct guests *guests, const char *id);
/* guest_access.c: on the loop, once those that run are known. A stub that was being switched when
 * the agent ended is switched off. */
void guests_sweep_debuggers(struct guests *guests);
/* guests_sweep.c: on the loop, once those that run are known. */
void guests_sweep(struct guests *guests);
/* Tells of its end once no job of it is under way. */
void guest_finish_end(struct guest *guest);
/* The caller frees. */
char *guest_console_path(const struct guest *guest);
/* Whose QEMU runs under it, or NULL; `context` is the guests. For volumes_adopt. */
const char *guest_id_of_user(void *context, uint32_t uid);
