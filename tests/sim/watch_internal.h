/* What the files of the watch share. */
#pragma once

#include "tests/sim/watch.h"

/* An instance as the scheduler sees it now. */
struct sight {
    const struct document_instance *document;
    const struct model_instance *instance; /* NULL: it is being made */
    bool silent;
};

typedef void sight_callback(const struct sight *sight, void *data);

/* Every instance that has not ended, as the decision in the making has it so far. */
void watch_each_instance(const struct watch *watch, const struct core *core,
                         sight_callback *callback, void *data);
bool watch_same_template(const struct model_service *service, uint32_t revision, uint32_t other);
/* watch_place.c: an instance that is being made may be where it is placed. */
void watch_place(struct world *world, const struct core *core, const struct model_service *service,
                 const struct document_instance *placed);
