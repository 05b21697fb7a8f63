/* What is asked of one volume: passed on to its node's agent, unless a service needs the volume
 * (volume_rules.h). What was done becomes an event, and a slot whose volumes are gone may go to any
 * node.
 *
 * Loop thread. */
#pragma once

#include "lib/http_server.h"

/* .../snapshots/{snapshot} and .../restore/{snapshot}, with ?node=NODE where it is not the slot's.
 */
void volume_changes_handle(struct http_request *request, void *data);
/* DELETE of a volume, with ?force=1 for those of services that are no more. */
void volume_changes_handle_removal(struct http_request *request, void *data);
