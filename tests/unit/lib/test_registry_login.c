#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/registry_login.h"
#include "lib/xalloc.h"

static char folder[] = "/tmp/shoal-login.XXXXXX";
static char *path;

static int read_login(const char *text, const char *url, struct registry_login *ret_login,
                      struct error *error)
{
    assert_int_equal(file_write(path, text, strlen(text), 0600, NULL), 0);
    struct registry_logins *logins = NULL;
    int result = registry_logins_load(path, &logins, error);
    if (result == 0)
        result = registry_logins_find(logins, url, ret_login, error);
    registry_logins_destroy(logins);
    return result;
}

static void a_login_is_found_by_host_and_port(void **state)
{
    (void)state;
    struct registry_login login = {0};
    static const char text[] = "{\"auths\": {\"127.0.0.1\": {\"auth\": \"eDp5\"},"
                               " \"127.0.0.1:5000\": {\"auth\": \"YWxpY2U6c2U6Y3JldA==\"}},"
                               " \"credHelpers\": {}}";
    assert_int_equal(read_login(text, "http://127.0.0.1:5000", &login, NULL), 0);
    assert_string_equal(login.username, "alice");
    assert_string_equal(login.password, "se:cret");
    registry_login_release(&login);
    assert_int_equal(read_login("{\"auths\": {\"https://r.example/v1/\": {\"auth\": \"eDp5\"}}}",
                                "https://r.example", &login, NULL),
                     0);
    assert_string_equal(login.username, "x");
    registry_login_release(&login);
}

static void no_login_is_none(void **state)
{
    (void)state;
    struct registry_login login = {0};
    static const char *const texts[] = {
        "{}",
        "{\"auths\": {}}",
        "{\"auths\": null}",
        "{\"auths\": {\"h:1\": {}}}",
        "{\"auths\": {\"h:2\": {\"auth\": \"eDp5\"}}}",
        "{\"auths\": {\"h:1\": null}}",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        assert_int_equal(read_login(texts[i], "http://h:1", &login, NULL), 0);
        assert_null(login.username);
    }
    struct registry_logins *logins = NULL;
    assert_int_equal(registry_logins_load(NULL, &logins, NULL), 0);
    assert_int_equal(registry_logins_find(logins, "http://h:1", &login, NULL), 0);
    assert_null(login.username);
    registry_logins_destroy(logins);
}

static void a_bad_file_is_named(void **state)
{
    (void)state;
    struct registry_login login = {0};
    struct error error = ERROR_INIT;
    static const char *const texts[] = {
        "{",
        "{\"auths\": {\"h:1\": {\"auth\": \"%%%\"}}}",
        "{\"auths\": {\"h:1\": {\"auth\": \"YWJj\"}}}",
        "{\"auths\": {\"h:1\": {\"auth\": \"YQBiOmM=\"}}}",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        assert_int_equal(read_login(texts[i], "http://h:1", &login, &error), -1);
        assert_non_null(strstr(error.message, path));
    }
    struct registry_logins *logins = NULL;
    assert_int_equal(registry_logins_load("/nowhere", &logins, &error), -1);
    assert_non_null(strstr(error.message, "/nowhere"));
}

static void the_clients_own_files_are_found(void **state)
{
    (void)state;
    AUTO_FREE char *docker = xasprintf("%s/.docker", folder);
    AUTO_FREE char *config = xasprintf("%s/config.json", docker);
    setenv("HOME", folder, 1);
    unsetenv("REGISTRY_AUTH_FILE");
    unsetenv("XDG_RUNTIME_DIR");
    assert_null(registry_logins_default_path());
    assert_int_equal(file_make_directory(docker, 0700, NULL), 0);
    assert_int_equal(file_write(config, "{}", 2, 0600, NULL), 0);
    AUTO_FREE char *found = registry_logins_default_path();
    assert_string_equal(found, config);
    assert_int_equal(file_write(path, "{}", 2, 0600, NULL), 0);
    setenv("REGISTRY_AUTH_FILE", path, 1);
    AUTO_FREE char *named = registry_logins_default_path();
    assert_string_equal(named, path);
}

static int make_folder(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    path = xasprintf("%s/auth.json", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    free(path);
    return file_remove_tree(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_login_is_found_by_host_and_port),
        cmocka_unit_test(no_login_is_none),
        cmocka_unit_test(a_bad_file_is_named),
        cmocka_unit_test(the_clients_own_files_are_found),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
