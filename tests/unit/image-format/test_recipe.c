/* Unikernel.yaml: what is read, and where a mistake is pointed at. */
#include "tests/unit/image-format/fixture.h"

static int set_up(void **state)
{
    *state = temporary_folder();
    return 0;
}

static int tear_down(void **state)
{
    remove_folder(*state);
    return 0;
}

static void a_recipe_is_read_whole(void **state)
{
    struct recipe recipe;
    struct error error = ERROR_INIT;
    write_file(*state, RECIPE_FILE, GOOD_RECIPE, strlen(GOOD_RECIPE));
    if (recipe_load(*state, &recipe, &error) < 0)
        fail_msg("%s", error.message);
    assert_string_equal(recipe.family, "shoal");
    assert_string_equal(recipe.architectures.amd64.kernel, "hello.elf");
    assert_int_equal(recipe.memory.min, 8 << 20);
    assert_int_equal(recipe.memory.default_bytes, 32 << 20);
    assert_int_equal(recipe.vcpus.default_count, 1);
    assert_int_equal(recipe.port_count, 2);
    assert_true(recipe.ports[1].is_private);
    assert_true(recipe.health.has_readiness);
    assert_int_equal(recipe.stop.method, IMAGE_STOP_CONSOLE);
    recipe_release(&recipe);
}

static void the_files_own_path_works_as_well(void **state)
{
    struct recipe recipe;
    write_file(*state, "other.yaml", GOOD_RECIPE, strlen(GOOD_RECIPE));
    AUTO_FREE char *path = xasprintf("%s/other.yaml", (char *)*state);
    assert_int_equal(recipe_load(path, &recipe, NULL), 0);
    assert_string_equal(recipe.folder, *state);
    recipe_release(&recipe);
}

static void a_missing_file_is_named(void **state)
{
    struct recipe recipe;
    struct error error = ERROR_INIT;
    assert_int_equal(recipe_load(*state, &recipe, &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, RECIPE_FILE));
}

static void assert_refused(const char *folder, const char *text, enum error_code code,
                           const char *message)
{
    struct recipe recipe;
    struct error error = ERROR_INIT;
    write_file(folder, RECIPE_FILE, text, strlen(text));
    if (recipe_load(folder, &recipe, &error) == 0)
        fail_msg("accepted: %s", text);
    AUTO_FREE char *expected = xasprintf("%s/%s%s", folder, RECIPE_FILE, message);
    if (error.code != code || strncmp(error.message, expected, strlen(expected)) != 0)
        fail_msg("expected \"%s\", found \"%s\"", expected, error.message);
}

#define HEAD "family: shoal\narchitectures: {amd64: {kernel: a.elf}}\n"

static void mistakes_are_refused_with_line_and_column(void **state)
{
    assert_refused(*state, "family: shoal\n", ERROR_INVALID,
                   ":1:1: the key \"architectures\" is missing");
    assert_refused(*state, HEAD "colour: red\n", ERROR_INVALID, ":3:1: unknown key \"colour\"");
    assert_refused(*state, HEAD "memory: {min: lots}\n", ERROR_INVALID,
                   ":3:15: expected a size such as 32Mi");
    assert_refused(*state, HEAD "memory: {min: 64Mi}\n", ERROR_INVALID, ":3:9: the default");
    assert_refused(*state, HEAD "memory: {default: 1Ki}\n", ERROR_INVALID, ":3:19: 1Ki is out of");
    assert_refused(*state, HEAD "vcpus: {default: two}\n", ERROR_INVALID,
                   ":3:18: expected a whole");
    assert_refused(*state, HEAD "cmdline:\n  - a\n  - ${host.path}\n", ERROR_INVALID,
                   ":5:5: unknown variable \"${host.path}\"");
    assert_refused(*state, HEAD "ports: [{name: http, port: 0}]\n", ERROR_INVALID,
                   ":3:28: 0 is out of range");
    assert_refused(*state, HEAD "ports: [{name: http, port: 1, publish: 1}]\n", ERROR_INVALID,
                   ":3:31: unknown key \"publish\"");
    assert_refused(*state, HEAD "health: {readiness: {tcp: {port: http}}}\n", ERROR_INVALID,
                   ":3:34: the image has no port named \"http\"");
    assert_refused(*state, HEAD "stop: {method: politely}\n", ERROR_INVALID, ":3:16: \"politely\"");
    assert_refused(*state, HEAD HEAD, ERROR_INVALID, ":3:1: the key \"family\" stands here twice");
    assert_refused(*state, HEAD "---\n" HEAD, ERROR_INVALID, ": expected one document, found 2");
    assert_refused(*state, "", ERROR_INVALID, ": expected one document, found 0");
    assert_refused(*state, "family: shoal\narchitectures: {}\n", ERROR_INVALID,
                   ":2:16: no architecture is given");
}

static void what_is_not_built_yet_is_said_to_be(void **state)
{
    assert_refused(*state, "family: shoal\narchitectures:\n  arm64: {kernel: a}\n",
                   ERROR_UNSUPPORTED, ":3:10: \"arm64\" is not supported yet");
    assert_refused(*state, "family: shoal\narchitectures: {amd64: {build: make, kernel: a}}\n",
                   ERROR_UNSUPPORTED, ":2:32: \"build\" is not supported yet");
    assert_refused(*state, HEAD "stop: {method: acpi}\n", ERROR_INVALID,
                   ":3:16: a guest of family shoal does not listen to stop method \"acpi\"");
}

static void a_kernels_path_may_not_leave_the_folder(void **state)
{
    static const char *const paths[] = {"/etc/passwd", "../a", "a/../../b", "a/..", "''"};
    for (size_t i = 0; i < ARRAY_LENGTH(paths); i++) {
        AUTO_FREE char *text =
            xasprintf("family: shoal\narchitectures: {amd64: {kernel: %s}}\n", paths[i]);
        AUTO_FREE char *message =
            xasprintf(":2:33: \"%s\" is not allowed", strcmp(paths[i], "''") == 0 ? "" : paths[i]);
        assert_refused(*state, text, ERROR_INVALID, message);
    }
}

static void a_link_out_of_the_folder_is_not_followed(void **state)
{
    const char *folder = *state;
    char *outside = temporary_folder();
    write_file(outside, "secret", "x", 1);
    write_file(folder, "inside", "y", 1);
    AUTO_FREE char *target = xasprintf("%s/secret", outside);
    AUTO_FREE char *absolute = xasprintf("%s/absolute", folder);
    AUTO_FREE char *directory = xasprintf("%s/directory", folder);
    AUTO_FREE char *good = xasprintf("%s/good", folder);
    assert_int_equal(symlink(target, absolute), 0);
    assert_int_equal(symlink(outside, directory), 0);
    assert_int_equal(symlink("inside", good), 0);
    write_file(folder, RECIPE_FILE, GOOD_RECIPE, strlen(GOOD_RECIPE));
    struct recipe recipe;
    assert_int_equal(recipe_load(folder, &recipe, NULL), 0);
    struct error error = ERROR_INIT;
    int descriptor = -1;
    assert_int_equal(recipe_open(&recipe, "absolute", &descriptor, &error), -1);
    assert_int_equal(error.code, ERROR_DENIED);
    assert_non_null(strstr(error.message, "leads out of the folder"));
    assert_int_equal(recipe_open(&recipe, "directory/secret", &descriptor, &error), -1);
    assert_int_equal(error.code, ERROR_DENIED);
    assert_int_equal(recipe_open(&recipe, ".", &descriptor, &error), -1);
    assert_non_null(strstr(error.message, "is not a file"));
    assert_int_equal(recipe_open(&recipe, "absent", &descriptor, &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_int_equal(descriptor, -1);
    assert_int_equal(recipe_open(&recipe, "good", &descriptor, &error), 0);
    close(descriptor);
    recipe_release(&recipe);
    remove_folder(outside);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_recipe_is_read_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_files_own_path_works_as_well, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_missing_file_is_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(mistakes_are_refused_with_line_and_column, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(what_is_not_built_yet_is_said_to_be, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_kernels_path_may_not_leave_the_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_link_out_of_the_folder_is_not_followed, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
