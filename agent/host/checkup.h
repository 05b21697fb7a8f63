/* What this machine has of what an agent needs, found by trying: for `shoal-agent --probe`.
 *
 * Runs probe guests and makes a network that it removes again; touches nothing that runs. May take
 * some seconds. Without root what needs it is skipped. One thread, before there are others. */
#pragma once

#include "agent/host/host.h"
#include "lib/api/checks.h"

/* Uses node, state_directory, run_directory and hypervisor. The caller releases by
 * api_checks_record. */
void checkup_run(const struct host_options *options, struct api_checks *ret_checks);
