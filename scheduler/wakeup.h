/* "Call me in a while": the only timers of what decides, so that it runs on a clock of a test's own
 * as well as on a loop. Whoever waits reads the clock of struct core; this says only when to look.
 *
 * Loop thread only; knows nothing of what it wakes. */
#pragma once

#include <stdint.h>
#include <uv.h>

typedef void wakeup_callback(void *data);
struct wakeup;

/* One kind of time. A wakeup embeds `struct wakeup` as its first member. */
struct wakeup_implementation {
    struct wakeup *(*create)(void *source);
    void (*set)(struct wakeup *wakeup, uint64_t wait_ms);
    void (*clear)(struct wakeup *wakeup);
    void (*destroy)(struct wakeup *wakeup);
};

struct wakeup_source {
    const struct wakeup_implementation *implementation;
    void *source; /* the implementation's own */
};

struct wakeup {
    const struct wakeup_implementation *implementation;
    wakeup_callback *callback;
    void *data;
};

/* Timers of the loop, which has to outlive them. */
struct wakeup_source wakeup_source_loop(uv_loop_t *loop);

/* Is not set yet. */
struct wakeup *wakeup_create(const struct wakeup_source *source, wakeup_callback *callback,
                             void *data);
/* Calls back once, later, in `wait_ms` milliseconds; replaces what was set before. */
void wakeup_set(struct wakeup *wakeup, uint64_t wait_ms);
void wakeup_clear(struct wakeup *wakeup);
/* NULL is fine. It calls back no more; a loop's memory goes when the loop has closed the timer. */
void wakeup_destroy(struct wakeup *wakeup);
