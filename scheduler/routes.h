/* The scheduler's HTTP interface: one table of routes (docs/scheduler.md). */
#pragma once

#include <stddef.h>

#include "lib/http_server.h"

/* Who answers it, in http_route's tag. */
enum route_place {
    ROUTE_LEADER,   /* a standby sends it on to whoever leads (forward.h) */
    ROUTE_ANYWHERE, /* from what the store holds */
    ROUTE_ITSELF,   /* about this scheduler, also while it reads the store */
    /* The leader knows more (why something waits, which nodes are silent): it is asked, and where
     * it does not answer soon what the store holds is told. */
    ROUTE_LEADER_FIRST,
};

/* Handlers expect the struct core as data. */
extern const struct http_route scheduler_routes[];
extern const size_t scheduler_route_count;

/* --- handlers, one file a subject --- */
/* routes_services.c */
void routes_list_services(struct http_request *request, void *data);
void routes_get_service(struct http_request *request, void *data);
void routes_delete_service(struct http_request *request, void *data);
void routes_wake(struct http_request *request, void *data);
void routes_scale(struct http_request *request, void *data);
void routes_rollback(struct http_request *request, void *data);
void routes_restart(struct http_request *request, void *data);
void routes_list_runs(struct http_request *request, void *data);
void routes_run(struct http_request *request, void *data);
void routes_stop_runs(struct http_request *request, void *data);
void routes_pause(struct http_request *request, void *data);
void routes_resume(struct http_request *request, void *data);
void routes_promote(struct http_request *request, void *data);
void routes_abort(struct http_request *request, void *data);
void routes_list_revisions(struct http_request *request, void *data);
void routes_list_rollouts(struct http_request *request, void *data);
/* routes_objects.c */
void routes_list_instances(struct http_request *request, void *data);
void routes_get_instance(struct http_request *request, void *data);
void routes_list_keys(struct http_request *request, void *data);
void routes_put_key(struct http_request *request, void *data);
/* routes_nodes.c */
void routes_list_nodes(struct http_request *request, void *data);
void routes_list_node_images(struct http_request *request, void *data);
void routes_get_node(struct http_request *request, void *data);
void routes_remove_node(struct http_request *request, void *data);
void routes_cordon_node(struct http_request *request, void *data);
void routes_uncordon_node(struct http_request *request, void *data);
void routes_drain_node(struct http_request *request, void *data);
void routes_give_up_node(struct http_request *request, void *data);
/* routes_policies.c */
void routes_list_policies(struct http_request *request, void *data);
void routes_get_policy(struct http_request *request, void *data);
void routes_put_policy(struct http_request *request, void *data);
void routes_delete_policy(struct http_request *request, void *data);
/* routes_backup.c */
void routes_back_up_store(struct http_request *request, void *data);
/* routes_about.c */
void routes_healthz(struct http_request *request, void *data);
void routes_version(struct http_request *request, void *data);
void routes_metrics(struct http_request *request, void *data);
