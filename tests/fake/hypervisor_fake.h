/* A hypervisor in memory: microVMs that do what a test says.
 *
 * Each microVM is a process that only waits, with a console's socket that really listens, so that
 * whoever looks at pids and sockets finds some; unless the world is light. The world outlives the
 * hypervisors opened on it, as microVMs outlive an agent. Calls on a hypervisor come from any
 * thread, as hypervisor.h says; what a test orders comes from one thread. */
#pragma once

#include "agent/host/hypervisor_interface.h"

struct hypervisor_fake;

enum hypervisor_fake_call {
    FAKE_CREATE,
    FAKE_RESUME,
    FAKE_PAUSE,
    FAKE_PRESS_POWER,
    FAKE_DESTROY,
    FAKE_AWAIT_GONE,
    FAKE_ADOPT,
    FAKE_DEBUG,
    FAKE_CALLS,
};

struct hypervisor_fake *hypervisor_fake_create(void);
/* microVMs that are made from now on are no processes and have no console: for fleets of them. */
void hypervisor_fake_be_light(struct hypervisor_fake *world);
/* Ends what still runs. Every hypervisor on it is closed. */
void hypervisor_fake_destroy(struct hypervisor_fake *world);
/* One at a time; hypervisor_close leaves the microVMs running, and their ends unheard. */
struct hypervisor *hypervisor_fake_open(struct hypervisor_fake *world,
                                        const struct hypervisor_listener *listener);

/* The next `count` calls of this kind fail with "refused by the test" and do nothing. */
void hypervisor_fake_refuse(struct hypervisor_fake *world, enum hypervisor_fake_call call,
                            unsigned count);
/* Called at the start of each call, before it does anything, on its thread: to wait on the test's
 * own clock, or to let something happen in between. */
void hypervisor_fake_before(struct hypervisor_fake *world,
                            void (*before)(void *context, enum hypervisor_fake_call call,
                                           const char *id),
                            void *context);
/* Guests that are made from now on power off at their power button. */
void hypervisor_fake_obey_power(struct hypervisor_fake *world, bool obey);

/* The microVM ends in this way and says so; false when there is none. */
bool hypervisor_fake_end(struct hypervisor_fake *world, const char *id, enum hypervisor_end end);
/* Its process is killed, and nobody hears of it. */
bool hypervisor_fake_lose(struct hypervisor_fake *world, const char *id);
/* Paused, running, or not begun yet. */
bool hypervisor_fake_is_there(struct hypervisor_fake *world, const char *id);
/* Whether its gdb stub is on. */
bool hypervisor_fake_is_debugged(struct hypervisor_fake *world, const char *id);
/* Of its process; -1: there is none. */
pid_t hypervisor_fake_pid(struct hypervisor_fake *world, const char *id);
/* The guest writes to its console. */
bool hypervisor_fake_say(struct hypervisor_fake *world, const char *id, const char *text);
/* One byte that was sent to its console, or -1 when there is none. */
int hypervisor_fake_hear(struct hypervisor_fake *world, const char *id);

/* microVMs that are there, paused or running; and those that run. */
size_t hypervisor_fake_count(struct hypervisor_fake *world);
size_t hypervisor_fake_count_running(struct hypervisor_fake *world);
bool hypervisor_fake_runs(struct hypervisor_fake *world, const char *id);
/* microVMs that were asked for while one of that id was still there, or one with their volume. */
size_t hypervisor_fake_count_clashes(const struct hypervisor_fake *world);
size_t hypervisor_fake_count_shared_volumes(const struct hypervisor_fake *world);
/* Runs, or stands still since it ran. */
bool hypervisor_fake_has_begun(struct hypervisor_fake *world, const char *id);
