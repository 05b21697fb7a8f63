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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_list_is_new_enough_before_one_came),
        cmocka_unit_test(a_list_of_an_earlier_term_is_older_whatever_its_revision),
        cmocka_unit_test(a_newer_list_takes_the_place_of_the_one_before),
        cmocka_unit_test(with_a_trust_folder_only_its_keys_count),
    };
    log_open("test", LOG_LEVEL_ERROR);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
