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
/* Removes what a service has left behind on the nodes that answer; `ret_count` volumes. */
int volumes_remove_left(struct cli *cli, const char *namespace_name, const char *service,
                        size_t *ret_count, struct error *error);
