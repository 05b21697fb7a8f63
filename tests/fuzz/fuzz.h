/* What the fuzzers share. Each one gives bytes that nobody chose to one reader of a request, and
 * checks what it makes of them: a property that fails ends the run as a crash does. */
#pragma once

#include <regex.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/xalloc.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* The input as a text of its exact size, so that a read behind its end is seen; the caller frees
 * it. A NUL ends it early. */
static inline char *fuzz_text(const uint8_t *bytes, size_t length)
{
    return xstrndup((const char *)bytes, strnlen((const char *)bytes, length));
}

/* Cuts the input's first line off, for readers of two things; the caller frees it. */
static inline char *fuzz_line(const uint8_t **bytes, size_t *length)
{
    const uint8_t *end = *length > 0 ? memchr(*bytes, '\n', *length) : NULL;
    size_t size = end != NULL ? (size_t)(end - *bytes) : *length;
    char *line = fuzz_text(*bytes, size);
    size_t taken = end != NULL ? size + 1 : size;
    *bytes += taken;
    *length -= taken;
    return line;
}

/* Whether the whole text is of a POSIX extended expression: a grammar written another time. */
static inline bool fuzz_matches(regex_t *compiled, const char *expression, const char *text)
{
    if (compiled->re_nsub == 0 && regcomp(compiled, expression, REG_EXTENDED) != 0)
        abort();
    return regexec(compiled, text, 0, NULL, 0) == 0;
}
