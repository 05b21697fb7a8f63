/* YAML to JSON, with positions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/yaml.h"

static struct yaml_documents *parse(const char *text)
{
    struct yaml_documents *documents = NULL;
    struct error error = ERROR_INIT;
    if (yaml_parse("file.yaml", text, strlen(text), &documents, &error) < 0)
        fail_msg("%s", error.message);
    return documents;
}

static void assert_json(const char *yaml, const char *json)
{
    struct yaml_documents *documents = parse(yaml);
    assert_int_equal(yaml_count(documents), 1);
    AUTO_FREE char *text = json_text(yaml_value(documents, 0));
    assert_string_equal(text, json);
    yaml_destroy(documents);
}

static void assert_refused(const char *yaml, const char *message)
{
    struct yaml_documents *documents = NULL;
    struct error error = ERROR_INIT;
    assert_int_equal(yaml_parse("file.yaml", yaml, strlen(yaml), &documents, &error), -1);
    assert_null(documents);
    assert_int_equal(error.code, ERROR_INVALID);
    if (strstr(error.message, message) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", message, error.message);
}

static void plain_scalars_follow_the_core_schema(void **state)
{
    (void)state;
    assert_json("[~, null, '', true, False, yes, on, 1, -2, +3, 0x1f, 0o17, 017]",
                "[null,null,\"\",true,false,\"yes\",\"on\",1,-2,3,31,15,17]");
    assert_json("[1.0, 1e3, .inf, 99999999999999999999, 0x, 1_000, 12:30, 2001-01-01]",
                "[\"1.0\",\"1e3\",\".inf\",\"99999999999999999999\",\"0x\",\"1_000\",\"12:30\","
                "\"2001-01-01\"]");
    assert_json("['1', \"true\", 'null']", "[\"1\",\"true\",\"null\"]");
}

static void mappings_and_lists_nest(void **state)
{
    (void)state;
    assert_json("a: {b: [1, {c: d}]}\ne:\n  - f: |\n      two\n      lines\n",
                "{\"a\":{\"b\":[1,{\"c\":\"d\"}]},\"e\":[{\"f\":\"two\\nlines\\n\"}]}");
}

static void several_documents_are_kept_apart_and_empty_ones_passed_over(void **state)
{
    (void)state;
    struct yaml_documents *documents = parse("---\na: 1\n---\n# nothing\n---\nb: 2\n---\n");
    assert_int_equal(yaml_count(documents), 2);
    AUTO_FREE char *text = json_text(yaml_value(documents, 1));
    assert_string_equal(text, "{\"b\":2}");
    unsigned line, column;
    yaml_position(documents, 1, "/b", &line, &column);
    assert_int_equal(line, 6);
    assert_int_equal(column, 4);
    yaml_destroy(documents);
    documents = parse("# nothing\n");
    assert_int_equal(yaml_count(documents), 0);
    yaml_destroy(documents);
}

static const char sample[] = "service: hello\n"
                             "ports:\n"
                             "  - {name: http, port: 80}\n"
                             "  - name: admin\n"
                             "    port:   81\n"
                             "env:\n"
                             "  a/b: one\n"
                             "  c~d: two\n";

static void pointers_lead_to_the_values_position(void **state)
{
    (void)state;
    static const struct {
        const char *pointer;
        unsigned line, column;
    } cases[] = {
        {"", 1, 1},           {"/service", 1, 10},       {"/ports", 3, 3},
        {"/ports/0", 3, 5},   {"/ports/0/port", 3, 24},  {"/ports/1/port", 5, 13},
        {"/env/a~1b", 7, 8},  {"/env/c~0d", 8, 8},       {"/ports/1/mode", 4, 5},
        {"/ports/7/x", 3, 3}, {"/nothing/at/all", 1, 1},
    };
    struct yaml_documents *documents = parse(sample);
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        unsigned line, column;
        yaml_position(documents, 0, cases[i].pointer, &line, &column);
        if (line != cases[i].line || column != cases[i].column)
            fail_msg("%s: %u:%u", cases[i].pointer, line, column);
    }
    yaml_destroy(documents);
}

static void errors_are_located_at_the_value_or_at_the_unknown_key(void **state)
{
    (void)state;
    struct yaml_documents *documents = parse(sample);
    struct error error = ERROR_INIT;
    error_set(&error, ERROR_INVALID, "not a port");
    strcpy(error.pointer, "/ports/1/port");
    assert_int_equal(yaml_error_locate(documents, 0, &error), -1);
    assert_string_equal(error.message, "file.yaml:5:13: not a port");
    error_set(&error, ERROR_INVALID, "unknown key \"port\": allowed are name");
    strcpy(error.pointer, "/ports/1/port");
    yaml_error_locate(documents, 0, &error);
    assert_string_equal(error.message, "file.yaml:5:5: unknown key \"port\": allowed are name");
    yaml_destroy(documents);
}

static void what_is_not_plain_data_is_refused_with_its_position(void **state)
{
    (void)state;
    assert_refused("a: &x 1\n", "file.yaml:1:4: anchors");
    assert_refused("a: 1\nb: *x\n", "file.yaml:2:4: aliases");
    assert_refused("a: !!str 1\n", "file.yaml:1:4: tags");
    assert_refused("a: !mine {b: 1}\n", "file.yaml:1:4: tags");
    assert_refused("%TAG ! tag:x,2000:\n---\na: 1\n", "file.yaml:1:1: tags");
    assert_refused("a: 1\nb: 2\na: 3\n", "file.yaml:3:1: the key \"a\" stands here twice");
    assert_refused("1: a\n", "file.yaml:1:1: a key must be a text, found 1");
    assert_refused("true: a\n", "a key must be a text");
    assert_refused("? [a]\n: b\n", "file.yaml:1:3: a key must be a text");
    assert_refused("? {a: b}\n: c\n", "a key must be a text");
    assert_refused("\"a\\0b\": c\n", "NUL");
    assert_refused("a: [1\n", "file.yaml:2:1: ");
    assert_refused("a: b: c\n", "file.yaml:1:5: ");
    assert_refused("\ta: 1\n", "file.yaml:1:1: ");
    assert_refused("a: \xff\n", "file.yaml: byte 3: ");
    assert_refused("a: \x01\n", "file.yaml: byte ");
}

static void deep_nesting_is_refused(void **state)
{
    (void)state;
    AUTO_BUFFER struct buffer text = {0};
    for (int i = 0; i < 32; i++)
        buffer_append_text(&text, "[");
    for (int i = 0; i < 32; i++)
        buffer_append_text(&text, "]");
    struct yaml_documents *documents = parse(buffer_text(&text));
    yaml_destroy(documents);
    buffer_clear(&text);
    for (int i = 0; i < 33; i++)
        buffer_append_text(&text, "[");
    assert_refused(buffer_text(&text), "file.yaml:1:33: nested more than 32 deep");
}

static void large_documents_are_refused(void **state)
{
    (void)state;
    size_t length = (1u << 20) + 1;
    AUTO_FREE char *text = malloc(length);
    memset(text, '#', length);
    struct yaml_documents *documents = NULL;
    struct error error = ERROR_INIT;
    assert_int_equal(yaml_parse("big.yaml", text, length, &documents, &error), -1);
    assert_int_equal(error.code, ERROR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_scalars_follow_the_core_schema),
        cmocka_unit_test(mappings_and_lists_nest),
        cmocka_unit_test(several_documents_are_kept_apart_and_empty_ones_passed_over),
        cmocka_unit_test(pointers_lead_to_the_values_position),
        cmocka_unit_test(errors_are_located_at_the_value_or_at_the_unknown_key),
        cmocka_unit_test(what_is_not_plain_data_is_refused_with_its_position),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(large_documents_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
