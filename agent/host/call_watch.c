#include "agent/host/call_watch.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"

/* Those beyond it, as of many boots that wait for a thread, are told of at the next look. */
#define TOLD_AT_ONCE 32

struct call_watch {
    const struct clock *clock;
    pthread_mutex_t lock;
    struct call_under_way *first;
};

#define SECONDS 1000
#define NEVER   UINT64_MAX

/* Far beyond what a busy machine takes: under libvirt a boot among fifty others waits for some ten
 * seconds, and adopting two hundred for a minute. Our own hypervisor's calls end within 30 s by
 * themselves.
 *
 * A guest that runs is never killed for a call: it may be libvirt's daemon that does not answer. A
 * file is as slow as its disk, and what a guest's disks do is only a figure. */
static const struct {
    const char *name;
    uint64_t late_ms, hangs_ms, hopeless_ms;
} calls[WATCHED_CALLS] = {
    [WATCHED_TURN] = {"wait for its turn", 120 * SECONDS, NEVER, NEVER},
    [WATCHED_FILES] = {"read its files", 60 * SECONDS, NEVER, NEVER},
    [WATCHED_OPEN] = {"open", 60 * SECONDS, NEVER, 900 * SECONDS},
    [WATCHED_ADOPT] = {"adopt", 120 * SECONDS, NEVER, 900 * SECONDS},
    [WATCHED_CREATE] = {"create", 60 * SECONDS, 120 * SECONDS, 300 * SECONDS},
    [WATCHED_RESUME] = {"resume", 60 * SECONDS, 120 * SECONDS, 300 * SECONDS},
    [WATCHED_PAUSE] = {"pause", 60 * SECONDS, NEVER, 300 * SECONDS},
    [WATCHED_PRESS_POWER] = {"press the power button", 60 * SECONDS, NEVER, 300 * SECONDS},
    [WATCHED_DESTROY] = {"destroy", 60 * SECONDS, 120 * SECONDS, 300 * SECONDS},
    [WATCHED_AWAIT_GONE] = {"await its end", 60 * SECONDS, 120 * SECONDS, 300 * SECONDS},
    [WATCHED_USE_OF_DISKS] = {"ask what its disks do", 60 * SECONDS, NEVER, NEVER},
    [WATCHED_DEBUG] = {"switch its gdb stub", 60 * SECONDS, NEVER, 300 * SECONDS},
};

enum call_lateness call_lateness_of(enum watched_call call, uint64_t age_ms)
{
    if (age_ms >= calls[call].hopeless_ms)
        return CALL_HOPELESS;
    if (age_ms >= calls[call].hangs_ms)
        return CALL_HANGS;
    return age_ms >= calls[call].late_ms ? CALL_LATE : CALL_IN_TIME;
}

struct call_watch *call_watch_create(const struct clock *clock)
{
    struct call_watch *watch = xcalloc(1, sizeof *watch);
    watch->clock = clock;
    pthread_mutex_init(&watch->lock, NULL);
    return watch;
}

void call_watch_destroy(struct call_watch *watch)
{
    if (watch == NULL)
        return;
    pthread_mutex_destroy(&watch->lock);
    free(watch);
}

void call_watch_begin(struct call_watch *watch, struct call_under_way *call,
                      enum watched_call which, const char *id)
{
    if (watch == NULL)
        return;
    *call = (struct call_under_way){.call = which, .begun_ms = clock_monotonic_ms(watch->clock)};
    call->looked_ms = call->begun_ms;
    snprintf(call->id, sizeof call->id, "%s", id);
    pthread_mutex_lock(&watch->lock);
    call->next = watch->first;
    watch->first = call;
    pthread_mutex_unlock(&watch->lock);
}

int call_watch_end(struct call_watch *watch, struct call_under_way *call, int result)
{
    if (watch == NULL)
        return result;
    pthread_mutex_lock(&watch->lock);
    struct call_under_way **link = &watch->first;
    while (*link != call)
        link = &(*link)->next;
    *link = call->next;
    pthread_mutex_unlock(&watch->lock);
    return result;
}

static struct late_call describe(const struct call_under_way *call, uint64_t now)
{
    struct late_call late = {
        .call = call->call,
        .name = calls[call->call].name,
        .age_ms = now - call->begun_ms,
        .lateness = call_lateness_of(call->call, call->watched_ms),
    };
    memcpy(late.id, call->id, sizeof late.id);
    return late;
}

static void watch_on(struct call_under_way *call, uint64_t now)
{
    uint64_t since = now - call->looked_ms;
    call->watched_ms += since < CALL_WATCH_GAP_MS ? since : CALL_WATCH_GAP_MS;
    call->looked_ms = now;
}

void call_watch_look(struct call_watch *watch,
                     void (*tell)(void *context, const struct late_call *late), void *context)
{
    struct late_call late[TOLD_AT_ONCE];
    size_t count = 0;
    pthread_mutex_lock(&watch->lock);
    uint64_t now = clock_monotonic_ms(watch->clock);
    for (struct call_under_way *call = watch->first; call != NULL; call = call->next) {
        watch_on(call, now);
        if (count == ARRAY_LENGTH(late))
            continue;
        late[count] = describe(call, now);
        if (late[count].lateness > call->lateness)
            call->lateness = late[count++].lateness;
    }
    pthread_mutex_unlock(&watch->lock);
    for (size_t i = 0; i < count; i++)
        tell(context, &late[i]);
}

bool call_watch_find_oldest(struct call_watch *watch, struct late_call *ret_late)
{
    const struct call_under_way *oldest = NULL;
    pthread_mutex_lock(&watch->lock);
    for (const struct call_under_way *call = watch->first; call != NULL; call = call->next) {
        if (oldest == NULL || call->begun_ms < oldest->begun_ms)
            oldest = call;
    }
    if (oldest != NULL)
        *ret_late = describe(oldest, clock_monotonic_ms(watch->clock));
    pthread_mutex_unlock(&watch->lock);
    return oldest != NULL;
}
