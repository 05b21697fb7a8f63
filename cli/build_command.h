/* A recipe's `build` command: run by /bin/sh in the recipe's folder, shown while it runs.
 *
 * It gets a clean environment (PATH, HOME, USER, TMPDIR, SOURCE_DATE_EPOCH, SHOAL_ARCH), no input,
 * and a process group of its own, which ends with Ctrl-C. One thread; blocks. */
#pragma once

#include "cli/progress.h"
#include "lib/error.h"

struct build_command {
    const char *title;        /* "hello:1.0: building arm64": in front of the time that it takes */
    const char *command;      /* as the recipe has it */
    const char *folder;       /* where it runs */
    const char *architecture; /* for SHOAL_ARCH */
    bool quiet;               /* shows nothing */
    bool dim;                 /* the terminal may get dimmed text */
    struct progress *progress;
};

/* 0 when it exits with 0. ERROR_FAILED is not used: that is a rollout's. ERROR_IO tells its status
 * and its last lines; ERROR_TIMEOUT that it was interrupted. */
int build_command_run(const struct build_command *command, struct error *error);
