/* One change of one service: what the scheduler answered, how it ended, and how that is told. */
#pragma once

#include "cli/cli.h"
#include "cli/follow.h"
#include "lib/api/views.h"

struct change {
    struct cli *cli;
    const char *namespace_name;
    const char *service;
    struct api_change_answer answer;
    struct follow follow;
    bool aborts; /* going back is what was asked for */
    bool waited;
    bool succeeded;
};

/* Reads the scheduler's answer to a change. */
int change_begin(struct change *change, struct cli *cli, const char *namespace_name,
                 const char *service, struct json_object *answer, struct error *error);
/* Follows what was started, unless --detach. */
int change_wait(struct change *change, struct error *error);
/* Like change_wait, for a change of replicas. */
int change_wait_replicas(struct change *change, struct error *error);
/* {"namespace", "service", "changed", ..., "result", "rollout_view"}; the caller's reference. */
struct json_object *change_document(const struct change *change);
/* The line on standard output. */
void change_print(const struct change *change);
