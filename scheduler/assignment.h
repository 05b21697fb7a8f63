/* The agents' documents from the model: which instances a node is to have, who answers published
 * ports, and which checks apply to whom. Loop thread only. */
#pragma once

#include "scheduler/model.h"

/* The checks of an instance: the service's, else the image's. A check of a port that this revision
 * does not have is left out. */
void assignment_health(const struct model_service *service,
                       const struct document_revision *revision, struct api_health *ret_health);
/* What a node is to have; orphans it reported are to be stopped. Released with the record. */
void assignment_fill_instances(const struct model_node *node, struct api_assignment *assignment);
/* Every published port with its servers; notes in the model who is in. Released with the record. */
void assignment_fill_endpoints(struct model *model, struct api_endpoints *endpoints);
/* Notes for who began to drain that `revision` of the endpoints says so. */
void assignment_note_draining(struct model *model, uint64_t revision, uint64_t now_ms);
