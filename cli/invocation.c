#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

struct parser {
    struct invocation *invocation;
    const char *const *words;
    size_t count;
    size_t next;
    struct error *error;
};

void command_title(const struct command *command, char *ret_text, size_t size)
{
    if (command->verb != NULL)
        snprintf(ret_text, size, "%s", command->verb);
    else
        snprintf(ret_text, size, "%s%s%s", command->noun != NULL ? command->noun : "",
                 command->noun != NULL ? " " : "", command->name);
}

static bool is_same_name(const char *name, const char *typed)
{
    return strcmp(name, typed) == 0 || (strcmp(name, "list") == 0 && strcmp(typed, "ls") == 0);
}

const struct command *command_find(const char *noun, const char *name)
{
    for (const struct command *command = commands; command->name != NULL; command++) {
        if (noun == NULL && command->verb != NULL && strcmp(command->verb, name) == 0)
            return command;
        if (noun != NULL && command->noun != NULL && strcmp(command->noun, noun) == 0 &&
            is_same_name(command->name, name))
            return command;
    }
    return NULL;
}

const struct noun *noun_find(const char *name)
{
    for (const struct noun *noun = nouns; noun->name != NULL; noun++) {
        if (strcmp(noun->name, name) == 0)
            return noun;
    }
    return NULL;
}

void command_argument_bounds(const struct command *command, size_t *ret_least, size_t *ret_most)
{
    size_t least = 0, most = 0;
    for (const char *at = command->arguments; at != NULL && *at != '\0';) {
        size_t length = strcspn(at, " ");
        bool many = length > 3 && memmem(at, length, "...", 3) != NULL;
        least += *at == '[' ? 0 : 1;
        most += many ? ARGUMENTS_MANY : 1;
        at += length;
        at += strspn(at, " ");
    }
    *ret_least = least;
    *ret_most = most;
}

static const struct option *find_in(const struct option *options, const char *name, size_t length)
{
    for (; options != NULL && options->name != NULL; options++) {
        if (strlen(options->name) == length && strncmp(options->name, name, length) == 0)
            return options;
    }
    return NULL;
}

const struct option *option_find(const struct command *command, const char *name, size_t length)
{
    const struct option *own =
        command != NULL ? find_in(command->options, name, length) : (const struct option *)NULL;
    return own != NULL ? own : find_in(global_options, name, length);
}

/* A command's own letter goes before a global one. */
static const struct option *find_letter(const struct command *command, char letter)
{
    const struct option *lists[] = {command != NULL ? command->options : NULL, global_options};
    for (size_t i = 0; i < ARRAY_LENGTH(lists); i++) {
        for (const struct option *option = lists[i]; option != NULL && option->name != NULL;
             option++) {
            if (option->letter == letter)
                return option;
        }
    }
    return NULL;
}

static int check_choice(const struct option *option, const char *value, struct error *error)
{
    struct buffer AUTO_BUFFER allowed = {0};
    for (const char *const *choice = option->choices; *choice != NULL; choice++) {
        if (strcmp(*choice, value) == 0)
            return 0;
        buffer_printf(&allowed, "%s%s", allowed.length > 0 ? ", " : "", *choice);
    }
    return error_set(error, ERROR_INVALID, "--%s %s: allowed are %s", option->name, value,
                     buffer_text(&allowed));
}

static int check_value(const struct option *option, const char *value, struct error *error)
{
    uint64_t number;
    switch (option->kind) {
    case OPTION_NUMBER:
        if (text_parse_u64(value, option->max, &number) && number >= option->min)
            return 0;
        return error_set(error, ERROR_INVALID,
                         "--%s %s: allowed are whole numbers from %llu to %llu", option->name,
                         value, (unsigned long long)option->min, (unsigned long long)option->max);
    case OPTION_DURATION:
        if (text_parse_duration(value, &number))
            return 0;
        return error_set(error, ERROR_INVALID, "--%s %s: allowed are durations such as 30s or 2m",
                         option->name, value);
    case OPTION_CHOICE:
        return check_choice(option, value, error);
    default:
        return value[0] != '\0' ? 0
                                : error_set(error, ERROR_INVALID,
                                            "--%s needs a value that is not "
                                            "empty",
                                            option->name);
    }
}

static int add_option(struct parser *parser, const struct option *option, const char *value)
{
    struct invocation *invocation = parser->invocation;
    if (option->kind != OPTION_FLAG && value == NULL) {
        if (parser->next == parser->count)
            return error_set(parser->error, ERROR_INVALID, "--%s needs a value: %s", option->name,
                             option->value);
        value = parser->words[parser->next++];
    }
    if (option->kind != OPTION_FLAG && check_value(option, value, parser->error) < 0)
        return -1;
    if (invocation->option_count == INVOCATION_OPTIONS_MAX)
        return error_set(parser->error, ERROR_INVALID, "more than %d options",
                         INVOCATION_OPTIONS_MAX);
    /* Of two manifests one would be left out, and nobody told. */
    if (option->required && invocation_has(invocation, option->name))
        return error_set(parser->error, ERROR_INVALID, "--%s is given twice", option->name);
    if (strcmp(option->name, "help") == 0)
        invocation->help = true;
    invocation->options[invocation->option_count++] =
        (struct invocation_option){option, value != NULL ? value : ""};
    return 0;
}

/* Edits (insert, remove, replace, swap of neighbours) between two short words. */
static size_t distance(const char *one, const char *other)
{
    size_t rows[3][40] = {0};
    size_t width = strlen(other);
    if (width >= ARRAY_LENGTH(rows[0]) || strlen(one) >= ARRAY_LENGTH(rows[0]))
        return SIZE_MAX;
    for (size_t column = 0; column <= width; column++)
        rows[0][column] = column;
    size_t line = 0;
    for (size_t i = 1; one[i - 1] != '\0'; i++) {
        size_t *last = rows[line], *before = rows[(line + 2) % 3];
        size_t *now = rows[line = (line + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= width; j++) {
            size_t best = last[j - 1] + (one[i - 1] != other[j - 1]);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1] &&
                before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[line][width];
}

struct suggestion {
    const char *typed;
    const char *best;
    size_t best_distance;
};

static void consider(struct suggestion *suggestion, const char *word)
{
    size_t length = strlen(suggestion->typed);
    size_t edits = distance(suggestion->typed, word);
    if (length >= 2 && strncmp(word, suggestion->typed, length) == 0)
        edits = 1;
    if (edits < suggestion->best_distance && edits <= (length <= 3 ? 1u : 2u)) {
        suggestion->best = word;
        suggestion->best_distance = edits;
    }
}

const char *command_suggest(const char *noun, const char *typed)
{
    struct suggestion suggestion = {typed, NULL, SIZE_MAX};
    for (const struct command *command = commands; command->name != NULL; command++) {
        if (noun == NULL && command->verb != NULL)
            consider(&suggestion, command->verb);
        if (noun != NULL && command->noun != NULL && strcmp(command->noun, noun) == 0)
            consider(&suggestion, command->name);
    }
    for (const struct noun *each = nouns; noun == NULL && each->name != NULL; each++)
        consider(&suggestion, each->name);
    return suggestion.best;
}

static int refuse_option(struct parser *parser, const char *typed)
{
    const struct command *command = parser->invocation->command;
    char name[64], title[64] = "shoal";
    snprintf(name, sizeof name, "%.*s", (int)strcspn(typed, "="), typed);
    struct suggestion suggestion = {name, NULL, SIZE_MAX};
    const struct option *lists[] = {command != NULL ? command->options : NULL, global_options};
    for (size_t i = 0; i < ARRAY_LENGTH(lists); i++) {
        for (const struct option *option = lists[i]; option != NULL && option->name != NULL;
             option++)
            consider(&suggestion, option->name);
    }
    if (command != NULL)
        command_title(command, title, sizeof title);
    return error_set(parser->error, ERROR_INVALID, "%s has no option --%s%s%s%s", title, name,
                     suggestion.best != NULL ? ": did you mean --" : "",
                     suggestion.best != NULL ? suggestion.best : "",
                     suggestion.best != NULL ? "?" : "");
}

static int parse_long(struct parser *parser, const char *word)
{
    size_t length = strcspn(word, "=");
    const struct option *option = option_find(parser->invocation->command, word, length);
    if (option == NULL)
        return refuse_option(parser, word);
    if (word[length] == '=' && option->kind == OPTION_FLAG)
        return error_set(parser->error, ERROR_INVALID, "--%s takes no value", option->name);
    return add_option(parser, option, word[length] == '=' ? word + length + 1 : NULL);
}

static int parse_letters(struct parser *parser, const char *letters)
{
    for (; *letters != '\0'; letters++) {
        const struct option *option = find_letter(parser->invocation->command, *letters);
        if (option == NULL)
            return error_set(parser->error, ERROR_INVALID, "there is no option -%c here", *letters);
        bool takes_rest = option->kind != OPTION_FLAG && letters[1] != '\0';
        if (add_option(parser, option, takes_rest ? letters + 1 : NULL) < 0)
            return -1;
        if (takes_rest)
            return 0;
    }
    return 0;
}

static int refuse_word(struct parser *parser, const char *noun, const char *word)
{
    const char *near = command_suggest(noun, word);
    return error_set(parser->error, ERROR_INVALID, "there is no command \"%s%s%s\"%s%s%s%s%s",
                     noun != NULL ? noun : "", noun != NULL ? " " : "", word,
                     near != NULL ? ": did you mean \"" : "",
                     near != NULL && noun != NULL ? noun : "",
                     near != NULL && noun != NULL ? " " : "", near != NULL ? near : "",
                     near != NULL ? "\"?" : "");
}

/* A word before the command is known: a noun, a verb, or what follows a noun. */
static int parse_command_word(struct parser *parser, const char *word)
{
    struct invocation *invocation = parser->invocation;
    invocation->command = command_find(invocation->noun, word);
    if (invocation->command != NULL)
        return 0;
    if (invocation->noun == NULL && noun_find(word) != NULL) {
        invocation->noun = word;
        return 0;
    }
    return refuse_word(parser, invocation->noun, word);
}

static int check_arguments(const struct invocation *invocation, struct error *error)
{
    const struct command *command = invocation->command;
    size_t least, most;
    char title[64];
    command_title(command, title, sizeof title);
    command_argument_bounds(command, &least, &most);
    if (invocation->argument_count < least)
        return error_set(error, ERROR_INVALID, "%s needs %s", title, command->arguments);
    if (invocation->argument_count > most)
        return error_set(error, ERROR_INVALID, "%s takes %s%s, found \"%s\" as well", title,
                         most == 0 ? "no arguments" : "only ", most == 0 ? "" : command->arguments,
                         invocation->arguments[most]);
    for (const struct option *option = command->options; option != NULL && option->name != NULL;
         option++) {
        if (option->required && !invocation_has(invocation, option->name))
            return error_set(error, ERROR_INVALID, "%s needs --%s %s", title, option->name,
                             option->value);
    }
    return 0;
}

static int parse_words(struct parser *parser)
{
    struct invocation *invocation = parser->invocation;
    bool options_over = false;
    while (parser->next < parser->count) {
        const char *word = parser->words[parser->next++];
        int result = 0;
        if (!options_over && strcmp(word, "--") == 0)
            options_over = true;
        else if (!options_over && strncmp(word, "--", 2) == 0)
            result = parse_long(parser, word + 2);
        else if (!options_over && word[0] == '-' && word[1] != '\0')
            result = parse_letters(parser, word + 1);
        else if (invocation->command == NULL)
            result = parse_command_word(parser, word);
        else
            invocation->arguments[invocation->argument_count++] = word;
        if (result < 0)
            return -1;
    }
    if (invocation->help || (invocation->command == NULL && invocation->noun == NULL))
        return 0;
    if (invocation->command == NULL)
        return error_set(parser->error, ERROR_INVALID, "shoal %s needs a command",
                         invocation->noun);
    return check_arguments(invocation, parser->error);
}

static void add_hint(const struct invocation *invocation, struct error *error)
{
    char title[64] = "";
    if (error == NULL)
        return;
    if (invocation->command != NULL)
        command_title(invocation->command, title, sizeof title);
    else if (invocation->noun != NULL)
        snprintf(title, sizeof title, "%s", invocation->noun);
    size_t used = strlen(error->message);
    snprintf(error->message + used, sizeof error->message - used, "\nTry `shoal help%s%s`.",
             title[0] != '\0' ? " " : "", title);
}

int invocation_parse(int count, const char *const *words, struct invocation *ret_invocation,
                     struct error *error)
{
    struct invocation invocation = {0};
    invocation.arguments = xcalloc((size_t)count + 1, sizeof *invocation.arguments);
    struct parser parser = {&invocation, words, (size_t)count, 0, error};
    if (parse_words(&parser) < 0) {
        add_hint(&invocation, error);
        invocation_release(&invocation);
        return -1;
    }
    *ret_invocation = invocation;
    return 0;
}

void invocation_release(struct invocation *invocation)
{
    free(invocation->arguments);
    *invocation = (struct invocation){0};
}

const char *invocation_text(const struct invocation *invocation, const char *name)
{
    for (size_t i = invocation->option_count; i > 0; i--) {
        if (strcmp(invocation->options[i - 1].option->name, name) == 0)
            return invocation->options[i - 1].value;
    }
    return NULL;
}

bool invocation_has(const struct invocation *invocation, const char *name)
{
    return invocation_text(invocation, name) != NULL;
}

uint64_t invocation_number(const struct invocation *invocation, const char *name,
                           uint64_t otherwise)
{
    const char *text = invocation_text(invocation, name);
    uint64_t number;
    return text != NULL && text_parse_u64(text, UINT64_MAX, &number) ? number : otherwise;
}

uint64_t invocation_duration(const struct invocation *invocation, const char *name,
                             uint64_t otherwise)
{
    const char *text = invocation_text(invocation, name);
    uint64_t ms;
    return text != NULL && text_parse_duration(text, &ms) ? ms : otherwise;
}
