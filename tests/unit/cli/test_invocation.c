/* The command line: what the table makes of typed words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "cli/command.h"
#include "lib/cleanup.h"

#define WORDS_MAX 16

static int parse_words(struct invocation *ret_invocation, struct error *error, va_list list)
{
    static const char *words[WORDS_MAX];
    int count = 0;
    const char *word;
    while ((word = va_arg(list, const char *)) != NULL)
        words[count++] = word;
    return invocation_parse(count, words, ret_invocation, error);
}

static struct invocation parse(const char *unused, ...)
{
    struct invocation invocation;
    struct error error = ERROR_INIT;
    va_list list;
    va_start(list, unused);
    if (parse_words(&invocation, &error, list) < 0)
        fail_msg("%s", error.message);
    va_end(list);
    return invocation;
}

static void assert_refused(const char *message, ...)
{
    struct invocation invocation;
    struct error error = ERROR_INIT;
    va_list list;
    va_start(list, message);
    assert_int_equal(parse_words(&invocation, &error, list), -1);
    va_end(list);
    assert_int_equal(error.code, ERROR_INVALID);
    if (strstr(error.message, message) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", message, error.message);
}

#define PARSE(...)            parse("", __VA_ARGS__, NULL)
#define REFUSED(message, ...) assert_refused(message, __VA_ARGS__, NULL)

static void a_verb_and_its_noun_form_are_the_same_command(void **state)
{
    (void)state;
    for (const struct command *command = commands; command->name != NULL; command++) {
        if (command->verb == NULL || command->noun == NULL)
            continue;
        assert_ptr_equal(command_find(NULL, command->verb), command);
        assert_ptr_equal(command_find(command->noun, command->name), command);
    }
    struct invocation verb = PARSE("scale", "hello=5"), noun = PARSE("service", "scale", "hello=5");
    assert_ptr_equal(verb.command, noun.command);
    assert_string_equal(noun.arguments[0], "hello=5");
    invocation_release(&verb);
    invocation_release(&noun);
}

static void no_two_commands_share_a_name(void **state)
{
    (void)state;
    for (const struct command *one = commands; one->name != NULL; one++) {
        assert_non_null(one->run);
        assert_non_null(one->summary);
        assert_true(one->noun == NULL || noun_find(one->noun) != NULL);
        for (const struct command *other = one + 1; other->name != NULL; other++) {
            assert_false(one->verb != NULL && other->verb != NULL &&
                         strcmp(one->verb, other->verb) == 0);
            assert_false(one->noun != NULL && other->noun != NULL &&
                         strcmp(one->noun, other->noun) == 0 &&
                         strcmp(one->name, other->name) == 0);
        }
        if (one->verb != NULL)
            assert_null(noun_find(one->verb));
    }
}

static void ls_is_list(void **state)
{
    (void)state;
    struct invocation invocation = PARSE("image", "ls");
    assert_string_equal(invocation.command->name, "list");
    invocation_release(&invocation);
}

static void options_stand_anywhere_and_in_every_form(void **state)
{
    (void)state;
    struct invocation invocation =
        PARSE("-n", "team", "logs", "-f", "--tail=7", "hello", "--output", "json");
    assert_string_equal(invocation.command->verb, "logs");
    assert_string_equal(invocation_text(&invocation, "namespace"), "team");
    assert_true(invocation_has(&invocation, "follow"));
    assert_int_equal(invocation_number(&invocation, "tail", 100), 7);
    assert_string_equal(invocation_text(&invocation, "output"), "json");
    assert_int_equal(invocation.argument_count, 1);
    assert_string_equal(invocation.arguments[0], "hello");
    assert_false(invocation_has(&invocation, "detach"));
    assert_int_equal(invocation_number(&invocation, "other", 100), 100);
    invocation_release(&invocation);
}

static void a_letter_means_what_its_command_says(void **state)
{
    (void)state;
    struct invocation deploy = PARSE("deploy", "-fservice.yaml", "--timeout", "1m30s");
    assert_string_equal(invocation_text(&deploy, "file"), "service.yaml");
    assert_int_equal(invocation_duration(&deploy, "timeout", 0), 90000);
    invocation_release(&deploy);
    struct invocation events = PARSE("events", "-fojson");
    assert_true(invocation_has(&events, "follow"));
    assert_string_equal(invocation_text(&events, "output"), "json");
    invocation_release(&events);
}

static void the_last_of_two_values_counts(void **state)
{
    (void)state;
    struct invocation invocation = PARSE("ps", "-o", "json", "-o", "wide");
    assert_string_equal(invocation_text(&invocation, "output"), "wide");
    invocation_release(&invocation);
}

static void two_dashes_end_the_options(void **state)
{
    (void)state;
    struct invocation invocation = PARSE("ps", "--", "--all");
    assert_int_equal(invocation.argument_count, 1);
    assert_string_equal(invocation.arguments[0], "--all");
    invocation_release(&invocation);
}

static void help_is_understood_at_every_level_and_needs_no_arguments(void **state)
{
    (void)state;
    struct invocation top = PARSE("--help"), noun = PARSE("image", "--help"),
                      command = PARSE("push", "-h");
    assert_true(top.help && noun.help && command.help);
    assert_null(top.command);
    assert_string_equal(noun.noun, "image");
    assert_string_equal(command.command->verb, "push");
    invocation_release(&top);
    invocation_release(&noun);
    invocation_release(&command);
}

static void wrong_words_are_refused_with_what_was_meant(void **state)
{
    (void)state;
    REFUSED("there is no command \"deplyo\": did you mean \"deploy\"?", "deplyo");
    REFUSED("there is no command \"imgae\": did you mean \"image\"?", "imgae");
    REFUSED("there is no command \"service scal\": did you mean \"service scale\"?", "service",
            "scal");
    REFUSED("there is no command \"xyzzy\"\n", "xyzzy");
    REFUSED("deploy has no option --detahc: did you mean --detach?", "deploy", "--detahc");
    REFUSED("deploy has no option --xyzzy\n", "deploy", "--xyzzy=1");
    REFUSED("there is no option -x here", "ps", "-x");
    REFUSED("service needs a command", "service");
    REFUSED("Try `shoal help push`", "push");
}

static void wrong_values_are_refused_with_what_is_allowed(void **state)
{
    (void)state;
    REFUSED("--output xml: allowed are table, wide, json, yaml", "ps", "-o", "xml");
    REFUSED("--tail -1: allowed are whole numbers from 0 to 100000", "logs", "x", "--tail", "-1");
    REFUSED("--scheduler-port 0: allowed are whole numbers from 1 to 65535", "up",
            "--scheduler-port", "0");
    REFUSED("--timeout soon: allowed are durations such as 30s or 2m", "restart", "x",
            "--timeout=soon");
    REFUSED("--tail needs a value: N", "logs", "x", "--tail");
    REFUSED("--detach takes no value", "restart", "x", "--detach=yes");
    REFUSED("--file is given twice", "deploy", "-f", "a", "-f", "b");
    REFUSED("--namespace needs a value that is not empty", "ps", "--namespace=");
}

static void arguments_are_counted(void **state)
{
    (void)state;
    REFUSED("push needs REF", "push");
    REFUSED("inspect needs KIND NAME", "inspect", "service");
    REFUSED("ps takes only [SERVICE], found \"b\" as well", "ps", "a", "b");
    REFUSED("version takes no arguments, found \"x\" as well", "version", "x");
    REFUSED("deploy needs --file FILE", "deploy");
    size_t least, most;
    command_argument_bounds(command_find(NULL, "help"), &least, &most);
    assert_int_equal(least, 0);
    assert_int_equal(most, ARGUMENTS_MANY);
}

static void help_shows_usage_options_and_the_other_form(void **state)
{
    (void)state;
    static const char *const words[] = {"service", "deploy"};
    struct buffer AUTO_BUFFER text = {0};
    assert_int_equal(help_words(words, 2, &text, NULL), 0);
    assert_non_null(strstr(buffer_text(&text), "Usage: shoal deploy --file FILE [options]\n"));
    assert_non_null(strstr(buffer_text(&text), "Also:  shoal service deploy\n"));
    assert_non_null(strstr(buffer_text(&text), "-f, --file FILE"));
    assert_non_null(strstr(buffer_text(&text), "-n, --namespace NS"));
    struct error error = ERROR_INIT;
    static const char *const wrong[] = {"servce"};
    assert_int_equal(help_words(wrong, 1, &text, &error), -1);
    assert_non_null(strstr(error.message, "did you mean \"service\"?"));
}

static void help_lists_every_command_and_noun(void **state)
{
    (void)state;
    struct buffer AUTO_BUFFER text = {0};
    help_everything(&text);
    for (const struct command *command = commands; command->name != NULL; command++)
        assert_true(command->verb == NULL || strstr(buffer_text(&text), command->summary) != NULL);
    for (const struct noun *noun = nouns; noun->name != NULL; noun++) {
        struct buffer AUTO_BUFFER own = {0};
        assert_non_null(strstr(buffer_text(&text), noun->summary));
        help_noun(noun, &own);
        assert_non_null(strstr(buffer_text(&own), "Commands:\n  "));
    }
}

#define COMPLETE(...)                                                                              \
    complete((const char *const[]){__VA_ARGS__},                                                   \
             sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static const char *complete(const char *const *words, size_t count)
{
    static char text[4096];
    struct buffer AUTO_BUFFER candidates = {0};
    complete_words(words, count, &candidates);
    strcpy(text, buffer_text(&candidates));
    return text;
}

static void completion_offers_what_may_follow(void **state)
{
    (void)state;
    assert_string_equal(COMPLETE("dep"), "deploy\n");
    assert_string_equal(COMPLETE("service", "sc"), "scale\n");
    assert_string_equal(COMPLETE("-n", "team", "dep"), "deploy\n");
    assert_string_equal(COMPLETE("deploy", "--de"), "--detach\n");
    assert_string_equal(COMPLETE("deploy", "-f", ""), "<file>\n");
    assert_string_equal(COMPLETE("build", ""), "<folder>\n");
    assert_string_equal(COMPLETE("ps", "-o", "j"), "json\n");
    assert_string_equal(COMPLETE("inspect", "n"), "node\n");
    assert_string_equal(COMPLETE("help", "roll"), "rollback\n");
    assert_string_equal(COMPLETE("inspect", "node", ""), "");
    assert_string_equal(COMPLETE("version", ""), "");
    assert_string_equal(COMPLETE("nothing", ""), COMPLETE(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_verb_and_its_noun_form_are_the_same_command),
        cmocka_unit_test(no_two_commands_share_a_name),
        cmocka_unit_test(ls_is_list),
        cmocka_unit_test(options_stand_anywhere_and_in_every_form),
        cmocka_unit_test(a_letter_means_what_its_command_says),
        cmocka_unit_test(the_last_of_two_values_counts),
        cmocka_unit_test(two_dashes_end_the_options),
        cmocka_unit_test(help_is_understood_at_every_level_and_needs_no_arguments),
        cmocka_unit_test(wrong_words_are_refused_with_what_was_meant),
        cmocka_unit_test(wrong_values_are_refused_with_what_is_allowed),
        cmocka_unit_test(arguments_are_counted),
        cmocka_unit_test(help_shows_usage_options_and_the_other_form),
        cmocka_unit_test(help_lists_every_command_and_noun),
        cmocka_unit_test(completion_offers_what_may_follow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
