/* What is true of one instance, from what is wanted of it, what was observed and how its node is.
 */
#include "scheduler/model.h"

bool model_instance_has_ended(const struct model_instance *instance)
{
    return instance->document->ended_ms != 0;
}

bool model_instance_is_lost(const struct model_instance *instance)
{
    /* It ended before: that it failed is what counts. */
    if (instance_state_is_over(instance->observed.state))
        return false;
    if (instance->node == NULL)
        return true;
    return instance->node->lost && (instance->released || instance->document->wish != WISH_RUN);
}

bool model_instance_is_gone(const struct model_instance *instance)
{
    return instance->node == NULL || instance_state_is_over(instance->observed.state);
}

enum instance_state model_instance_state(const struct model_instance *instance)
{
    bool silent = instance->node == NULL || instance->node->silent;
    if (silent && !instance_state_is_over(instance->observed.state))
        return INSTANCE_UNKNOWN;
    return instance->observed.state;
}

bool model_instance_is_ready(const struct model_instance *instance)
{
    return instance->document->wish == WISH_RUN && !instance->document->standby &&
           !model_instance_has_ended(instance) && model_instance_state(instance) == INSTANCE_READY;
}

bool model_instance_is_standby(const struct model_instance *instance)
{
    return instance->document->standby && instance->document->wish == WISH_RUN &&
           !model_instance_has_ended(instance) &&
           model_instance_state(instance) == INSTANCE_STANDBY;
}
