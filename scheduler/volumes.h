/* Volumes, whose files only their nodes know: lists them by asking every node that attaches any,
 * and passes on what is asked of one, unless a service needs the volume (volume_rules.h).
 *
 * Loop thread. */
#pragma once

#include "lib/http_server.h"

/* GET /v1/volumes[?namespace=NS][&service=NAME] -> api_volumes; nodes that do not answer are named
 * in it with the reason. */
void volumes_handle_list(struct http_request *request, void *data);
/* .../snapshots/{snapshot} and .../restore/{snapshot}, with ?node=NODE where it is not the slot's.
 */
void volumes_handle_change(struct http_request *request, void *data);
/* DELETE of a volume, with ?force=1 for those of services that are no more. */
void volumes_handle_remove(struct http_request *request, void *data);
