/* Volumes as agents, scheduler and CLI tell of them.
 *
 * Agent:     GET /v1/volumes                                            -> api_node_volumes
 *            POST   /v1/volumes/NS/SERVICE/SLOT/NAME/snapshots/SNAPSHOT  take one
 *            DELETE /v1/volumes/NS/SERVICE/SLOT/NAME[/snapshots/SNAPSHOT]
 *            POST   /v1/volumes/NS/SERVICE/SLOT/NAME/restore/SNAPSHOT
 * Scheduler: GET /v1/volumes                                            -> api_volumes
 *            and the other four with ?node=NODE, refused where the volume is needed.
 * Ages are milliseconds at the time of the answer. */
#pragma once

#include "lib/api/service_spec.h"

/* What was copied, whole; it takes this much on the disk. */
struct api_snapshot_view {
    char name[NAME_MAX_TEXT];
    uint64_t used; /* bytes */
    uint64_t age_ms;
};

enum volume_state {
    VOLUME_IN_USE, /* an instance has it */
    VOLUME_KEPT,   /* for a slot that has no instance just now */
    VOLUME_UNUSED, /* of a service or slot that is no more, or that no revision names */
};
extern const char *const volume_state_names[];

struct api_volume_view {
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    uint32_t slot;
    char name[NAME_MAX_TEXT];
    char node[NAME_MAX_TEXT]; /* "" from an agent */
    enum volume_state state;  /* from an agent: in use, or kept */
    uint64_t size;            /* bytes that the guest sees */
    uint64_t used;            /* bytes on the disk */
    char instance[INSTANCE_ID_MAX];
    struct api_snapshot_view *snapshots; /* the oldest first */
    size_t snapshot_count;
};

struct api_node_volumes {
    uint64_t limit; /* bytes that volumes and snapshots may have together */
    uint64_t used;  /* of it: volumes by their size, snapshots by what they take */
    struct api_volume_view *volumes;
    size_t volume_count;
};

/* An agent's, to all but the list. */
struct api_volume_answer {
    uint32_t left; /* after a removal: volumes that the slot still has on the node */
};

struct api_volume_node {
    char node[NAME_MAX_TEXT];
    char reason[REASON_MAX]; /* why its volumes are not known; "": they are */
    uint64_t limit;
    uint64_t used;
    uint64_t snapshots; /* of it */
    /* What the scheduler has promised to slots, whether it is there or not, and may still promise.
     */
    uint64_t promised;
    uint64_t left;
};

struct api_volumes {
    struct api_volume_view *volumes;
    size_t volume_count;
    struct api_volume_node *nodes;
    size_t node_count;
};

/* The longest document of one agent: some 15,000 volumes. */
#define API_NODE_VOLUMES_LIMIT ((size_t)4 << 20)

extern const struct json_record api_volume_view_record;
extern const struct json_record api_node_volumes_record;
extern const struct json_record api_volume_answer_record;
extern const struct json_record api_volumes_record;
