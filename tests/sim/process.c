#include "tests/sim/process.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "lib/xalloc.h"
#include "scheduler/leadership.h"
#include "tests/sim/store.h"
#include "tests/sim/watch.h"

#define TICK_MS    1000
#define RESTART_MS 1000 /* until whoever watches over the process starts it again */

struct poll {
    LIST_ENTRY(poll) link;
    struct publication_wait *wait;
    process_poll_answer *answer;
    void *data;
};

struct process {
    struct world *world;
    size_t which;
    char name[16];
    struct core core;
    struct scheduler_options options;
    bool leads;
    bool dying;
    unsigned kill_at; /* commits; 0: none */
    uint64_t event_sequence;
    struct world_event *killing;
    struct world_event *tick;
    LIST_HEAD(, poll) polls;
};

/* --- wakeups on the world's time --- */

struct sim_wakeup {
    struct wakeup base;
    struct world *world;
    struct world_event *event;
};

static struct wakeup *wakeup_create_in(void *source)
{
    struct sim_wakeup *wakeup = xcalloc(1, sizeof *wakeup);
    wakeup->world = source;
    return &wakeup->base;
}

static void on_wakeup(void *data)
{
    struct sim_wakeup *wakeup = data;
    wakeup->event = NULL;
    wakeup->base.callback(wakeup->base.data);
}

static void wakeup_set_in(struct wakeup *base, uint64_t wait_ms)
{
    struct sim_wakeup *wakeup = (struct sim_wakeup *)base;
    world_cancel(&wakeup->event);
    wakeup->event = world_after(wakeup->world, wait_ms, on_wakeup, NULL, wakeup);
}

static void wakeup_clear_in(struct wakeup *base)
{
    world_cancel(&((struct sim_wakeup *)base)->event);
}

static void wakeup_destroy_in(struct wakeup *base)
{
    wakeup_clear_in(base);
    free(base);
}

static const struct wakeup_implementation wakeups = {wakeup_create_in, wakeup_set_in,
                                                     wakeup_clear_in, wakeup_destroy_in};

/* --- leading --- */

static void on_tick(void *data)
{
    struct process *process = data;
    process->tick = world_after(process->world, TICK_MS, on_tick, NULL, process);
    publication_expire(process->core.publication);
}

static void on_event(const struct api_event *event, void *data)
{
    struct process *process = data;
    if (event->sequence <= process->event_sequence)
        world_fail(process->world, "event %llu comes after %llu",
                   (unsigned long long)event->sequence,
                   (unsigned long long)process->event_sequence);
    process->event_sequence = event->sequence;
    if (process->leads)
        watch_event(process->world, event);
}

static void break_polls(struct process *process)
{
    struct poll *poll;
    while ((poll = LIST_FIRST(&process->polls)) != NULL) {
        LIST_REMOVE(poll, link);
        publication_forget(poll->wait);
        poll->answer(true, PUBLICATION_UNCHANGED, NULL, poll->data);
        free(poll);
    }
}

static void stop_leading(struct process *process)
{
    process->leads = false;
    world_cancel(&process->tick);
    break_polls(process);
}

static void on_lost(void *data)
{
    struct process *process = data;
    world_trace(process->world, "%s: leads no more", process->name);
    stop_leading(process);
}

static void ignore(void *data)
{
    (void)data;
}

static void on_answered(void *data)
{
    struct process *process = data;
    struct core *core = &process->core;
    if (process->dying || process->leads ||
        leadership_phase(core->leadership) != LEADERSHIP_LEADING)
        return;
    process->leads = true;
    process->event_sequence = 0;
    process->tick = world_after(process->world, TICK_MS, on_tick, NULL, process);
    world_trace(process->world, "%s: leads, start %llu of term %llu", process->name,
                (unsigned long long)core->model.counters.starts,
                (unsigned long long)store_identity(core->store)->term);
    watch_started(process->world, core);
}

/* --- its store --- */

static void on_handed_in(const struct store_transaction *transaction, void *data)
{
    struct process *process = data;
    watch_handed_in(process->world, &process->core, transaction);
}

static void kill_now(void *data)
{
    struct process *process = data;
    process->killing = NULL;
    process_kill(process->world, process->which, RESTART_MS);
}

static void on_settled(bool durable, void *data)
{
    struct process *process = data;
    watch_settled(process->world, &process->core, durable);
    if (process->kill_at == 0 || --process->kill_at > 0)
        return;
    world_trace(process->world, "%s: killed when a transaction was %s, before the answer",
                process->name, durable ? "written" : "refused");
    memory_store_freeze(process->core.store);
    process->killing = world_after(process->world, 0, kill_now, NULL, process);
}

/* --- its life --- */

static void start(struct world *world, size_t which)
{
    if (world->processes[which] != NULL)
        return;
    struct process *process = xcalloc(1, sizeof *process);
    struct core *core = &process->core;
    world->processes[which] = process;
    process->world = world;
    process->which = which;
    snprintf(process->name, sizeof process->name, "scheduler%zu", which);
    process->options = (struct scheduler_options){.registry = "http://registry",
                                                  .network = "10.64.0.0/10",
                                                  .lease_ms = PROCESS_LEASE_MS,
                                                  .replace_after_ms = PROCESS_REPLACE_AFTER_MS};
    LIST_INIT(&process->polls);
    core->options = &process->options;
    core->clock = &world->clock;
    core->wakeups = (struct wakeup_source){&wakeups, world};
    core->store = memory_store_create(&(struct memory_store_options){
        world, world->disk, on_handed_in, on_settled, on_answered, process});
    model_init(&core->model);
    core->model.on_event = on_event;
    core->model.data = process;
    world_trace(world, "%s: starts", process->name);
    struct leadership_options leadership = {
        .on_lost = on_lost, .on_leader = ignore, .on_seen = ignore, .data = process};
    core->leadership = leadership_create(core, &leadership);
    leadership_campaign(core->leadership, process->name);
}

void process_start_all(struct world *world)
{
    for (size_t i = 0; i < world->process_count; i++)
        start(world, i);
}

static void end(struct process *process)
{
    struct core *core = &process->core;
    world_trace(process->world, "%s: is killed", process->name);
    process->dying = true;
    core->model.on_event = NULL;
    world_cancel(&process->killing);
    leadership_stop(core->leadership);
    memory_store_freeze(core->store);
    memory_store_drain(core->store);
    stop_leading(process);
    leadership_close(core->leadership);
    store_destroy(core->store);
    leadership_destroy(core->leadership);
    model_finish(&core->model);
    watch_killed(process->world, core);
    free(process);
}

/* A process that is to be started again. */
struct start {
    struct world *world;
    size_t which;
};

static void start_again(void *data)
{
    struct start *again = data;
    start(again->world, again->which);
    free(again);
}

void process_kill(struct world *world, size_t which, uint64_t down_ms)
{
    if (world->processes[which] == NULL)
        return;
    end(world->processes[which]);
    world->processes[which] = NULL;
    struct start *again = xcalloc(1, sizeof *again);
    *again = (struct start){world, which};
    world_after(world, down_ms, start_again, free, again);
}

void process_end_all(struct world *world)
{
    for (size_t i = 0; i < world->process_count; i++) {
        if (world->processes[i] != NULL)
            end(world->processes[i]);
        world->processes[i] = NULL;
    }
}

void process_kill_at_commit(struct world *world, size_t which, unsigned commits)
{
    if (world->processes[which] != NULL)
        world->processes[which]->kill_at = commits;
}

struct process *process_leader(struct world *world)
{
    size_t first = draw_below(&world->draw, world->process_count);
    for (size_t i = 0; i < world->process_count; i++) {
        struct process *process = world->processes[(first + i) % world->process_count];
        if (process != NULL && process->leads)
            return process;
    }
    return NULL;
}

const struct core *process_truth(const struct world *world)
{
    for (size_t i = 0; i < world->process_count; i++) {
        const struct process *process = world->processes[i];
        if (process != NULL && process->leads && memory_store_leads(process->core.store))
            return &process->core;
    }
    return NULL;
}

struct core *process_core(struct process *process)
{
    return &process->core;
}

struct world *process_world(const struct process *process)
{
    return process->world;
}

bool process_is_gone(const struct process *process)
{
    return process->dying || !process->leads;
}

/* --- polls --- */

static void on_poll_answer(enum publication_news news, const char *text, void *data)
{
    struct poll *poll = data;
    if (poll->wait != NULL)
        LIST_REMOVE(poll, link);
    poll->answer(false, news, text, poll->data);
    free(poll);
}

void process_poll(struct process *process, struct model_node *node,
                  const struct publication_poll *wanted, process_poll_answer *answer, void *data)
{
    struct poll *poll = xcalloc(1, sizeof *poll);
    *poll = (struct poll){.answer = answer, .data = data};
    struct publication_poll request = *wanted;
    request.answer = on_poll_answer;
    request.data = poll;
    struct publication_wait *wait = publication_poll(process->core.publication, node, &request);
    if (wait == NULL)
        return;
    poll->wait = wait;
    LIST_INSERT_HEAD(&process->polls, poll, link);
}
