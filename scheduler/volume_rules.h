/* What a volume is to the cluster: whether its slot still needs it, and what may be done to it.
 *
 * Pure: reads the model. Loop thread. */
#pragma once

#include "lib/api/volumes.h"
#include "scheduler/model.h"

/* Fills in `state`, for which the view's node has to be known. */
void volume_rules_judge(struct model *model, struct api_volume_view *view);
/* Where the volumes of a slot are, into `ret_node`: `wanted` ("" or NULL: nobody said), else the
 * node that the slot's instances go to. ERROR_NOT_FOUND names the remedy. */
int volume_rules_find_node(struct model *model, const struct api_volume_view *volume,
                           const char *wanted, struct model_node **ret_node, struct error *error);
/* Whether it may be removed for good. `force`: of a service that is no more. */
int volume_rules_check_removal(struct model *model, const struct api_volume_view *volume,
                               bool force, struct error *error);
/* Whether instances of the slot have to go where the record says. */
bool volume_rules_needs_slot(struct model *model, const struct document_volume *record);
/* Whether the record of where a slot's volumes are is of no use: no slot needs it, and its node is
 * gone for good, or has none of them by its own word, which `list` has in order
 * (scheduler/volumes.c).
 */
bool volume_rules_is_void(struct model *model, const struct document_volume *record,
                          const struct api_volumes *list);
/* Bytes of all that a slot has by it. */
uint64_t volume_rules_bytes(const struct document_template *template);
/* A volume never shrinks: ERROR_INVALID at the size in `spec`. `service` NULL: a new one. */
int volume_rules_check_sizes(const struct model_service *service,
                             const struct api_service_spec *spec, struct error *error);
