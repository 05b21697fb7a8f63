/* What the tests of reconcile.h share: a few instances, and what is asked about them. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "scheduler/reconcile.h"

#define NOW 100000

static const struct reconcile_instance healthy_new = {
    .matches = true, .state = INSTANCE_READY, .ready_since_ms = NOW - 3000};
static const struct reconcile_instance young_new = {
    .matches = true, .state = INSTANCE_READY, .ready_since_ms = NOW - 2999};
static const struct reconcile_instance booting_new = {.matches = true, .state = INSTANCE_STARTING};
static const struct reconcile_instance ready_old = {.state = INSTANCE_READY};
static const struct reconcile_instance broken_old = {.state = INSTANCE_STARTING};
static const struct reconcile_instance ready_good = {
    .replaceable = true, .state = INSTANCE_READY, .ready_since_ms = NOW - 3000};
static const struct reconcile_instance failed_good = {
    .replaceable = true, .state = INSTANCE_FAILED, .failed_ms = NOW - 5000};
static const struct reconcile_instance failed_new = {
    .matches = true, .state = INSTANCE_FAILED, .failed_ms = NOW - 5000};

static inline struct reconcile_instance at(struct reconcile_instance instance, uint32_t slot)
{
    instance.slot = slot;
    return instance;
}

static inline struct reconcile_input input(enum reconcile_mode mode, uint32_t replicas,
                                           const struct reconcile_instance *instances, size_t count)
{
    return (struct reconcile_input){.mode = mode,
                                    .replicas = replicas,
                                    .max_surge = 1,
                                    .min_healthy_time_ms = 3000,
                                    .reschedule = {2, 5000, 60000},
                                    .instances = instances,
                                    .instance_count = count,
                                    .now_ms = NOW};
}

static inline size_t count_of(const struct reconcile_result *result, enum reconcile_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < result->action_count; i++)
        count += result->actions[i].kind == kind;
    return count;
}

#define AUTO_RESULT __attribute__((cleanup(reconcile_result_release))) struct reconcile_result
