/* The file of users: one "NAME:HASH" a line, as Apache's htpasswd writes it; empty lines and those
 * that begin with # count for nothing. Hashes are bcrypt's only. Text from outside; the parser is
 * pure. Any thread. */
#pragma once

#include <stddef.h>

#include "lib/error.h"
#include "registry/access/rules.h"

enum {
    HTPASSWD_FILE_MAX = 4 << 20,
    HTPASSWD_LINE_MAX = 1024,
    HTPASSWD_USERS_MAX = 20000,
    HTPASSWD_HASH_MAX = 61, /* with NUL */
    HTPASSWD_COST_MAX = 15, /* 2^15 rounds: some seconds */
};

struct htpasswd {
    struct htpasswd_user {
        char name[USER_NAME_MAX];
        char hash[HTPASSWD_HASH_MAX]; /* $2y$<cost>$<22 characters of salt><31 of hash> */
    } * users;                        /* by name */
    size_t count;
};

/* ERROR_INVALID names file, line and remedy. `path` is for messages. */
int htpasswd_parse(const char *path, const char *text, size_t length, struct htpasswd *ret_htpasswd,
                   struct error *error);
void htpasswd_release(struct htpasswd *htpasswd);
/* NULL: no such user. */
const struct htpasswd_user *htpasswd_find(const struct htpasswd *htpasswd, const char *name);

/* Whether the password has this hash. Takes as long as the hash's cost says. */
bool htpasswd_check(const char *hash, const char *password);
/* A new hash; the cost is 4 to HTPASSWD_COST_MAX. */
int htpasswd_make(const char *password, unsigned cost, char ret_hash[HTPASSWD_HASH_MAX],
                  struct error *error);
/* Puts a user's hash into the file, or takes it out (`hash` NULL; ERROR_NOT_FOUND when there is
 * none), and leaves its other lines as they are; a file that is not there is made. A reader sees
 * the old file or the new one. `ret_was_there` (may be NULL): whether
 * there was such a user before. Two writers at once: the one waits for the other. */
int htpasswd_update(const char *path, const char *name, const char *hash, bool *ret_was_there,
                    struct error *error);
