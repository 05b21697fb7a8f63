/* The blocking calls that are under way, so that one that never returns is noticed: nobody can call
 * off libvirt's, or a read from a disk that does not answer.
 *
 * Owns the list of them. Calls begin and end on any thread, one thread looks, every few seconds.
 * Says how late each is by the time that was watched: while this process itself stood still
 * (SIGSTOP, a frozen control group, a paused machine) no call could return. What is done about it
 * is guest_hangs.h's business. */
#pragma once

#include <stdbool.h>

#include "lib/api/agent.h"
#include "lib/clock.h"

enum watched_call {
    WATCHED_TURN,  /* none yet: a boot waits until a thread is free */
    WATCHED_FILES, /* what a guest boots from is read */
    WATCHED_OPEN,  /* the hypervisor: this and what follows */
    WATCHED_ADOPT,
    WATCHED_CREATE,
    WATCHED_RESUME,
    WATCHED_PAUSE,
    WATCHED_PRESS_POWER,
    WATCHED_DESTROY,
    WATCHED_AWAIT_GONE,
    WATCHED_USE_OF_DISKS,
    WATCHED_DEBUG,
    WATCHED_CALLS,
};

/* How late it is. Each step is taken once. */
enum call_lateness {
    CALL_IN_TIME,
    CALL_LATE,     /* people are told */
    CALL_HANGS,    /* its microVM's process is killed, where no guest runs or it is to end */
    CALL_HOPELESS, /* that did not help, or is not done */
};

struct late_call {
    enum watched_call call;
    const char *name;         /* for people */
    char id[INSTANCE_ID_MAX]; /* "": of no instance */
    uint64_t age_ms;
    enum call_lateness lateness;
};

/* Pure. */
enum call_lateness call_lateness_of(enum watched_call call, uint64_t age_ms);

struct call_watch;

/* Of who waits: on a thread's stack, or with what is to be done. */
struct call_under_way {
    struct call_under_way *next;
    enum watched_call call;
    char id[INSTANCE_ID_MAX];
    uint64_t begun_ms;
    uint64_t watched_ms, looked_ms; /* so long by the look at that time */
    enum call_lateness lateness;    /* that was told of */
};

/* `clock` must outlive it. */
struct call_watch *call_watch_create(const struct clock *clock);
/* No call is under way. NULL is fine. */
void call_watch_destroy(struct call_watch *watch);

/* Between two looks no more than this counts. */
#define CALL_WATCH_GAP_MS 15000

/* `watch` may be NULL: nobody looks. */
void call_watch_begin(struct call_watch *watch, struct call_under_way *call,
                      enum watched_call which, const char *id);
/* Returns `result`. */
int call_watch_end(struct call_watch *watch, struct call_under_way *call, int result);

/* Tells of each call that became later than it was at the last look. No lock is held meanwhile. */
void call_watch_look(struct call_watch *watch,
                     void (*tell)(void *context, const struct late_call *late), void *context);
/* The call that is under way for longest; false: there is none. */
bool call_watch_find_oldest(struct call_watch *watch, struct late_call *ret_late);
