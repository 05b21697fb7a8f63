#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"
#include "registry/upkeep/policies.h"

static struct policies parse(const char *text)
{
    AUTO_JSON struct json_object *list = NULL;
    struct policy items[8] = {0};
    struct policies policies;
    assert_int_equal(json_parse(text, strlen(text), &list, NULL), 0);
    size_t count = json_object_array_length(list);
    assert_true(count <= ARRAY_LENGTH(items));
    for (size_t i = 0; i < count; i++)
        assert_int_equal(json_decode(&policy_settings_record, json_object_array_get_idx(list, i),
                                     JSON_STRICT, &items[i], NULL),
                         0);
    policies_copy(items, count, &policies);
    for (size_t i = 0; i < count; i++)
        json_record_release(&policy_settings_record, &items[i]);
    return policies;
}

static void the_first_rule_that_answers_counts(void **state)
{
    (void)state;
    struct policies policies =
        parse("[{\"repositories\": [\"team/**\"], \"immutable\": [\"v*\"]},"
              " {\"repositories\": [\"team/big\"], \"quota\": \"2Gi\", \"immutable\": [\"*\"]},"
              " {\"repositories\": [\"**\"], \"quota\": \"1Ki\","
              "  \"retention\": {\"keep_last\": 3}}]");
    uint64_t quota = 0;
    assert_true(policies_quota(&policies, "team/big", &quota));
    assert_int_equal(quota, (uint64_t)2 << 30);
    assert_true(policies_quota(&policies, "team/small", &quota));
    assert_int_equal(quota, 1024);
    assert_true(policies_tag_is_immutable(&policies, "team/big", "v1"));
    assert_false(policies_tag_is_immutable(&policies, "team/big", "latest"));
    assert_false(policies_tag_is_immutable(&policies, "other", "v1"));
    assert_int_equal(policies_retention(&policies, "x")->keep_last, 3);
    policies_release(&policies);
    assert_null(policies_retention(&policies, "x"));
    assert_false(policies_quota(&policies, "x", &quota));
}

static bool is_kept(const struct retention_tag *tags, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(tags[i].name, name) == 0)
            return tags[i].kept;
    }
    fail_msg("no tag %s", name);
    return false;
}

static void retention_keeps_the_last_the_new_and_the_named(void **state)
{
    (void)state;
    struct policies policies =
        parse("[{\"repositories\": [\"**\"], \"retention\": {\"keep_last\": 2,"
              " \"keep_newer\": \"1h\", \"keep_tags\": [\"stable*\"]}}]");
    const uint64_t hour = 3600000;
    struct retention_tag tags[] = {
        {"a", NULL, 10 * hour, false, false},        {"b", NULL, 9 * hour, false, false},
        {"c", NULL, hour / 2, false, false},         {"d", NULL, 8 * hour, false, false},
        {"stable-1", NULL, 99 * hour, false, false}, {"fixed", NULL, 98 * hour, true, false},
        {"e", NULL, hour / 3, false, false},         {"f", NULL, hour / 4, false, false},
    };
    size_t count = ARRAY_LENGTH(tags);
    retention_decide(policies_retention(&policies, "x"), tags, count);
    assert_true(is_kept(tags, count, "f"));
    assert_true(is_kept(tags, count, "e"));
    assert_true(is_kept(tags, count, "c")); /* newer than an hour */
    assert_false(is_kept(tags, count, "d"));
    assert_false(is_kept(tags, count, "a"));
    assert_false(is_kept(tags, count, "b"));
    assert_true(is_kept(tags, count, "stable-1"));
    assert_true(is_kept(tags, count, "fixed"));
    policies_release(&policies);
}

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void signatures_tags_do_not_count(void **state)
{
    (void)state;
    struct retention retention = {.keep_last = 1};
    struct retention_tag tags[] = {
        {"sha256-" HEX ".sig", NULL, 1, false, false},
        {"sha256-" HEX ".sbom", NULL, 2, false, false},
        {"new", NULL, 3, false, false},
        {"old", NULL, 4, false, false},
    };
    retention_decide(&retention, tags, ARRAY_LENGTH(tags));
    assert_true(is_kept(tags, 4, "new"));
    assert_false(is_kept(tags, 4, "old"));
    assert_true(is_kept(tags, 4, "sha256-" HEX ".sig"));

    char digest[128] = "";
    assert_true(tag_is_companion("sha256-" HEX ".att", digest, sizeof digest));
    assert_string_equal(digest, "sha256:" HEX);
    assert_false(tag_is_companion("sha256-" HEX ".other", digest, sizeof digest));
    assert_false(tag_is_companion("sha256-" HEX, digest, sizeof digest));
    assert_false(tag_is_companion("sha256-12.sig", digest, sizeof digest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_rule_that_answers_counts),
        cmocka_unit_test(retention_keeps_the_last_the_new_and_the_named),
        cmocka_unit_test(signatures_tags_do_not_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
