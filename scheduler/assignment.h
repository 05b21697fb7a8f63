/* The agents' documents from the model: which instances a node is to have, who answers published
 * ports, and which checks apply to whom. Loop thread only. */
#pragma once

#include "lib/buffer.h"
#include "scheduler/model.h"

/* The checks of an instance: the service's, else the image's. A check of a port that this revision
 * does not have is left out. */
void assignment_health(const struct model_service *service,
                       const struct document_revision *revision, struct api_health *ret_health);
/* A node's assignment as text: all it is to have, and orphans it reported that are to be stopped;
 * or, with `after`, a revision that it has, only what changed and what is over since. `header` has
 * all but that. */
void assignment_append(struct buffer *text, const struct model_node *node, uint64_t after,
                       const struct api_assignment *header);
/* Every published port with its servers. Released with the record. */
void assignment_fill_endpoints(struct model *model, struct api_endpoints *endpoints);
/* Notes in the model who is in the endpoints, and for who began to drain that `revision` of them
 * says so. After assignment_fill_endpoints. */
void assignment_note_endpoints(struct model *model, uint64_t revision, uint64_t now_ms);
