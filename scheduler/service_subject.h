/* A service under change: what the files of service_changes.h share. Loop thread only, for one
 * decision. */
#pragma once

#include "scheduler/service_changes.h"

struct subject {
    struct core *core;
    struct change *change;
    const struct model_service *service; /* NULL: a new one */
    struct document_service *document;   /* the copy that will be; NULL: nothing changed yet */
    struct api_change_answer *answer;
    bool is_job;
};

/* ERROR_NOT_FOUND, or ERROR_CONFLICT while it is being removed. */
int subject_begin(struct core *core, struct change *change, const char *namespace_name,
                  const char *name, struct api_change_answer *answer, struct subject *ret_subject,
                  struct error *error);
void subject_answer(struct subject *subject, bool changed, uint32_t revision, uint32_t rollout);
/* The answer's message. */
void subject_say(struct subject *subject, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same as an event. */
void subject_tell(struct subject *subject, const char *kind, const char *what);
