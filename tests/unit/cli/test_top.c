#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "cli/top.h"
#include "lib/cleanup.h"

/* Two nodes: one with two instances of hello, the other with one of hello and one of db. */
static const char answer[] =
    "{\"nodes\": ["
    " {\"node\": \"a\", \"host\": {\"node\": \"a\", \"instances\": 2, \"processors\": 2,"
    "   \"interval_ms\": 5000, \"cpu_ppm\": 500000, \"memory\": 8192, \"memory_available\": 4096},"
    "  \"figures\": ["
    "   {\"id\": \"000100000001\", \"namespace\": \"default\", \"service\": \"hello\","
    "    \"node\": \"a\", \"state\": \"ready\", \"interval_ms\": 5000, \"cpu_ppm\": 612,"
    "    \"memory_private\": 2097152, \"received_rate\": 10, \"sent_rate\": 2048},"
    "   {\"id\": \"000100000002\", \"namespace\": \"default\", \"service\": \"hello\","
    "    \"node\": \"a\", \"state\": \"ready\", \"cpu_ppm\": 0, \"memory_private\": 4194304}],"
    "  \"services\": [{\"namespace\": \"default\", \"service\": \"hello\", \"instances\": 2,"
    "    \"cpu_ppm\": 612, \"memory_private\": 6291456}]},"
    " {\"node\": \"b\", \"host\": {\"node\": \"b\", \"instances\": 2, \"processors\": 4,"
    "   \"interval_ms\": 5000, \"cpu_ppm\": 1500000, \"memory\": 8192, \"memory_available\": 8192},"
    "  \"services\": [{\"namespace\": \"default\", \"service\": \"db\", \"instances\": 1,"
    "    \"cpu_ppm\": 900},"
    "   {\"namespace\": \"default\", \"service\": \"hello\", \"instances\": 1, \"cpu_ppm\": 400,"
    "    \"memory_private\": 1048576}]}],"
    " \"failed\": [], \"left_out\": 0}";

static void gather(enum top_kind kind, enum top_order order, struct top *ret_top)
{
    struct api_cluster_stats stats = {0};
    assert_int_equal(json_parse_record(&api_cluster_stats_record, answer, strlen(answer),
                                       JSON_LENIENT, &stats, NULL),
                     0);
    top_gather(kind, order, &stats, ret_top);
    json_record_release(&api_cluster_stats_record, &stats);
}

static void the_largest_stands_first(void **state)
{
    (void)state;
    struct top top;
    gather(TOP_INSTANCES, TOP_BY_CPU, &top);
    assert_int_equal(top.count, 2);
    assert_string_equal(top.instances[0].id, "000100000001");
    top_release(&top);
    gather(TOP_INSTANCES, TOP_BY_MEMORY, &top);
    assert_string_equal(top.instances[0].id, "000100000002");
    top_release(&top);
    gather(TOP_NODES, TOP_BY_CPU, &top);
    assert_string_equal(top.nodes[0].node, "b");
    top_release(&top);
    gather(TOP_NODES, TOP_BY_MEMORY, &top);
    assert_string_equal(top.nodes[0].node, "a");
    top_release(&top);
    gather(TOP_NODES, TOP_BY_NAME, &top);
    assert_string_equal(top.nodes[0].node, "a");
    top_release(&top);
}

static void a_service_of_several_nodes_is_one_row(void **state)
{
    (void)state;
    struct top top;
    gather(TOP_SERVICES, TOP_BY_CPU, &top);
    assert_int_equal(top.count, 2);
    assert_string_equal(top.services[0].service, "hello");
    assert_int_equal(top.services[0].instances, 3);
    assert_int_equal(top.services[0].cpu_ppm, 1012);
    assert_int_equal(top.services[0].memory_private, 7 << 20);
    assert_string_equal(top.services[1].service, "db");
    top_release(&top);
}

static void assert_shows(const struct top *top, size_t most, const char *part, bool wanted)
{
    AUTO_BUFFER struct buffer text = {0};
    struct table *table = top_table(top, most);
    table_render(table, false, false, &text);
    table_destroy(table);
    if ((strstr(buffer_text(&text), part) != NULL) != wanted)
        print_error("%s", buffer_text(&text));
    assert_true((strstr(buffer_text(&text), part) != NULL) == wanted);
}

static void rows_are_in_units_of_people(void **state)
{
    (void)state;
    struct top top;
    gather(TOP_INSTANCES, TOP_BY_CPU, &top);
    assert_shows(&top, 10, "ready  0.06%     2Mi    10/s    2Ki/s", true);
    /* Only one sample yet: no rates. */
    assert_shows(&top, 10, "ready      -     4Mi       -        -", true);
    assert_shows(&top, 1, "000100000002", false);
    /* Not looked at yet. */
    top.instances[1].memory_private = 0;
    assert_shows(&top, 10, "ready      -       -       -        -", true);
    top_release(&top);
    gather(TOP_NODES, TOP_BY_CPU, &top);
    assert_shows(&top, 10, "150.0%   4", true);
    assert_shows(&top, 10, "4Ki/8Ki", true);
    top_release(&top);
}

static void old_figures_are_marked(void **state)
{
    (void)state;
    struct top top;
    gather(TOP_INSTANCES, TOP_BY_CPU, &top);
    top.instances[0].age_ms = TOP_OLD_MS;
    assert_shows(&top, 1, "(old", false);
    top.instances[0].age_ms = 98000;
    assert_shows(&top, 1, "ready (old 98s)", true);
    top_release(&top);
    gather(TOP_NODES, TOP_BY_NAME, &top);
    top.nodes[0].age_ms = 98000;
    assert_shows(&top, 1, "a (old 98s)", true);
    top_release(&top);
}

static void the_document_is_the_list_asked_for(void **state)
{
    (void)state;
    struct top top;
    gather(TOP_SERVICES, TOP_BY_NAME, &top);
    AUTO_JSON struct json_object *document = top_document(&top);
    AUTO_FREE char *text = json_text(document);
    assert_non_null(strstr(text, "{\"services\":[{\"namespace\":\"default\",\"service\":\"db\""));
    top_release(&top);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_largest_stands_first),
        cmocka_unit_test(a_service_of_several_nodes_is_one_row),
        cmocka_unit_test(rows_are_in_units_of_people),
        cmocka_unit_test(old_figures_are_marked),
        cmocka_unit_test(the_document_is_the_list_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
