#include "agent/status_changes.h"

#include <stdlib.h>
#include <string.h>

#include "lib/xalloc.h"

static void *copy(const void *list, size_t count, size_t size)
{
    void *kept = xcalloc(count + 1, size);
    if (count > 0)
        memcpy(kept, list, count * size);
    return kept;
}

void status_changes_keep(const struct api_status *status, struct api_status *ret_kept)
{
    *ret_kept = (struct api_status){
        .sequence = status->sequence,
        .instances = copy(status->instances, status->instance_count, sizeof *status->instances),
        .instance_count = status->instance_count,
        .frontends = copy(status->frontends, status->frontend_count, sizeof *status->frontends),
        .frontend_count = status->frontend_count,
        .draining = copy(status->draining, status->draining_count, sizeof *status->draining),
        .draining_count = status->draining_count,
    };
}

static bool has_same_members(const struct api_status *left, const struct api_status *right)
{
    bool same = left->instance_count == right->instance_count;
    for (size_t i = 0; same && i < left->instance_count; i++)
        same = strcmp(left->instances[i].id, right->instances[i].id) == 0;
    return same;
}

/* Ages grow by themselves. One that is smaller than before is of another run, or of a state that
 * was left and entered again. */
static bool is_same_instance(const struct api_observed_instance *now,
                             const struct api_observed_instance *before)
{
    return now->state == before->state && now->restarts == before->restarts &&
           now->boot_ms == before->boot_ms && now->state_age_ms >= before->state_age_ms &&
           now->uptime_ms >= before->uptime_ms &&
           (now->uptime_ms == 0) == (before->uptime_ms == 0) &&
           strcmp(now->cause, before->cause) == 0 && strcmp(now->message, before->message) == 0 &&
           strcmp(now->accel, before->accel) == 0;
}

static bool has_same_data_plane(const struct api_status *left, const struct api_status *right)
{
    bool same = left->frontend_count == right->frontend_count &&
                left->draining_count == right->draining_count;
    for (size_t i = 0; same && i < left->frontend_count; i++)
        same = left->frontends[i].publish == right->frontends[i].publish &&
               left->frontends[i].bound == right->frontends[i].bound &&
               strcmp(left->frontends[i].message, right->frontends[i].message) == 0;
    for (size_t i = 0; same && i < left->draining_count; i++)
        same = left->draining[i].connections == right->draining[i].connections &&
               strcmp(left->draining[i].id, right->draining[i].id) == 0;
    return same;
}

void status_changes_reduce(struct api_status *status, const struct api_status *base)
{
    size_t kept = 0;
    if (base->sequence == 0 || !has_same_members(status, base))
        return;
    status->base = base->sequence;
    for (size_t i = 0; i < status->instance_count; i++) {
        if (!is_same_instance(&status->instances[i], &base->instances[i]))
            status->instances[kept++] = status->instances[i];
    }
    status->instance_count = kept;
    status->same_data_plane = has_same_data_plane(status, base);
    if (status->same_data_plane) {
        status->frontend_count = 0;
        status->draining_count = 0;
    }
}
