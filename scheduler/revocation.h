/* A key that is no longer to be trusted: what runs by it is told, and what its policy says is done.
 *
 * Looked for first, in what was proven at deploy; what that would refuse is fetched again, because
 * signatures may have been added since. Then the services that are to stop are marked, a few in one
 * transaction, and the key goes last: after a crash in between the request can be made again. Loop
 * thread only. */
#pragma once

#include "lib/http_server.h"

/* DELETE /v1/keys/{key}[?dry_run=1]: answers an api_trust_answer. Expects the struct core. */
void revocation_handle(struct http_request *request, void *data);

struct core;
/* Drops those under way without a callback, for an end: after the registry's client is gone. */
void revocation_cancel_all(struct core *core);
/* The name of a key that is being removed, by number from 0; NULL behind the last. What is deployed
 * meanwhile is judged without it: nobody would look at that again. */
const char *revocation_key_at(const struct core *core, size_t index);
