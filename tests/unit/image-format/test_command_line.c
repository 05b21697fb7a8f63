/* One kernel command line out of an image's argv and a service's args and env. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "image-format/command_line.h"
#include "image-format/family.h"
#include "lib/cleanup.h"

static const struct command_line_values values = {
    .address = "10.64.0.7",
    .prefix = 24,
    .gateway = "10.64.0.1",
    .dns = "10.64.0.1",
    .mtu = 1450,
    .mac = "52:00:00:00:03:f2",
    .instance_id = "0001000003f2",
    .slot = 0,
    .service = "hello",
    .namespace_name = "default",
    .node = "alpha",
};

struct world {
    struct image_config config;
    struct json_strings extra;
    struct json_map environment;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof *world);
    strcpy(world->config.family, "shoal");
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    json_strings_release(&world->config.cmdline);
    json_strings_release(&world->extra);
    json_map_release(&world->environment);
    free(world);
    return 0;
}

static void assert_line(struct world *world, const char *expected)
{
    AUTO_FREE char *line = NULL;
    struct error error = ERROR_INIT;
    if (command_line_expand(&world->config, &world->extra, &world->environment, &values, &line,
                            &error) < 0)
        fail_msg("%s", error.message);
    assert_string_equal(line, expected);
}

static void assert_refused(struct world *world, enum error_code code, const char *message)
{
    char *line = NULL;
    struct error error = ERROR_INIT;
    assert_int_equal(command_line_expand(&world->config, &world->extra, &world->environment,
                                         &values, &line, &error),
                     -1);
    assert_null(line);
    assert_int_equal(error.code, code);
    if (strstr(error.message, message) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", message, error.message);
}

static void variables_are_expanded(void **state)
{
    struct world *world = *state;
    json_strings_add(&world->config.cmdline, "--ip=${net.address}/${net.prefix}");
    json_strings_add(&world->config.cmdline, "--gateway=${net.gateway}");
    json_strings_add(&world->config.cmdline, "--mtu=${net.mtu}");
    json_strings_add(&world->config.cmdline, "--instance=${instance.id}");
    json_strings_add(&world->config.cmdline, "${service}.${namespace}@${node}#${instance.slot}");
    json_strings_add(&world->config.cmdline, "${net.mac},${net.dns},${env.LOG}");
    json_map_set(&world->environment, "LOG", "info");
    assert_line(world, "--ip=10.64.0.7/24 --gateway=10.64.0.1 --mtu=1450 --instance=0001000003f2 "
                       "--env=LOG=info hello.default@alpha#0 "
                       "52:00:00:00:03:f2,10.64.0.1,info");
}

static void environment_and_arguments_follow(void **state)
{
    struct world *world = *state;
    json_strings_add(&world->config.cmdline, "--ip=1.2.3.4/8");
    json_map_set(&world->environment, "A", "1");
    json_map_set(&world->environment, "B", "two words");
    json_strings_add(&world->extra, "--greeting");
    json_strings_add(&world->extra, "${net.address} is text here");
    assert_line(world, "--ip=1.2.3.4/8 --env=A=1 \"--env=B=two words\" --greeting "
                       "\"${net.address} is text here\"");
}

static void quoting_keeps_arguments_whole(void **state)
{
    struct world *world = *state;
    json_strings_add(&world->config.cmdline, "--ip=1.2.3.4/8");
    json_strings_add(&world->extra, "");
    json_strings_add(&world->extra, "plain");
    json_strings_add(&world->extra, "say \"hi\"");
    json_strings_add(&world->extra, "back\\slash");
    json_strings_add(&world->extra, "it's $5,ümlaut");
    assert_line(
        world,
        "--ip=1.2.3.4/8 \"\" plain \"say \\\"hi\\\"\" \"back\\\\slash\" \"it's $5,\xc3\xbcmlaut\"");
}

static void a_services_argument_is_never_taken_for_the_runtimes(void **state)
{
    struct world *world = *state;
    json_strings_add(&world->config.cmdline, "--ip=1.2.3.4/8");
    json_strings_add(&world->extra, "--ip=6.6.6.6/8");
    assert_line(world, "--ip=1.2.3.4/8 -- --ip=6.6.6.6/8");
    json_strings_release(&world->extra);
    json_strings_add(&world->extra, "--");
    assert_line(world, "--ip=1.2.3.4/8 -- --");
    json_strings_add(&world->config.cmdline, "serve");
    assert_line(world, "--ip=1.2.3.4/8 serve --");
}

static void a_variable_outside_the_closed_set_is_refused(void **state)
{
    struct world *world = *state;
    static const char *const unknown[] = {
        "${home}", "${}", "${net.address }", "${NET.ADDRESS}", "${env.}", "${env.A-B}", "${env.1}"};
    for (size_t i = 0; i < ARRAY_LENGTH(unknown); i++) {
        struct error error = ERROR_INIT;
        json_strings_release(&world->config.cmdline);
        json_strings_add(&world->config.cmdline, unknown[i]);
        assert_refused(world, ERROR_INVALID, "unknown variable");
        assert_int_equal(command_line_check(unknown[i], &error), -1);
        assert_non_null(strstr(error.message, "net.address, net.prefix"));
    }
    json_strings_release(&world->config.cmdline);
    json_strings_add(&world->config.cmdline, "a${net.address");
    assert_refused(world, ERROR_INVALID, "not closed");
    assert_int_equal(command_line_check("$ {net} $$ a${env.ANY}", NULL), 0);
}

static void a_variable_without_a_value_is_refused(void **state)
{
    struct world *world = *state;
    struct error error = ERROR_INIT;
    char *line = NULL;
    json_strings_add(&world->config.cmdline, "${env.TOKEN}");
    assert_refused(world, ERROR_INVALID, "${env.TOKEN}, which has no value here: set it in");
    json_strings_release(&world->config.cmdline);
    json_strings_add(&world->config.cmdline, "${net.dns}");
    struct command_line_values none = {0};
    assert_int_equal(command_line_expand(&world->config, NULL, NULL, &none, &line, &error), -1);
    assert_non_null(strstr(error.message, "${net.dns}"));
}

static void control_characters_and_broken_utf8_are_refused(void **state)
{
    struct world *world = *state;
    static const char *const bad[] = {
        "a\nb",     "\x7f",         "\t",       "\xff",         "\xc3",
        "\xc0\x80", "\xed\xa0\x80", "\xc2\x85", "\xef\xbf\xbf", "\xf4\x90\x80\x80"};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++) {
        json_strings_add(&world->extra, bad[i]);
        assert_refused(world, ERROR_INVALID, "control character");
        json_strings_release(&world->extra);
        json_map_set(&world->environment, "A", bad[i]);
        assert_refused(world, ERROR_INVALID, "env A: ");
        json_map_release(&world->environment);
    }
}

static void environment_names_are_checked(void **state)
{
    struct world *world = *state;
    json_map_set(&world->environment, "A=B", "c");
    assert_refused(world, ERROR_INVALID, "env \"A=B\"");
}

static void what_would_not_reach_the_guest_is_refused(void **state)
{
    struct world *world = *state;
    static const char option[] = "--ip=1.2.3.4/8";
    char text[COMMAND_LINE_MAX + 2];
    memset(text, 'x', sizeof text);
    memcpy(text, option, sizeof option - 1);
    text[sizeof option - 1] = ' ';
    text[COMMAND_LINE_MAX] = '\0';
    json_strings_add(&world->config.cmdline, option);
    json_strings_add(&world->extra, text + sizeof option);
    assert_line(world, text);
    json_strings_release(&world->extra);
    text[COMMAND_LINE_MAX] = 'x';
    text[COMMAND_LINE_MAX + 1] = '\0';
    json_strings_add(&world->extra, text + sizeof option);
    assert_refused(world, ERROR_TOO_LARGE, "longer than the 900 bytes");
    json_strings_release(&world->extra);
    for (size_t i = 0; i <= family_find("shoal")->arguments_max; i++)
        json_strings_add(&world->extra, "a");
    assert_refused(world, ERROR_TOO_LARGE, "more than 56 arguments");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(variables_are_expanded, set_up, tear_down),
        cmocka_unit_test_setup_teardown(environment_and_arguments_follow, set_up, tear_down),
        cmocka_unit_test_setup_teardown(quoting_keeps_arguments_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_services_argument_is_never_taken_for_the_runtimes, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_variable_outside_the_closed_set_is_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(a_variable_without_a_value_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(control_characters_and_broken_utf8_are_refused, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(environment_names_are_checked, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_would_not_reach_the_guest_is_refused, set_up,
                                        tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
