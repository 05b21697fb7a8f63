#include "cli/cli.h"

#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/table.h"
#include "cli/yaml_text.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

int cli_refuse_usage(struct cli *cli, struct error *error, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    AUTO_FREE char *message = xvasprintf(format, arguments);
    va_end(arguments);
    cli->wrong_usage = true;
    return error_set(error, ERROR_INVALID, "%s", message);
}

struct session *cli_session(struct cli *cli)
{
    if (cli->session == NULL)
        cli->session = session_create(&cli->settings);
    return cli->session;
}

const char *cli_argument(const struct cli *cli, size_t index)
{
    return index < cli->invocation->argument_count ? cli->invocation->arguments[index] : NULL;
}

const char *cli_service_argument(struct cli *cli, struct error *error)
{
    const char *name = cli_argument(cli, 0);
    if (text_is_name(name))
        return name;
    cli_refuse_usage(cli, error,
                     "\"%s\" is not the name of a service: 1 to 63 of a-z, 0-9 and -, with a "
                     "letter or digit at both ends (another namespace: --namespace NS)",
                     name);
    return NULL;
}

bool cli_wants_document(const struct cli *cli)
{
    return cli->format == OUTPUT_JSON || cli->format == OUTPUT_YAML;
}

void cli_print_document(struct cli *cli, struct json_object *document)
{
    if (cli->format == OUTPUT_YAML) {
        struct buffer AUTO_BUFFER text = {0};
        yaml_text_append(&text, document);
        fputs(buffer_text(&text), stdout);
    } else {
        puts(json_object_to_json_string_ext(document, JSON_C_TO_STRING_PRETTY |
                                                          JSON_C_TO_STRING_SPACED |
                                                          JSON_C_TO_STRING_NOSLASHESCAPE));
    }
    cli->has_document = true;
    json_object_put(document);
}

bool is_output_format(const char *text)
{
    for (size_t i = 0; output_format_names[i] != NULL; i++) {
        if (strcmp(output_format_names[i], text) == 0)
            return true;
    }
    return false;
}

/* Where a command has an --output of its own, the word tells which is meant. */
static enum output_format format_of(const struct invocation *invocation)
{
    enum output_format format = OUTPUT_TABLE;
    for (size_t given = 0; given < invocation->option_count; given++) {
        if (strcmp(invocation->options[given].option->name, "output") != 0)
            continue;
        for (int i = 0; output_format_names[i] != NULL; i++) {
            if (strcmp(output_format_names[i], invocation->options[given].value) == 0)
                format = (enum output_format)i;
        }
    }
    return format;
}

static enum cli_exit exit_of(const struct cli *cli, const struct error *error)
{
    if (cli->wrong_usage)
        return CLI_USAGE;
    if (error->code == ERROR_FAILED)
        return CLI_ROLLOUT_FAILED;
    return error->code == ERROR_NO_CAPACITY ? CLI_NO_ROOM : CLI_ERROR;
}

/* Messages carry text of daemons and images; line ends are the CLI's own. */
static void print_error(const char *message)
{
    struct buffer AUTO_BUFFER text = {0};
    AUTO_FREE char *copy = xstrdup(message);
    char *rest = copy, *line;
    while ((line = strsep(&rest, "\n")) != NULL) {
        text_append_safe(&text, line);
        buffer_append(&text, "\n", 1);
    }
    fprintf(stderr, "shoal: %s", buffer_text(&text));
}

static enum cli_exit report(struct cli *cli, const struct error *error)
{
    char title[64];
    print_error(error->message);
    if (cli->wrong_usage && strcmp(cli->invocation->command->name, "help") == 0) {
        fputs("Try `shoal help`.\n", stderr);
    } else if (cli->wrong_usage) {
        command_title(cli->invocation->command, title, sizeof title);
        fprintf(stderr, "Try `shoal help %s`.\n", title);
    }
    if (cli_wants_document(cli) && !cli->has_document)
        cli_print_document(cli, error_to_json(error));
    return exit_of(cli, error);
}

/* `shoal logs x | head`: whoever closed the pipe knows that it did. */
static bool reader_has_left(void)
{
    struct pollfd output = {.fd = STDOUT_FILENO};
    return poll(&output, 1, 0) > 0 && (output.revents & POLLERR) != 0;
}

static enum cli_exit run_command(const struct invocation *invocation)
{
    struct error error = ERROR_INIT;
    struct cli cli = {.invocation = invocation, .format = format_of(invocation)};
    const char *no_color = getenv("NO_COLOR");
    bool wants_color =
        !invocation_has(invocation, "no-color") && (no_color == NULL || no_color[0] == '\0');
    cli.colored = isatty(STDOUT_FILENO) && wants_color;
    cli.colored_progress = isatty(STDERR_FILENO) && wants_color;
    enum cli_exit result = CLI_DONE;
    if (settings_load(invocation, &cli.settings, &error) < 0 ||
        invocation->command->run(&cli, &error) < 0)
        result = report(&cli, &error);
    session_destroy(cli.session);
    if ((fflush(stdout) != 0 || ferror(stdout)) && result == CLI_DONE) {
        if (!reader_has_left())
            print_error("cannot write to standard output");
        result = CLI_ERROR;
    }
    return result;
}

static enum cli_exit show_help(const struct invocation *invocation)
{
    struct buffer AUTO_BUFFER text = {0};
    if (invocation->command != NULL)
        help_command(invocation->command, &text);
    else if (invocation->noun != NULL)
        help_noun(noun_find(invocation->noun), &text);
    else
        help_everything(&text);
    fputs(buffer_text(&text), stdout);
    return CLI_DONE;
}

/* The format that was asked for in words that make no command. */
static enum output_format format_in(int count, char **words)
{
    static const char *const ways[] = {"-o", "--output=", "--output"};
    for (int i = 1; i < count; i++) {
        for (size_t way = 0; way < ARRAY_LENGTH(ways); way++) {
            size_t length = strlen(ways[way]);
            if (strncmp(words[i], ways[way], length) != 0)
                continue;
            const char *value = words[i][length] != '\0' ? words[i] + length
                                : i + 1 < count          ? words[i + 1]
                                                         : "";
            if (strcmp(value, "json") == 0)
                return OUTPUT_JSON;
            if (strcmp(value, "yaml") == 0)
                return OUTPUT_YAML;
        }
    }
    return OUTPUT_TABLE;
}

static enum cli_exit refuse_words(int count, char **words, const struct error *error)
{
    struct cli cli = {.format = format_in(count, words)};
    print_error(error->message);
    if (cli_wants_document(&cli))
        cli_print_document(&cli, error_to_json(error));
    return CLI_USAGE;
}

int cli_run(int count, char **words)
{
    static const char *const version[] = {"version"};
    struct error error = ERROR_INIT;
    struct invocation invocation;
    bool asks_version = count == 2 && strcmp(words[1], "--version") == 0;
    if (invocation_parse(count - 1, asks_version ? version : (const char *const *)(words + 1),
                         &invocation, &error) < 0)
        return refuse_words(count, words, &error);
    enum cli_exit result;
    if (invocation.help)
        result = show_help(&invocation);
    else if (invocation.command != NULL)
        result = run_command(&invocation);
    else
        result = (show_help(&invocation), CLI_USAGE);
    invocation_release(&invocation);
    return result;
}
