/* What applying a spec would do: PUT .../services/NAME?plan=1 answers an api_plan and writes
 * nothing. And why instances find no place, which views of services carry too. */
#pragma once

#include "lib/api/service_spec.h"
#include "lib/api/states.h"

/* Nodes that cannot take an instance for one reason. */
struct api_obstacle {
    char reason[24]; /* a word: memory, constraint, not_eligible, ... */
    char *message;   /* for people: "memory: at most 64Mi free of 128Mi asked" */
    uint32_t nodes;
    struct json_strings names; /* some of them */
};

struct api_obstacles {
    struct api_obstacle *items;
    size_t count;
};

/* One value of the spec that would be another. */
struct api_plan_change {
    char *path;   /* a JSON pointer */
    char *before; /* JSON; NULL: it was not there */
    char *after;  /* likewise */
};

enum api_plan_action {
    API_PLAN_CREATE,
    API_PLAN_REPLACE, /* `id` by a new one */
    API_PLAN_STOP,
    API_PLAN_WAIT, /* no node can take it */
};
extern const char *const api_plan_action_names[];

struct api_plan_instance {
    uint32_t slot;
    enum api_plan_action action;
    char id[INSTANCE_ID_MAX]; /* what is there now; "": nothing */
    char from[NAME_MAX_TEXT]; /* its node */
    char node[NAME_MAX_TEXT]; /* where the new one would go; "": nowhere */
};

struct api_plan {
    char namespace_name[NAME_MAX_TEXT];
    char service[NAME_MAX_TEXT];
    bool changed;
    bool is_new;
    uint32_t revision; /* that it would have */
    bool rolls;        /* a rollout would begin */
    uint32_t replicas_before;
    uint32_t replicas;
    char *message;
    struct api_plan_change *changes;
    size_t change_count;
    struct api_plan_instance *instances; /* without those that stay as they are */
    size_t instance_count;
    uint32_t kept;
    uint32_t waiting; /* that would find no place */
    char *no_capacity;
    struct api_obstacles obstacles;
    bool is_cut; /* it is a long way: the rest was not looked at */
};

extern const struct json_record api_plan_change_record;
extern const struct json_record api_plan_record;
extern const struct json_record api_obstacle_record;
extern const struct json_record api_obstacles_record; /* {"obstacles": [...]} */

/* What differs, objects member by member, anything else as a whole; adds to the plan. */
void api_plan_compare(struct api_plan *plan, struct json_object *before, struct json_object *after);
