/* Which volumes there are: their files only the nodes know, so every node that attaches any is
 * asked.
 *
 * Loop thread. */
#pragma once

#include "lib/http_server.h"

/* GET /v1/volumes[?namespace=NS][&service=NAME] -> api_volumes; nodes that do not answer are named
 * in it with the reason. Records of where volumes are that no slot needs, and whose node says that
 * it has none, are forgotten after it. */
void volumes_handle_list(struct http_request *request, void *data);
