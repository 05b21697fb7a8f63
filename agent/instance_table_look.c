/* What others ask about the instances of this node; changes nothing. */
#include <string.h>

#include "agent/instance_table_internal.h"
#include "lib/xalloc.h"

static const char *accel_of(const struct member *member)
{
    const struct host_welcome *welcome = member->table->welcome;
    for (uint32_t i = 0; welcome != NULL && i < welcome->machine_count; i++) {
        if (strcmp(welcome->machines[i].arch, member->instance.assigned.arch) == 0)
            return welcome->machines[i].accel;
    }
    return "";
}

void instance_table_observe(const struct instance_table *table, struct api_status *status)
{
    status->instances = xcalloc(table->count + 1, sizeof *status->instances);
    const struct member *member;
    LIST_FOREACH(member, &table->members, link)
    {
        instance_observe(&member->instance, accel_of(member),
                         &status->instances[status->instance_count++]);
    }
}

void instance_table_each(const struct instance_table *table,
                         void (*each)(const struct instance *instance, void *data), void *data)
{
    const struct member *member;
    LIST_FOREACH(member, &table->members, link)
    {
        each(&member->instance, data);
    }
}

const struct instance *instance_table_find(const struct instance_table *table, const char *id)
{
    const struct member *member = instance_table_find_member(table, id);
    return member != NULL ? &member->instance : NULL;
}

bool instance_table_has(const struct instance_table *table, const char *id)
{
    return instance_table_find_member(table, id) != NULL;
}

bool instance_table_uses_image(const struct instance_table *table, const char *digest,
                               const char *architecture)
{
    const struct member *member;
    LIST_FOREACH(member, &table->members, link)
    {
        const struct instance *instance = &member->instance;
        if (instance->is_assigned && !instance_is_over(instance) &&
            strcmp(instance->assigned.image_digest, digest) == 0 &&
            strcmp(instance->assigned.arch, architecture) == 0)
            return true;
        if (strcmp(instance->adopted_image, digest) == 0)
            return true;
    }
    return false;
}

size_t instance_table_count(const struct instance_table *table, enum instance_state state)
{
    size_t count = 0;
    const struct member *member;
    LIST_FOREACH(member, &table->members, link)
    {
        count += instance_state(&member->instance) == state;
    }
    return count;
}

uint64_t instance_table_restarts(const struct instance_table *table)
{
    uint64_t restarts = 0;
    const struct member *member;
    LIST_FOREACH(member, &table->members, link)
    {
        restarts += member->instance.restarts;
    }
    return restarts;
}
