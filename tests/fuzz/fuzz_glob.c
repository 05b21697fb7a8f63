/* Globs of policies against an answer found in another way. The first line is the glob. */
#include "lib/glob.h"
#include "tests/fuzz/fuzz.h"

enum { SIDE_MAX = 48 };

/* reach[j]: the glob's beginning so far can have taken the text's first j characters. */
static void step(const char *text, size_t length, char sign, bool is_twofold, bool *reach)
{
    bool next[SIDE_MAX + 1] = {false};
    for (size_t j = 0; j <= length; j++) {
        if (sign == '*')
            next[j] = reach[j] || (j > 0 && next[j - 1] && (is_twofold || text[j - 1] != '/'));
        else
            next[j] =
                j > 0 && reach[j - 1] && (sign == '?' ? text[j - 1] != '/' : text[j - 1] == sign);
    }
    memcpy(reach, next, sizeof next);
}

static bool answer(const char *glob, const char *text)
{
    bool reach[SIDE_MAX + 1] = {true};
    size_t length = strlen(text);
    while (*glob != '\0') {
        size_t stars = strspn(glob, "*");
        step(text, length, *glob, stars > 1, reach);
        glob += stars > 0 ? stars : 1;
    }
    return reach[length];
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE char *glob = fuzz_line(&bytes, &length);
    AUTO_FREE char *text = fuzz_text(bytes, length);
    bool matches = glob_matches(glob, text);
    if (strlen(glob) <= SIDE_MAX && strlen(text) <= SIDE_MAX)
        EXPECT(matches == answer(glob, text));
    EXPECT(strpbrk(glob, "*?") != NULL || matches == (strcmp(glob, text) == 0));
    return 0;
}
