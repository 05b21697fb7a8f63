/* One instance on a clock of the test's own, and the ways to bring it somewhere. Include after
 * <cmocka.h>. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "agent/instance.h"
#include "lib/cleanup.h"
#include "lib/log.h"

#define ID    "0001000000a7"
#define IMAGE "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define OTHER "sha256:ca7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

struct fake_clock {
    struct clock clock; /* first */
    uint64_t now_ms;
    int64_t wall_ahead_ms; /* of the wall clock against the other */
};

static inline uint64_t read_fake(const struct clock *clock)
{
    return ((const struct fake_clock *)clock)->now_ms;
}

static inline uint64_t read_fake_wall(const struct clock *clock)
{
    const struct fake_clock *both = (const struct fake_clock *)clock;
    return both->now_ms + (uint64_t)both->wall_ahead_ms;
}

static struct fake_clock fake = {{read_fake, read_fake_wall}, 0, 0};

static inline struct api_assigned_instance assignment(enum api_wanted wanted)
{
    struct api_assigned_instance assigned = {
        .id = ID,
        .namespace_name = "default",
        .service = "hello",
        .wanted = wanted,
        .image_digest = IMAGE,
        .boot_timeout_ms = 20000,
        .restart = {.policy = API_RESTART_ALWAYS,
                    .attempts = 2,
                    .backoff_ms = 1000,
                    .max_backoff_ms = 8000,
                    .reset_after_ms = 600000},
        .stop = {.grace_ms = 5000},
    };
    return assigned;
}

static inline int make_instance(void **state)
{
    struct instance *instance = calloc(1, sizeof *instance);
    fake.now_ms = 1000000;
    fake.wall_ahead_ms = 0;
    instance_init(instance, ID, &fake.clock);
    *state = instance;
    return 0;
}

static inline int free_instance(void **state)
{
    instance_finish(*state);
    free(*state);
    return 0;
}

static inline unsigned want(struct instance *instance, enum api_wanted wanted)
{
    struct api_assigned_instance assigned = assignment(wanted);
    return instance_assign(instance, &assigned);
}

static inline void bring_to_running(struct instance *instance)
{
    assert_int_equal(want(instance, API_WANTED_RUN), INSTANCE_PREPARE);
    instance_image_moved(instance, INSTANCE_FETCHING, "", "");
    instance_image_moved(instance, INSTANCE_VERIFYING, "", "");
    assert_int_equal(instance_image_ready(instance), INSTANCE_BOOT);
    assert_int_equal(instance_state(instance), INSTANCE_STARTING);
    assert_int_equal(instance_booted(instance), INSTANCE_WATCH);
    assert_int_equal(instance_state(instance), INSTANCE_RUNNING);
}

static inline void bring_to_ready(struct instance *instance)
{
    bring_to_running(instance);
    fake.now_ms += 40;
    assert_int_equal(instance_became_ready(instance), 0);
    assert_int_equal(instance_state(instance), INSTANCE_READY);
}

static inline struct instance *save_and_load(struct instance *instance)
{
    AUTO_FREE char *text = instance_save(instance);
    struct instance *loaded = calloc(1, sizeof *loaded);
    struct error error = ERROR_INIT;
    if (instance_load(text, &fake.clock, loaded, &error) < 0)
        fail_msg("%s", error.message);
    return loaded;
}
