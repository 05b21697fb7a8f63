#include "lib/api/plan.h"

#include <string.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define DEPTH_MAX 8

const char *const api_plan_action_names[] = {"create", "replace", "stop", "wait", NULL};

static const struct json_field obstacle_fields[] = {
    JSON_FIELD(struct api_obstacle, reason, "reason", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_obstacle, message, "message", JSON_TEXT),
    JSON_FIELD(struct api_obstacle, nodes, "nodes", JSON_UINT),
    JSON_FIELD(struct api_obstacle, names, "names", JSON_STRINGS),
    JSON_FIELD_END,
};
const struct json_record api_obstacle_record = {sizeof(struct api_obstacle), obstacle_fields};

static const struct json_field obstacles_fields[] = {
    JSON_FIELD_LIST(struct api_obstacles, items, count, "obstacles", &api_obstacle_record,
                    .flags = 0),
    JSON_FIELD_END,
};
const struct json_record api_obstacles_record = {sizeof(struct api_obstacles), obstacles_fields};

static const struct json_field change_fields[] = {
    JSON_FIELD(struct api_plan_change, path, "path", JSON_TEXT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_plan_change, before, "before", JSON_TEXT, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_plan_change, after, "after", JSON_TEXT, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record api_plan_change_record = {sizeof(struct api_plan_change), change_fields};

static const struct json_field instance_fields[] = {
    JSON_FIELD(struct api_plan_instance, slot, "slot", JSON_UINT),
    JSON_FIELD(struct api_plan_instance, action, "action", JSON_ENUM,
               .names = api_plan_action_names),
    JSON_FIELD(struct api_plan_instance, id, "id", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_plan_instance, from, "from", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_plan_instance, node, "node", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
static const struct json_record instance_record = {sizeof(struct api_plan_instance),
                                                   instance_fields};

static const struct json_field plan_fields[] = {
    JSON_FIELD(struct api_plan, namespace_name, "namespace", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_plan, service, "service", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct api_plan, changed, "changed", JSON_BOOL),
    JSON_FIELD(struct api_plan, is_new, "new", JSON_BOOL),
    JSON_FIELD(struct api_plan, revision, "revision", JSON_UINT),
    JSON_FIELD(struct api_plan, rolls, "rolls", JSON_BOOL),
    JSON_FIELD(struct api_plan, replicas_before, "replicas_before", JSON_UINT),
    JSON_FIELD(struct api_plan, replicas, "replicas", JSON_UINT),
    JSON_FIELD(struct api_plan, message, "message", JSON_TEXT),
    JSON_FIELD_LIST(struct api_plan, changes, change_count, "changes", &api_plan_change_record),
    JSON_FIELD_LIST(struct api_plan, instances, instance_count, "instances", &instance_record),
    JSON_FIELD(struct api_plan, kept, "kept", JSON_UINT),
    JSON_FIELD(struct api_plan, waiting, "waiting", JSON_UINT),
    JSON_FIELD(struct api_plan, no_capacity, "no_capacity", JSON_TEXT, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_LIST(struct api_plan, obstacles.items, obstacles.count, "obstacles",
                    &api_obstacle_record, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct api_plan, is_cut, "cut", JSON_BOOL, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
const struct json_record api_plan_record = {sizeof(struct api_plan), plan_fields};

/* --- what differs --- */

static void add_change(struct api_plan *plan, const char *path, struct json_object *before,
                       struct json_object *after)
{
    plan->changes = xreallocarray(plan->changes, plan->change_count + 1, sizeof *plan->changes);
    plan->changes[plan->change_count++] =
        (struct api_plan_change){xstrdup(path), before != NULL ? json_text(before) : NULL,
                                 after != NULL ? json_text(after) : NULL};
}

static void compare(struct api_plan *plan, const char *path, struct json_object *before,
                    struct json_object *after, int depth);

static void compare_members(struct api_plan *plan, const char *path, struct json_object *before,
                            struct json_object *after, int depth)
{
    struct json_object *other;
    json_object_object_foreach (before, key, value) {
        AUTO_FREE char *at = xasprintf("%s/%s", path, key);
        other = NULL;
        json_object_object_get_ex(after, key, &other);
        compare(plan, at, value, other, depth + 1);
    }
    json_object_object_foreach (after, new_key, new_value) {
        if (json_object_object_get_ex(before, new_key, &other))
            continue;
        AUTO_FREE char *at = xasprintf("%s/%s", path, new_key);
        compare(plan, at, NULL, new_value, depth + 1);
    }
}

static void compare(struct api_plan *plan, const char *path, struct json_object *before,
                    struct json_object *after, int depth)
{
    bool both = json_object_is_type(before, json_type_object) &&
                json_object_is_type(after, json_type_object);
    if (both && depth < DEPTH_MAX)
        compare_members(plan, path, before, after, depth);
    else if (!json_object_equal(before, after))
        add_change(plan, path, before, after);
}

void api_plan_compare(struct api_plan *plan, struct json_object *before, struct json_object *after)
{
    compare(plan, "", before, after, 0);
}
