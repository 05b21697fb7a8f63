/* What clients were lately told to be here, so that they need not push it: garbage collection must
 * not take it before they push the manifest that refers to it.
 *
 * A lease is for a repository and a digest, and is taken before looking whether the thing is there:
 * at HEAD, mount and push. The collector freezes the leases, looks at them, removes what has none,
 * commits, and thaws them; who takes a lease meanwhile waits, and then finds the thing gone. Leases
 * are in memory only: for one duration after a start everything counts as leased.
 *
 * The memory is fixed: a table of times, indexed by a hash. Pairs that share a place share their
 * leases, which keeps more and never less. Any thread. */
#pragma once

#include <stdbool.h>

#include "lib/clock.h"

struct leases;

/* In a digest's place: of the repository itself, while bytes are pushed to it. */
#define LEASE_PUSH ""

/* Milliseconds. `clock` outlives the leases. */
struct leases *leases_create(uint64_t duration, const struct clock *clock);
void leases_destroy(struct leases *leases);
/* Takes or renews. */
void leases_take(struct leases *leases, const char *repository, const char *digest);

/* For the collector. Nobody takes a lease between the two. */
void leases_freeze(struct leases *leases);
void leases_thaw(struct leases *leases);
/* Certain only while frozen; may be asked by another thread than the one that froze them. */
bool leases_hold(const struct leases *leases, const char *repository, const char *digest);
