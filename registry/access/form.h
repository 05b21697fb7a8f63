/* A body of application/x-www-form-urlencoded (URL standard, section 5.1). Text from outside; pure
 * functions. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* The first value of a key, decoded; the caller frees it. False: the key is not there, or its value
 * has a bad %-escape or a NUL. */
bool form_get(const char *body, size_t length, const char *key, char **ret_value);
