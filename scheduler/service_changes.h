/* What people change about services, as decisions: each fills a change from the model as it is at
 * its turn, and the answer that goes to who asked. Loop thread only; no HTTP. */
#pragma once

#include "scheduler/core.h"

/* A spec whose image was resolved and verified. */
struct service_apply {
    const struct api_service_spec *spec;
    /* As it would be stored; without number. */
    const struct document_revision *revision;
};

/* ERROR_CONFLICT with a pointer when a port is published by another service, or the service is
 * being removed. */
int service_changes_check(const struct core *core, const struct api_service_spec *spec,
                          struct error *error);
int service_changes_apply(struct core *core, struct change *change,
                          const struct service_apply *apply, struct api_change_answer *ret_answer,
                          struct error *error);
int service_changes_scale(struct core *core, struct change *change, const char *namespace_name,
                          const char *service, uint32_t replicas,
                          struct api_change_answer *ret_answer, struct error *error);
/* `count` replicas more: standbys, as far as there are any. */
int service_changes_wake(struct core *core, struct change *change, const char *namespace_name,
                         const char *service, uint32_t count, struct api_change_answer *ret_answer,
                         struct error *error);
/* `to` 0: the newest other revision whose rollout succeeded. */
int service_changes_rollback(struct core *core, struct change *change, const char *namespace_name,
                             const char *service, uint32_t to, struct api_change_answer *ret_answer,
                             struct error *error);
int service_changes_restart(struct core *core, struct change *change, const char *namespace_name,
                            const char *service, struct api_change_answer *ret_answer,
                            struct error *error);
/* The rollout that runs: each is refused with ERROR_CONFLICT when none does, and changes nothing
 * when it is so already. */
/* Nothing new starts or ends, and its deadline stands still, until it is resumed. */
int service_changes_pause(struct core *core, struct change *change, const char *namespace_name,
                          const char *service, struct api_change_answer *ret_answer,
                          struct error *error);
int service_changes_resume(struct core *core, struct change *change, const char *namespace_name,
                           const char *service, struct api_change_answer *ret_answer,
                           struct error *error);
/* Its canaries are good: they become the first of the new instances. */
int service_changes_promote(struct core *core, struct change *change, const char *namespace_name,
                            const char *service, struct api_change_answer *ret_answer,
                            struct error *error);
/* Back to what worked last, at once; where there is nothing to go back to it has failed. */
int service_changes_abort(struct core *core, struct change *change, const char *namespace_name,
                          const char *service, struct api_change_answer *ret_answer,
                          struct error *error);
int service_changes_remove(struct core *core, struct change *change, const char *namespace_name,
                           const char *service, struct api_change_answer *ret_answer,
                           struct error *error);
