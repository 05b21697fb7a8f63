/* The part of the C library's header that the runtime implements (library/string.c). */
#ifndef RUNTIME_STDLIB_H
#define RUNTIME_STDLIB_H

#include <stddef.h>

/* Overflow is not detected: for lwIP only, which asks it for small numbers. */
int atoi(const char *text);

#endif
