#include <string.h>

#include "cli/command.h"
#include "lib/cleanup.h"

/* The shell asks the program, so that the table stays the only list of commands. */
const char completion_bash[] =
    "# bash completion for shoal: eval \"$(shoal completion bash)\"\n"
    "_shoal() {\n"
    "    local word=${COMP_WORDS[COMP_CWORD]} candidates line\n"
    "    COMPREPLY=()\n"
    "    candidates=$(\"${COMP_WORDS[0]}\" completion words -- "
    "\"${COMP_WORDS[@]:1:COMP_CWORD}\" 2>/dev/null)\n"
    "    while IFS= read -r line; do\n"
    "        case $line in\n"
    "        '') ;;\n"
    "        '<file>') compopt -o filenames 2>/dev/null\n"
    "            while IFS= read -r line; do COMPREPLY+=(\"$line\"); done "
    "< <(compgen -f -- \"$word\") ;;\n"
    "        '<folder>') compopt -o filenames 2>/dev/null\n"
    "            while IFS= read -r line; do COMPREPLY+=(\"$line\"); done "
    "< <(compgen -d -- \"$word\") ;;\n"
    "        *) COMPREPLY+=(\"$line\") ;;\n"
    "        esac\n"
    "    done <<<\"$candidates\"\n"
    "}\n"
    "complete -F _shoal shoal\n";

/* What the words before the last one have settled. */
struct completion {
    const char *noun;
    const struct command *command;
    const struct option *value_of; /* the last word is this option's value */
    bool options_over;
    size_t arguments;
};

static const struct option *option_of(const struct completion *completion, const char *word)
{
    if (word[0] != '-' || completion->options_over)
        return NULL;
    if (word[1] == '-')
        return option_find(completion->command, word + 2, strcspn(word + 2, "="));
    const struct option *lists[] = {
        completion->command != NULL ? completion->command->options : NULL, global_options};
    for (size_t i = 0; i < ARRAY_LENGTH(lists) && word[1] != '\0'; i++) {
        for (const struct option *option = lists[i]; option != NULL && option->name != NULL;
             option++) {
            if (option->letter == word[1] && word[2] == '\0')
                return option;
        }
    }
    return NULL;
}

static void settle(struct completion *completion, const char *word)
{
    if (completion->value_of != NULL) {
        completion->value_of = NULL;
        return;
    }
    if (strcmp(word, "--") == 0) {
        completion->options_over = true;
        return;
    }
    if (word[0] == '-' && !completion->options_over) {
        const struct option *option = option_of(completion, word);
        if (option != NULL && option->kind != OPTION_FLAG && strchr(word, '=') == NULL)
            completion->value_of = option;
        return;
    }
    if (completion->command != NULL) {
        completion->arguments++;
        return;
    }
    completion->command = command_find(completion->noun, word);
    if (completion->command == NULL && completion->noun == NULL && noun_find(word) != NULL)
        completion->noun = word;
}

static void offer(struct buffer *candidates, const char *start, const char *word)
{
    if (strncmp(word, start, strlen(start)) == 0)
        buffer_printf(candidates, "%s\n", word);
}

static void offer_choices(struct buffer *candidates, const char *start, const char *const *choices)
{
    for (; choices != NULL && *choices != NULL; choices++)
        offer(candidates, start, *choices);
}

static void offer_options(struct buffer *candidates, const char *start,
                          const struct option *options)
{
    for (; options != NULL && options->name != NULL; options++) {
        if (strncmp(start, "--", strlen(start) < 2 ? strlen(start) : 2) == 0 &&
            strncmp(options->name, strlen(start) > 2 ? start + 2 : "",
                    strlen(start) > 2 ? strlen(start) - 2 : 0) == 0)
            buffer_printf(candidates, "--%s\n", options->name);
    }
}

static void offer_words(struct buffer *candidates, const char *start, const char *noun)
{
    for (const struct command *command = commands; command->name != NULL; command++) {
        if (noun == NULL && command->verb != NULL)
            offer(candidates, start, command->verb);
        if (noun != NULL && command->noun != NULL && strcmp(command->noun, noun) == 0)
            offer(candidates, start, command->name);
    }
    for (const struct noun *each = nouns; noun == NULL && each->name != NULL; each++)
        offer(candidates, start, each->name);
}

static void offer_value(struct buffer *candidates, const char *start, const struct option *option)
{
    if (option->kind == OPTION_FILE)
        buffer_append_text(candidates, "<file>\n");
    else if (option->kind == OPTION_FOLDER)
        buffer_append_text(candidates, "<folder>\n");
    else
        offer_choices(candidates, start, option->choices);
}

static void offer_argument(struct buffer *candidates, const char *start,
                           const struct completion *completion)
{
    const struct command *command = completion->command;
    size_t least, most;
    command_argument_bounds(command, &least, &most);
    if (completion->arguments >= most)
        return;
    if (command->argument_kind == ARGUMENT_FILE)
        buffer_append_text(candidates, "<file>\n");
    else if (command->argument_kind == ARGUMENT_FOLDER)
        buffer_append_text(candidates, "<folder>\n");
    else if (command->argument_kind == ARGUMENT_COMMAND)
        offer_words(candidates, start, NULL);
    else if (completion->arguments == 0)
        offer_choices(candidates, start, command->argument_choices);
}

void complete_words(const char *const *words, size_t count, struct buffer *candidates)
{
    struct completion completion = {0};
    const char *last = count > 0 ? words[count - 1] : "";
    for (size_t i = 0; i + 1 < count; i++)
        settle(&completion, words[i]);
    if (completion.value_of != NULL) {
        offer_value(candidates, last, completion.value_of);
    } else if (last[0] == '-' && !completion.options_over) {
        if (completion.command != NULL)
            offer_options(candidates, last, completion.command->options);
        offer_options(candidates, last, global_options);
    } else if (completion.command == NULL) {
        offer_words(candidates, last, completion.noun);
    } else {
        offer_argument(candidates, last, &completion);
    }
}
