/* The command table's row, and what a command line becomes by it.
 *
 * One table (commands.c) gives parsing, help, completion. Pure: knows no files, no network. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/buffer.h"
#include "lib/error.h"

struct cli;

enum option_kind {
    OPTION_FLAG,
    OPTION_TEXT,
    OPTION_FILE,
    OPTION_FOLDER,
    OPTION_NUMBER,   /* min..max */
    OPTION_DURATION, /* "10s" */
    OPTION_CHOICE,
};

struct option {
    const char *name; /* "follow" is --follow */
    char letter;      /* 'f' is -f; 0: none */
    enum option_kind kind;
    bool required;
    const char *value; /* what stands for the value in help */
    const char *help;
    const char *const *choices;
    uint64_t min, max;
};

/* What completion offers for an argument or a word. */
enum argument_kind { ARGUMENT_PLAIN, ARGUMENT_FILE, ARGUMENT_FOLDER, ARGUMENT_COMMAND };

struct command {
    const char *noun; /* "service" in `shoal service scale`; NULL: only the verb exists */
    const char *name; /* "scale" */
    const char *verb; /* "scale" in `shoal scale`; NULL: only the noun form exists */
    const char *summary;
    const char *arguments; /* "SERVICE [NODE] FILE...": gives the count too */
    enum argument_kind argument_kind;
    const char *const *argument_choices; /* for the first argument; NULL: anything */
    const struct option *options;        /* ends with a NULL name; NULL: none */
    const char *details;                 /* more help; NULL: none */
    const char *examples;                /* lines; NULL: none */
    /* Does the work; -1 with the error, which also chooses the exit code. */
    int (*run)(struct cli *cli, struct error *error);
};

struct noun {
    const char *name;
    const char *summary;
};

extern const struct command commands[]; /* ends with a NULL name */
extern const struct noun nouns[];       /* ends with a NULL name */
extern const struct option global_options[];

#define INVOCATION_OPTIONS_MAX 32
#define ARGUMENTS_MANY         1024

/* What was typed, checked against the table. Points into argv. */
struct invocation {
    const struct command *command; /* NULL: nothing to run, only help */
    const char *noun;              /* help for a noun */
    bool help;
    struct invocation_option {
        const struct option *option;
        const char *value;
    } options[INVOCATION_OPTIONS_MAX];
    size_t option_count;
    const char **arguments;
    size_t argument_count;
};

/* ERROR_INVALID tells what is wrong and what may have been meant. */
int invocation_parse(int count, const char *const *words, struct invocation *ret_invocation,
                     struct error *error);
void invocation_release(struct invocation *invocation);
bool invocation_has(const struct invocation *invocation, const char *name);
/* NULL when not given; where it was given twice, the last. */
const char *invocation_text(const struct invocation *invocation, const char *name);
uint64_t invocation_number(const struct invocation *invocation, const char *name,
                           uint64_t otherwise);
/* Milliseconds. */
uint64_t invocation_duration(const struct invocation *invocation, const char *name,
                             uint64_t otherwise);

/* "scale", "image push": how the command is typed. */
void command_title(const struct command *command, char *ret_text, size_t size);
/* NULL when there is none. `noun` NULL: the verb `name`. */
const struct command *command_find(const char *noun, const char *name);
const struct noun *noun_find(const char *name);
void command_argument_bounds(const struct command *command, size_t *ret_least, size_t *ret_most);
/* The nearest of the words the table knows, NULL when nothing is near. */
const char *command_suggest(const char *noun, const char *typed);
const struct option *option_find(const struct command *command, const char *name, size_t length);

/* Help for everything, a noun or a command. */
void help_everything(struct buffer *text);
void help_noun(const struct noun *noun, struct buffer *text);
void help_command(const struct command *command, struct buffer *text);
/* What the words behind "help" name; ERROR_INVALID with a suggestion. */
int help_words(const char *const *words, size_t count, struct buffer *text, struct error *error);

/* Candidates for the last of `words`, one a line; "<file>" or "<folder>" asks for names of files.
 */
void complete_words(const char *const *words, size_t count, struct buffer *candidates);
/* The text that `shoal completion bash` prints. */
extern const char completion_bash[];
