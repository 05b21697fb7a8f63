/* Where the daemons are: options, environment, context, defaults, in that order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/context.h"
#include "cli/registry.h"
#include "lib/cleanup.h"
#include "lib/file.h"

static char folder[64];

static int make_home(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/shoal-context.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    setenv("XDG_CONFIG_HOME", folder, 1);
    unsetenv("SHOAL_ADDRESS");
    unsetenv("SHOAL_REGISTRY");
    return 0;
}

static int remove_home(void **state)
{
    (void)state;
    return file_remove_tree(folder, NULL);
}

static int load(const char *option, const char *value, struct settings *ret_settings,
                struct error *error)
{
    const char *words[] = {"ps", option, value};
    struct invocation invocation;
    if (invocation_parse(option != NULL ? 3 : 1, words, &invocation, error) < 0)
        return -1;
    int result = settings_load(&invocation, ret_settings, error);
    invocation_release(&invocation);
    return result;
}

static void defaults_are_this_machines_ports(void **state)
{
    (void)state;
    struct settings settings;
    assert_int_equal(load(NULL, NULL, &settings, NULL), 0);
    assert_string_equal(addresses_current(&settings.schedulers), "http://127.0.0.1:7000");
    assert_string_equal(settings.registry, "http://127.0.0.1:5000");
    assert_string_equal(settings.scheduler_source, "default");
    assert_string_equal(settings.namespace_name, "default");
}

static void only_this_machine_is_spoken_to_in_plain(void **state)
{
    (void)state;
    static const char *const plain[] = {"localhost", "localhost:5000", "127.0.0.1:5000",
                                        "127.1.2.3", "[::1]:5000"};
    static const char *const others[] = {"localhost.example.com", "127.0.0.1.example.com:5000",
                                         "127.example.com", "10.0.0.1:5000", "registry:5000"};
    char url[ADDRESS_TEXT_MAX];
    for (size_t i = 0; i < 5; i++) {
        registry_url_of_host(plain[i], url);
        assert_memory_equal(url, "http://", 7);
        registry_url_of_host(others[i], url);
        assert_memory_equal(url, "https://", 8);
    }
}

static void context_environment_and_option_go_before_one_another(void **state)
{
    (void)state;
    struct settings settings;
    assert_int_equal(context_write("local", "http://127.0.0.1:1", "http://127.0.0.1:2", NULL), 0);
    assert_int_equal(load(NULL, NULL, &settings, NULL), 0);
    assert_string_equal(addresses_current(&settings.schedulers), "http://127.0.0.1:1");
    assert_string_equal(settings.registry, "http://127.0.0.1:2");
    assert_string_equal(settings.context, "local");
    setenv("SHOAL_ADDRESS", "there:3/", 1);
    assert_int_equal(load(NULL, NULL, &settings, NULL), 0);
    assert_string_equal(addresses_current(&settings.schedulers), "http://there:3");
    assert_string_equal(settings.scheduler_source, "SHOAL_ADDRESS");
    assert_int_equal(load("--address", "https://x:4", &settings, NULL), 0);
    assert_string_equal(addresses_current(&settings.schedulers), "https://x:4");
    assert_string_equal(settings.registry, "http://127.0.0.1:2");
    unsetenv("SHOAL_ADDRESS");
}

static void writing_a_context_keeps_the_others(void **state)
{
    (void)state;
    AUTO_FREE char *path = context_path();
    AUTO_FREE char *text = NULL;
    struct settings settings;
    struct stat status;
    assert_int_equal(context_write("one", "http://a:1", "http://a:2", NULL), 0);
    assert_int_equal(context_write("two", "http://b:1", "http://b:2", NULL), 0);
    assert_int_equal(context_write("two", "http://c:1", "http://c:2", NULL), 0);
    assert_int_equal(load(NULL, NULL, &settings, NULL), 0);
    assert_string_equal(addresses_current(&settings.schedulers), "http://c:1");
    assert_int_equal(file_read(path, 65536, &text, NULL, NULL), 0);
    assert_non_null(strstr(text, "http://a:1"));
    assert_null(strstr(text, "http://b:1"));
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
}

static void several_schedulers_stand_wherever_one_may(void **state)
{
    (void)state;
    struct settings settings;
    char text[ADDRESSES_TEXT_MAX];
    assert_int_equal(context_write("ha", "http://a:1,http://b:2", "http://r:5", NULL), 0);
    assert_int_equal(load(NULL, NULL, &settings, NULL), 0);
    addresses_format(&settings.schedulers, text);
    assert_string_equal(text, "http://a:1,http://b:2");
    setenv("SHOAL_ADDRESS", "c:3,d:4,e:5", 1);
    assert_int_equal(load(NULL, NULL, &settings, NULL), 0);
    assert_int_equal(settings.schedulers.count, 3);
    unsetenv("SHOAL_ADDRESS");
    assert_int_equal(load("--address", "f:6,g:7", &settings, NULL), 0);
    assert_string_equal(addresses_current(&settings.schedulers), "http://f:6");
}

static void what_is_no_address_or_namespace_is_refused(void **state)
{
    (void)state;
    struct settings settings;
    struct error error = ERROR_INIT;
    static const char *const addresses[] = {"http://", "a b", "http://a/path", "http://u@h", "/"};
    for (size_t i = 0; i < ARRAY_LENGTH(addresses); i++) {
        assert_int_equal(load("--address", addresses[i], &settings, &error), -1);
        assert_non_null(strstr(error.message, "--address: "));
        assert_non_null(strstr(error.message, "is not an address"));
    }
    assert_int_equal(load("-n", "Team", &settings, &error), -1);
    assert_non_null(strstr(error.message, "--namespace \"Team\": allowed are"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(defaults_are_this_machines_ports, make_home, remove_home),
        cmocka_unit_test(only_this_machine_is_spoken_to_in_plain),
        cmocka_unit_test_setup_teardown(context_environment_and_option_go_before_one_another,
                                        make_home, remove_home),
        cmocka_unit_test_setup_teardown(writing_a_context_keeps_the_others, make_home, remove_home),
        cmocka_unit_test_setup_teardown(several_schedulers_stand_wherever_one_may, make_home,
                                        remove_home),
        cmocka_unit_test_setup_teardown(what_is_no_address_or_namespace_is_refused, make_home,
                                        remove_home),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
