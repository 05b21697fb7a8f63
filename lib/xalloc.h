/* Allocation that aborts with a message instead of failing.
 *
 * For allocations whose size the program itself decides. Sizes that come from outside are checked
 * against a limit before they get here. Losing a daemon loses nothing acknowledged, so aborting is
 * the honest answer to an exhausted memory. Any thread. */
#pragma once

#include <stdarg.h>
#include <stddef.h>

void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
/* Grows or shrinks `memory` to `count` elements of `size` bytes; overflow aborts. */
void *xreallocarray(void *memory, size_t count, size_t size) __attribute__((returns_nonnull));
/* NULL stays NULL. The caller owns the copy. */
char *xstrdup(const char *text);
char *xstrndup(const char *text, size_t length) __attribute__((returns_nonnull));
void *xmemdup(const void *bytes, size_t length) __attribute__((returns_nonnull));
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2), returns_nonnull));
char *xvasprintf(const char *format, va_list arguments)
    __attribute__((format(printf, 1, 0), returns_nonnull));
