/* shoal-registry passwd: users of the htpasswd file. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "registry/access/htpasswd.h"
#include "registry/command.h"

enum { COST_DEFAULT = 10, BCRYPT_PASSWORD_MAX = 72, PASSWORD_BUFFER = 1024 };

static const char usage[] =
    "usage: shoal-registry passwd [OPTION]... NAME\n"
    "\n"
    "Sets a user's password in the htpasswd file, which is made when it is not there. The "
    "password\n"
    "is asked for on a terminal, else read from the standard input's first line.\n"
    "A running registry sees it after SIGHUP.\n"
    "\n"
    "  --file FILE    the file; without it the one of the settings (access.htpasswd)\n"
    "  --config FILE  the registry's settings\n"
    "  --cost N       2^N rounds of bcrypt, 4 to 15 (10)\n"
    "  --remove       take the user out\n"
    "  --help\n";

static const struct option options[] = {
    {"file", required_argument, NULL, 'f'}, {"config", required_argument, NULL, 'c'},
    {"cost", required_argument, NULL, 'n'}, {"remove", no_argument, NULL, 'r'},
    {"help", no_argument, NULL, 'h'},       {NULL, 0, NULL, 0},
};

struct passwd_options {
    const char *file;
    const char *config;
    const char *name;
    uint64_t cost;
    bool remove;
};

/* 0: go on; else the exit code plus one. */
static int read_options(int argc, char **argv, struct passwd_options *values)
{
    for (int option; (option = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        if (option == 'f') {
            values->file = optarg;
        } else if (option == 'c') {
            values->config = optarg;
        } else if (option == 'r') {
            values->remove = true;
        } else if (option == 'h') {
            fputs(usage, stdout);
            return EXIT_DONE + 1;
        } else if (option != 'n') {
            return command_refuse_option("passwd", argv, option) + 1;
        } else if (!text_parse_u64(optarg, HTPASSWD_COST_MAX, &values->cost) || values->cost < 4) {
            return command_refuse("passwd", "--cost %s is none: 4 to %d", optarg,
                                  HTPASSWD_COST_MAX) +
                   1;
        }
    }
    if (optind == argc)
        return command_refuse("passwd", "a user's name is needed") + 1;
    if (optind + 1 < argc)
        return command_refuse("passwd",
                              "unexpected argument \"%s\": one user's name is needed, and "
                              "the password is asked for",
                              argv[optind + 1]) +
               1;
    values->name = argv[optind];
    if (!user_name_is_valid(values->name))
        return command_refuse("passwd",
                              "\"%s\" cannot be a user's name: up to %d printable characters "
                              "without a colon, neither \"*\" nor \"anonymous\"",
                              values->name, USER_NAME_MAX - 1) +
               1;
    return 0;
}

static void be_interrupted(int number)
{
    (void)number;
}

/* Ctrl-C ends the reading, not the process while the terminal shows nothing. */
static char *read_unseen(char *ret_line, size_t size)
{
    struct termios before, quiet;
    struct sigaction interrupted = {.sa_handler = be_interrupted}, as_it_was;
    tcgetattr(STDIN_FILENO, &before);
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    sigaction(SIGINT, &interrupted, &as_it_was);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
    char *line = fgets(ret_line, (int)size, stdin);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &before);
    sigaction(SIGINT, &as_it_was, NULL);
    fputc('\n', stderr);
    return line;
}

/* Without its line end; the caller wipes it. */
static int read_line(const char *prompt, char *ret_line, size_t size, struct error *error)
{
    bool is_terminal = isatty(STDIN_FILENO);
    if (is_terminal)
        fputs(prompt, stderr);
    char *line = is_terminal ? read_unseen(ret_line, size) : fgets(ret_line, (int)size, stdin);
    if (line == NULL)
        return error_set(error, ERROR_INVALID, "no password was given: nothing was changed");
    ret_line[strcspn(ret_line, "\r\n")] = '\0';
    return 0;
}

/* Twice on a terminal, where nobody sees what is typed. */
static int read_password(const char *name, char ret_password[PASSWORD_BUFFER], struct error *error)
{
    AUTO_FREE char *prompt = xasprintf("password of %s: ", name);
    char again[PASSWORD_BUFFER];
    if (read_line(prompt, ret_password, PASSWORD_BUFFER, error) < 0)
        return -1;
    if (ret_password[0] == '\0')
        return error_set(error, ERROR_INVALID, "an empty password is none");
    if (strlen(ret_password) > BCRYPT_PASSWORD_MAX)
        return error_set(error, ERROR_INVALID,
                         "longer than %d bytes: bcrypt would leave out the rest",
                         BCRYPT_PASSWORD_MAX);
    if (!isatty(STDIN_FILENO))
        return 0;
    int result = read_line("once more: ", again, sizeof again, error);
    if (result == 0 && strcmp(again, ret_password) != 0)
        result = error_set(error, ERROR_INVALID, "the two differ: nothing was changed");
    explicit_bzero(again, sizeof again);
    return result;
}

static int change(const struct passwd_options *values, const char *path, bool *ret_was_there,
                  struct error *error)
{
    char password[PASSWORD_BUFFER], hash[HTPASSWD_HASH_MAX];
    if (values->remove)
        return htpasswd_update(path, values->name, NULL, ret_was_there, error);
    int result = read_password(values->name, password, error);
    if (result == 0)
        result = htpasswd_make(password, (unsigned)values->cost, hash, error);
    explicit_bzero(password, sizeof password);
    return result < 0 ? -1 : htpasswd_update(path, values->name, hash, ret_was_there, error);
}

/* A misspelt name makes a new user: it has to be seen. */
static void say_what_changed(const struct passwd_options *values, const char *path, bool was_there)
{
    if (values->remove)
        printf("user %s removed from %s\n", values->name, path);
    else if (was_there)
        printf("password of %s changed in %s\n", values->name, path);
    else
        printf("new user %s in %s\n", values->name, path);
    puts("A registry that runs reads the file again at SIGHUP: kill -HUP its process.");
}

int command_passwd(int argc, char **argv)
{
    struct passwd_options values = {.cost = COST_DEFAULT};
    struct registry_settings settings;
    struct error error = ERROR_INIT;
    int end = read_options(argc, argv, &values);
    if (end != 0)
        return end - 1;
    if (registry_settings_load(values.config, &settings, &error) < 0)
        return command_fail("passwd", false, EXIT_USAGE, &error);
    const char *path = values.file != NULL ? values.file : settings.access.htpasswd;
    bool was_there = false;
    int result = EXIT_DONE;
    if (path == NULL)
        result = command_refuse("passwd", "which file? give --file FILE, or --config FILE with "
                                          "settings that have access.htpasswd");
    else if (change(&values, path, &was_there, &error) < 0)
        result = command_fail("passwd", false, EXIT_FAILED, &error);
    else
        say_what_changed(&values, path, was_there);
    registry_settings_release(&settings);
    return result;
}
