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
    {"passwd", "set the password of a user", command_passwd},
};

static void print_usage(FILE *file)
{
    fputs("usage: shoal-registry [COMMAND] [OPTION]...\n\nAn OCI registry.\n\ncommands:\n", file);
    for (size_t i = 0; i < ARRAY_LENGTH(commands); i++)
        fprintf(file, "  %-10s %s\n", commands[i].name, commands[i].summary);
    fputs("\nshoal-registry COMMAND --help tells the options of each.\n", file);
}

int main(int argc, char **argv)
{
    /* shoal-registry --help is for all of it; other options alone are those of serve. */
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)) {
        print_usage(stdout);
        return EXIT_DONE;
    }
    if (argc > 1 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "version") == 0)) {
        puts("shoal-registry " SHOAL_VERSION);
        return EXIT_DONE;
    }
    if (argc == 1 || argv[1][0] == '-')
        return command_serve(argc, argv);
    for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
        if (strcmp(commands[i].name, argv[1]) == 0)
            return commands[i].run(argc - 1, argv + 1);
    }
    fprintf(stderr, "shoal-registry: there is no command \"%s\"\n\n", argv[1]);
    print_usage(stderr);
    return EXIT_USAGE;
}
