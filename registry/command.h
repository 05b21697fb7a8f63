/* The commands of shoal-registry: main.c chooses one by its name, "serve" without any. Each reads
 * its own options and returns the exit code. Main thread only. */
#pragma once

#include "registry/settings.h"

enum {
    EXIT_DONE = 0,
    EXIT_FAILED = 1, /* it could not be done */
    EXIT_USAGE = 2,  /* the command line or the settings have a mistake */
    EXIT_FOUND = 3,  /* it was done, and something is damaged or missing */
};

int command_serve(int argc, char **argv);
int command_passwd(int argc, char **argv); /* access/command_passwd.c */
/* Work on the whole store: by the registry that runs on it, else here and now. */
int command_gc(int argc, char **argv);
int command_retain(int argc, char **argv);
int command_scrub(int argc, char **argv);
int command_backup(int argc, char **argv);
int command_restore(int argc, char **argv);
int command_cancel(int argc, char **argv);

/* --- what they share --- */

/* Options that change settings, as every command takes them or some do. */
struct option_values {
    const char *config;
    const char *state;
    const char *address;
    const char *port;
    const char *certificate;
    const char *key;
    const char *client_ca;
    const char *htpasswd;
    const char *access_log;
    const char *log_level;
};

/* Every message begins with "shoal-registry: COMMAND: ". This one about the command line is
 * followed by where help is; returns EXIT_USAGE. */
int command_refuse(const char *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same about the option that getopt_long, whose letters begin with ":", has just answered by
 * '?' or ':'. */
int command_refuse_option(const char *command, char **argv, int answer);
/* Prints the error, with `json` also as {"error": ...} on the standard output; returns `code`. */
int command_fail(const char *command, bool json, int code, const struct error *error);
/* The file's settings with the options on top, checked. The caller releases them. */
int command_settings(const struct option_values *values, struct registry_settings *ret_settings,
                     struct error *error);
