/* A guest's log over HTTP: of an instance that is forgotten, so that following it ends. */
#include "agent/log_requests.h"

#include "lib/api/log_position.h"
#include "lib/file.h"
#include "tests/unit/lib/http_harness.h"

#define ID  "0001000000a7"
#define LOG "/logs/" ID
/* The head of lines, of one time all. */
#define LINE "2026-11-26T02:00:01.000Z L "

struct place {
    struct harness harness;
    struct log_source source;
    char folder[64];
    char ended[96];
    struct result result;
};

static void answer(struct http_request *request, void *data)
{
    const struct place *place = ((struct harness *)data)->mine;
    log_requests_handle(request, &place->source);
}

static const struct http_route routes[] = {
    {.method = "GET", .pattern = "/logs/{id}", .handler = answer, .deadline_ms = 60000}};

static int set_up(void **state)
{
    struct place *place = xcalloc(1, sizeof *place);
    const struct http_server_options options = {
        .mode = HTTP_SERVER_LOOP, .routes = routes, .route_count = ARRAY_LENGTH(routes)};
    strcpy(place->folder, "/tmp/shoal-unit.XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    snprintf(place->ended, sizeof place->ended, "%s/" ID ".ended", place->folder);
    harness_open(&place->harness, &options);
    place->harness.mine = place;
    const struct instance_table_options nobody = {0};
    place->source = (struct log_source){.loop = &place->harness.loop,
                                        .folder = place->folder,
                                        .node = "here",
                                        .instances = instance_table_create(&nobody)};
    *state = place;
    return 0;
}

static int tear_down(void **state)
{
    struct place *place = *state;
    result_clear(&place->result);
    harness_close(&place->harness);
    instance_table_destroy((struct instance_table *)place->source.instances);
    assert_int_equal(file_remove_tree(place->folder, NULL), 0);
    free(place);
    return 0;
}

static const char *fetch(struct place *place, const char *path)
{
    struct http_client_request request = {.response_limit = (size_t)16 << 20};
    harness_fetch(&place->harness, request, path, &place->result);
    return buffer_text(&place->result.body);
}

static void write_log(struct place *place, const char *text)
{
    assert_int_equal(file_write(place->ended, text, strlen(text), 0600, NULL), 0);
}

/* The text behind the first position, which is copied. */
static const char *behind_position(const char *text, char ret_position[API_LOG_POSITION_MAX])
{
    const char *start = strstr(text, "Z R ");
    assert_non_null(start);
    const char *end = strchr(start, '\n');
    assert_in_range(end - start, 5, API_LOG_POSITION_MAX + 3);
    snprintf(ret_position, API_LOG_POSITION_MAX, "%.*s", (int)(end - start - 4), start + 4);
    return end + 1;
}

static void what_is_left_out_is_said_in_its_place(void **state)
{
    struct place *place = *state;
    AUTO_BUFFER struct buffer text = {0};
    for (int i = 0; i < 100; i++)
        buffer_printf(&text, LINE "line %d\n", i);
    write_log(place, buffer_text(&text));
    const char *answer = fetch(place, LOG "?tail=90&limit=1024");
    assert_memory_equal(answer, "2026-11-26T02:00:01.000Z M older lines are left out here: 1 KiB",
                        63);
    assert_non_null(strstr(answer, "line 99\n"));
    assert_null(strstr(fetch(place, LOG "?tail=10&limit=1024"), "left out"));
}

static void a_long_past_reaches_who_follows_whole(void **state)
{
    struct place *place = *state;
    char position[API_LOG_POSITION_MAX];
    AUTO_BUFFER struct buffer text = {0};
    for (int i = 0; i < 40000; i++) /* much more than is queued for a reader */
        buffer_printf(&text, LINE "line %d of many that are all alike and as long\n", i);
    write_log(place, buffer_text(&text));
    const char *answer = fetch(place, LOG "?tail=1000000&follow=1");
    const char *lines = behind_position(answer, position);
    assert_memory_equal(lines, buffer_text(&text), text.length);
    /* Its end has a position too, behind which there is nothing. */
    behind_position(lines + text.length, position);
    AUTO_FREE char *path = xasprintf(LOG "?follow=1&after=%s", position);
    assert_null(strstr(fetch(place, path), " L "));
}

static void who_was_here_gets_the_rest(void **state)
{
    struct place *place = *state;
    char position[API_LOG_POSITION_MAX];
    write_log(place, LINE "a\n" LINE "b\n" LINE "c\n");
    behind_position(fetch(place, LOG "?tail=2&follow=1"), position);
    position[strlen(position) - 1] = '1'; /* b was read */
    AUTO_FREE char *path = xasprintf(LOG "?follow=1&after=%s", position);
    const char *rest = strstr(fetch(place, path), " L ");
    assert_non_null(rest);
    assert_memory_equal(rest, " L c\n", 5);
    assert_int_equal(unlink(place->ended), 0);
    write_log(place, "2026-11-26T02:00:02.000Z L another\n");
    const char *answer = fetch(place, path);
    assert_memory_equal(answer, "2026-11-26T02:00:02.000Z M lines before this one are not kept",
                        61);
    assert_non_null(strstr(answer, "L another\n"));
    fetch(place, LOG "?follow=1&after=1-2");
    assert_int_equal(place->result.status, 400);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(what_is_left_out_is_said_in_its_place),
        TEST(a_long_past_reaches_who_follows_whole),
        TEST(who_was_here_gets_the_rest),
    };
#undef TEST
    return cmocka_run_group_tests(tests, NULL, NULL);
}
