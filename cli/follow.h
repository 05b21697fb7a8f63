/* Waiting for a change until it is done, failed, without room, or no longer waited for. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "cli/cli.h"
#include "cli/progress.h"
#include "lib/api/views.h"

#define FOLLOW_NO_ROOM_MS 10000 /* promise 5: so long without room, then exit 4 */

struct follow {
    struct cli *cli;
    const char *namespace_name;
    const char *service; /* or a node */
    char see[96];        /* the command that shows how it goes on */
    bool wait_for_room;
    const char *aborted; /* going back is what was asked for; what the scheduler said of it */
    bool held;           /* follow_replicas: a rollout is held, its surplus stays */
    uint64_t timeout_ms; /* 0: none */
    uint64_t stall_ms;   /* gives up when nothing has changed for so long; 0: never */
    uint64_t changed_ms; /* when something last did */
    uint64_t picture;    /* what was seen then */
    struct progress progress;
    /* What came of it, for the document. */
    bool detached;
    bool has_rollout;
    struct api_rollout_view rollout;
    bool has_run;
    struct api_run_view run;
    uint32_t volume_slots; /* follow_drain: that wait for the node, since their volumes are there */
    char no_room[REASON_MAX]; /* why the scheduler could not place an instance */
};

/* The options --wait-for-room and --timeout; catches Ctrl-C from now on. */
void follow_init(struct follow *follow, struct cli *cli, const char *namespace_name,
                 const char *service);
/* 0 when it succeeded, its canaries wait for a promotion (by rollout.phase), or Ctrl-C came
 * (`detached`); with `aborted`, when it has gone back. ERROR_FAILED when it failed, was rolled back
 * or superseded; ERROR_NO_CAPACITY; ERROR_TIMEOUT. */
int follow_rollout(struct follow *follow, uint32_t number, struct error *error);
/* Until a run of a job has ended: 0 when it succeeded, ERROR_FAILED when not. */
int follow_run(struct follow *follow, uint32_t number, struct error *error);
/* Until as many instances as wanted are ready and no others are left; ERROR_TIMEOUT when nothing
 * has changed for the service's progress_deadline. */
int follow_replicas(struct follow *follow, struct error *error);
/* Until a service that was deleted and its instances are gone. */
int follow_removal(struct follow *follow, struct error *error);
/* Until a node that drains is empty; ERROR_FAILED when the drain was called off. */
int follow_drain(struct follow *follow, struct error *error);
