#include "scheduler/routes.h"

#include "lib/cleanup.h"
#include "scheduler/agents.h"
#include "scheduler/deployment.h"
#include "scheduler/event_log.h"
#include "scheduler/logs.h"
#include "scheduler/revocation.h"
#include "scheduler/verdicts.h"

#define SPEC_LIMIT   (256u << 10)
#define SMALL_LIMIT  (16u << 10)
#define POLICY_LIMIT (64u << 10)
#define STATUS_LIMIT (8u << 20)
/* Streams and long polls end by themselves. */
#define LONG_MS (24u * 3600 * 1000)

#define SERVICE "/v1/namespaces/{namespace}/services/{service}"
#define NODE    "/v1/nodes/{node}"

const struct http_route scheduler_routes[] = {
    {.method = "GET",
     .pattern = "/v1/namespaces/{namespace}/services",
     .handler = routes_list_services},
    {.method = "PUT", .pattern = SERVICE, .handler = deployment_handle, .body_limit = SPEC_LIMIT},
    {.method = "GET", .pattern = SERVICE, .handler = routes_get_service},
    {.method = "DELETE",
     .pattern = SERVICE,
     .handler = routes_delete_service,
     .body_limit = SMALL_LIMIT},
    {.method = "PUT",
     .pattern = SERVICE "/scale",
     .handler = routes_scale,
     .body_limit = SMALL_LIMIT},
    {.method = "POST",
     .pattern = SERVICE "/rollback",
     .handler = routes_rollback,
     .body_limit = SMALL_LIMIT},
    {.method = "POST",
     .pattern = SERVICE "/restart",
     .handler = routes_restart,
     .body_limit = SMALL_LIMIT},
    {.method = "GET", .pattern = SERVICE "/revisions", .handler = routes_list_revisions},
    {.method = "GET", .pattern = SERVICE "/rollouts", .handler = routes_list_rollouts},
    {.method = "GET",
     .pattern = SERVICE "/logs",
     .handler = logs_handle_service,
     .deadline_ms = LONG_MS},
    {.method = "GET", .pattern = "/v1/instances", .handler = routes_list_instances},
    {.method = "GET", .pattern = "/v1/instances/{instance}", .handler = routes_get_instance},
    {.method = "GET",
     .pattern = "/v1/instances/{instance}/logs",
     .handler = logs_handle_instance,
     .deadline_ms = LONG_MS},
    {.method = "GET", .pattern = "/v1/nodes", .handler = routes_list_nodes},
    {.method = "GET", .pattern = NODE, .handler = routes_get_node},
    {.method = "POST",
     .pattern = NODE "/cordon",
     .handler = routes_cordon_node,
     .body_limit = SMALL_LIMIT},
    {.method = "POST",
     .pattern = NODE "/uncordon",
     .handler = routes_uncordon_node,
     .body_limit = SMALL_LIMIT},
    {.method = "POST",
     .pattern = NODE "/drain",
     .handler = routes_drain_node,
     .body_limit = SMALL_LIMIT},
    {.method = "POST",
     .pattern = NODE "/give-up",
     .handler = routes_give_up_node,
     .body_limit = SMALL_LIMIT},
    {.method = "POST",
     .pattern = NODE "/join",
     .handler = agents_handle_join,
     .body_limit = SPEC_LIMIT},
    {.method = "POST",
     .pattern = NODE "/status",
     .handler = agents_handle_status,
     .body_limit = STATUS_LIMIT},
    {.method = "GET", .pattern = NODE "/assignment", .handler = agents_handle_assignment},
    {.method = "GET", .pattern = NODE "/endpoints", .handler = agents_handle_endpoints},
    {.method = "GET", .pattern = NODE "/trust", .handler = agents_handle_trust},
    {.method = "GET", .pattern = "/v1/events", .handler = event_log_handle, .deadline_ms = LONG_MS},
    {.method = "GET", .pattern = "/v1/keys", .handler = routes_list_keys},
    {.method = "PUT",
     .pattern = "/v1/keys/{key}",
     .handler = routes_put_key,
     .body_limit = SMALL_LIMIT},
    {.method = "DELETE",
     .pattern = "/v1/keys/{key}",
     .handler = revocation_handle,
     .body_limit = SMALL_LIMIT},
    {.method = "GET", .pattern = "/v1/policies", .handler = routes_list_policies},
    {.method = "GET", .pattern = "/v1/policies/{policy}", .handler = routes_get_policy},
    {.method = "PUT",
     .pattern = "/v1/policies/{policy}",
     .handler = routes_put_policy,
     .body_limit = POLICY_LIMIT},
    {.method = "DELETE",
     .pattern = "/v1/policies/{policy}",
     .handler = routes_delete_policy,
     .body_limit = SMALL_LIMIT},
    {.method = "POST",
     .pattern = "/v1/verdicts",
     .handler = verdicts_handle,
     .body_limit = SMALL_LIMIT},
    {.method = "GET", .pattern = "/healthz", .handler = routes_healthz},
    {.method = "GET", .pattern = "/version", .handler = routes_version},
    {.method = "GET", .pattern = "/metrics", .handler = routes_metrics},
};
const size_t scheduler_route_count = ARRAY_LENGTH(scheduler_routes);
