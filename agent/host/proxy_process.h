/* One HAProxy for one published port: unprivileged, in the guests' namespace, its listening socket
 * opened in the host's and handed over. It outlives this process; the next start finds it by its
 * pid file and takes the listening socket back from it. The proxy thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/host/daemon_process.h"
#include "agent/host/proxy_model.h"
#include "lib/error.h"

struct proxy_place {
    char *folder; /* <run>/p: root's; below it s/ for the sockets, HAProxy's */
    uid_t uid;    /* HAProxy's user */
    gid_t gid;
    uint32_t connections_max;
    uint32_t threads;
};

/* What a file of the folder tells of. */
struct proxy_found {
    uint32_t publish;
    bool http;
    pid_t left; /* 0: the port's own; else one that was told to leave */
};

/* Makes the folders and looks up the user (haproxy, or nobody). */
int proxy_place_init(struct proxy_place *ret_place, const char *run_directory, struct error *error);
void proxy_place_finish(struct proxy_place *place);
/* The caller frees. */
char *proxy_place_socket(const struct proxy_place *place, uint32_t publish, bool http);

/* Starts one and waits until it answers. `listener` stays the caller's. */
int proxy_process_start(const struct proxy_place *place, const struct proxy_frontend *frontend,
                        int listener, int namespace, struct daemon_process *ret_process,
                        struct error *error);
/* Finds the one that an earlier process of ours started for this port; -1 when none runs. With its
 * listening socket, which is the caller's. */
int proxy_process_adopt(const struct proxy_place *place, uint32_t publish, bool http,
                        struct daemon_process *ret_process, int *ret_listener);
/* Finds one that was told to leave (and tells it again: the one that wanted to may have been killed
 * before); -1, and its file is gone, when it has ended. */
int proxy_process_adopt_left(const struct proxy_place *place, const struct proxy_found *found,
                             struct daemon_process *ret_process);
/* Lets it finish its connections (60 s at most); it accepts no more. */
void proxy_process_leave(const struct proxy_place *place, uint32_t publish, bool http,
                         const struct daemon_process *process);
/* After `watch` became readable: reaps it where it is a child, closes the descriptor. */
void proxy_process_reap(const struct proxy_place *place, uint32_t publish, bool http,
                        struct daemon_process *process);

/* What the files of the folder tell of; the caller frees. */
void proxy_place_list(const struct proxy_place *place, struct proxy_found **ret_found,
                      size_t *ret_count);
/* Removes the socket and the pid file of one that has ended. */
void proxy_place_forget(const struct proxy_place *place, uint32_t publish, bool http);
/* Kills every HAProxy that the folder knows of and removes it. */
int proxy_place_end_all(const struct proxy_place *place, struct error *error);
