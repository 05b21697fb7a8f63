/* Who may do what: rules about repositories and users, from the settings. There are no rules that
 * forbid: allowed is what any matching rule allows. Pure functions; any thread. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/json.h"

/* What a route asks for (http_route.tag). A route that says nothing is refused while there are
 * users or rules. */
enum access_action {
    ACCESS_UNDECLARED,
    ACCESS_OPEN, /* anybody: health, version, tokens */
    ACCESS_BASE, /* who shows a token or a password, whatever it allows: /v2/ */
    ACCESS_USER, /* any user: metrics */
    ACCESS_CATALOG,
    ACCESS_PULL,
    ACCESS_PUSH,
    ACCESS_DELETE,
};

/* Sets of actions. */
#define ACCESS_BIT(action) (1U << (action))
#define ACCESS_REPOSITORY_BITS                                                                     \
    (ACCESS_BIT(ACCESS_PULL) | ACCESS_BIT(ACCESS_PUSH) | ACCESS_BIT(ACCESS_DELETE))

/* With NUL. */
#define USER_NAME_MAX 128

/* Printable, no colon (which ends a name in HTTP's Basic and in htpasswd), none of the names that
 * mean more than one user in rules. */
bool user_name_is_valid(const char *name);

struct access_rule {
    struct json_strings repositories; /* globs as in policies */
    struct json_strings users;        /* names; "*": any user; "anonymous": everybody */
    struct json_strings actions; /* "pull", "push", "delete", "catalog", "*": the first three */
};

extern const struct json_record access_rule_record;

/* A list of rules; a copy of its own. */
struct access_rules {
    struct access_rule *items;
    size_t count;
};

/* What only makes sense together: a rule that could never allow anything is a mistake. */
int access_rules_check(const struct access_rule *items, size_t count, struct error *error);
void access_rules_copy(const struct access_rule *items, size_t count,
                       struct access_rules *ret_rules);
void access_rules_release(struct access_rules *rules);

/* What `user` (NULL: nobody in particular) may do in a repository, as a set of pull, push and
 * delete; who may push or delete may pull. Without any rule users may do everything. */
unsigned access_rules_repository(const struct access_rules *rules, const char *user,
                                 const char *repository);
/* Whether `user` may list the repositories: all of their names, whatever else it may do. */
bool access_rules_catalog(const struct access_rules *rules, const char *user);

/* "pull", "push", "delete"; NULL for another action. */
const char *access_action_name(enum access_action action);
/* The set that a word means: one action, or all three for "*"; 0: not known. */
unsigned access_action_bits(const char *word, size_t length);
