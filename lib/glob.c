#include "lib/glob.h"

#include <string.h>

#define GLOB_MAX 256

/* Not each pattern that matches nothing is found, but those that people write. */
const char *glob_check_repositories(const char *value)
{
    size_t length = strlen(value);
    bool can_match = length > 0 && length < GLOB_MAX &&
                     strspn(value, "abcdefghijklmnopqrstuvwxyz0123456789._-*?/") == length &&
                     value[0] != '/' && value[length - 1] != '/' && strstr(value, "//") == NULL;
    return can_match ? NULL
                     : "a pattern that a repository's name can match: 1 to 255 lower case letters, "
                       "digits and . _ - * ? with single slashes between, none at the ends, and "
                       "no host";
}

/* Going back only to the last star (or the last double one, which takes slashes too) is enough:
 * an earlier star of the same kind could take nothing that the later one cannot. */
bool glob_matches(const char *glob, const char *text)
{
    struct {
        const char *glob, *text;
    } single = {NULL, NULL}, twofold = {NULL, NULL};
    for (;;) {
        if (*glob == '*') {
            bool is_twofold = glob[1] == '*';
            glob += strspn(glob, "*");
            if (is_twofold) {
                twofold.glob = glob, twofold.text = text;
                single.glob = NULL;
            } else {
                single.glob = glob, single.text = text;
            }
            continue;
        }
        if (*glob == '\0' && *text == '\0')
            return true;
        if (*text != '\0' && (*glob == *text || (*glob == '?' && *text != '/'))) {
            glob++, text++;
            continue;
        }
        if (single.glob != NULL && *single.text != '\0' && *single.text != '/') {
            glob = single.glob, text = ++single.text;
        } else if (twofold.glob != NULL && *twofold.text != '\0') {
            glob = twofold.glob, text = ++twofold.text;
            single.glob = NULL;
        } else {
            return false;
        }
    }
}

bool globs_match(const struct json_strings *globs, const char *text)
{
    for (size_t i = 0; i < globs->count; i++) {
        if (glob_matches(globs->items[i], text))
            return true;
    }
    return false;
}
