/* shoal-registry: which command runs. */
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "registry/command.h"

static const struct command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"serve", "answer clients (what runs without a command)", command_serve},
    {"gc", "remove what no manifest needs, and uploads that nobody ends", command_gc},
    {"retain", "remove the tags that the policies do not keep", command_retain},
    {"scrub", "read everything, put away what is damaged", command_scrub},
    {"backup", "copy all there is to a folder, while the registry goes on", command_backup},
    {"restore", "make a registry of a backup", command_restore},
    {"cancel", "end the scrub, retain or backup that is under way", command_cancel},
    {"passwd", "set the password of a user", command_passwd},
};

static void print_usage(void)
{
    puts("usage: shoal-registry [COMMAND] [OPTION]...\n\nAn OCI registry.\n\ncommands:");
    for (size_t i = 0; i < ARRAY_LENGTH(commands); i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    puts("\n"
         "shoal-registry COMMAND --help tells the options of each.\n"
         "\n"
         "Exit codes: 0 done; 1 it could not be done; 2 the command line or the settings have a\n"
         "mistake; 3 it was done, and something is damaged or missing.");
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    fprintf(stderr,
            "shoal-registry: there is no command \"%s\": shoal-registry help lists those there "
            "are\n",
            name);
    return NULL;
}

static int help(int argc, char **argv)
{
    char option[] = "--help";
    char *help_argv[] = {argc > 1 ? argv[1] : NULL, option, NULL};
    const struct command *command = argc > 1 ? find_command(argv[1]) : NULL;
    if (argc > 1)
        return command != NULL ? command->run(2, help_argv) : EXIT_USAGE;
    print_usage();
    return EXIT_DONE;
}

static bool is_one_of(const char *word, const char *option, const char *letter, const char *name)
{
    return strcmp(word, option) == 0 || strcmp(word, letter) == 0 || strcmp(word, name) == 0;
}

int main(int argc, char **argv)
{
    /* shoal-registry --help is for all of it; other options alone are those of serve. */
    if (argc > 1 && is_one_of(argv[1], "--help", "-h", "help"))
        return help(argc - 1, argv + 1);
    if (argc > 1 && is_one_of(argv[1], "--version", "-V", "version")) {
        puts("shoal-registry " SHOAL_VERSION);
        return EXIT_DONE;
    }
    if (argc == 1 || argv[1][0] == '-')
        return command_serve(argc, argv);
    const struct command *command = find_command(argv[1]);
    return command != NULL ? command->run(argc - 1, argv + 1) : EXIT_USAGE;
}
