#include "tests/sim/guest.h"

#include <stdlib.h>
#include <string.h>

#include "lib/text.h"
#include "lib/xalloc.h"
#include "tests/fake/hypervisor_fake.h"
#include "tests/sim/node.h"
#include "tests/sim/watch.h"

const char *const guest_image_names[] = {"good",    "never-ready", "crashes", "flaps",
                                         "missing", "unsigned",    "slow"};

static void act(struct guest *guest, unsigned actions);

static struct world *world_of(const struct guest *guest)
{
    return guest->node->world;
}

static bool flaps(const struct guest *guest)
{
    return guest->image == IMAGE_FLAPS && !world_of(guest)->settles;
}

static void later(struct guest *guest, struct world_event **event, uint64_t least, uint64_t most,
                  world_callback *run)
{
    struct world *world = world_of(guest);
    world_cancel(event);
    *event = world_after(world, draw_between(&world->draw, least, most), run, NULL, guest);
}

/* --- the image --- */

static void on_prepared(void *data)
{
    struct guest *guest = data;
    guest->preparing = NULL;
    switch (guest->prepared++) {
    case 0:
        instance_image_moved(&guest->machine, INSTANCE_FETCHING, "", "");
        later(guest, &guest->preparing, 5, 400, on_prepared);
        act(guest, 0);
        return;
    case 1:
        if (guest->image == IMAGE_MISSING) {
            act(guest, instance_image_failed(&guest->machine, "image_not_found",
                                             "the registry does not have it"));
            return;
        }
        instance_image_moved(&guest->machine, INSTANCE_VERIFYING, "", "");
        later(guest, &guest->preparing, 2, 50, on_prepared);
        act(guest, 0);
        return;
    default:
        break;
    }
    if (guest->image == IMAGE_UNSIGNED)
        act(guest, instance_image_failed(&guest->machine, "signature_rejected",
                                         "no trusted key has signed it"));
    else
        act(guest, instance_image_ready(&guest->machine));
}

/* --- the microVM --- */

bool guest_has_vm(const struct guest *guest)
{
    return hypervisor_fake_is_there(guest->node->machines, guest->id);
}

bool guest_is_paused(const struct guest *guest)
{
    struct hypervisor_fake *machines = guest->node->machines;
    return hypervisor_fake_has_begun(machines, guest->id) &&
           !hypervisor_fake_runs(machines, guest->id);
}

/* What is under way in it, or with it. */
static void cancel_vm(struct guest *guest)
{
    world_cancel(&guest->pausing);
    guest->ready = false;
    world_cancel(&guest->booting);
    world_cancel(&guest->ending);
    world_cancel(&guest->dying);
    world_cancel(&guest->finishing);
    world_cancel(&guest->health);
}

void guest_ended(struct guest *guest, enum hypervisor_end end)
{
    cancel_vm(guest);
    if (!guest->node->agent_runs)
        return;
    if (end == HYPERVISOR_END_PANIC)
        act(guest, instance_ended(&guest->machine, HOST_END_GUEST_PANIC, "it crashed"));
    else
        act(guest, instance_ended(
                       &guest->machine,
                       end == HYPERVISOR_END_EXIT ? HOST_END_GUEST_EXIT : HOST_END_STOPPED, ""));
}

/* Heard of or not. */
static void end_vm(struct guest *guest, enum hypervisor_end end)
{
    cancel_vm(guest);
    hypervisor_fake_end(guest->node->machines, guest->id, end);
}

void guest_crash(struct guest *guest)
{
    if (!guest_has_vm(guest))
        return;
    world_trace(world_of(guest), "%s: guest %s crashes", guest->node->name, guest->id);
    end_vm(guest, HYPERVISOR_END_PANIC);
}

static void on_dying(void *data)
{
    struct guest *guest = data;
    guest->dying = NULL;
    if ((guest->image == IMAGE_FLAPS && world_of(guest)->settles) || guest_is_paused(guest))
        return;
    guest_crash(guest);
}

/* A job's guest has done its work and powers off. */
static void on_finished(void *data)
{
    struct guest *guest = data;
    guest->finishing = NULL;
    world_trace(world_of(guest), "%s: guest %s has done its work", guest->node->name, guest->id);
    end_vm(guest, HYPERVISOR_END_EXIT);
}

static void on_booted(void *data)
{
    struct guest *guest = data;
    struct error error = ERROR_INIT;
    guest->booting = NULL;
    if (hypervisor_resume(guest->node->hypervisor, guest->id, &error) < 0)
        world_fail(world_of(guest), "%s: cannot begin: %s", guest->node->name, error.message);
    act(guest, instance_booted(&guest->machine));
}

static void on_boot_failed(void *data)
{
    struct guest *guest = data;
    guest->booting = NULL;
    act(guest, instance_boot_failed(&guest->machine, "the hypervisor refuses"));
}

/* What a guest does once it is there. */
static void live(struct guest *guest)
{
    struct world *world = world_of(guest);
    if (guest->image == IMAGE_CRASHES || draw_chance(&world->draw, world->faults.crash_permille))
        later(guest, &guest->dying, 300, 3000, on_dying);
    else if (flaps(guest))
        later(guest, &guest->dying, 2000, 60000, on_dying);
    if (guest->machine.assigned.restart.policy == API_RESTART_NEVER)
        later(guest, &guest->finishing, 200, 4000, on_finished);
}

static void boot(struct guest *guest)
{
    struct world *world = world_of(guest);
    struct error error = ERROR_INIT;
    struct microvm_spec spec = {.console_path = "", .memory = guest->memory};
    pid_t pid;
    text_copy(spec.id, sizeof spec.id, guest->id);
    text_copy(spec.image, sizeof spec.image, guest->digest);
    text_copy(spec.address, sizeof spec.address, guest->address);
    cancel_vm(guest);
    if (draw_chance(&world->draw, world->faults.boot_permille))
        hypervisor_fake_refuse(guest->node->machines, FAKE_CREATE, 1);
    if (hypervisor_create(guest->node->hypervisor, &spec, &pid, &error) < 0) {
        world_trace(world, "%s: cannot boot %s: %s", guest->node->name, guest->id, error.message);
        if (error.code == ERROR_CONFLICT)
            world_fail(world, "%s: is asked to boot what is there: %s", guest->node->name,
                       error.message);
        later(guest, &guest->booting, 1, 100, on_boot_failed);
        return;
    }
    guest->booted_ms = world->now_ms;
    watch_booted(world, guest);
    later(guest, &guest->booting, 5, guest->image == IMAGE_SLOW ? 3000 : 200, on_booted);
    live(guest);
}

static void on_ended(void *data)
{
    struct guest *guest = data;
    guest->ending = NULL;
    if (guest_has_vm(guest))
        hypervisor_destroy(guest->node->hypervisor, guest->id, NULL);
    else
        guest_ended(guest, HYPERVISOR_END_STOP);
}

static void on_paused(void *data)
{
    struct guest *guest = data;
    struct error error = ERROR_INIT;
    guest->pausing = NULL;
    if (hypervisor_pause(guest->node->hypervisor, guest->id, &error) < 0)
        act(guest, instance_pause_failed(&guest->machine, error.message));
    else
        act(guest, instance_paused(&guest->machine));
}

static void on_unpaused(void *data)
{
    struct guest *guest = data;
    struct error error = ERROR_INIT;
    guest->pausing = NULL;
    if (hypervisor_resume(guest->node->hypervisor, guest->id, &error) < 0)
        world_fail(world_of(guest), "%s: cannot go on: %s", guest->node->name, error.message);
}

/* --- its check --- */

static void on_health(void *data)
{
    struct guest *guest = data;
    guest->health = NULL;
    if (guest->image == IMAGE_NEVER_READY)
        return;
    if (guest_is_paused(guest)) { /* it does not answer yet */
        later(guest, &guest->health, 5, 100, on_health);
        return;
    }
    guest->ready = !guest->ready;
    if (flaps(guest) || !guest->ready)
        later(guest, &guest->health, 500, 15000, on_health);
    act(guest, guest->ready ? instance_became_ready(&guest->machine)
                            : instance_became_unready(&guest->machine, "the check fails"));
}

static void look_at_health(struct guest *guest)
{
    guest->ready = instance_state(&guest->machine) == INSTANCE_READY;
    if (!guest->ready)
        later(guest, &guest->health, 5, guest->image == IMAGE_SLOW ? 4000 : 500, on_health);
    else if (flaps(guest))
        later(guest, &guest->health, 500, 15000, on_health);
}

/* --- what the machine asks for --- */

static void on_tick(void *data)
{
    struct guest *guest = data;
    guest->tick = NULL;
    act(guest, instance_tick(&guest->machine));
}

static void arm(struct guest *guest)
{
    struct world *world = world_of(guest);
    uint64_t next = instance_next_deadline(&guest->machine);
    world_cancel(&guest->tick);
    if (next != UINT64_MAX)
        guest->tick = world_after(world, next > world->now_ms ? next - world->now_ms : 0, on_tick,
                                  NULL, guest);
}

static void act(struct guest *guest, unsigned actions)
{
    if (actions & INSTANCE_ABANDON)
        world_cancel(&guest->preparing);
    if (actions & INSTANCE_UNWATCH)
        world_cancel(&guest->health);
    if (actions & INSTANCE_PREPARE) {
        guest->prepared = guest->machine.image_ready ? 2 : 0;
        later(guest, &guest->preparing, 1, 20, on_prepared);
    }
    if (actions & INSTANCE_BOOT)
        boot(guest);
    if (actions & (INSTANCE_END | INSTANCE_KILL))
        later(guest, &guest->ending, 5, actions & INSTANCE_KILL ? 50 : 1500, on_ended);
    if (actions & INSTANCE_PAUSE)
        later(guest, &guest->pausing, 1, 300, on_paused);
    if (actions & INSTANCE_UNPAUSE)
        later(guest, &guest->pausing, 1, 300, on_unpaused);
    if ((actions & INSTANCE_WATCH) && guest->health == NULL)
        look_at_health(guest);
    arm(guest);
    node_changed(guest->node);
}

/* --- its life --- */

struct guest *guest_assign(struct node *node, struct guest *guest,
                           const struct api_assigned_instance *assigned)
{
    if (guest == NULL) {
        guest = xcalloc(1, sizeof *guest);
        guest->node = node;
        text_copy(guest->id, sizeof guest->id, assigned->id);
        instance_init(&guest->machine, assigned->id, &node->world->clock);
        LIST_INSERT_HEAD(&node->guests, guest, link);
    }
    if (assigned->image_digest[0] != '\0') {
        text_copy(guest->digest, sizeof guest->digest, assigned->image_digest);
        guest->image = (enum guest_image)(assigned->image_digest[strlen("sha256:")] - '0');
        guest->memory = assigned->resources.memory;
        text_copy(guest->address, sizeof guest->address, assigned->address);
    }
    if (assigned->wanted == API_WANTED_STOP &&
        !instance_state_is_over(instance_state(&guest->machine)) &&
        instance_state(&guest->machine) != INSTANCE_STOPPING)
        watch_told_to_stop(node->world, guest);
    act(guest, instance_assign(&guest->machine, assigned));
    return guest;
}

static void cancel_all(struct guest *guest)
{
    world_cancel(&guest->tick);
    world_cancel(&guest->preparing);
    world_cancel(&guest->booting);
    world_cancel(&guest->ending);
    world_cancel(&guest->pausing);
    world_cancel(&guest->health);
}

void guest_destroy(struct guest *guest)
{
    cancel_all(guest);
    world_cancel(&guest->dying);
    world_cancel(&guest->finishing);
    if (guest->record == NULL)
        instance_finish(&guest->machine);
    free(guest->record);
    LIST_REMOVE(guest, link);
    free(guest);
}

/* While the hypervisor is still open, which finishes what it was asked for. */
void guest_lose_agent(struct guest *guest)
{
    if (guest->pausing != NULL && guest_is_paused(guest))
        hypervisor_resume(guest->node->hypervisor, guest->id, NULL);
    else if (guest->pausing != NULL)
        hypervisor_pause(guest->node->hypervisor, guest->id, NULL);
    if (guest->ending != NULL)
        end_vm(guest, HYPERVISOR_END_STOP);
    cancel_all(guest);
    guest->record = instance_save(&guest->machine);
    instance_finish(&guest->machine);
}

void guest_meet_agent(struct guest *guest, const struct hypervisor_found *found)
{
    struct world *world = world_of(guest);
    struct error error = ERROR_INIT;
    if (instance_load(guest->record, &world->clock, &guest->machine, &error) < 0)
        world_fail(world, "%s: the record of %s cannot be read: %s", guest->node->name, guest->id,
                   error.message);
    free(guest->record);
    guest->record = NULL;
    if (found != NULL)
        instance_adopted(&guest->machine, found->identity.image, world->now_ms - guest->booted_ms,
                         found->paused);
    else
        cancel_vm(guest); /* half made, it is gone */
    act(guest, instance_resume(&guest->machine));
}

void guest_lose_power(struct guest *guest)
{
    cancel_vm(guest);
    hypervisor_fake_lose(guest->node->machines, guest->id);
}
