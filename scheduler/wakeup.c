#include "scheduler/wakeup.h"

#include <stdlib.h>

#include "lib/xalloc.h"

/* --- of a loop --- */

struct loop_wakeup {
    struct wakeup base;
    uv_timer_t timer;
};

static void on_timer(uv_timer_t *timer)
{
    const struct loop_wakeup *wakeup = timer->data;
    wakeup->base.callback(wakeup->base.data);
}

static struct wakeup *loop_create(void *source)
{
    struct loop_wakeup *wakeup = xcalloc(1, sizeof *wakeup);
    uv_timer_init(source, &wakeup->timer);
    wakeup->timer.data = wakeup;
    return &wakeup->base;
}

static void loop_set(struct wakeup *base, uint64_t wait_ms)
{
    uv_timer_start(&((struct loop_wakeup *)base)->timer, on_timer, wait_ms, 0);
}

static void loop_clear(struct wakeup *base)
{
    uv_timer_stop(&((struct loop_wakeup *)base)->timer);
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void loop_destroy(struct wakeup *base)
{
    uv_close((uv_handle_t *)&((struct loop_wakeup *)base)->timer, on_closed);
}

static const struct wakeup_implementation of_loop = {loop_create, loop_set, loop_clear,
                                                     loop_destroy};

struct wakeup_source wakeup_source_loop(uv_loop_t *loop)
{
    return (struct wakeup_source){&of_loop, loop};
}

/* --- of any kind --- */

struct wakeup *wakeup_create(const struct wakeup_source *source, wakeup_callback *callback,
                             void *data)
{
    struct wakeup *wakeup = source->implementation->create(source->source);
    *wakeup = (struct wakeup){source->implementation, callback, data};
    return wakeup;
}

void wakeup_set(struct wakeup *wakeup, uint64_t wait_ms)
{
    wakeup->implementation->set(wakeup, wait_ms);
}

void wakeup_clear(struct wakeup *wakeup)
{
    wakeup->implementation->clear(wakeup);
}

void wakeup_destroy(struct wakeup *wakeup)
{
    if (wakeup != NULL)
        wakeup->implementation->destroy(wakeup);
}
