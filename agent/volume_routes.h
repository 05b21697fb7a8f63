/* The volumes' part of the agent's HTTP interface (lib/api/volumes.h): passes what is asked on to
 * the host half, which has them, and its answers back.
 *
 * Loop thread. Whether a volume may be removed or replaced is the scheduler's to say, which calls;
 * that nobody has it meanwhile is the host half's. */
#pragma once

#include "agent/host_client.h"
#include "agent/instance_table.h"
#include "lib/http_server.h"

void volume_routes_list(struct http_request *request, struct host_client *host);
/* While a snapshot is taken its guest is not judged: it may be paused.
 * For the routes with {namespace}, {service}, {slot}, {volume} and, but for a removal, {snapshot}.
 */
void volume_routes_change(struct http_request *request, struct host_client *host,
                          struct instance_table *instances, enum host_volume_operation operation);
