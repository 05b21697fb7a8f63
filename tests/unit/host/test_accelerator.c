/* Which accelerator works is found out once per boot of the host, by a guest that really runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/host/accelerator.h"
#include "agent/host/guest_user.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

#define BOOT  "8d3f6c9a-1111-4222-8333-444455556666"
#define OTHER "8d3f6c9a-1111-4222-8333-777788889999"

static int make_folder(void **state)
{
    char *folder = xstrdup("/tmp/shoal-accelerator.XXXXXX");
    *state = folder;
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    int result = file_remove_tree(*state, NULL);
    free(*state);
    return result;
}

static void an_answer_is_kept_for_one_boot(void **state)
{
    AUTO_FREE char *path = xasprintf("%s/accelerator.json", (const char *)*state);
    struct accelerator said = {.reason = "/dev/kvm is there, but \"it\" does not work"},
                       found = {0};
    assert_int_equal(accelerator_load(path, BOOT, &found), -1);
    assert_int_equal(accelerator_save(path, BOOT, &said, NULL), 0);
    assert_int_equal(accelerator_load(path, BOOT, &found), 0);
    assert_false(found.kvm);
    assert_string_equal(found.reason, said.reason);
    assert_int_equal(accelerator_load(path, OTHER, &found), -1);
    said = (struct accelerator){.kvm = true};
    assert_int_equal(accelerator_save(path, OTHER, &said, NULL), 0);
    assert_int_equal(accelerator_load(path, OTHER, &found), 0);
    assert_true(found.kvm);
    assert_string_equal(found.reason, "");
}

static void what_is_not_well_formed_is_asked_anew(void **state)
{
    static const char *const texts[] = {"", "kvm", "{}", "{\"boot\":\"" BOOT "\"}",
                                        "{\"boot\":\"" BOOT "\",\"kvm\":\"yes\"}"};
    AUTO_FREE char *path = xasprintf("%s/accelerator.json", (const char *)*state);
    struct accelerator found;
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        assert_int_equal(file_write(path, texts[i], strlen(texts[i]), 0644, NULL), 0);
        assert_int_equal(accelerator_load(path, BOOT, &found), -1);
    }
}

static void the_probe_guest_runs_by_translation(void **state)
{
    struct error error = ERROR_INIT;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(*state, 0755), 0);
    if (accelerator_probe("tcg", *state, GUEST_USER_PROBE, GUEST_USER_PROBE, &error) < 0)
        fail_msg("%s", error.message);
}

static void why_a_probe_guest_does_not_run_is_qemus_word(void **state)
{
    struct error error = ERROR_INIT;
    if (geteuid() != 0)
        skip();
    assert_int_equal(chmod(*state, 0755), 0);
    assert_int_equal(accelerator_probe("hax", *state, GUEST_USER_PROBE, GUEST_USER_PROBE, &error),
                     -1);
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    assert_non_null(strstr(error.message, "hax"));
}

static void only_the_hosts_own_guests_are_helped(void **state)
{
    (void)state;
    struct accelerator accelerator = {.kvm = true};
#if defined(__x86_64__)
    assert_string_equal(accelerator_of(&accelerator, "amd64"), "kvm");
    assert_string_equal(accelerator_of(&accelerator, "arm64"), "tcg");
#endif
    accelerator.kvm = false;
    assert_string_equal(accelerator_of(&accelerator, "amd64"), "tcg");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        TEST(an_answer_is_kept_for_one_boot),
        TEST(what_is_not_well_formed_is_asked_anew),
        TEST(the_probe_guest_runs_by_translation),
        TEST(why_a_probe_guest_does_not_run_is_qemus_word),
        cmocka_unit_test(only_the_hosts_own_guests_are_helped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
