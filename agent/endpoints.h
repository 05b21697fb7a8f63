/* The endpoints document on this node: deltas joined to the whole, and the messages that tell the
 * host half what its data plane is to be. Pure. */
#pragma once

#include "agent/host_protocol.h"

/* `current` becomes what `update` makes of it: everything when full, else the published ports that
 * it names are replaced. */
void endpoints_merge(struct api_endpoints *current, const struct api_endpoints *update);
/* HOST_PROXY_BEGIN, each frontend followed by its servers, HOST_PROXY_COMMIT; the caller frees the
 * messages. */
struct host_message *endpoints_messages(const struct api_endpoints *endpoints, size_t *ret_count);
/* Ids of the servers that drain, each once; the caller releases them. */
void endpoints_draining(const struct api_endpoints *endpoints, struct json_strings *ret_ids);
