/* A guest on a simulated host: the agent's own machine for it (agent/instance.h), and what its
 * image does in the microVM that the host's hypervisor has of it (tests/fake/hypervisor_fake.h). */
#pragma once

#include <sys/queue.h>

#include "agent/host/hypervisor.h"
#include "agent/instance.h"
#include "tests/sim/world.h"

struct node;

/* What an image does, by the first digit of its digest. */
enum guest_image {
    IMAGE_GOOD,
    IMAGE_NEVER_READY,
    IMAGE_CRASHES,  /* soon after each boot */
    IMAGE_FLAPS,    /* ready and unready, and crashes now and then, until the world settles */
    IMAGE_MISSING,  /* not in the registry */
    IMAGE_UNSIGNED, /* refused on the node */
    IMAGE_SLOW,     /* good, but takes long to boot */
    GUEST_IMAGES,
};
extern const char *const guest_image_names[];

struct guest {
    LIST_ENTRY(guest) link;
    struct node *node;
    struct instance machine; /* while the agent runs */
    char *record;            /* what the agent had saved, while it does not */
    char id[INSTANCE_ID_MAX];
    char address[ADDRESS_MAX];
    uint64_t memory;
    enum guest_image image;
    char digest[DIGEST_TEXT_MAX];
    uint64_t booted_ms;
    struct world_event *tick, *preparing, *booting, *ending, *pausing, *dying, *finishing, *health;
    uint8_t prepared; /* steps */
    bool ready;       /* as the check sees it */
};

/* The assignment names it, perhaps for the first time (`guest` NULL). */
struct guest *guest_assign(struct node *node, struct guest *guest,
                           const struct api_assigned_instance *assigned);
void guest_destroy(struct guest *guest);
/* The agent ends: what it knew is what it had saved. */
void guest_lose_agent(struct guest *guest);
/* An agent begins. `found` is its microVM as the hypervisor has it; NULL: there is none. */
void guest_meet_agent(struct guest *guest, const struct hypervisor_found *found);
void guest_lose_power(struct guest *guest);
/* Its microVM has ended, as the agent hears. */
void guest_ended(struct guest *guest, enum hypervisor_end end);
/* Its microVM is there; and stands still, after it ran. */
bool guest_has_vm(const struct guest *guest);
bool guest_is_paused(const struct guest *guest);
/* The microVM dies by itself; nothing when there is none. */
void guest_crash(struct guest *guest);
