/* Patterns for names with slashes in them: repositories, tags. Pure functions; any thread. */
#pragma once

#include <stdbool.h>

#include "lib/json.h"

/* `*` stands for any characters but a slash, `**` for any at all, `?` for one that is no slash;
 * the whole text must match. Never takes longer than the product of the two lengths. */
bool glob_matches(const char *glob, const char *text);
/* Whether one of the globs does. */
bool globs_match(const struct json_strings *globs, const char *text);
/* NULL; or what is allowed, for one that no repository's name could ever match. */
const char *glob_check_repositories(const char *value);
