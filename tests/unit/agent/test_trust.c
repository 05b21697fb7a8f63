/* Which list of the scheduler's keys counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/trust.h"
#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/xalloc.h"

/* The caller frees the key's text. */
static char *make_pem(void)
{
    char *pem = NULL;
    struct private_key *key = private_key_generate(NULL);
    struct public_key *public = private_key_public(key);
    assert_int_equal(public_key_to_pem(public, &pem, NULL), 0);
    public_key_destroy(public);
    private_key_destroy(key);
    return pem;
}

static void apply(struct trust *trust, uint64_t term, uint64_t revision, char *pem)
{
    struct api_key key = {.name = "k", .pem = pem};
    struct api_trust document = {
        .term = term, .revision = revision, .keys = &key, .key_count = pem != NULL};
    trust_apply(trust, &document);
}

static void no_list_is_new_enough_before_one_came(void **state)
{
    (void)state;
    struct trust trust;
    assert_int_equal(trust_init(&trust, NULL, NULL), 0);
    assert_false(trust_is_since(&trust, 0, 0));
    trust_finish(&trust);
}

static void a_list_of_an_earlier_term_is_older_whatever_its_revision(void **state)
{
    (void)state;
    struct trust trust;
    assert_int_equal(trust_init(&trust, NULL, NULL), 0);
    apply(&trust, 2, 9, NULL);
    assert_true(trust_is_since(&trust, 2, 9));
    assert_true(trust_is_since(&trust, 1, 70));
    assert_false(trust_is_since(&trust, 2, 10));
    assert_false(trust_is_since(&trust, 3, 4));
    trust_finish(&trust);
}

static void a_newer_list_takes_the_place_of_the_one_before(void **state)
{
    (void)state;
    AUTO_FREE char *pem = make_pem();
    struct trust trust;
    assert_int_equal(trust_init(&trust, NULL, NULL), 0);
    apply(&trust, 1, 1, pem);
    assert_int_equal(trust.key_count, 1);
    apply(&trust, 1, 2, NULL);
    assert_int_equal(trust.key_count, 0);
    trust_finish(&trust);
}

static void with_a_trust_folder_only_its_keys_count(void **state)
{
    (void)state;
    char folder[] = "/tmp/shoal-trust.XXXXXX";
    assert_non_null(mkdtemp(folder));
    AUTO_FREE char *path = xasprintf("%s/here.pub", folder);
    AUTO_FREE char *here = make_pem();
    AUTO_FREE char *elsewhere = make_pem();
    assert_int_equal(file_write(path, here, strlen(here), 0644, NULL), 0);
    struct trust trust;
    assert_int_equal(trust_init(&trust, folder, NULL), 0);
    apply(&trust, 1, 1, elsewhere);
    assert_int_equal(trust.key_count, 0);
    apply(&trust, 1, 2, here);
    assert_int_equal(trust.key_count, 1);
    trust_finish(&trust);
    file_remove_tree(folder, NULL);
}

static void the_scheduler_s_policies_are_the_node_s_rules(void **state)
{
    (void)state;
    char glob[] = "default/*", name[] = "k";
    char *match[] = {glob}, *keys[] = {name};
    struct api_policy policy = {
        .name = "p", .match = {match, 1}, .keys = {keys, 1}, .require = 1, .max_age_ms = 60000};
    struct api_trust document = {.term = 1, .revision = 1, .policies = &policy, .policy_count = 1};
    struct trust trust;
    assert_int_equal(trust_init(&trust, NULL, NULL), 0);
    trust_apply(&trust, &document);
    policy.max_age_ms = 0; /* it has a copy of its own */
    struct image_rules rules = trust_rules(&trust, "r:5000", "default/hello");
    assert_int_equal(rules.policy_count, 1);
    assert_string_equal(rules.policies[0].match.items[0], "default/*");
    assert_int_equal(rules.policies[0].max_age_ms, 60000);
    assert_string_equal(rules.registry, "r:5000");
    assert_string_equal(rules.repository, "default/hello");
    assert_true(rules.now_ms > 0);
    assert_false(rules.needs_trusted_key);
    document.policy_count = 0;
    document.revision = 2;
    trust_apply(&trust, &document);
    assert_int_equal(trust_rules(&trust, "r:5000", "default/hello").policy_count, 0);
    trust_finish(&trust);
}

static void with_a_trust_folder_no_policy_is_enough_without_a_key(void **state)
{
    (void)state;
    char folder[] = "/tmp/shoal-trust.XXXXXX";
    assert_non_null(mkdtemp(folder));
    struct trust trust;
    assert_int_equal(trust_init(&trust, folder, NULL), 0);
    assert_true(trust_rules(&trust, "r:5000", "default/hello").needs_trusted_key);
    trust_finish(&trust);
    file_remove_tree(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_list_is_new_enough_before_one_came),
        cmocka_unit_test(a_list_of_an_earlier_term_is_older_whatever_its_revision),
        cmocka_unit_test(a_newer_list_takes_the_place_of_the_one_before),
        cmocka_unit_test(with_a_trust_folder_only_its_keys_count),
        cmocka_unit_test(the_scheduler_s_policies_are_the_node_s_rules),
        cmocka_unit_test(with_a_trust_folder_no_policy_is_enough_without_a_key),
    };
    log_open("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
