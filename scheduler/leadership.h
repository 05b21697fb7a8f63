/* Who decides. Any number of schedulers share a store; the one that has its lease leads, the others
 * follow what it writes and are ready to take over.
 *
 *   loading -> standing by -> taking over -> leading -> stepping down -> loading ...
 *      ^------------'---------------'   (what was read turned out not to be all)
 *
 * loading       reads the store into the model
 * standing by   applies to the model what the store's watch tells; waits for the lease
 * taking over   has the lease and all that others wrote; counts a start (fenced by the lease)
 * leading       the controller decides, agents are answered
 * stepping down the lease was lost: nothing is decided any more, what is on its way to the store
 *               ends, and then all is read anew
 *
 * Owns the changes, and the controller and the publication while it leads. Loop thread only. */
#pragma once

#include "scheduler/core.h"

struct leadership;

enum leadership_phase {
    LEADERSHIP_LOADING,
    LEADERSHIP_STANDING_BY,
    LEADERSHIP_TAKING_OVER,
    LEADERSHIP_LEADING,
    LEADERSHIP_STEPPING_DOWN,
};
extern const char *const leadership_phase_names[];

struct leadership_options {
    /* Before anything else: this scheduler leads no more, and requests that only a leader may
     * answer are to be ended. */
    void (*on_lost)(void *data);
    /* Another one leads, or nobody does. */
    void (*on_leader)(void *data);
    /* While standing by: the model holds more of what others wrote, see leadership_seen. */
    void (*on_seen)(void *data);
    void *data;
};

/* Begins to read core->store and sets core->changes. */
struct leadership *leadership_create(struct core *core, const struct leadership_options *options);
/* Asks for the lease under this address, which others forward to. */
void leadership_campaign(struct leadership *leadership, const char *address);
/* Decides nothing any more. */
void leadership_stop(struct leadership *leadership);
/* Once the changes are idle, before the store goes. */
void leadership_close(struct leadership *leadership);
/* After the loop has ended. NULL is fine. */
void leadership_destroy(struct leadership *leadership);

enum leadership_phase leadership_phase(const struct leadership *leadership);
/* The model holds what the store does, perhaps a moment ago. */
bool leadership_can_read(const struct leadership *leadership);
/* The revision of the store up to which the model holds what others wrote. */
uint64_t leadership_seen(const struct leadership *leadership);
/* Where another scheduler that leads is reached; NULL: nobody else is known to lead. */
const char *leadership_other(const struct leadership *leadership);
/* The same, this one included. */
const char *leadership_leader(const struct leadership *leadership);
/* Its last failure to read the store or to take over; NULL: none. */
const struct error *leadership_failure(const struct leadership *leadership);
