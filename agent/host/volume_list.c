/* What volumes there are, as JSON. */
#include <stdlib.h>
#include <string.h>

#include "agent/host/volumes.h"
#include "agent/host/volumes_internal.h"
#include "lib/api/volumes.h"
#include "lib/clock.h"
#include "lib/xalloc.h"

#define FILES_MAX 16384

struct listing {
    struct volume_file *files;
    size_t count, capacity;
};

static void add_file(void *context, const struct volume_file *file)
{
    struct listing *listing = context;
    if (listing->count == FILES_MAX)
        return;
    if (listing->count == listing->capacity) {
        listing->capacity = listing->capacity > 0 ? 2 * listing->capacity : 64;
        listing->files = xreallocarray(listing->files, listing->capacity, sizeof *listing->files);
    }
    listing->files[listing->count++] = *file;
}

static int compare_times(const struct timespec *one, const struct timespec *other)
{
    if (one->tv_sec != other->tv_sec)
        return one->tv_sec < other->tv_sec ? -1 : 1;
    return one->tv_nsec < other->tv_nsec ? -1 : one->tv_nsec > other->tv_nsec;
}

/* A volume comes before its snapshots, and those by their age. */
static int compare_files(const void *one_pointer, const void *other_pointer)
{
    const struct volume_file *one = one_pointer, *other = other_pointer;
    int order = strcmp(one->key.namespace_name, other->key.namespace_name);
    if (order == 0)
        order = strcmp(one->key.service, other->key.service);
    if (order == 0 && one->key.slot != other->key.slot)
        order = one->key.slot < other->key.slot ? -1 : 1;
    if (order == 0)
        order = strcmp(one->key.name, other->key.name);
    if (order == 0)
        order = (one->snapshot[0] != '\0') - (other->snapshot[0] != '\0');
    if (order == 0)
        order = compare_times(&one->status.st_mtim, &other->status.st_mtim);
    return order;
}

static void fill_volume(struct volumes *volumes, const struct volume_file *file,
                        struct api_volume_view *view)
{
    memcpy(view->namespace_name, file->key.namespace_name, sizeof view->namespace_name);
    memcpy(view->service, file->key.service, sizeof view->service);
    memcpy(view->name, file->key.name, sizeof view->name);
    view->slot = file->key.slot;
    view->size = (uint64_t)file->status.st_size;
    view->used = volume_taken(&file->status);
    view->state = volumes_holder(volumes, &file->key, view->instance) ? VOLUME_IN_USE : VOLUME_KEPT;
}

static void add_snapshot(const struct volume_file *file, uint64_t now_ms,
                         struct api_volume_view *view)
{
    uint64_t made_ms = (uint64_t)file->status.st_mtim.tv_sec * 1000 +
                       (uint64_t)file->status.st_mtim.tv_nsec / 1000000;
    view->snapshots =
        xreallocarray(view->snapshots, view->snapshot_count + 1, sizeof *view->snapshots);
    struct api_snapshot_view *snapshot = &view->snapshots[view->snapshot_count++];
    *snapshot = (struct api_snapshot_view){.used = volume_taken(&file->status),
                                           .age_ms = now_ms > made_ms ? now_ms - made_ms : 0};
    memcpy(snapshot->name, file->snapshot, sizeof snapshot->name);
}

void volumes_list(struct volumes *volumes, struct buffer *text)
{
    struct listing listing = {0};
    volumes_walk(volumes, add_file, &listing);
    if (listing.count > 0)
        qsort(listing.files, listing.count, sizeof *listing.files, compare_files);
    struct api_node_volumes list = {.limit = volumes->limit, .used = volumes_used(volumes)};
    list.volumes = xcalloc(listing.count + 1, sizeof *list.volumes);
    uint64_t now_ms = clock_wall_ms(clock_system());
    const struct volume_file *last = NULL; /* volume */
    for (size_t i = 0; i < listing.count; i++) {
        const struct volume_file *file = &listing.files[i];
        if (file->snapshot[0] == '\0') {
            fill_volume(volumes, file, &list.volumes[list.volume_count++]);
            last = file;
        } else if (last != NULL && volume_key_is_same(&last->key, &file->key)) {
            add_snapshot(file, now_ms, &list.volumes[list.volume_count - 1]);
        }
    }
    json_record_append(text, &api_node_volumes_record, &list);
    json_record_release(&api_node_volumes_record, &list);
    free(listing.files);
}
