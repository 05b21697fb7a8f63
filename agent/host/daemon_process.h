/* A program of another's that serves the guests and outlives this process: HAProxy, dnsmasq.
 *
 * Starts it unprivileged in the guests' namespace, in a session of its own. Before it becomes that
 * program its pid and start time are written down, so that the next start finds it; a pid that has
 * been used again by somebody else is not taken for it. Any thread; knows nothing of what the
 * program does. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "lib/error.h"

/* The descriptor that a program finds its listener at. */
#define DAEMON_LISTEN_DESCRIPTOR 3

struct daemon_program {
    const char *title; /* "HAProxy", for messages */
    const char *path;
    const char *const *arguments; /* from the program's own name to a NULL */
    const char *pid_path;
    int namespace;         /* its network namespace */
    uid_t uid;             /* its user */
    gid_t gid;             /* its only group */
    uint64_t capabilities; /* what it may do beside that: 1 << CAP_ each, else nothing */
    int listener;          /* becomes DAEMON_LISTEN_DESCRIPTOR; -1: none */
    int output;            /* becomes its standard output and error */
    int explanation;       /* reads what it wrote there, without blocking */
    rlim_t descriptors;    /* it may open; 0: as many as this process */
    rlim_t file_bytes;     /* the longest file it may write, the rest is lost; 0: any */
};

struct daemon_process {
    pid_t pid; /* -1: none */
    int watch; /* pidfd: readable once it has ended */
};
#define DAEMON_PROCESS_NONE ((struct daemon_process){-1, -1})

/* Starts it and waits until `ready` says that it serves, 5 s at most. The descriptors stay the
 * caller's. When it does not start, the error says what it wrote, and its pid file is gone. */
int daemon_process_start(const struct daemon_program *program, bool (*ready)(void *context, pid_t),
                         void *context, struct daemon_process *ret_process, struct error *error);
/* Finds the one that the file tells of: alive, and with `mark` among its arguments. -1: none. */
int daemon_process_find(const char *pid_path, const char *mark, struct daemon_process *ret_process);
bool daemon_process_has_ended(const struct daemon_process *process);
void daemon_process_signal(const struct daemon_process *process, int number);
/* Of one that has ended, or is no longer of interest: reaps it where it is a child, closes the
 * descriptor. */
void daemon_process_release(struct daemon_process *process);
/* Kills it, waits until it has ended and releases it. */
int daemon_process_end(struct daemon_process *process, const char *title, struct error *error);
