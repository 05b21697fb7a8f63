/* Named network namespaces, as `ip netns` shows them (a file bound below /run/netns).
 *
 * A namespace belongs to a thread: entering moves only the calling thread. */
#pragma once

#include "lib/error.h"

/* Opens /run/netns/<name>, made first where it does not exist. The caller closes the descriptor. */
int namespace_open(const char *name, int *ret_descriptor, struct error *error);
/* Unmounts and removes it; one that is not there is fine. */
int namespace_remove(const char *name, struct error *error);

/* Moves the calling thread; `ret_previous` leads back by namespace_leave. */
int namespace_enter(int descriptor, int *ret_previous, struct error *error);
/* Back to `previous`, which is closed. A thread that cannot return must not go on: it aborts. */
void namespace_leave(int previous);
/* Gives the calling thread an empty namespace of its own. */
int namespace_unshare(struct error *error);
