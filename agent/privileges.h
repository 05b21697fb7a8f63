/* The agent's two processes: their folders, the lock, and how the deciding half loses root.
 * Called before any loop runs. */
#pragma once

#include "agent/options.h"

/* User and group of the deciding half. Debian allocates nothing from 65000 to 65533. */
#define DECIDER_ID 65200

/* Makes the state and run folders with their owners; needs root. */
int privileges_make_folders(const struct agent_options *options, struct error *error);
/* One agent for each state folder: takes the lock, held until the process ends (the descriptor is
 * left open on purpose). ERROR_CONFLICT names the pid of the other. */
int privileges_lock(const struct agent_options *options, struct error *error);
/* One node for each state folder, also over time: its name is kept there (`node`) by the first
 * start. ERROR_CONFLICT names the node that it belongs to. After the lock. */
int privileges_claim_state(const struct agent_options *options, struct error *error);
/* After --clean: what the deciding half leaves in the run folder, and the folder if nothing else is
 * in it. */
void privileges_clean(const struct agent_options *options);
/* For the deciding half: a mount namespace of its own in which the state folder is also at
 * `ret_state` (free), so that it is reached whatever stands above it; then an unprivileged user
 * without capabilities or a way back. The process ends with its parent from here on. */
int privileges_drop(const struct agent_options *options, char **ret_state, struct error *error);
