/* agent/host/guests.c with everything around it: a hypervisor, a network and workers that obey the
 * test, real files in a folder of its own, and a loop that turns when the test says. One thread;
 * one at a time. Needs root, which the host half is. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/host/guests.h"
#include "tests/fake/hypervisor_fake.h"
#include "tests/fake/network_fake.h"
#include "tests/fake/worker_fake.h"

#define GUESTS_BENCH_ANSWERS_MAX 512
#define GUESTS_BENCH_REPORTS_MAX 512

struct guests_bench_answer {
    uint64_t sequence;
    struct error error; /* code ERROR_NONE: it worked */
};

struct guests_bench_item;

struct guests_bench {
    char *folder;
    uv_loop_t loop;
    struct hypervisor_fake *world;
    struct hypervisor *hypervisor;
    struct network *network;
    struct image_store *images;
    struct overlays *overlays;
    struct volumes *volumes;
    struct accelerator accelerator;
    struct worker *boot_worker, *end_worker;
    struct call_watch *watch; /* NULL: none */
    struct guests *guests;
    struct guests_bench_item *first; /* what threads have posted to the loop */
    struct guests_bench_item **last;
    char kernel[DIGEST_TEXT_MAX];
    uint64_t sequence;
    struct guests_bench_answer answers[GUESTS_BENCH_ANSWERS_MAX];
    size_t answer_count;
    struct host_instance reports[GUESTS_BENCH_REPORTS_MAX];
    size_t report_count;
};

struct guests_bench *guests_bench_create(void);
/* The agent ends as it does in host.c, then the world. */
void guests_bench_destroy(struct guests_bench *bench);
/* The agent ends and another begins; what was posted is still told to the first. Answers and
 * reports begin anew. */
void guests_bench_restart(struct guests_bench *bench);
/* The agent begins anew, with its calls under `watch`. */
void guests_bench_watch(struct guests_bench *bench, struct call_watch *watch);

/* Each returns the request's sequence. Instances with an odd id have a volume, the same for all. */
uint64_t guests_bench_boot(struct guests_bench *bench, const char *id);
uint64_t guests_bench_stop(struct guests_bench *bench, const char *id, enum host_stop_method method,
                           uint64_t grace_ms);
uint64_t guests_bench_pause(struct guests_bench *bench, const char *id, bool paused);
uint64_t guests_bench_debug(struct guests_bench *bench, const char *id, bool open);
uint64_t guests_bench_forget(struct guests_bench *bench, const char *id);

/* One thing that threads have posted is told to the loop thread; false when there is none. */
bool guests_bench_turn(struct guests_bench *bench);
/* Jobs run and are told until nothing is left to do; no timer passes. */
void guests_bench_settle(struct guests_bench *bench);
/* Every timer that runs is due, and what consoles wrote is read. */
void guests_bench_pass_time(struct guests_bench *bench);

/* NULL: not answered. */
const struct error *guests_bench_find_answer(const struct guests_bench *bench, uint64_t sequence);
bool guests_bench_worked(const struct guests_bench *bench, uint64_t sequence);
/* The last report about an instance, or NULL; and how many of its end there were. */
const struct host_instance *guests_bench_find_report(const struct guests_bench *bench,
                                                     const char *id);
size_t guests_bench_count_ends(const struct guests_bench *bench, const char *id);
/* Whether an instance holds that volume. */
bool guests_bench_holds_volume(const struct guests_bench *bench);
/* Copies that volume once, with its guest paused by `pauser`. */
int guests_bench_snapshot(struct guests_bench *bench, const struct volume_pauser *pauser,
                          struct error *error);
/* Files of guests that are left in the run folder: sockets, kernels. */
size_t guests_bench_count_files(const struct guests_bench *bench);
