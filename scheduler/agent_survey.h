/* Asks several agents the same, some at a time and all within a deadline, and hands over what each
 * answers.
 *
 * Knows not what is asked for. Loop thread. */
#pragma once

#include "scheduler/agent_calls.h"

struct agent_survey;

struct agent_survey_options {
    struct core *core;
    char *path;                   /* what each is asked; taken over */
    char (*names)[NAME_MAX_TEXT]; /* of the nodes; taken over */
    size_t count;
    unsigned deadline_ms; /* of all of it */
    size_t limit;         /* bytes of all answers together: who comes behind is not asked */
    /* Once for each node that there still is: the answer's body (AGENT_ANSWER_MAX at most), or why
     * there is none, without the node's name. */
    void (*on_answer)(const char *node, const char *body, size_t length, const struct error *error,
                      void *data);
    /* Once, after the last answer; the survey is gone then. */
    void (*on_done)(void *data);
    void *data;
};

struct agent_survey *agent_survey_create(const struct agent_survey_options *options);
/* Asks; on_done may have come when this returns. */
void agent_survey_begin(struct agent_survey *survey);
/* Before on_done: nothing is called any more, and the survey is gone. */
void agent_survey_cancel(struct agent_survey *survey);
