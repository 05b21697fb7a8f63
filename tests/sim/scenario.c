#include "tests/sim/scenario.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"
#include "scheduler/documents.h"
#include "tests/sim/node.h"
#include "tests/sim/process.h"
#include "tests/sim/store.h"
#include "tests/sim/users.h"
#include "tests/sim/watch.h"

/* When everything has mended, the cluster is at rest within this. */
#define REST_MS  UINT64_C(1800000)
#define SLICE_MS 2000

enum step_kind {
    STEP_WAIT,
    STEP_USER,
    STEP_USER_NODE,
    STEP_KILL,
    STEP_KILL_AT_COMMIT,
    STEP_LEASE,
    STEP_BACKUP,
    STEP_RESTORE,
    STEP_POWER_OFF,
    STEP_POWER_ON,
    STEP_AGENT_KILL,
    STEP_AGENT_START,
    STEP_CUT,
    STEP_MEND,
    STEP_GUEST_CRASH,
    STEP_STORE,
    STEP_WIRES,
    STEP_CLOCK,
};

/* How often each is drawn. */
static const struct weight {
    enum step_kind kind;
    unsigned weight;
} weights[] = {
    {STEP_WAIT, 10},    {STEP_USER, 45},          {STEP_USER_NODE, 6},
    {STEP_KILL, 5},     {STEP_KILL_AT_COMMIT, 6}, {STEP_LEASE, 4},
    {STEP_BACKUP, 2},   {STEP_RESTORE, 1},        {STEP_POWER_OFF, 4},
    {STEP_POWER_ON, 4}, {STEP_AGENT_KILL, 4},     {STEP_AGENT_START, 5},
    {STEP_CUT, 5},      {STEP_MEND, 5},           {STEP_GUEST_CRASH, 6},
    {STEP_STORE, 4},    {STEP_WIRES, 4},          {STEP_CLOCK, 1},
};

struct step {
    enum step_kind kind;
    uint64_t wait_ms; /* before the next one */
    uint64_t what;
};

struct stage {
    struct world world;
    struct disk *backup;
    uint64_t backup_instances;
};

/* --- drawing --- */

static struct step draw_step(uint64_t seed, size_t index)
{
    struct draw draw = draw_split(seed, index + 1);
    unsigned total = 0;
    struct step step = {STEP_WAIT, 0, 0};
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
        total += weights[i].weight;
    uint64_t chosen = draw_below(&draw, total);
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        if (chosen < weights[i].weight) {
            step.kind = weights[i].kind;
            break;
        }
        chosen -= weights[i].weight;
    }
    step.wait_ms = draw_chance(&draw, 300)   ? draw_below(&draw, 200)
                   : draw_chance(&draw, 800) ? draw_below(&draw, 8000)
                                             : draw_below(&draw, 40000);
    step.what = draw_next(&draw);
    return step;
}

struct scenario scenario_of_seed(uint64_t seed)
{
    struct draw draw = draw_split(seed, UINT32_MAX);
    return (struct scenario){.seed = seed, .step_count = draw_between(&draw, 6, 40)};
}

/* --- playing --- */

static void play_user(struct world *world, struct draw *draw)
{
    static const enum user_action actions[] = {
        USER_DEPLOY, USER_DEPLOY, USER_DEPLOY,   USER_DEPLOY,  USER_DEPLOY,
        USER_SCALE,  USER_SCALE,  USER_ROLLBACK, USER_RESTART, USER_REMOVE,
        USER_PAUSE,  USER_RESUME, USER_PROMOTE,  USER_ABORT,   USER_REVOKE};
    size_t count = sizeof actions / sizeof *actions;
    enum user_action action = actions[draw_below(draw, count)];
    if (action == USER_REVOKE && !draw_chance(draw, 400))
        action = USER_DEPLOY;
    unsigned service = (unsigned)draw_below(draw, USERS_SERVICES);
    users_act(world, action, service, draw_next(draw));
}

static void play_user_node(struct world *world, struct draw *draw)
{
    static const enum user_node_action actions[] = {USER_CORDON,     USER_UNCORDON, USER_UNCORDON,
                                                    USER_DRAIN,      USER_DRAIN,    USER_GIVE_UP,
                                                    USER_REMOVE_NODE};
    enum user_node_action action = actions[draw_below(draw, sizeof actions / sizeof *actions)];
    const struct node *node = world->nodes[draw_below(draw, world->node_count)];
    users_act_on_node(world, action, node->name, draw_next(draw));
}

static void play_store(struct world *world, struct draw *draw)
{
    unsigned what = (unsigned)draw_below(draw, 4);
    world->faults.store_refuses = what == 1;
    world->faults.store_slow = what == 2;
    world->faults.refuse_permille = what == 3 ? 300 : 0;
    world_trace(world, "store: %s",
                what == 1   ? "refuses"
                : what == 2 ? "is slow"
                : what == 3 ? "refuses now and then"
                            : "is well");
}

static void play_wires(struct world *world, struct draw *draw)
{
    bool bad = draw_chance(draw, 600);
    world->faults.lose_permille = bad ? (unsigned)draw_below(draw, 300) : 0;
    world->faults.repeat_permille = bad ? (unsigned)draw_below(draw, 300) : 0;
    world->faults.late_permille = bad ? (unsigned)draw_below(draw, 200) : 0;
    world->faults.crash_permille = bad ? (unsigned)draw_below(draw, 200) : 0;
    world->faults.boot_permille = bad ? (unsigned)draw_below(draw, 300) : 0;
    world_trace(world, "wires: %u lost, %u twice, %u late of 1000", world->faults.lose_permille,
                world->faults.repeat_permille, world->faults.late_permille);
}

static uint64_t instances_on(const struct disk *disk)
{
    const char *text = disk_find(disk, "counters");
    struct document_counters counters = {0};
    if (text != NULL)
        json_parse_record(document_record(DOCUMENT_COUNTERS), text, strlen(text), JSON_LENIENT,
                          &counters, NULL);
    return counters.instances;
}

static void play_backup(struct stage *stage)
{
    world_trace(&stage->world, "store: a backup is made");
    disk_destroy(stage->backup);
    stage->backup = disk_copy(stage->world.disk);
}

static void play_restore(struct stage *stage, struct draw *draw)
{
    struct world *world = &stage->world;
    if (stage->backup == NULL)
        return;
    for (size_t i = 0; i < world->process_count; i++)
        process_kill(world, i, draw_below(draw, 5000));
    uint64_t term = disk_term(world->disk);
    disk_destroy(world->disk);
    world->disk = disk_copy(stage->backup);
    while (disk_term(world->disk) <= term)
        disk_begin_term(world->disk);
    world_trace(world, "store: comes back from the backup, term %llu",
                (unsigned long long)disk_term(world->disk));
    watch_restored(world, instances_on(world->disk));
    users_restored(world);
}

static void crash_guest(struct node *node, struct draw *draw)
{
    struct guest *guest;
    uint64_t chosen = draw_below(draw, 6);
    LIST_FOREACH(guest, &node->guests, link)
    {
        if (chosen-- == 0) {
            guest_crash(guest);
            return;
        }
    }
}

static void play_node(struct world *world, enum step_kind kind, struct draw *draw)
{
    struct node *node = world->nodes[draw_below(draw, world->node_count)];
    switch (kind) {
    case STEP_POWER_OFF:
        node_set_power(node, false);
        break;
    case STEP_POWER_ON:
        for (size_t i = 0; i < world->node_count; i++)
            node_set_power(world->nodes[i], true);
        break;
    case STEP_AGENT_KILL:
        node_kill_agent(node);
        break;
    case STEP_AGENT_START:
        for (size_t i = 0; i < world->node_count; i++)
            node_start_agent(world->nodes[i]);
        break;
    case STEP_CUT:
        world_trace(world, "%s: cut off", node->name);
        node_set_cut(node, true);
        break;
    case STEP_MEND:
        for (size_t i = 0; i < world->node_count; i++)
            node_set_cut(world->nodes[i], false);
        break;
    default:
        crash_guest(node, draw);
        break;
    }
}

static void play_step(struct stage *stage, const struct step *step)
{
    struct world *world = &stage->world;
    struct draw draw = {step->what};
    switch (step->kind) {
    case STEP_WAIT:
        break;
    case STEP_USER:
        play_user(world, &draw);
        break;
    case STEP_USER_NODE:
        play_user_node(world, &draw);
        break;
    case STEP_KILL:
        process_kill(world, draw_below(&draw, world->process_count), draw_below(&draw, 20000));
        break;
    case STEP_KILL_AT_COMMIT:
        process_kill_at_commit(world, draw_below(&draw, world->process_count),
                               (unsigned)draw_between(&draw, 1, 12));
        break;
    case STEP_LEASE:
        world_trace(world, "store: whoever leads loses the lease");
        disk_take_lease(world->disk);
        break;
    case STEP_BACKUP:
        play_backup(stage);
        break;
    case STEP_RESTORE:
        play_restore(stage, &draw);
        break;
    case STEP_STORE:
        play_store(world, &draw);
        break;
    case STEP_WIRES:
        play_wires(world, &draw);
        break;
    case STEP_CLOCK:
        world->wall_offset_ms += (int64_t)draw_below(&draw, 7200000) - 3600000;
        world->steady_clock = false;
        world_trace(world, "the wall clock jumps");
        break;
    default:
        play_node(world, step->kind, &draw);
        break;
    }
}

static void run(struct world *world, uint64_t for_ms)
{
    uint64_t until = world->now_ms + for_ms;
    while (world->failure == NULL && world_step(world, until))
        continue;
}

static void mend_everything(struct world *world)
{
    world_trace(world, "--- everything mends ---");
    world->faults = (struct world_faults){0};
    world->settles = true;
    for (size_t i = 0; i < world->process_count; i++)
        process_kill_at_commit(world, i, 0);
    process_start_all(world);
    for (size_t i = 0; i < world->node_count; i++) {
        node_set_power(world->nodes[i], true);
        node_start_agent(world->nodes[i]);
        node_set_cut(world->nodes[i], false);
    }
}

static void come_to_rest(struct world *world)
{
    char why[600] = "";
    uint64_t until = world->now_ms + REST_MS;
    mend_everything(world);
    do {
        run(world, SLICE_MS);
        users_help(world);
        if (world->failure != NULL)
            return;
        if (watch_is_at_rest(world, why, sizeof why)) {
            watch_leftovers(world);
            return;
        }
    } while (world->now_ms < until);
    world_fail(world, "it does not come to rest: %s", why);
}

static void set_stage(struct stage *stage, uint64_t seed, bool traces)
{
    struct world *world = &stage->world;
    world_init(world, seed, traces);
    world->steady_clock = true;
    world->disk = disk_create();
    world->users = users_create();
    world->watch = watch_create();
    world_take_log(world);
    world->node_count = draw_between(&world->draw, 1, 4);
    for (size_t i = 0; i < world->node_count; i++)
        world->nodes[i] = node_create(world, i);
    world->process_count = draw_chance(&world->draw, 500) ? 1 : 3;
    process_start_all(world);
    for (size_t i = 0; i < world->node_count; i++)
        node_set_power(world->nodes[i], true);
    run(world, 1000);
}

static void clear_stage(struct stage *stage)
{
    struct world *world = &stage->world;
    process_end_all(world);
    for (size_t i = 0; i < world->node_count; i++)
        node_destroy(world->nodes[i]);
    world_take_log(NULL);
    watch_destroy(world->watch);
    users_destroy(world->users);
    disk_destroy(world->disk);
    disk_destroy(stage->backup);
    world_finish(world);
}

static void print_trace(const struct world *world, size_t lines)
{
    size_t first = world->trace_count > lines ? world->trace_count - lines : 0;
    for (size_t i = first; i < world->trace_count; i++)
        puts(world->trace[i]);
}

static struct scenario_result play(const struct scenario *scenario, bool traces, size_t trace_lines)
{
    struct stage stage = {0};
    struct world *world = &stage.world;
    set_stage(&stage, scenario->seed, traces);
    for (size_t i = 0; i < scenario->step_count && world->failure == NULL; i++) {
        struct step step = draw_step(scenario->seed, i);
        if (scenario->skips[i])
            continue;
        world_trace(world, "--- step %zu ---", i);
        play_step(&stage, &step);
        run(world, step.wait_ms);
    }
    if (world->failure == NULL)
        come_to_rest(world);
    print_trace(world, trace_lines);
    struct scenario_result result = {
        .failure = world->failure != NULL ? xstrdup(world->failure) : NULL,
        .events = world->steps,
        .trace_hash = world->trace_hash,
    };
    clear_stage(&stage);
    return result;
}

struct scenario_result scenario_play(const struct scenario *scenario, size_t trace_lines)
{
    return play(scenario, trace_lines > 0, trace_lines);
}

struct scenario_result scenario_record(const struct scenario *scenario)
{
    return play(scenario, true, 0);
}

/* --- which steps --- */

int scenario_keep(struct scenario *scenario, const char *steps)
{
    for (size_t i = 0; i < SCENARIO_STEPS_MAX; i++)
        scenario->skips[i] = true;
    while (*steps != '\0') {
        char *end;
        unsigned long first = strtoul(steps, &end, 10), last = first;
        if (end == steps)
            return -1;
        if (*end == '-')
            last = strtoul(end + 1, &end, 10);
        for (unsigned long i = first; i <= last && i < SCENARIO_STEPS_MAX; i++)
            scenario->skips[i] = false;
        steps = *end == ',' ? end + 1 : end;
        if (steps == end && *end != '\0')
            return -1;
    }
    return 0;
}

char *scenario_kept(const struct scenario *scenario)
{
    AUTO_BUFFER struct buffer text = {0};
    for (size_t i = 0; i < scenario->step_count; i++) {
        if (!scenario->skips[i])
            buffer_printf(&text, "%s%zu", text.length > 0 ? "," : "", i);
    }
    return xstrdup(buffer_text(&text));
}

static bool breaks(const struct scenario *scenario)
{
    struct scenario_result result = scenario_play(scenario, 0);
    bool broken = result.failure != NULL;
    free(result.failure);
    return broken;
}

/* Leaves out `count` steps from `first` on, if a promise is still broken without them. */
static bool try_without(struct scenario *scenario, size_t first, size_t count)
{
    struct scenario smaller = *scenario;
    bool changes = false;
    for (size_t i = first; i < first + count && i < scenario->step_count; i++) {
        changes = changes || !smaller.skips[i];
        smaller.skips[i] = true;
    }
    if (!changes || !breaks(&smaller))
        return false;
    *scenario = smaller;
    return true;
}

void scenario_shrink(struct scenario *scenario)
{
    bool smaller = true;
    while (smaller) {
        smaller = false;
        for (size_t size = scenario->step_count / 2; size > 0; size /= 2) {
            for (size_t first = 0; first < scenario->step_count; first += size)
                smaller = try_without(scenario, first, size) || smaller;
        }
    }
}
