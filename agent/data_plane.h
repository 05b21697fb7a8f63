/* Keeps the host half's data plane at the newest endpoints: applies, tries again, confirms, and
 * counts the open connections of instances that drain. Loop thread only. */
#pragma once

#include "agent/host_client.h"

struct data_plane;

struct data_plane_options {
    uv_loop_t *loop;
    struct host_client *host;
    void (*on_changed)(void *data); /* something a status shows is different now */
    void *data;
};

struct data_plane *data_plane_create(const struct data_plane_options *options);
void data_plane_destroy(struct data_plane *plane);
/* The newest endpoints, full or a delta. Only the latest of those that wait is applied. */
void data_plane_apply(struct data_plane *plane, const struct api_endpoints *endpoints);
/* The whole as it is wanted, for the local state; lent. */
const struct api_endpoints *data_plane_endpoints(const struct data_plane *plane);
/* The host half says whether a published port is bound. */
void data_plane_frontend(struct data_plane *plane, const struct host_frontend *frontend);
/* Fills endpoints_revision (confirmed by the data plane), frontends and draining. */
void data_plane_observe(const struct data_plane *plane, struct api_status *status);
