/* What people see: tables, YAML, short forms of values. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/format.h"
#include "cli/table.h"
#include "cli/yaml_text.h"
#include "lib/cleanup.h"
#include "lib/json.h"

static const struct table_column columns[] = {{"NAME", false, false},
                                              {"COUNT", true, false},
                                              {"DETAIL", false, true},
                                              {"STATE", false, false},
                                              {NULL, false, false}};

static struct table *sample(void)
{
    struct table *table = table_create(columns);
    table_cell(table, "%s", "hello");
    table_cell(table, "%d", 7);
    table_cell(table, "%s", "more");
    table_cell_toned(table, TONE_GOOD, "ready");
    table_cell(table, "%s", "a-longer-name");
    table_cell(table, "%d", 12345);
    table_cell(table, "%s", "");
    table_cell_toned(table, TONE_BAD, "failed");
    return table;
}

static void assert_rendered(bool wide, bool colored, const char *expected)
{
    struct buffer AUTO_BUFFER text = {0};
    struct table *table = sample();
    table_render(table, wide, colored, &text);
    assert_string_equal(buffer_text(&text), expected);
    table_destroy(table);
}

static void columns_are_aligned_and_lines_have_no_trailing_spaces(void **state)
{
    (void)state;
    assert_rendered(false, false,
                    "NAME           COUNT  STATE\n"
                    "hello              7  ready\n"
                    "a-longer-name  12345  failed\n");
}

static void wide_columns_show_only_when_asked(void **state)
{
    (void)state;
    assert_rendered(true, false,
                    "NAME           COUNT  DETAIL  STATE\n"
                    "hello              7  more    ready\n"
                    "a-longer-name  12345  -       failed\n");
}

static void colours_do_not_move_columns(void **state)
{
    (void)state;
    assert_rendered(false, true,
                    "NAME           COUNT  STATE\n"
                    "hello              7  \033[32mready\033[0m\n"
                    "a-longer-name  12345  \033[31mfailed\033[0m\n");
}

static void an_empty_table_is_its_header(void **state)
{
    (void)state;
    struct buffer AUTO_BUFFER text = {0};
    struct table *table = table_create(columns);
    table_render(table, false, false, &text);
    assert_string_equal(buffer_text(&text), "NAME  COUNT  STATE\n");
    table_destroy(table);
}

static void hostile_text_does_not_reach_the_terminal(void **state)
{
    (void)state;
    static const struct table_column one[] = {
        {"A", false, false}, {"B", false, false}, {NULL, 0, 0}};
    struct buffer AUTO_BUFFER text = {0};
    struct table *table = table_create(one);
    table_cell(table, "%s", "x\033[2J\n\r\x7f\xc2\x9b\xff");
    table_cell(table, "%s", "gr\xc3\xbc\xc3\x9f"); /* two characters of two bytes */
    table_render(table, false, false, &text);
    assert_string_equal(buffer_text(&text), "A            B\nx?[2J??????  gr\xc3\xbc\xc3\x9f\n");
    table_destroy(table);
}

static void assert_line(const char *line, size_t length, const char *expected)
{
    AUTO_FREE char *text = text_of_line(line, length);
    assert_string_equal(text, expected);
}

static void a_guests_line_becomes_text_of_the_same_length(void **state)
{
    (void)state;
    assert_line("", 0, "");
    assert_line("a\tb", 3, "a\tb");
    assert_line("a\0b\033[2Jc", 8, "a?b?[2Jc");
    assert_line("gr\xc3\xbc\xc3", 5, "gr\xc3\xbc?");
    assert_line("\xff\xfe\x9b", 3, "???");
}

static void assert_yaml(const char *json, const char *yaml)
{
    struct buffer AUTO_BUFFER text = {0};
    AUTO_JSON struct json_object *object = NULL;
    assert_int_equal(json_parse(json, strlen(json), &object, NULL), 0);
    yaml_text_append(&text, object);
    assert_string_equal(buffer_text(&text), yaml);
}

static void json_becomes_yaml_that_means_the_same(void **state)
{
    (void)state;
    assert_yaml("{\"a\":{\"b\":[1,{\"c\":\"d\",\"e\":[]}],\"f\":{}},\"g\":null,\"h\":true}",
                "a:\n  b:\n    - 1\n    - c: d\n      e: []\n  f: {}\ng: null\nh: true\n");
    assert_yaml("[[1,2],[]]", "- \n  - 1\n  - 2\n- []\n");
}

static void texts_that_yaml_would_misread_are_quoted(void **state)
{
    (void)state;
    assert_yaml("[\"yes\",\"12\",\"\",\"a: b\",\"- x\",\"#x\",\"null\",\"a\\nb\",\"sha256:ab\"]",
                "- \"yes\"\n- \"12\"\n- \"\"\n- \"a: b\"\n- \"- x\"\n- \"#x\"\n- \"null\"\n"
                "- \"a\\nb\"\n- sha256:ab\n");
}

static void assert_bytes(uint64_t bytes, const char *expected)
{
    char text[FORMAT_MAX];
    format_bytes(bytes, text);
    assert_string_equal(text, expected);
}

static void values_are_short(void **state)
{
    (void)state;
    char text[FORMAT_MAX];
    assert_bytes(0, "0");
    assert_bytes(1023, "1023");
    assert_bytes(1536, "1.5Ki");
    assert_bytes(UINT64_C(32) << 20, "32Mi");
    assert_bytes(UINT64_C(3) << 30, "3Gi");
    format_span(40, text);
    assert_string_equal(text, "40ms");
    format_span(4200, text);
    assert_string_equal(text, "4.2s");
    format_span(95000, text);
    assert_string_equal(text, "95s");
    format_digest("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", text);
    assert_string_equal(text, "sha256:0123456789ab");
    format_digest("", text);
    assert_string_equal(text, "");
    format_age_or_nothing(0, text);
    assert_string_equal(text, "");
    format_age_or_nothing(180000, text);
    assert_string_equal(text, "3m");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_are_aligned_and_lines_have_no_trailing_spaces),
        cmocka_unit_test(wide_columns_show_only_when_asked),
        cmocka_unit_test(colours_do_not_move_columns),
        cmocka_unit_test(an_empty_table_is_its_header),
        cmocka_unit_test(hostile_text_does_not_reach_the_terminal),
        cmocka_unit_test(a_guests_line_becomes_text_of_the_same_length),
        cmocka_unit_test(json_becomes_yaml_that_means_the_same),
        cmocka_unit_test(texts_that_yaml_would_misread_are_quoted),
        cmocka_unit_test(values_are_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
