/* The agents' documents from the model: which instances a node is to have, who answers published
 * ports, and which checks apply to whom. Loop thread only. */
#pragma once

#include "lib/buffer.h"
#include "scheduler/model.h"

/* The checks of an instance: the service's, else the image's. A check of a port that this revision
 * does not have is left out. */
void assignment_health(const struct model_service *service,
                       const struct document_revision *revision, struct api_health *ret_health);
/* What the texts of instances of one revision have in common, made once for many: a fleet is told
 * of thousands of them in a row. */
struct assignment_texts;
struct assignment_texts *assignment_texts_create(void);
/* NULL is fine. */
void assignment_texts_destroy(struct assignment_texts *texts);
/* The first address of the subnet that `address` is in. */
void assignment_gateway(const char *address, char ret_gateway[ADDRESS_MAX]);
/* How the instance, of a service that is there, is written to its node: as assignment_append does,
 * but always anew. */
void assignment_append_instance(struct buffer *text, const struct model_instance *instance);
/* The same by what is common to its revision. */
void assignment_append_common(struct buffer *text, struct assignment_texts *texts,
                              const struct model_instance *instance);
/* Images of the revisions that the node's instances are being replaced by, each once. The caller
 * frees `header->prefetch`. */
void assignment_fill_prefetch(const struct model_node *node, struct api_assignment *header);
/* A node's assignment as text: all it is to have, and orphans it reported that are to be stopped;
 * or, with `after`, a revision that it has, only what changed and what is over since. `header` has
 * all but that. */
void assignment_append(struct buffer *text, struct assignment_texts *texts,
                       const struct model_node *node, uint64_t after,
                       const struct api_assignment *header);
/* After a start: the node, which is not silent and has not reported to this process, runs an
 * instance whose readiness may have come too late to be written. Endpoints without it would take it
 * out of traffic. */
bool assignment_hides_endpoints(const struct model_node *node);
/* Every published port with its servers. Released with the record. */
void assignment_fill_endpoints(struct model *model, struct api_endpoints *endpoints);
/* Notes in the model who is in the endpoints, and for who began to drain that `revision` of them
 * says so. After assignment_fill_endpoints. */
void assignment_note_endpoints(struct model *model, uint64_t revision, uint64_t now_ms);
