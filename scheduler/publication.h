/* What the agents are to fetch: each node's assignment, the endpoints and the trusted keys, every
 * one with a revision that goes up when its content changes, and the long polls that wait for it.
 *
 * Loop thread only. */
#pragma once

#include "lib/http_server.h"
#include "scheduler/core.h"

enum publication_kind { PUBLICATION_ASSIGNMENT, PUBLICATION_ENDPOINTS, PUBLICATION_TRUST };

struct publication *publication_create(struct core *core);
void publication_destroy(struct publication *publication);
/* Makes what changed in the model into new revisions and answers who waits for them. */
void publication_update(struct publication *publication);
/* Answers a poll now or later: by the document, 204 after a while, 410 when `after` is of another
 * history than ours. */
void publication_poll(struct publication *publication, struct http_request *request,
                      struct model_node *node, enum publication_kind kind);
/* 204 for whom waited long; called about once a second. */
void publication_expire(struct publication *publication);
/* Whether no live node sends an instance new connections, nor has one open. */
bool publication_is_drained(const struct publication *publication,
                            const struct model_instance *instance);
