/* The host half's mount namespace, which the QEMUs it starts share: what is bound there is seen by
 * nobody else and goes with the last process in it.
 *
 * Call before the process has a second thread. */
#pragma once

#include <stdbool.h>

#include "lib/error.h"

/* Gives the process a mount namespace of its own; what is mounted outside still comes in. Named
 * network namespaces are made before, or others would not see them. */
int mounts_separate(struct error *error);
/* Shows the folder or file `from` at `to`, which exists, to this process and those it starts. */
int mounts_show(const char *from, const char *to, bool read_only, struct error *error);
