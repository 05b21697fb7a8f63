/* The deciding half: owns its loop and its parts, and wires them together. It has no effect on the
 * host but files below its own folders; everything else is asked of the host half. */
#pragma once

#include "agent/options.h"
#include "agent/trust.h"
#include "lib/registry_login.h"

/* Folders below the state folder. */
#define AGENT_STAGING_FOLDER   "staging"   /* pulled, not imported yet: the deciding half's */
#define AGENT_CHAINS_FOLDER    "chains"    /* what proves images: the deciding half's */
#define AGENT_DECISIONS_FOLDER "decisions" /* agent.db: the deciding half's */
#define AGENT_CONSOLES_FOLDER  "consoles"  /* written by the host half, read by the deciding half */

/* Runs until the channel to the host half closes; the process's exit code. All of them stay the
 * caller's. */
int agent_run(const struct agent_options *options, struct trust *trust,
              const struct registry_logins *logins);
