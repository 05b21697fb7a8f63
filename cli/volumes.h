/* Volumes: how they are named on the command line, and those of a service that is no more. */
#pragma once

#include "cli/cli.h"
#include "lib/api/volumes.h"

/* A volume as it is typed: SERVICE/SLOT/NAME, or SERVICE/SLOT/NAME@SNAPSHOT. */
struct volume_name {
    char service[NAME_MAX_TEXT];
    uint32_t slot;
    char name[NAME_MAX_TEXT];
    char snapshot[NAME_MAX_TEXT]; /* "": none */
};

bool volume_name_parse(const char *text, struct volume_name *ret_name);
/* What a service that is no more has on the nodes that answer. */
struct volumes_left {
    size_t count;
    uint64_t used;       /* bytes on the disk, snapshots included */
    size_t silent_nodes; /* of volumes_remove_left: that may have more */
};
/* Removes it. Nodes that do not answer are told of on standard error, as by the next. */
int volumes_remove_left(struct cli *cli, const char *service, struct volumes_left *ret_removed,
                        struct error *error);
/* Counts it. */
void volumes_count_left(struct cli *cli, const char *service, struct volumes_left *ret_left);
