/* Where it is known who a user is. One source today, a htpasswd file; others come in by the same
 * few operations. Any thread. */
#pragma once

#include <stdbool.h>

#include "lib/error.h"

struct users;

/* With NUL. */
#define USERS_MARK_MAX 33

enum users_answer {
    USERS_GOOD,  /* this user has this password */
    USERS_WRONG, /* it has not, or there is no such user: which one is not told */
    USERS_BUSY,  /* too many ask at once: worth trying again */
    USERS_FAILED /* the source cannot be asked; the error says why */
};

/* For implementers. */
struct users_operations {
    enum users_answer (*check)(struct users *users, const char *name, const char *password,
                               struct error *error);
    bool (*mark)(struct users *users, const char *name, char ret_mark[USERS_MARK_MAX]);
    int (*reload)(struct users *users, struct error *error);
    void (*destroy)(struct users *users);
};

struct users {
    const struct users_operations *operations;
};

/* May block; takes as long for a name that is not there as for one that is. */
static inline enum users_answer users_check(struct users *users, const char *name,
                                            const char *password, struct error *error)
{
    return users->operations->check(users, name, password, error);
}

/* Whether there is such a user, and a text that is another one once the password is: by it tokens
 * that were given out before end. */
static inline bool users_mark(struct users *users, const char *name, char ret_mark[USERS_MARK_MAX])
{
    return users->operations->mark(users, name, ret_mark);
}

/* Reads the source again; what was known stays when that fails. */
static inline int users_reload(struct users *users, struct error *error)
{
    return users->operations->reload(users, error);
}

/* NULL is fine. */
static inline void users_destroy(struct users *users)
{
    if (users != NULL)
        users->operations->destroy(users);
}

/* users_htpasswd.c: read at once, and again at each reload. */
int users_htpasswd_open(const char *path, struct users **ret_users, struct error *error);
