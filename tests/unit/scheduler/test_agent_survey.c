/* Asking many agents: each answers, or is named with the reason why it does not. */
#include "scheduler/agent_survey.h"

#include "tests/unit/scheduler/agents_fixture.h"

struct answers {
    struct buffer text; /* "NAME: ANSWER OR REASON\n" of each, as they came */
    bool done;
};

static void on_answer(const char *node, const char *body, size_t length, const struct error *error,
                      void *data)
{
    struct answers *answers = data;
    if (error != NULL)
        buffer_printf(&answers->text, "%s: %s\n", node, error->message);
    else
        buffer_printf(&answers->text, "%s: %.*s\n", node, length < 40 ? (int)length : 3, body);
}

static void on_done(void *data)
{
    ((struct answers *)data)->done = true;
}

static void answer(struct http_request *request, void *data)
{
    (void)data;
    const char *size = http_request_query(request, "size");
    size_t length = size != NULL ? (size_t)atol(size) : 2;
    AUTO_FREE char *text = xmalloc(length);
    memset(text, 'x', length);
    http_request_respond(request, 200, "text/plain", text, length);
}

static const struct http_route routes[] = {
    {.method = "GET", .pattern = "/v1/thing", .handler = answer}};

static struct agent_survey_options survey_of(struct agents_fixture *fixture,
                                             struct answers *answers, const char *path)
{
    const struct sorted *nodes = &fixture->core.model.nodes;
    struct agent_survey_options options = {
        .core = &fixture->core,
        .path = xstrdup(path),
        .names = xcalloc(nodes->count, sizeof *options.names),
        .count = nodes->count,
        .deadline_ms = 10000,
        .limit = 64 << 20,
        .on_answer = on_answer,
        .on_done = on_done,
        .data = answers,
    };
    for (size_t i = 0; i < nodes->count; i++)
        snprintf(options.names[i], NAME_MAX_TEXT, "%s",
                 ((const struct model_node *)nodes->items[i])->name);
    return options;
}

static void run(struct agents_fixture *fixture, const struct agent_survey_options *options)
{
    struct answers *answers = options->data;
    agent_survey_begin(agent_survey_create(options));
    assert_true(harness_wait(&fixture->harness, &answers->done));
}

static void assert_has(const struct answers *answers, const char *text)
{
    if (strstr(buffer_text(&answers->text), text) == NULL)
        fail_msg("no \"%s\" in \"%s\"", text, buffer_text(&answers->text));
}

static void who_does_not_answer_is_named_with_the_reason(void **state)
{
    (void)state;
    struct agents_fixture fixture;
    struct answers answers = {0};
    agents_open(&fixture, routes, 1, NULL, 0);
    uint16_t port = http_server_port(fixture.harness.server);
    agents_add_node(&fixture, "there", port);
    agents_add_node(&fixture, "gone", agents_dead_port());
    agents_silence(&fixture, agents_add_node(&fixture, "silent", port), 185500);
    struct agent_survey_options options = survey_of(&fixture, &answers, "/v1/thing");
    run(&fixture, &options);
    assert_has(&answers, "there: xx\n");
    assert_has(&answers, "gone: its agent does not answer (does shoal-agent run there?): ");
    assert_has(&answers, "silent: its agent was last heard 3m5s ago: ");
    buffer_finish(&answers.text);
    agents_close(&fixture);
}

static void an_answer_that_is_too_long_is_said_to_be_that(void **state)
{
    (void)state;
    struct agents_fixture fixture;
    struct answers answers = {0};
    agents_open(&fixture, routes, 1, NULL, 0);
    agents_add_node(&fixture, "much", http_server_port(fixture.harness.server));
    AUTO_FREE char *path = xasprintf("/v1/thing?size=%zu", AGENT_ANSWER_MAX + 1);
    struct agent_survey_options options = survey_of(&fixture, &answers, path);
    run(&fixture, &options);
    assert_has(&answers, "is larger than 4194304 bytes");
    assert_null(strstr(buffer_text(&answers.text), "does not answer"));
    buffer_finish(&answers.text);
    agents_close(&fixture);
}

static void whom_there_is_no_room_for_is_named_too(void **state)
{
    (void)state;
    struct agents_fixture fixture;
    struct answers answers = {0};
    agents_open(&fixture, routes, 1, NULL, 0);
    char name[16];
    for (int i = 0; i < 40; i++) { /* more than are asked at once */
        snprintf(name, sizeof name, "n%02d", i);
        agents_add_node(&fixture, name, http_server_port(fixture.harness.server));
    }
    struct agent_survey_options options = survey_of(&fixture, &answers, "/v1/thing");
    options.limit = 1;
    run(&fixture, &options);
    assert_has(&answers, "n00: xx\n");
    assert_has(&answers, "n39: it was not asked, since the answers before it are too long");
    buffer_finish(&answers.text);
    agents_close(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_does_not_answer_is_named_with_the_reason),
        cmocka_unit_test(an_answer_that_is_too_long_is_said_to_be_that),
        cmocka_unit_test(whom_there_is_no_room_for_is_named_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
