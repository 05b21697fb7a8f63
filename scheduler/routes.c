#include "scheduler/routes.h"

#include "lib/cleanup.h"
#include "scheduler/agents.h"
#include "scheduler/deployment.h"
#include "scheduler/event_log.h"
#include "scheduler/logs.h"

#define SPEC_LIMIT   (256u << 10)
#define SMALL_LIMIT  (16u << 10)
#define STATUS_LIMIT (8u << 20)
/* Streams and long polls end by themselves. */
#define LONG_MS (24u * 3600 * 1000)

#define SERVICE "/v1/namespaces/{namespace}/services/{service}"
#define NODE    "/v1/nodes/{node}"

const struct http_route scheduler_routes[] = {
    {"GET", "/v1/namespaces/{namespace}/services", routes_list_services, 0, NULL, 0},
    {"PUT", SERVICE, deployment_handle, SPEC_LIMIT, NULL, 0},
    {"GET", SERVICE, routes_get_service, 0, NULL, 0},
    {"DELETE", SERVICE, routes_delete_service, SMALL_LIMIT, NULL, 0},
    {"PUT", SERVICE "/scale", routes_scale, SMALL_LIMIT, NULL, 0},
    {"POST", SERVICE "/rollback", routes_rollback, SMALL_LIMIT, NULL, 0},
    {"POST", SERVICE "/restart", routes_restart, SMALL_LIMIT, NULL, 0},
    {"GET", SERVICE "/revisions", routes_list_revisions, 0, NULL, 0},
    {"GET", SERVICE "/rollouts", routes_list_rollouts, 0, NULL, 0},
    {"GET", SERVICE "/logs", logs_handle_service, 0, NULL, LONG_MS},
    {"GET", "/v1/instances", routes_list_instances, 0, NULL, 0},
    {"GET", "/v1/instances/{instance}", routes_get_instance, 0, NULL, 0},
    {"GET", "/v1/instances/{instance}/logs", logs_handle_instance, 0, NULL, LONG_MS},
    {"GET", "/v1/nodes", routes_list_nodes, 0, NULL, 0},
    {"POST", NODE "/join", agents_handle_join, SPEC_LIMIT, NULL, 0},
    {"POST", NODE "/status", agents_handle_status, STATUS_LIMIT, NULL, 0},
    {"GET", NODE "/assignment", agents_handle_assignment, 0, NULL, 0},
    {"GET", NODE "/endpoints", agents_handle_endpoints, 0, NULL, 0},
    {"GET", NODE "/trust", agents_handle_trust, 0, NULL, 0},
    {"GET", "/v1/events", event_log_handle, 0, NULL, LONG_MS},
    {"GET", "/v1/keys", routes_list_keys, 0, NULL, 0},
    {"PUT", "/v1/keys/{key}", routes_put_key, SMALL_LIMIT, NULL, 0},
    {"DELETE", "/v1/keys/{key}", routes_delete_key, SMALL_LIMIT, NULL, 0},
    {"GET", "/healthz", routes_healthz, 0, NULL, 0},
    {"GET", "/version", routes_version, 0, NULL, 0},
    {"GET", "/metrics", routes_metrics, 0, NULL, 0},
};
const size_t scheduler_route_count = ARRAY_LENGTH(scheduler_routes);
