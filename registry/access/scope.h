/* What a client asks a token for, and what a token grants. The text form is that of docker's token
 * authentication ("Token Scope Documentation"): TYPE:NAME:ACTION[,ACTION]..., several with spaces
 * between. Text from outside; pure functions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/image_reference.h"
#include "registry/access/rules.h"

enum { SCOPES_MAX = 16, SCOPE_TEXT_MAX = 4096 };

struct access_scopes {
    struct access_scope {
        char repository[REPOSITORY_MAX];
        unsigned actions; /* pull, push, delete */
    } repositories[SCOPES_MAX];
    size_t count;
    bool has_catalog;
};

/* Adds what the text asks for; the same repository twice is one. Types and actions that are not
 * known here are left out, as are names that no repository has. -1: not of that form, longer than
 * SCOPE_TEXT_MAX, or more than SCOPES_MAX repositories; `scopes` then has a part of it. */
int access_scopes_parse(const char *text, size_t length, struct access_scopes *scopes);
/* Adds actions in a repository; -1: no place for one more. */
int access_scopes_add(struct access_scopes *scopes, const char *repository, size_t length,
                      unsigned actions);
/* What is granted in a repository. */
unsigned access_scopes_find(const struct access_scopes *scopes, const char *repository);
/* Takes out what the rules do not allow `user` (NULL: nobody in particular). */
void access_scopes_restrict(struct access_scopes *scopes, const struct access_rules *rules,
                            const char *user);
