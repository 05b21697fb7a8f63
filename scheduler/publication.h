/* What the agents are to fetch: each node's assignment, the endpoints and the trusted keys, every
 * one with a revision that goes up when its content changes, and the long polls that wait for it.
 * After a start the endpoints are told once no node assignment_hides_endpoints, or a lease has
 * passed; until then agents keep theirs, and nothing counts as drained or excluded.
 *
 * Loop thread only. */
#pragma once

#include "lib/http_server.h"
#include "scheduler/core.h"

enum publication_kind { PUBLICATION_ASSIGNMENT, PUBLICATION_ENDPOINTS, PUBLICATION_TRUST };

struct publication *publication_create(struct core *core);
/* Tells nobody by itself any more: before the loop ends. */
void publication_stop(struct publication *publication);
void publication_destroy(struct publication *publication);
/* Makes what changed in the model into new revisions and answers who waits for them. */
void publication_update(struct publication *publication);

/* Who waits for something newer than it has. */
struct publication_wait;
enum publication_news {
    PUBLICATION_DOCUMENT,  /* there it is */
    PUBLICATION_UNCHANGED, /* nothing came for a long while: ask again */
    PUBLICATION_COMPACTED, /* `after` is of another history than ours: fetch the whole */
};
/* `text` is the document, and lives during the call; NULL for other news. */
typedef void publication_answer(enum publication_news news, const char *text, void *data);
struct publication_poll {
    enum publication_kind kind;
    bool has_after; /* else the whole document comes at once */
    uint64_t after;
    uint64_t term; /* that `after` is of */
    publication_answer *answer;
    void *data;
};

/* Answers once, at once or later. NULL: answered. */
struct publication_wait *publication_poll(struct publication *publication, struct model_node *node,
                                          const struct publication_poll *poll);
/* It is answered no more. */
void publication_forget(struct publication_wait *wait);
/* PUBLICATION_UNCHANGED for whom waited long; called about once a second. */
void publication_expire(struct publication *publication);
/* polls.c: the same for a request, whose query is `after` and `term`: by the document, 204, 410. */
void publication_poll_request(struct core *core, struct http_request *request,
                              struct model_node *node, enum publication_kind kind);
/* Whether every live node has applied endpoints that lack the instance. */
bool publication_is_excluded(const struct publication *publication,
                             const struct model_instance *instance);
/* Whether no live node sends an instance new connections, nor has one open. */
bool publication_is_drained(const struct publication *publication,
                            const struct model_instance *instance);
