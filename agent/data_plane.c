#include "agent/data_plane.h"

#include <stdio.h>
#include <string.h>

#include "agent/endpoints.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define RETRY_MS 1000
#define COUNT_MS 100

struct draining {
    struct data_plane *plane;
    char id[INSTANCE_ID_MAX];
    bool is_known;
    uint32_t connections;
    uint64_t request; /* 0: none under way */
};

struct data_plane {
    struct data_plane_options options;
    struct api_endpoints wanted;
    bool has_wanted;
    bool is_dirty; /* `wanted` has not been sent as it is now */
    uint64_t sent_term, sent_revision;
    uint64_t confirmed_term, confirmed_revision;
    size_t answers_missing; /* of the transaction under way */
    bool has_failed;
    char refusal[HOST_MESSAGE_TEXT_MAX]; /* what the log was told last */
    uint64_t last_request;
    uint64_t first_request;
    struct draining *draining; /* what was confirmed, not what is wanted */
    size_t draining_count;
    struct json_strings sent_draining;
    struct api_observed_frontend *frontends;
    size_t frontend_count;
    uv_timer_t retry;
    uv_timer_t count;
    unsigned open_handles;
};

static void send_wanted(struct data_plane *plane);

static void changed(struct data_plane *plane)
{
    plane->options.on_changed(plane->options.data);
}

/* --- connections of draining servers --- */

static void on_count_answer(const struct host_answer *answer, int descriptor, void *data)
{
    (void)descriptor;
    struct draining *draining = data;
    draining->request = 0;
    /* A server that the data plane does not have has no connections. */
    if (answer->code != ERROR_NONE && answer->code != ERROR_NOT_FOUND)
        return;
    uint32_t connections = answer->code == ERROR_NONE ? answer->number : 0;
    if (draining->is_known && draining->connections == connections)
        return;
    draining->is_known = true;
    draining->connections = connections;
    changed(draining->plane);
}

static void on_count(uv_timer_t *timer)
{
    struct data_plane *plane = timer->data;
    for (size_t i = 0; i < plane->draining_count; i++) {
        struct draining *draining = &plane->draining[i];
        if (draining->request != 0)
            continue;
        struct host_message message = {.type = HOST_PROXY_COUNT};
        memcpy(message.proxy_count.id, draining->id, sizeof message.proxy_count.id);
        draining->request =
            host_client_request(plane->options.host, &message, on_count_answer, draining);
    }
}

static void drop_draining(struct data_plane *plane)
{
    for (size_t i = 0; i < plane->draining_count; i++) {
        if (plane->draining[i].request != 0)
            host_client_forget(plane->options.host, plane->draining[i].request);
    }
    free(plane->draining);
    plane->draining = NULL;
    plane->draining_count = 0;
    uv_timer_stop(&plane->count);
}

static void set_draining(struct data_plane *plane, const struct json_strings *ids)
{
    drop_draining(plane);
    if (ids->count == 0)
        return;
    plane->draining = xcalloc(ids->count, sizeof *plane->draining);
    for (size_t i = 0; i < ids->count; i++) {
        plane->draining[i].plane = plane;
        snprintf(plane->draining[i].id, sizeof plane->draining[i].id, "%s", ids->items[i]);
    }
    plane->draining_count = ids->count;
    uv_timer_start(&plane->count, on_count, 0, COUNT_MS);
}

/* --- frontends --- */

static bool is_wanted(const struct data_plane *plane, uint32_t publish)
{
    for (size_t i = 0; i < plane->wanted.frontend_count; i++) {
        if (plane->wanted.frontends[i].publish == publish)
            return true;
    }
    return false;
}

static void drop_unwanted_frontends(struct data_plane *plane)
{
    size_t kept = 0;
    for (size_t i = 0; i < plane->frontend_count; i++) {
        if (is_wanted(plane, plane->frontends[i].publish))
            plane->frontends[kept++] = plane->frontends[i];
    }
    plane->frontend_count = kept;
}

void data_plane_frontend(struct data_plane *plane, const struct host_frontend *frontend)
{
    size_t i = 0;
    while (i < plane->frontend_count && plane->frontends[i].publish != frontend->publish)
        i++;
    if (i == plane->frontend_count) {
        plane->frontends =
            xreallocarray(plane->frontends, plane->frontend_count + 1, sizeof *plane->frontends);
        plane->frontend_count++;
    }
    plane->frontends[i] = (struct api_observed_frontend){
        .publish = frontend->publish,
        .bound = frontend->bound != 0,
    };
    snprintf(plane->frontends[i].message, sizeof plane->frontends[i].message, "%s",
             frontend->message);
    if (frontend->bound == 0)
        log_warn("a published port cannot be bound", "port", LOG_NUMBER(frontend->publish),
                 "reason", frontend->message);
    changed(plane);
}

/* --- applying --- */

static void on_retry(uv_timer_t *timer)
{
    send_wanted(timer->data);
}

static void finish_sending(struct data_plane *plane)
{
    if (plane->has_failed) {
        plane->is_dirty = true;
        uv_timer_start(&plane->retry, on_retry, RETRY_MS, 0);
        return;
    }
    plane->refusal[0] = '\0';
    plane->confirmed_term = plane->sent_term;
    plane->confirmed_revision = plane->sent_revision;
    log_info("endpoints applied", "revision", LOG_NUMBER(plane->confirmed_revision), "frontends",
             LOG_NUMBER(plane->wanted.frontend_count));
    set_draining(plane, &plane->sent_draining);
    drop_unwanted_frontends(plane);
    if (plane->is_dirty)
        send_wanted(plane);
    changed(plane);
}

static void on_step_answer(const struct host_answer *answer, int descriptor, void *data)
{
    (void)descriptor;
    struct data_plane *plane = data;
    if (answer->code != ERROR_NONE && !plane->has_failed) {
        plane->has_failed = true;
        if (strcmp(plane->refusal, answer->message) != 0)
            log_error("the data plane did not take the endpoints, trying again", "revision",
                      LOG_NUMBER(plane->sent_revision), "reason", answer->message);
        memcpy(plane->refusal, answer->message, sizeof plane->refusal);
    }
    if (--plane->answers_missing == 0)
        finish_sending(plane);
}

static void send_wanted(struct data_plane *plane)
{
    if (plane->answers_missing > 0 || !plane->has_wanted)
        return;
    size_t count;
    AUTO_FREE struct host_message *messages = endpoints_messages(&plane->wanted, &count);
    uv_timer_stop(&plane->retry);
    json_strings_release(&plane->sent_draining);
    endpoints_draining(&plane->wanted, &plane->sent_draining);
    plane->sent_term = plane->wanted.term;
    plane->sent_revision = plane->wanted.revision;
    plane->is_dirty = false;
    plane->has_failed = false;
    plane->answers_missing = count;
    for (size_t i = 0; i < count; i++) {
        plane->last_request =
            host_client_request(plane->options.host, &messages[i], on_step_answer, plane);
        if (i == 0)
            plane->first_request = plane->last_request;
    }
}

void data_plane_apply(struct data_plane *plane, const struct api_endpoints *endpoints)
{
    endpoints_merge(&plane->wanted, endpoints);
    plane->has_wanted = true;
    plane->is_dirty = true;
    send_wanted(plane);
}

const struct api_endpoints *data_plane_endpoints(const struct data_plane *plane)
{
    return &plane->wanted;
}

void data_plane_observe(const struct data_plane *plane, struct api_status *status)
{
    /* A revision of an earlier term says nothing of those that are counted now. */
    if (plane->confirmed_term == plane->wanted.term)
        status->endpoints_revision = plane->confirmed_revision;
    status->frontends = xcalloc(plane->frontend_count + 1, sizeof *status->frontends);
    for (size_t i = 0; i < plane->frontend_count; i++)
        status->frontends[status->frontend_count++] = plane->frontends[i];
    status->draining = xcalloc(plane->draining_count + 1, sizeof *status->draining);
    for (size_t i = 0; i < plane->draining_count; i++) {
        const struct draining *draining = &plane->draining[i];
        if (!draining->is_known)
            continue;
        struct api_draining *shown = &status->draining[status->draining_count++];
        memcpy(shown->id, draining->id, sizeof shown->id);
        shown->connections = draining->connections;
    }
}

/* --- life --- */

struct data_plane *data_plane_create(const struct data_plane_options *options)
{
    struct data_plane *plane = xcalloc(1, sizeof *plane);
    plane->options = *options;
    uv_timer_init(options->loop, &plane->retry);
    uv_timer_init(options->loop, &plane->count);
    plane->retry.data = plane;
    plane->count.data = plane;
    plane->open_handles = 2;
    return plane;
}

static void on_closed(uv_handle_t *handle)
{
    struct data_plane *plane = handle->data;
    if (--plane->open_handles == 0)
        free(plane);
}

void data_plane_destroy(struct data_plane *plane)
{
    if (plane == NULL)
        return;
    drop_draining(plane);
    for (uint64_t i = plane->first_request; plane->answers_missing > 0 && i <= plane->last_request;
         i++)
        host_client_forget(plane->options.host, i);
    json_record_release(&api_endpoints_record, &plane->wanted);
    json_strings_release(&plane->sent_draining);
    free(plane->frontends);
    uv_close((uv_handle_t *)&plane->retry, on_closed);
    uv_close((uv_handle_t *)&plane->count, on_closed);
}
