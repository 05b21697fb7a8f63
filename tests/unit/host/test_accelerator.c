/* Which accelerator works is found out once per boot of the host, by a guest that really runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/host/accelerator.h"
#include "agent/host/guest_user.h"
#include "agent/host/probe_guest.h"
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
    struct accelerator said = {.reason = "/dev/kvm is there, but \"it\" does not work",
                               .is_proven = true},
                       found = {0};
    assert_int_equal(accelerator_load(path, BOOT, &found), -1);
    assert_int_equal(accelerator_save(path, BOOT, &said, NULL), 0);
    assert_int_equal(accelerator_load(path, BOOT, &found), 0);
    assert_false(found.kvm);
    assert_string_equal(found.reason, said.reason);
    assert_true(found.is_proven);
    assert_int_equal(accelerator_load(path, OTHER, &found), -1);
    said = (struct accelerator){.kvm = true, .tries = 3, .asked_ms = 12345};
    assert_int_equal(accelerator_save(path, OTHER, &said, NULL), 0);
    assert_int_equal(accelerator_load(path, OTHER, &found), 0);
    assert_true(found.kvm);
    assert_string_equal(found.reason, "");
    assert_false(found.is_proven);
    assert_int_equal(found.tries, 3);
    assert_int_equal(found.asked_ms, 12345);
}

static void what_is_not_well_formed_is_asked_anew(void **state)
{
    static const char *const texts[] = {"", "kvm", "{}", "{\"boot\":\"" BOOT "\"}",
                                        "{\"boot\":\"" BOOT "\",\"kvm\":\"yes\"}",
                                        /* as it was written when a timeout counted as an answer */
                                        "{\"boot\":\"" BOOT "\",\"kvm\":false}"};
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

/* In a container that does not have the probe's user: that says nothing of the accelerator. */
static void a_probe_without_its_user_proves_nothing(void **state)
{
    struct error error = ERROR_INIT;
    int status;
    if (geteuid() != 0)
        skip();
    pid_t pid = fork();
    if (pid == 0) {
        if (unshare(CLONE_NEWUSER) < 0)
            _exit(2);
        _exit(accelerator_probe("tcg", *state, GUEST_USER_PROBE, GUEST_USER_PROBE, &error) == -1 &&
              error.code == ERROR_NOT_FOUND && strstr(error.message, "user") != NULL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WEXITSTATUS(status) == 2)
        skip();
    assert_int_equal(WEXITSTATUS(status), 1);
}

#define EXIT(code) ((code) << 8)

static void only_qemus_own_end_says_something_about_kvm(void **state)
{
    (void)state;
    static const struct {
        int status;
        enum error_code code;
    } rows[] = {
        {EXIT(PROBE_GUEST_EXIT), ERROR_NONE},
        {EXIT(1), ERROR_UNAVAILABLE}, /* it refused KVM */
        {SIGABRT, ERROR_UNAVAILABLE}, /* it broke */
        {SIGSEGV, ERROR_UNAVAILABLE},
        {SIGKILL, ERROR_IO}, /* somebody ended it: the kernel, for memory */
        {SIGTERM, ERROR_IO},
        {EXIT(127), ERROR_NOT_FOUND}, /* there is none */
        {-1, ERROR_TIMEOUT},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        struct error error = ERROR_INIT;
        int result = accelerator_judge(rows[i].status, "its word", &error);
        assert_int_equal(result, rows[i].code == ERROR_NONE ? 0 : -1);
        assert_int_equal(error.code, rows[i].code);
    }
}

static void learn(struct accelerator *known, enum error_code code, uint64_t now_ms)
{
    struct error why = ERROR_INIT;
    error_set(&why, code, "what the probe said");
    accelerator_learn(known, code == ERROR_NONE ? NULL : &why, now_ms);
}

static void a_timeout_is_no_proof_and_is_asked_again(void **state)
{
    (void)state;
    struct accelerator known = {0};
    const uint64_t minute = 60000, now = 7 * minute;
    assert_true(accelerator_is_due(&known, now));
    learn(&known, ERROR_TIMEOUT, now);
    assert_false(known.kvm);
    assert_non_null(strstr(known.reason, "not known yet"));
    assert_non_null(strstr(known.reason, "what the probe said"));
    assert_true(accelerator_is_due(&known, now)); /* by the next start, however soon */
    for (uint64_t wait = 1; wait < 200; wait *= 2) {
        uint64_t most = wait < 60 ? wait : 60;
        learn(&known, ERROR_TIMEOUT, now);
        assert_false(accelerator_is_due(&known, now + (most * minute) - 1));
        assert_true(accelerator_is_due(&known, now + (most * minute)));
    }
    learn(&known, ERROR_NONE, now);
    assert_true(known.kvm);
    assert_string_equal(known.reason, "");
    assert_false(accelerator_is_due(&known, UINT64_MAX));
}

static void a_proof_holds_until_there_is_another(void **state)
{
    (void)state;
    struct accelerator known = {0};
    learn(&known, ERROR_NONE, 1);
    learn(&known, ERROR_TIMEOUT, 2);
    learn(&known, ERROR_STORAGE_FULL, 3); /* the probe guest could not be written */
    assert_true(known.kvm && known.is_proven);
    assert_int_equal(known.tries, 0);
    learn(&known, ERROR_UNAVAILABLE, 4);
    assert_false(known.kvm);
    assert_true(known.is_proven);
    assert_string_equal(known.reason, "/dev/kvm is there, but what the probe said");
    learn(&known, ERROR_TIMEOUT, 5);
    assert_string_equal(known.reason, "/dev/kvm is there, but what the probe said");
    assert_false(accelerator_is_due(&known, UINT64_MAX));
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
        TEST(a_probe_without_its_user_proves_nothing),
        cmocka_unit_test(only_qemus_own_end_says_something_about_kvm),
        cmocka_unit_test(a_timeout_is_no_proof_and_is_asked_again),
        cmocka_unit_test(a_proof_holds_until_there_is_another),
        cmocka_unit_test(only_the_hosts_own_guests_are_helped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
