#include "tests/sim/process.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/xalloc.h"
#include "scheduler/counters.h"
#include "tests/sim/store.h"
#include "tests/sim/watch.h"

#define PAGE       100
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
    struct core core;
    struct scheduler_options options;
    enum document_kind loading;
    bool serves;
    bool dying;
    unsigned kill_at; /* commits; 0: none */
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

/* --- reading the disk --- */

static void load_page(struct process *process, const char *after);

static int load_document(struct process *process, const struct store_document *stored)
{
    void *document = document_create(process->loading);
    struct error error = ERROR_INIT;
    if (json_parse_record(document_record(process->loading), stored->value, strlen(stored->value),
                          JSON_LENIENT, document, &error) < 0) {
        world_fail(process->world, "document %s cannot be read back: %s", stored->key,
                   error.message);
        free(document);
        return -1;
    }
    if (process->loading == DOCUMENT_COUNTERS)
        changes_set_counters_at(process->core.changes, stored->revision);
    model_apply(&process->core.model, process->loading, document, false, core_now(&process->core));
    return 0;
}

static int decide_start(struct change *change, void *data, struct error *error)
{
    (void)error;
    struct process *process = data;
    struct core *core = &process->core;
    counters_begin(change_edit(change, DOCUMENT_COUNTERS, &core->model.counters),
                   store_identity(core->store)->term);
    return 0;
}

static void on_tick(void *data)
{
    struct process *process = data;
    process->tick = world_after(process->world, TICK_MS, on_tick, NULL, process);
    publication_expire(process->core.publication);
}

static void on_event(const struct api_event *event, void *data)
{
    watch_event(((struct process *)data)->world, event);
}

static void begin_to_serve(struct process *process)
{
    struct core *core = &process->core;
    core->revision_base = core->model.counters.starts << 32;
    changes_set_sequence(core->changes, core->revision_base);
    core->publication = publication_create(core);
    core->controller = controller_create(core);
    core->model.on_event = on_event;
    core->model.data = process;
    process->serves = true;
    process->tick = world_after(process->world, TICK_MS, on_tick, NULL, process);
    world_trace(process->world, "scheduler: serves, start %llu of term %llu",
                (unsigned long long)core->model.counters.starts,
                (unsigned long long)store_identity(core->store)->term);
    watch_started(process->world, core);
    publication_update(core->publication);
    controller_wake(core->controller);
}

static void kill_now(void *data)
{
    process_kill(data, RESTART_MS);
}

static void on_started(const struct error *error, void *data)
{
    struct process *process = data;
    if (process->dying)
        return;
    if (error == NULL)
        begin_to_serve(process);
    else /* as the daemon does: it ends, and whoever watches it starts it again */
        world_after(process->world, 0, kill_now, NULL, process->world);
}

static void load_next_kind(struct process *process)
{
    process->loading++;
    if (process->loading == DOCUMENT_EVENT)
        changes_decide(process->core.changes, decide_start, on_started, process);
    else
        load_page(process, NULL);
}

static void on_page(const struct error *error, const struct store_document *documents, size_t count,
                    bool more, uint64_t revision, void *data)
{
    struct process *process = data;
    (void)revision;
    if (error != NULL || process->dying)
        return;
    for (size_t i = 0; i < count; i++) {
        if (load_document(process, &documents[i]) < 0)
            return;
    }
    if (more && count > 0)
        load_page(process, documents[count - 1].key);
    else
        load_next_kind(process);
}

static void load_page(struct process *process, const char *after)
{
    if (document_prefix(process->loading) == NULL)
        load_next_kind(process);
    else
        store_list(process->core.store, document_prefix(process->loading), after, PAGE, on_page,
                   process);
}

/* --- its life --- */

static void on_lead(bool leading, void *data)
{
    struct process *process = data;
    if (leading)
        load_page(process, NULL);
}

static void on_applied(void *data)
{
    struct process *process = data;
    if (!process->serves || process->dying)
        return;
    publication_update(process->core.publication);
    controller_wake(process->core.controller);
}

static void on_handed_in(const struct store_transaction *transaction, void *data)
{
    struct process *process = data;
    watch_handed_in(process->world, &process->core, transaction);
}

static void on_settled(bool durable, void *data)
{
    struct process *process = data;
    watch_settled(process->world, durable);
    if (process->kill_at == 0 || --process->kill_at > 0)
        return;
    world_trace(process->world, "scheduler: killed when a transaction was %s, before the answer",
                durable ? "written" : "refused");
    memory_store_freeze(process->core.store);
    world_after(process->world, 0, kill_now, NULL, process->world);
}

void process_start(struct world *world)
{
    if (world->process != NULL)
        return;
    struct process *process = xcalloc(1, sizeof *process);
    struct core *core = &process->core;
    world->process = process;
    process->world = world;
    process->options = (struct scheduler_options){.registry = "http://registry",
                                                  .network = "10.64.0.0/10",
                                                  .lease_ms = PROCESS_LEASE_MS,
                                                  .replace_after_ms = PROCESS_REPLACE_AFTER_MS};
    LIST_INIT(&process->polls);
    core->options = &process->options;
    core->clock = &world->clock;
    core->wakeups = (struct wakeup_source){&wakeups, world};
    core->store = memory_store_create(
        &(struct memory_store_options){world, world->disk, on_handed_in, on_settled, process});
    model_init(&core->model);
    core->changes = changes_create(
        &(struct changes_options){core->store, &core->model, core->clock, on_applied, process});
    world_trace(world, "scheduler: starts");
    process->loading = DOCUMENT_COUNTERS;
    store_lead(core->store, NULL, on_lead, process);
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

static void process_end(struct process *process)
{
    struct core *core = &process->core;
    world_trace(process->world, "scheduler: is killed");
    process->dying = true;
    process->kill_at = 0;
    core->model.on_event = NULL;
    if (core->controller != NULL)
        controller_stop(core->controller);
    memory_store_freeze(core->store);
    memory_store_drain(core->store);
    break_polls(process);
    world_cancel(&process->tick);
    controller_destroy(core->controller);
    publication_destroy(core->publication);
    store_destroy(core->store);
    changes_destroy(core->changes);
    model_finish(&core->model);
    free(process);
}

static void start_again(void *data)
{
    process_start(data);
}

void process_kill(struct world *world, uint64_t down_ms)
{
    struct process *process = world->process;
    if (process == NULL)
        return;
    process_end(process);
    world->process = NULL;
    watch_killed(world);
    world_after(world, down_ms, start_again, NULL, world);
}
void process_end_world(struct world *world)
{
    if (world->process != NULL)
        process_end(world->process);
    world->process = NULL;
}

void process_kill_at_commit(struct world *world, unsigned commits)
{
    if (world->process != NULL)
        world->process->kill_at = commits;
}

bool process_serves(const struct world *world)
{
    return world->process != NULL && world->process->serves && !world->process->dying;
}

bool process_is_dying(const struct world *world)
{
    return world->process != NULL && world->process->dying;
}

struct core *process_core(const struct world *world)
{
    return process_serves(world) ? &world->process->core : NULL;
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

void process_poll(struct world *world, struct model_node *node,
                  const struct publication_poll *wanted, process_poll_answer *answer, void *data)
{
    struct process *process = world->process;
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
