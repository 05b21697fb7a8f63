#include "scheduler/agent_survey.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define AT_ONCE_MAX 32

/* An agent that is being asked. */
struct question {
    LIST_ENTRY(question) link;
    struct agent_survey *survey;
    struct http_call *call;
    char node[NAME_MAX_TEXT];
};

struct agent_survey {
    uv_timer_t deadline; /* first: the close callback frees by it */
    struct agent_survey_options options;
    size_t next; /* of the names: those from here on were not asked yet */
    LIST_HEAD(, question) questions;
    size_t asking;
    size_t length; /* of the answers so far */
};

static void on_closed(uv_handle_t *handle)
{
    struct agent_survey *survey = (struct agent_survey *)handle;
    free(survey->options.path);
    free(survey->options.names);
    free(survey);
}

static void question_free(struct question *question)
{
    LIST_REMOVE(question, link);
    question->survey->asking--;
    free(question);
}

void agent_survey_cancel(struct agent_survey *survey)
{
    while (!LIST_EMPTY(&survey->questions)) {
        http_client_cancel(LIST_FIRST(&survey->questions)->call);
        question_free(LIST_FIRST(&survey->questions));
    }
    uv_close((uv_handle_t *)&survey->deadline, on_closed);
}

static void finish(struct agent_survey *survey)
{
    void (*on_done)(void *) = survey->options.on_done;
    void *data = survey->options.data;
    agent_survey_cancel(survey);
    on_done(data);
}

static void tell_failure(struct agent_survey *survey, const char *node, const struct error *error)
{
    survey->options.on_answer(node, NULL, 0, error, survey->options.data);
}

static void on_deadline(uv_timer_t *timer)
{
    struct agent_survey *survey = timer->data;
    const struct question *question;
    struct error error = ERROR_INIT;
    error_set(&error, ERROR_TIMEOUT, "no answer within %u s", survey->options.deadline_ms / 1000);
    LIST_FOREACH(question, &survey->questions, link)
    {
        tell_failure(survey, question->node, &error);
    }
    error_set(&error, ERROR_TIMEOUT, "there was no time to ask it");
    while (survey->next < survey->options.count)
        tell_failure(survey, survey->options.names[survey->next++], &error);
    finish(survey);
}

static void ask_more(struct agent_survey *survey);

static void on_answer(const struct http_client_response *response, void *data)
{
    struct question *question = data;
    struct agent_survey *survey = question->survey;
    struct error error = ERROR_INIT;
    if (agent_calls_check_answer(response, &error) < 0) {
        tell_failure(survey, question->node, &error);
    } else {
        survey->length += response->body_length;
        survey->options.on_answer(question->node, response->body, response->body_length, NULL,
                                  survey->options.data);
    }
    question_free(question);
    ask_more(survey);
    if (survey->asking == 0)
        finish(survey);
}

static void ask(struct agent_survey *survey, const char *name)
{
    const struct model_node *node = model_node(&survey->options.core->model, name);
    struct agent_call call = {.path = survey->options.path};
    struct error error = ERROR_INIT;
    if (node == NULL || node->document == NULL)
        return;
    if (survey->length > survey->options.limit) {
        error_set(&error, ERROR_TOO_LARGE,
                  "it was not asked, since the answers before it are too long together: ask about "
                  "one service");
        tell_failure(survey, name, &error);
        return;
    }
    if (agent_calls_check(survey->options.core, node, &error) < 0) {
        tell_failure(survey, name, &error);
        return;
    }
    struct question *question = xcalloc(1, sizeof *question);
    question->survey = survey;
    memcpy(question->node, name, sizeof question->node);
    question->call =
        agent_calls_start(survey->options.core, node, &call, on_answer, question, &error);
    if (question->call == NULL) {
        tell_failure(survey, name, &error);
        free(question);
        return;
    }
    LIST_INSERT_HEAD(&survey->questions, question, link);
    survey->asking++;
}

static void ask_more(struct agent_survey *survey)
{
    while (survey->next < survey->options.count && survey->asking < AT_ONCE_MAX)
        ask(survey, survey->options.names[survey->next++]);
}

struct agent_survey *agent_survey_create(const struct agent_survey_options *options)
{
    struct agent_survey *survey = xcalloc(1, sizeof *survey);
    survey->options = *options;
    LIST_INIT(&survey->questions);
    uv_timer_init(options->core->loop, &survey->deadline);
    survey->deadline.data = survey;
    return survey;
}

void agent_survey_begin(struct agent_survey *survey)
{
    ask_more(survey);
    if (survey->asking == 0)
        finish(survey);
    else
        uv_timer_start(&survey->deadline, on_deadline, survey->options.deadline_ms, 0);
}
