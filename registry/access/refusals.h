/* What is told of logins that were refused: a counter, and a line each in the log, where a flood
 * gets only so many and the next line says how many were left out. Any thread. */
#pragma once

#include <stdatomic.h>

struct refusals;

/* `counter` (NULL: none) goes up with each and must outlive this. */
struct refusals *refusals_create(atomic_ullong *counter);
/* NULL is fine. */
void refusals_destroy(struct refusals *refusals);
/* `name` is what the client gave, "" where it gave none: nobody has verified it. */
void refusals_tell(struct refusals *refusals, const char *client, const char *name,
                   const char *reason);
