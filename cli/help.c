#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "lib/cleanup.h"

#define COLUMN 22

static void entry(struct buffer *text, const char *name, const char *summary)
{
    if (strlen(name) < COLUMN)
        buffer_printf(text, "  %-*s%s\n", COLUMN, name, summary);
    else
        buffer_printf(text, "  %s\n  %*s%s\n", name, COLUMN, "", summary);
}

static void option_entries(struct buffer *text, const struct option *options)
{
    for (; options != NULL && options->name != NULL; options++) {
        char name[64], letter[8] = "    ", summary[256], choices[128] = "";
        if (options->letter != '\0')
            snprintf(letter, sizeof letter, "-%c, ", options->letter);
        snprintf(name, sizeof name, "%s--%s%s%s", letter, options->name,
                 options->kind == OPTION_FLAG ? "" : " ",
                 options->kind == OPTION_FLAG ? "" : options->value);
        for (size_t i = 0; options->choices != NULL && options->choices[i] != NULL; i++) {
            size_t used = strlen(choices);
            snprintf(choices + used, sizeof choices - used, "%s%s", i > 0 ? ", " : ": ",
                     options->choices[i]);
        }
        snprintf(summary, sizeof summary, "%s%s", options->help, choices);
        entry(text, name, summary);
    }
}

static void list_verbs(struct buffer *text)
{
    for (const struct command *command = commands; command->name != NULL; command++) {
        char name[64];
        if (command->verb == NULL)
            continue;
        snprintf(name, sizeof name, "%s %s", command->verb, command->arguments);
        entry(text, name, command->summary);
    }
}

void help_everything(struct buffer *text)
{
    buffer_append_text(text, "shoal: fleets of unikernels\n\nUsage: shoal [options] COMMAND ...\n"
                             "\nCommands:\n");
    list_verbs(text);
    buffer_append_text(text, "\nBy object (`shoal service scale` is `shoal scale`):\n");
    for (const struct noun *noun = nouns; noun->name != NULL; noun++)
        entry(text, noun->name, noun->summary);
    buffer_append_text(text, "\nOptions of every command:\n");
    option_entries(text, global_options);
    buffer_append_text(text,
                       "\nExit codes: 0 done, 1 error, 2 wrong usage, 3 the rollout failed or was "
                       "rolled back,\n4 cannot be placed. `shoal help COMMAND` tells more.\n");
}

void help_noun(const struct noun *noun, struct buffer *text)
{
    buffer_printf(text, "shoal %s: %s\n\nUsage: shoal %s COMMAND ...\n\nCommands:\n", noun->name,
                  noun->summary, noun->name);
    for (const struct command *command = commands; command->name != NULL; command++) {
        char name[64];
        if (command->noun == NULL || strcmp(command->noun, noun->name) != 0)
            continue;
        snprintf(name, sizeof name, "%s %s", command->name, command->arguments);
        entry(text, name, command->summary);
    }
    buffer_append_text(text, "\nOptions of every command:\n");
    option_entries(text, global_options);
}

void help_command(const struct command *command, struct buffer *text)
{
    char title[64];
    command_title(command, title, sizeof title);
    bool has_options = command->options != NULL && command->options->name != NULL;
    buffer_printf(text, "shoal %s: %s\n\nUsage: shoal %s%s%s", title, command->summary, title,
                  command->arguments[0] != '\0' ? " " : "", command->arguments);
    for (const struct option *option = command->options; has_options && option->name != NULL;
         option++) {
        if (option->required)
            buffer_printf(text, " --%s %s", option->name, option->value);
    }
    buffer_append_text(text, has_options ? " [options]\n" : "\n");
    if (command->verb != NULL && command->noun != NULL)
        buffer_printf(text, "Also:  shoal %s %s\n", command->noun, command->name);
    if (command->details != NULL)
        buffer_printf(text, "\n%s\n", command->details);
    if (has_options) {
        buffer_append_text(text, "\nOptions:\n");
        option_entries(text, command->options);
    }
    buffer_append_text(text, "\nOptions of every command:\n");
    option_entries(text, global_options);
    if (command->examples != NULL)
        buffer_printf(text, "\nExamples:\n%s\n", command->examples);
}

int help_words(const char *const *words, size_t count, struct buffer *text, struct error *error)
{
    if (count == 0) {
        help_everything(text);
        return 0;
    }
    const struct noun *noun = noun_find(words[0]);
    const struct command *command = noun == NULL ? command_find(NULL, words[0]) : NULL;
    if (noun != NULL && count > 1)
        command = command_find(words[0], words[1]);
    if (command != NULL) {
        help_command(command, text);
        return 0;
    }
    if (noun != NULL && count == 1) {
        help_noun(noun, text);
        return 0;
    }
    const char *typed = noun != NULL ? words[1] : words[0];
    const char *near = command_suggest(noun != NULL ? words[0] : NULL, typed);
    return error_set(error, ERROR_INVALID, "there is no command \"%s\"%s%s%s", typed,
                     near != NULL ? ": did you mean \"" : "", near != NULL ? near : "",
                     near != NULL ? "\"?" : "");
}
