/* Records: one table decodes, encodes, copies and releases a struct. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/xalloc.h"

struct leaf {
    char name[8];
    uint32_t number;
};

enum color { COLOR_RED, COLOR_BLUE };
static const char *const color_names[] = {"red", "blue", NULL};

struct tree {
    char name[8];
    char *text;
    uint32_t small;
    uint64_t large;
    bool has_leaf;
    bool flag;
    enum color color;
    uint64_t wait_ms;
    uint64_t size;
    struct leaf leaf;
    struct leaf *leaves;
    size_t leaf_count;
    struct json_strings words;
    struct json_map map;
    struct json_object *any;
};

static const char *check_word(const char *value)
{
    return strchr(value, '!') == NULL ? NULL : "words without '!'";
}

static const struct json_field leaf_fields[] = {
    JSON_FIELD(struct leaf, name, "name", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct leaf, number, "number", JSON_UINT, .min = 1, .max = 9),
    JSON_FIELD_END,
};
static const struct json_record leaf_record = {sizeof(struct leaf), leaf_fields};

static const struct json_field tree_fields[] = {
    JSON_FIELD(struct tree, name, "name", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct tree, text, "text", JSON_TEXT, .flags = 0),
    JSON_FIELD(struct tree, small, "small", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct tree, large, "large", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct tree, flag, "flag", JSON_BOOL, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct tree, color, "color", JSON_ENUM, .flags = JSON_OMIT_EMPTY,
               .names = color_names),
    JSON_FIELD(struct tree, wait_ms, "wait", JSON_DURATION, .flags = JSON_OMIT_EMPTY, .min = 10,
               .max = 60000),
    JSON_FIELD(struct tree, size, "size", JSON_SIZE, .flags = JSON_OMIT_EMPTY, .min = 1024),
    JSON_FIELD(struct tree, leaf, "leaf", JSON_OBJECT, .record = &leaf_record,
               .present_offset = offsetof(struct tree, has_leaf)),
    JSON_FIELD_LIST(struct tree, leaves, leaf_count, "leaves", &leaf_record,
                    .flags = JSON_OMIT_EMPTY, .max = 2),
    JSON_FIELD(struct tree, words, "words", JSON_STRINGS, .flags = JSON_OMIT_EMPTY, .max = 2,
               .check = check_word),
    JSON_FIELD(struct tree, map, "map", JSON_MAP, .flags = JSON_OMIT_EMPTY, .max = 2,
               .check = check_word),
    JSON_FIELD(struct tree, any, "any", JSON_ANY, .flags = 0),
    JSON_FIELD_REFUSED("later"),
    JSON_FIELD_END,
};
static const struct json_record tree_record = {sizeof(struct tree), tree_fields};

static int decode(const char *text, enum json_strictness strictness, struct tree *ret_tree,
                  struct error *error)
{
    *ret_tree = (struct tree){0};
    return json_parse_record(&tree_record, text, strlen(text), strictness, ret_tree, error);
}

static void assert_refused(const char *text, enum error_code code, const char *pointer,
                           const char *message)
{
    struct tree tree;
    struct error error = ERROR_INIT;
    assert_int_equal(decode(text, JSON_STRICT, &tree, &error), -1);
    if (strstr(error.message, message) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", message, error.message);
    assert_int_equal(error.code, code);
    assert_string_equal(error.pointer, pointer);
    assert_null(tree.text);
    assert_null(tree.leaves);
}

#define EVERYTHING                                                                                 \
    "{\"name\":\"oak\",\"text\":\"long text\",\"small\":7,\"large\":9007199254740993,"             \
    "\"flag\":true,\"color\":\"blue\",\"wait\":\"1s500ms\",\"size\":\"1Ki\","                      \
    "\"leaf\":{\"name\":\"a\",\"number\":1},\"leaves\":[{\"name\":\"b\",\"number\":2},"            \
    "{\"name\":\"c\",\"number\":3}],\"words\":[\"x\",\"y\"],\"map\":{\"k\":\"v\"},"                \
    "\"any\":{\"free\":[1,null]}}"

static void what_is_decoded_encodes_to_the_same_text(void **state)
{
    (void)state;
    struct tree tree;
    struct error error = ERROR_INIT;
    if (decode(EVERYTHING, JSON_STRICT, &tree, &error) < 0)
        fail_msg("%s", error.message);
    assert_true(tree.has_leaf);
    assert_int_equal(tree.wait_ms, 1500);
    assert_int_equal(tree.size, 1024);
    assert_true(tree.large == UINT64_C(9007199254740993));
    assert_int_equal(tree.leaf_count, 2);
    assert_string_equal(json_map_get(&tree.map, "k"), "v");
    AUTO_FREE char *text = json_record_text(&tree_record, &tree);
    assert_string_equal(text, EVERYTHING);
    json_record_release(&tree_record, &tree);
}

static void a_copy_is_deep(void **state)
{
    (void)state;
    struct tree tree, copy;
    assert_int_equal(decode(EVERYTHING, JSON_STRICT, &tree, NULL), 0);
    json_record_copy(&tree_record, &tree, &copy);
    tree.text[0] = 'X';
    tree.leaves[0].number = 9;
    json_map_set(&tree.map, "k", "other");
    json_record_release(&tree_record, &tree);
    AUTO_FREE char *text = json_record_text(&tree_record, &copy);
    assert_string_equal(text, EVERYTHING);
    json_record_release(&tree_record, &copy);
}

static void releasing_twice_is_fine(void **state)
{
    (void)state;
    struct tree tree;
    assert_int_equal(decode(EVERYTHING, JSON_STRICT, &tree, NULL), 0);
    json_record_release(&tree_record, &tree);
    json_record_release(&tree_record, &tree);
    assert_null(tree.any);
    assert_int_equal(tree.words.count, 0);
}

static void absent_and_null_keys_leave_members_alone(void **state)
{
    (void)state;
    struct tree tree = {.small = 5, .wait_ms = 77};
    const char *text = "{\"name\":\"oak\",\"small\":null}";
    assert_int_equal(json_parse_record(&tree_record, text, strlen(text), JSON_STRICT, &tree, NULL),
                     0);
    assert_int_equal(tree.small, 5);
    assert_int_equal(tree.wait_ms, 77);
    assert_false(tree.has_leaf);
    json_record_release(&tree_record, &tree);
}

static void empty_members_are_not_written(void **state)
{
    (void)state;
    struct tree tree = {.name = "oak"};
    AUTO_FREE char *text = json_record_text(&tree_record, &tree);
    assert_string_equal(text, "{\"name\":\"oak\"}");
}

static void unknown_keys_are_refused_strictly_and_passed_over_leniently(void **state)
{
    (void)state;
    struct tree tree;
    assert_refused("{\"name\":\"oak\",\"nmae\":1}", ERROR_INVALID, "/nmae",
                   "unknown key \"nmae\": allowed are name, text, small");
    assert_int_equal(decode("{\"name\":\"oak\",\"nmae\":1}", JSON_LENIENT, &tree, NULL), 0);
    json_record_release(&tree_record, &tree);
}

static void keys_that_are_not_built_yet_are_refused_and_not_offered(void **state)
{
    (void)state;
    struct tree tree;
    struct error error = ERROR_INIT;
    assert_refused("{\"name\":\"oak\",\"later\":null}", ERROR_UNSUPPORTED, "/later",
                   "\"later\" is not supported yet");
    assert_int_equal(decode("{\"name\":\"oak\",\"x\":1}", JSON_STRICT, &tree, &error), -1);
    assert_null(strstr(error.message, "later"));
}

static void wrong_types_ranges_and_lengths_are_named_by_pointer(void **state)
{
    (void)state;
    assert_refused("[]", ERROR_INVALID, "", "expected a mapping, found a list");
    assert_refused("{}", ERROR_INVALID, "", "the key \"name\" is missing");
    assert_refused("{\"name\":\"too long a name\"}", ERROR_INVALID, "/name",
                   "longer than 7 characters");
    assert_refused("{\"name\":\"a\\u0000b\"}", ERROR_INVALID, "/name", "NUL");
    assert_refused("{\"name\":\"a\",\"small\":-1}", ERROR_INVALID, "/small", "-1 is out of range");
    assert_refused("{\"name\":\"a\",\"small\":4294967296}", ERROR_INVALID, "/small",
                   "allowed are 0 to 4294967295");
    assert_refused("{\"name\":\"a\",\"small\":\"1\"}", ERROR_INVALID, "/small",
                   "expected a whole number");
    assert_refused("{\"name\":\"a\",\"flag\":1}", ERROR_INVALID, "/flag", "true or false");
    assert_refused("{\"name\":\"a\",\"color\":\"green\"}", ERROR_INVALID, "/color",
                   "\"green\" is not allowed: allowed are red, blue");
    assert_refused("{\"name\":\"a\",\"wait\":\"9ms\"}", ERROR_INVALID, "/wait",
                   "9ms is out of range: allowed are 10ms to 1m");
    assert_refused("{\"name\":\"a\",\"wait\":5}", ERROR_INVALID, "/wait", "expected a duration");
    assert_refused("{\"name\":\"a\",\"size\":\"1K\"}", ERROR_INVALID, "/size", "expected a size");
    assert_refused("{\"name\":\"a\",\"size\":1}", ERROR_INVALID, "/size", "at least 1Ki");
    assert_refused("{\"name\":\"a\",\"text\":\"b\",\"leaves\":[{\"name\":\"x\"},{\"name\":\"y\","
                   "\"number\":10}]}",
                   ERROR_INVALID, "/leaves/1/number", "10 is out of range: allowed are 1 to 9");
    assert_refused("{\"name\":\"a\",\"leaves\":[1,2,3]}", ERROR_INVALID, "/leaves",
                   "3 entries are too many: at most 2");
    assert_refused("{\"name\":\"a\",\"words\":[\"x\",\"y!\"]}", ERROR_INVALID, "/words/1",
                   "\"y!\" is not allowed: words without '!'");
    assert_refused("{\"name\":\"a\",\"map\":{\"a/b~!\":\"v\"}}", ERROR_INVALID, "/map/a~1b~0!",
                   "is not allowed");
    assert_refused("{\"name\":\"a\",\"map\":{\"k\":1}}", ERROR_INVALID, "/map/k",
                   "expected a text");
}

static void text_that_is_no_json_is_refused_with_its_line(void **state)
{
    (void)state;
    static const char *const texts[] = {"",           "{",        "{\"a\":1} x", "7 8",
                                        "{\"a\":1,}", "\"\xff\"", "[1,\n2,\n,]"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct json_object *object = NULL;
        struct error error = ERROR_INIT;
        assert_int_equal(json_parse(texts[i], strlen(texts[i]), &object, &error), -1);
        assert_null(object);
        assert_int_equal(error.code, ERROR_INVALID);
        assert_non_null(strstr(error.message, "not valid JSON: line "));
        if (i == 6)
            assert_non_null(strstr(error.message, "line 3"));
    }
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    char text[201] = "";
    struct json_object *object = NULL;
    memset(text, '[', 100);
    memset(text + 100, ']', 100);
    assert_int_equal(json_parse(text, 200, &object, NULL), -1);
    memset(text, '[', 30);
    memset(text + 30, ']', 30);
    assert_int_equal(json_parse(text, 60, &object, NULL), 0);
    json_object_put(object);
}

static void a_document_of_one_value_and_spaces_is_fine(void **state)
{
    (void)state;
    static const char *const texts[] = {"7", " true ", "\n\"x\"\n", "null"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct json_object *object = NULL;
        assert_int_equal(json_parse(texts[i], strlen(texts[i]), &object, NULL), 0);
        json_object_put(object);
    }
}

static void maps_and_lists_of_strings_grow_and_replace(void **state)
{
    (void)state;
    struct json_map map = {0};
    struct json_strings strings = {0};
    assert_null(json_map_get(&map, "a"));
    json_map_set(&map, "a", "1");
    json_map_set(&map, "b", "2");
    json_map_set(&map, "a", "3");
    assert_int_equal(map.count, 2);
    assert_string_equal(json_map_get(&map, "a"), "3");
    json_strings_add(&strings, "x");
    json_strings_add(&strings, "x");
    assert_int_equal(strings.count, 2);
    json_map_release(&map);
    json_strings_release(&strings);
    assert_null(json_map_get(&map, "a"));
}

static void keys_that_are_there_twice_are_found_at_any_depth(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message; /* NULL: fine */
    } cases[] = {
        {"{\"a\":1,\"b\":{\"a\":2},\"c\":[{\"a\":3},{\"a\":4}]}", NULL},
        {"{\"a:b\":\":\",\"q\\\"\":\"\\\":\\\\\",\"\":\"\"}", NULL},
        {"[1,\"x\",null]", NULL},
        {"\"a\\\\u0000\"", NULL},
        {"{\"a\":1,\"a\":1}", "a key twice"},
        {"{\"a\":1,\"\\u0061\":2}", "a key twice"},
        {"[[{\"b\":{\"a\":null,\"a\":null}}]]", "a key twice"},
        {"{\"a\":{\"x\":1},\"a\":2}", "a key twice"},
        {"{\"a\\u0000b\":1}", "a NUL byte"},
        {"{\"a\":\"\\u0000\"}", "a NUL byte"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct json_object *object = NULL;
        struct error error = ERROR_INIT;
        size_t length = strlen(cases[i].text);
        assert_int_equal(json_parse(cases[i].text, length, &object, NULL), 0);
        int result = json_check_unique(cases[i].text, length, object, &error);
        json_object_put(object);
        if (result != (cases[i].message == NULL ? 0 : -1) ||
            (result < 0 && strstr(error.message, cases[i].message) == NULL))
            fail_msg("%s: %s", cases[i].text, error.message);
    }
}

/* Small in bytes, large in memory. */
static void a_document_of_too_many_objects_is_refused(void **state)
{
    (void)state;
    static const struct json_field fields[] = {JSON_FIELD_END};
    static const struct json_record record = {1, fields};
    AUTO_BUFFER struct buffer text = {0};
    struct error error = ERROR_INIT;
    char nothing;
    buffer_append_text(&text, "{\"a\":[{}");
    for (size_t i = 3; i < JSON_CONTAINERS_MAX; i++)
        buffer_append_text(&text, ",{}");
    AUTO_FREE char *most = xasprintf("%s]}", buffer_text(&text));
    AUTO_FREE char *more = xasprintf("%s,[]]}", buffer_text(&text));
    assert_int_equal(
        json_parse_unique_record(&record, most, strlen(most), JSON_LENIENT, &nothing, &error), 0);
    assert_int_equal(
        json_parse_unique_record(&record, more, strlen(more), JSON_LENIENT, &nothing, &error), -1);
    assert_int_equal(error.code, ERROR_INVALID);
    assert_non_null(strstr(error.message, "65537 objects and lists"));
}

static void a_text_cut_within_a_character_is_still_json(void **state)
{
    (void)state;
    struct leaf leaf = {.number = 1}, read = {0};
    memset(leaf.name, 'x', sizeof leaf.name - 2);
    leaf.name[0] = '\n'; /* what JSON can carry stays */
    leaf.name[sizeof leaf.name - 2] = '\xc3';
    AUTO_FREE char *text = json_record_text(&leaf_record, &leaf);
    assert_int_equal(json_parse_record(&leaf_record, text, strlen(text), JSON_STRICT, &read, NULL),
                     0);
    assert_int_equal(read.name[0], '\n');
    assert_int_equal(read.name[sizeof read.name - 2], '?');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_decoded_encodes_to_the_same_text),
        cmocka_unit_test(a_copy_is_deep),
        cmocka_unit_test(releasing_twice_is_fine),
        cmocka_unit_test(absent_and_null_keys_leave_members_alone),
        cmocka_unit_test(empty_members_are_not_written),
        cmocka_unit_test(unknown_keys_are_refused_strictly_and_passed_over_leniently),
        cmocka_unit_test(keys_that_are_not_built_yet_are_refused_and_not_offered),
        cmocka_unit_test(wrong_types_ranges_and_lengths_are_named_by_pointer),
        cmocka_unit_test(text_that_is_no_json_is_refused_with_its_line),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(a_document_of_one_value_and_spaces_is_fine),
        cmocka_unit_test(keys_that_are_there_twice_are_found_at_any_depth),
        cmocka_unit_test(a_document_of_too_many_objects_is_refused),
        cmocka_unit_test(a_text_cut_within_a_character_is_still_json),
        cmocka_unit_test(maps_and_lists_of_strings_grow_and_replace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
