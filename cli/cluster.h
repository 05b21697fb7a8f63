/* The cluster of this machine: where its daemons' state, run files and logs are, and how each
 * daemon is called. What `up` and `down` share. */
#pragma once

#include <stdint.h>

#include "cli/cli.h"
#include "cli/daemon.h"

#define CLUSTER_STATE_DEFAULT "/var/lib/shoal"

enum cluster_daemon { CLUSTER_REGISTRY, CLUSTER_SCHEDULER, CLUSTER_AGENT, CLUSTER_DAEMONS };
extern const char *const cluster_daemon_names[];

/* What `up` was told, or chose, the last time, in <state>/up.json: what it is not told it takes
 * from there. A port of 0, or an empty text: nothing. */
struct cluster_choices {
    uint32_t ports[CLUSTER_DAEMONS];
    char node[NAME_MAX_TEXT];
    char accelerator[16];
    char hypervisor[16];
};

struct cluster {
    char *state; /* --state, canonical, or /var/lib/shoal */
    char *run;   /* /run/shoal/<8 hex of the state path> */
    char *log;   /* /var/log/shoal, or <state>/log with --state */
    char node[NAME_MAX_TEXT];
    uint16_t ports[CLUSTER_DAEMONS];
    const char *accelerator; /* NULL: the agent's own choice */
    const char *hypervisor;  /* the same */
    struct cluster_choices kept;
    int lock; /* held while up or down works */
};

/* Finds the folders and takes the lock: one `up` or `down` at a time. Without `create` a state
 * folder that is not there is ERROR_NOT_FOUND. */
int cluster_open(struct cluster *cluster, struct cli *cli, bool create, struct error *error);
void cluster_close(struct cluster *cluster);
/* Keeps node and ports for the next time, and of an agent that was started what runs its guests. */
int cluster_keep_choices(const struct cluster *cluster, bool agent_started, struct error *error);
/* Fills the command line of a daemon; ERROR_NOT_FOUND when its program is nowhere. */
int cluster_command(const struct cluster *cluster, enum cluster_daemon which,
                    struct json_strings *ret_command, struct error *error);
/* "<log>/<name>.log" and "http://127.0.0.1:<port>"; the caller frees them. */
char *cluster_log(const struct cluster *cluster, enum cluster_daemon which);
char *cluster_url(uint16_t port);
