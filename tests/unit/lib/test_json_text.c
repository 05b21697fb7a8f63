/* Structs to text and back without a tree of objects: the same as by way of one, over many random
 * structs, and over their texts with random harm done to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/xalloc.h"

#define ROUNDS 20000

struct leaf {
    char name[8];
    uint32_t number;
};

static const char *const color_names[] = {"red", "blue", "dark green", NULL};

struct tree {
    char name[24];
    char *text;
    uint32_t small;
    uint64_t large;
    bool has_leaf;
    bool flag;
    int color;
    uint64_t wait_ms;
    uint64_t size;
    struct leaf leaf;
    struct leaf *leaves;
    size_t leaf_count;
    struct json_strings words;
    struct json_map map;
};

static const char *check_word(const char *value)
{
    return strchr(value, '!') == NULL ? NULL : "words without '!'";
}

static const struct json_field leaf_fields[] = {
    JSON_FIELD(struct leaf, name, "name", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct leaf, number, "number", JSON_UINT, .max = 900),
    JSON_FIELD_END,
};
static const struct json_record leaf_record = {sizeof(struct leaf), leaf_fields};

static const struct json_field tree_fields[] = {
    JSON_FIELD(struct tree, name, "name", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct tree, text, "text", JSON_TEXT, .flags = 0),
    JSON_FIELD(struct tree, small, "small", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct tree, large, "large", JSON_UINT, .flags = 0),
    JSON_FIELD(struct tree, flag, "flag", JSON_BOOL, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct tree, color, "color", JSON_ENUM, .flags = 0, .names = color_names),
    JSON_FIELD(struct tree, wait_ms, "wait", JSON_DURATION, .flags = JSON_OMIT_EMPTY,
               .max = 100000),
    JSON_FIELD(struct tree, size, "size", JSON_SIZE, .flags = 0),
    JSON_FIELD(struct tree, leaf, "leaf", JSON_OBJECT, .record = &leaf_record,
               .present_offset = offsetof(struct tree, has_leaf)),
    JSON_FIELD_LIST(struct tree, leaves, leaf_count, "leaves", &leaf_record,
                    .flags = JSON_OMIT_EMPTY, .max = 6),
    JSON_FIELD(struct tree, words, "words", JSON_STRINGS, .flags = 0, .max = 3,
               .check = check_word),
    JSON_FIELD(struct tree, map, "map", JSON_MAP, .flags = JSON_OMIT_EMPTY, .check = check_word),
    JSON_FIELD_END,
};
static const struct json_record tree_record = {sizeof(struct tree), tree_fields};

static uint64_t seed;

static uint32_t chance(uint32_t most)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33) % most;
}

/* Pieces that a writer has to mind: quotes, controls, whole characters and cut ones. */
static void random_text(char *ret_text, size_t size)
{
    static const char *const pieces[] = {"a", "word", "\"", "\\", "/",    "\n",       "\t",
                                         "7", "\x01", "é",  "€",  "\xe2", "\xf0\x9f", "!"};
    size_t used = 0;
    ret_text[0] = '\0';
    for (uint32_t i = chance(6); i > 0; i--) {
        const char *piece = pieces[chance(ARRAY_LENGTH(pieces))];
        if (used + strlen(piece) < size)
            used += (size_t)sprintf(ret_text + used, "%s", piece);
    }
}

static void random_leaf(struct leaf *leaf)
{
    random_text(leaf->name, sizeof leaf->name);
    leaf->number = chance(1000);
}

static void random_tree(struct tree *tree)
{
    char text[24];
    *tree = (struct tree){.flag = chance(2) == 0,
                          .color = (int)chance(3),
                          .small = chance(3) == 0 ? 0 : chance(100000),
                          .large = (uint64_t)chance(1u << 30) << chance(34),
                          .wait_ms = chance(200000),
                          .size = (uint64_t)chance(1000) << 10 * chance(3),
                          .has_leaf = chance(2) == 0};
    random_text(tree->name, sizeof tree->name);
    random_leaf(&tree->leaf);
    if (chance(2) == 0) {
        random_text(text, sizeof text);
        tree->text = xstrdup(text);
    }
    tree->leaf_count = chance(4);
    tree->leaves = tree->leaf_count > 0 ? xcalloc(tree->leaf_count, sizeof *tree->leaves) : NULL;
    for (size_t i = 0; i < tree->leaf_count; i++)
        random_leaf(&tree->leaves[i]);
    for (uint32_t i = chance(4); i > 0; i--) {
        random_text(text, sizeof text);
        json_strings_add(&tree->words, text);
        json_map_set(&tree->map, text, "value");
    }
}

static void a_text_is_the_same_with_and_without_objects(void **state)
{
    (void)state;
    seed = 1;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct tree tree;
        random_tree(&tree);
        AUTO_JSON struct json_object *object = json_encode(&tree_record, &tree);
        AUTO_FREE char *by_objects = json_text(object);
        AUTO_FREE char *straight = json_record_text(&tree_record, &tree);
        assert_string_equal(straight, by_objects);
        json_record_release(&tree_record, &tree);
    }
}

/* Changes, drops, doubles or moves some bytes. */
static void harm(char *text, size_t *length)
{
    static const char bytes[] = "{}[],:\"\\ 0-9eun\x01\xff";
    for (uint32_t i = chance(3); i > 0 && *length > 2; i--) {
        size_t at = chance((uint32_t)*length);
        switch (chance(4)) {
        case 0:
            text[at] = bytes[chance(sizeof bytes - 1)];
            break;
        case 1:
            memmove(text + at, text + at + 1, *length - at - 1);
            (*length)--;
            break;
        case 2:
            text[at] = text[chance((uint32_t)*length)];
            break;
        default:
            *length -= chance(2);
            break;
        }
    }
}

static int read_by_objects(const char *text, size_t length, struct tree *tree)
{
    AUTO_JSON struct json_object *object = NULL;
    if (json_parse(text, length, &object, NULL) < 0)
        return -1;
    return json_decode(&tree_record, object, JSON_LENIENT, tree, NULL);
}

static void a_struct_is_the_same_with_and_without_objects_or_refused_both_ways(void **state)
{
    (void)state;
    unsigned accepted = 0;
    seed = 2;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct tree tree, one = {.small = 77}, other = {.small = 77};
        random_tree(&tree);
        AUTO_FREE char *text = json_record_text(&tree_record, &tree);
        size_t length = strlen(text);
        harm(text, &length);
        int result = json_parse_record(&tree_record, text, length, JSON_LENIENT, &one, NULL);
        assert_int_equal(result, read_by_objects(text, length, &other));
        AUTO_FREE char *first = json_record_text(&tree_record, &one);
        AUTO_FREE char *second = json_record_text(&tree_record, &other);
        assert_string_equal(first, second);
        accepted += result == 0;
        json_record_release(&tree_record, &tree);
        json_record_release(&tree_record, &one);
        json_record_release(&tree_record, &other);
    }
    assert_in_range(accepted, ROUNDS / 20, ROUNDS - ROUNDS / 20);
}

static void a_key_that_is_not_known_is_passed_over_whatever_it_holds(void **state)
{
    (void)state;
    static const char text[] = "{\"later\":[{\"a\":[1,true,null]},\"x\"],\"small\":3,"
                               "\"more\":{\"b\":\"\\\"\"}}";
    struct tree tree = {0};
    assert_int_equal(json_parse_record(&tree_record, text, strlen(text), JSON_LENIENT, &tree, NULL),
                     0);
    assert_int_equal(tree.small, 3);
    json_record_release(&tree_record, &tree);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_is_the_same_with_and_without_objects),
        cmocka_unit_test(a_struct_is_the_same_with_and_without_objects_or_refused_both_ways),
        cmocka_unit_test(a_key_that_is_not_known_is_passed_over_whatever_it_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
