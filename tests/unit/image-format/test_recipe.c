/* Unikernel.yaml: what is read, and where a mistake is pointed at. */
#include <sys/stat.h>

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
    assert_string_equal(recipe.architectures.items[0].kernel, "hello.elf");
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
    assert_refused(*state, HEAD "memory: {min: 64Mi, default: 32Mi}\n", ERROR_INVALID,
                   ":3:30: the default");
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

static void what_a_family_cannot_do_is_refused(void **state)
{
    assert_refused(*state, "family: linus\narchitectures: {amd64: {kernel: a}}\n",
                   ERROR_UNSUPPORTED, ":1:9: there is no family \"linus\": there are shoal, linux");
    assert_refused(*state, "family: solo5\narchitectures:\n  arm64: {kernel: a}\n",
                   ERROR_UNSUPPORTED, ":3:10: family solo5 does not boot arm64");
    assert_refused(*state, "family: shoal\narchitectures: {amd64: {kernel: a, protocol: linux}}\n",
                   ERROR_UNSUPPORTED, ":2:24: family shoal does not boot amd64 by linux");
    assert_refused(*state, "family: shoal\narchitectures: {amd64: {kernel: a, machine: pc}}\n",
                   ERROR_UNSUPPORTED, ":2:24: family shoal does not boot amd64 on pc");
    assert_refused(*state, "family: shoal\narchitectures: {amd64: {disks: [a]}}\n", ERROR_INVALID,
                   ":2:24: \"kernel\" is missing");
    assert_refused(*state, "family: nanos\narchitectures: {amd64: {disks: [a], initrd: b}}\n",
                   ERROR_INVALID, ":2:24: protocol disk boots a disk");
    assert_refused(*state, HEAD "stop: {method: acpi}\n", ERROR_INVALID,
                   ":3:16: a guest of family shoal does not listen to stop method \"acpi\"");
    assert_refused(*state, HEAD "stop: {method: http}\n", ERROR_UNSUPPORTED,
                   ":3:16: stop method \"http\" is not supported yet");
}

/* The config that the recipe `text` becomes for its first architecture. */
static struct image_config config_of(const char *folder, const char *text)
{
    struct recipe recipe;
    struct recipe_parts parts = {0};
    struct image_config config;
    struct error error = ERROR_INIT;
    write_file(folder, RECIPE_FILE, text, strlen(text));
    if (recipe_load(folder, &recipe, &error) < 0)
        fail_msg("%s", error.message);
    size_t architecture = recipe.architectures.present[0] ? 0 : 1;
    char disk[DIGEST_TEXT_MAX];
    digest_of_bytes("disk", 4, disk);
    const struct recipe_architecture *given = &recipe.architectures.items[architecture];
    parts.family = recipe.family;
    if (given->kernel[0] != '\0')
        digest_of_bytes("kernel", 6, parts.kernel);
    if (given->initrd[0] != '\0')
        digest_of_bytes("initrd", 6, parts.initrd);
    for (size_t i = 0; i < given->disks.count; i++)
        json_strings_add(&parts.disks, disk);
    if (recipe_config(&recipe, architecture, &parts, &config, &error) < 0)
        fail_msg("%s", error.message);
    json_strings_release(&parts.disks);
    recipe_release(&recipe);
    return config;
}

static void what_is_left_out_is_the_familys(void **state)
{
    static const struct {
        const char *recipe, *protocol, *machine;
        unsigned min, most; /* MiB */
    } cases[] = {
        {"family: shoal\narchitectures: {amd64: {kernel: a}}\n", "pvh", "microvm", 8, 32},
        {"family: shoal\narchitectures: {arm64: {kernel: a}}\n", "elf", "virt", 8, 32},
        {"family: linux\narchitectures: {amd64: {kernel: a, initrd: b}}\n", "linux", "pc", 80, 80},
        {"family: linux\narchitectures: {amd64: {disks: [a]}}\n", "disk", "pc", 80, 80},
        {"family: linux\narchitectures: {amd64: {kernel: a, machine: q35}}\n", "linux", "q35", 80,
         80},
        {"family: nanos\narchitectures: {amd64: {disks: [a]}}\n", "disk", "pc", 32, 32},
        {"family: nanos\narchitectures: {amd64: {kernel: a, disks: [b]}}\n", "pvh", "microvm", 32,
         32},
        {"family: osv\narchitectures: {amd64: {kernel: a, disks: [b]}}\nmemory: {min: 128Mi}\n",
         "pvh", "pc", 128, 128},
        {"family: solo5\narchitectures: {amd64: {kernel: a}}\nmemory: {default: 12Mi}\n",
         "multiboot", "pc", 12, 12},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct image_config config = config_of(*state, cases[i].recipe);
        assert_string_equal(config.boot.protocol, cases[i].protocol);
        assert_string_equal(config.boot.machine, cases[i].machine);
        assert_int_equal(config.memory.min >> 20, cases[i].min);
        assert_int_equal(config.memory.default_bytes >> 20, cases[i].most);
        assert_false(config.has_stop);
        image_config_release(&config);
    }
}

static void args_stand_behind_the_command_line(void **state)
{
    struct image_config config = config_of(
        *state, HEAD "cmdline: [\"--ip=${net.address}\"]\nargs: [--greeting, 'a b', '']\n");
    static const char *const expected[] = {"--ip=${net.address}", "--greeting", "a b", ""};
    assert_int_equal(config.cmdline.count, ARRAY_LENGTH(expected));
    for (size_t i = 0; i < ARRAY_LENGTH(expected); i++)
        assert_string_equal(config.cmdline.items[i], expected[i]);
    image_config_release(&config);
}

static void what_cannot_be_a_build_is_refused_where_it_stands(void **state)
{
    assert_refused(*state, "family: shoal\narchitectures: {amd64: {build: make}}\n", ERROR_INVALID,
                   ":2:24: nothing boots: give a kernel, or disks");
    assert_refused(*state, "family: shoal\narchitectures: {amd64: {build: ' ', kernel: a}}\n",
                   ERROR_INVALID, ":2:32: \" \" is not allowed: a command for /bin/sh");
    assert_refused(*state,
                   "family: shoal\narchitectures: {amd64: {build: \"a\\e[2J\", kernel: a}}\n",
                   ERROR_INVALID, ":2:32: \"a?[2J\" is not allowed: a command for /bin/sh");
    assert_refused(*state, "family: shoal\narchitectures: {amd64: {kernel: \"a\\nb\"}}\n",
                   ERROR_INVALID, ":2:33: ");
    assert_refused(*state, "family: shoal\narchitectures: {amd64: {kernel: a, disks: [../b]}}\n",
                   ERROR_INVALID, ":2:44: \"../b\" is not allowed: a path inside");
    assert_refused(*state,
                   "family: shoal\narchitectures: {amd64: {kernel: a, disks: [1, 2, 3, 4, 5, 6, 7, "
                   "8, 9]}}\n",
                   ERROR_INVALID, ":2:43: 9 entries are too many: at most 8");
    assert_refused(*state, HEAD "compress: gzip\n", ERROR_INVALID,
                   ":3:11: \"gzip\" is not allowed: allowed are none, zstd");
    assert_refused(*state, HEAD "cmdline: [a]\nargs: [b, '${host.path}']\n", ERROR_INVALID,
                   ":4:11: unknown variable \"${host.path}\"");
    assert_refused(*state, HEAD "args: ['${host.path}']\n", ERROR_INVALID,
                   ":3:8: unknown variable \"${host.path}\"");
    assert_refused(*state, HEAD "args: [\"a\\x07\"]\n", ERROR_INVALID, ":3:8: ");
}

static void a_recipe_that_is_no_file_is_not_waited_for(void **state)
{
    struct recipe recipe;
    struct error error = ERROR_INIT;
    AUTO_FREE char *path = xasprintf("%s/%s", (char *)*state, RECIPE_FILE);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(recipe_load(*state, &recipe, &error), -1);
    assert_non_null(strstr(error.message, "Unikernel.yaml is not a file"));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(symlink("/dev/zero", path), 0);
    assert_int_equal(recipe_load(*state, &recipe, &error), -1);
    assert_non_null(strstr(error.message, "Unikernel.yaml is not a file"));
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
        cmocka_unit_test_setup_teardown(what_a_family_cannot_do_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_left_out_is_the_familys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(args_stand_behind_the_command_line, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_cannot_be_a_build_is_refused_where_it_stands, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_recipe_that_is_no_file_is_not_waited_for, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_kernels_path_may_not_leave_the_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_link_out_of_the_folder_is_not_followed, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
