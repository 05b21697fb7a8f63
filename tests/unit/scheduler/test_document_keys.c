/* What is removed is known by its key alone: a standby learns of it so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "scheduler/documents.h"
#include "scheduler/store.h"

static const char *const keys[DOCUMENT_KINDS] = {
    [DOCUMENT_COUNTERS] = "counters",
    [DOCUMENT_NODE] = "nodes/n-1",
    [DOCUMENT_REMOVED_NODE] = "removed-nodes/n-1",
    [DOCUMENT_KEY] = "keys/team",
    [DOCUMENT_POLICY] = "policies/all",
    [DOCUMENT_SERVICE] = "services/default/hello",
    [DOCUMENT_REVISION] = "revisions/default/hello/00000007",
    [DOCUMENT_ROLLOUT] = "rollouts/default/hello/00000012",
    [DOCUMENT_RUN] = "runs/default/nightly/00000003",
    [DOCUMENT_VOLUME] = "volumes/default/hello/00000003",
    [DOCUMENT_INSTANCE] = "instances/0001000003f2",
    [DOCUMENT_OBSERVED] = "observed/0001000003f2",
    [DOCUMENT_EVENT] = "events/00000001000004d2",
};

static void a_key_says_of_which_kind_it_is_and_which_one(void **state)
{
    (void)state;
    for (int kind = 0; kind < DOCUMENT_KINDS; kind++) {
        char key[STORE_KEY_MAX];
        assert_non_null(keys[kind]);
        assert_int_equal(document_kind_of_key(keys[kind]), kind);
        void *document = document_of_key((enum document_kind)kind, keys[kind]);
        assert_non_null(document);
        document_key((enum document_kind)kind, document, key, sizeof key);
        assert_string_equal(key, keys[kind]);
        document_free((enum document_kind)kind, document);
    }
}

static void a_key_of_a_newer_version_is_of_no_kind(void **state)
{
    (void)state;
    static const char *const others[] = {"",      "counter", "counters/x",
                                         "nodes", "nodes/",  "secrets/a"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(document_kind_of_key(others[i]), DOCUMENT_KINDS);
}

static void a_key_that_is_none_of_its_kind_names_nothing(void **state)
{
    (void)state;
    static const struct {
        enum document_kind kind;
        const char *key;
    } wrong[] = {
        {DOCUMENT_SERVICE, "services/default"},
        {DOCUMENT_SERVICE, "services/default/hello/1"},
        {DOCUMENT_REVISION, "revisions/default/hello"},
        {DOCUMENT_REVISION, "revisions/default/hello/x"},
        {DOCUMENT_REVISION, "revisions/default/hello/99999999999"},
        {DOCUMENT_INSTANCE, "instances/0001000003f2aa"},
        {DOCUMENT_EVENT, "events/zz"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_null(document_of_key(wrong[i].kind, wrong[i].key));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_says_of_which_kind_it_is_and_which_one),
        cmocka_unit_test(a_key_of_a_newer_version_is_of_no_kind),
        cmocka_unit_test(a_key_that_is_none_of_its_kind_names_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
