#include "registry/upkeep/task.h"

#include <stddef.h>

int task_check(const struct task_progress *progress, struct error *error)
{
    if (progress != NULL && atomic_load(&progress->cancelled))
        return error_set(error, ERROR_CONFLICT, "it was cancelled");
    if (progress == NULL || !atomic_load(&progress->stops))
        return 0;
    return error_set(error, ERROR_UNAVAILABLE, "the registry is stopping: start it again later");
}

void task_advance(struct task_progress *progress, uint64_t amount)
{
    if (progress != NULL)
        atomic_fetch_add(&progress->done, amount);
}
