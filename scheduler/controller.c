#include "scheduler/controller.h"

#include <stdlib.h>

#include "lib/log.h"
#include "lib/xalloc.h"

#define RETRY_MS     1000
#define RETENTION_MS 10000
/* Writes that looking at one more service, or ending one more record, may take. */
#define ROOM_NEEDED 12
/* How long a pass decides before requests are answered. */
#define PASS_MS 10
/* A service of at least so many instances rests a millisecond for each between two looks. */
#define RESTS_FROM  200
#define REST_MS_MAX 1000

struct controller {
    struct core *core;
    struct wakeup *wakeup;
    bool queued; /* a decision is waiting or being written */
    bool again;  /* what changed since may matter */
    bool stopped;
    uint64_t next_ms;
    uint64_t retention_ms; /* when to look for old records */
};

static void on_wakeup(void *data)
{
    controller_wake(data);
}

struct controller *controller_create(struct core *core)
{
    struct controller *controller = xcalloc(1, sizeof *controller);
    controller->core = core;
    controller->wakeup = wakeup_create(&core->wakeups, on_wakeup, controller);
    return controller;
}

void controller_destroy(struct controller *controller)
{
    if (controller == NULL)
        return;
    wakeup_destroy(controller->wakeup);
    free(controller);
}

void controller_stop(struct controller *controller)
{
    controller->stopped = true;
    wakeup_clear(controller->wakeup);
}

/* --- one pass --- */

/* A look costs what the service has: one of many instances is not looked at more often than it
 * is cheap, so that each of them may change at any time. True: it waits. */
static bool rests(const struct controller_pass *pass, struct model_service *service)
{
    size_t count = service->instances.count;
    uint64_t rest = count < RESTS_FROM ? 0 : count < REST_MS_MAX ? count : REST_MS_MAX;
    if (service->looked_ms == 0 || pass->now_ms >= service->looked_ms + rest)
        return false;
    service->next_ms = service->looked_ms + rest;
    return true;
}

static void look_at_services(struct controller *controller, struct controller_pass *pass)
{
    struct model *model = &pass->core->model;
    struct model_service *service;
    model_wake_services(model, pass->now_ms);
    while (!controller->again && (service = model_take_service(model)) != NULL) {
        bool complete = true;
        if (!rests(pass, service)) {
            change_may_split(pass->change);
            service->looked_ms = pass->now_ms;
            complete = change_has_room(pass->change, ROOM_NEEDED) &&
                       controller_reconcile_service(pass, service);
        }
        model_wait_for_service(service);
        if (!complete) {
            service->looked_ms = 0;
            model_touch_service(service);
        }
        /* Requests are answered in between. */
        controller->again =
            !complete || pass->ends || core_now(pass->core) >= pass->now_ms + PASS_MS;
    }
    uint64_t next = model_wake_services(model, pass->now_ms);
    if (next < pass->next_ms)
        pass->next_ms = next;
}

static int decide(struct change *change, void *data, struct error *error)
{
    (void)error;
    struct controller *controller = data;
    struct core *core = controller->core;
    struct controller_pass pass = {.core = core,
                                   .change = change,
                                   .now_ms = core_now(core),
                                   .wall_ms = core_wall(core),
                                   .next_ms = UINT64_MAX};
    controller->again = false;
    change_may_split(change);
    if (!controller_look_at_nodes(&pass) || pass.ends)
        controller->again = true;
    if (!pass.ends) {
        capacity_init(&pass.capacity, &core->model, pass.now_ms);
        look_at_services(controller, &pass);
        capacity_finish(&pass.capacity);
    }
    change_may_split(change);
    if (pass.now_ms >= controller->retention_ms && change_has_room(change, ROOM_NEEDED)) {
        controller->retention_ms = pass.now_ms + RETENTION_MS;
        controller_retire_records(&pass);
    }
    if (controller->retention_ms < pass.next_ms)
        pass.next_ms = controller->retention_ms;
    controller->next_ms = pass.next_ms;
    return 0;
}

static void on_decided(const struct error *error, void *data)
{
    struct controller *controller = data;
    struct core *core = controller->core;
    controller->queued = false;
    if (controller->stopped)
        return;
    if (error != NULL) {
        /* Nothing of it happened: look at everything again. */
        model_touch_all_services(&core->model);
        wakeup_set(controller->wakeup, RETRY_MS);
        return;
    }
    if (controller->again) { /* after what else the loop has to do */
        wakeup_set(controller->wakeup, 0);
        return;
    }
    uint64_t now = core_now(core);
    uint64_t wait = controller->next_ms > now ? controller->next_ms - now : 0;
    wakeup_set(controller->wakeup, wait);
}

void controller_wake(struct controller *controller)
{
    if (controller->queued || controller->stopped) {
        controller->again = true;
        return;
    }
    controller->queued = true;
    changes_decide(controller->core->changes, decide, on_decided, controller);
}
