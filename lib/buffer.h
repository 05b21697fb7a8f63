/* A growing run of bytes, always followed by a NUL that `length` does not count.
 * A zeroed struct is an empty buffer. Not shared between threads. */
#pragma once

#include <stddef.h>

struct buffer {
    char *data;
    size_t length;
    size_t capacity;
};

void buffer_finish(struct buffer *buffer);
void buffer_clear(struct buffer *buffer); /* keeps the memory */
void buffer_append(struct buffer *buffer, const void *bytes, size_t length);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_printf(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Drops the first `length` bytes. */
void buffer_consume(struct buffer *buffer, size_t length);
/* The text so far, "" when empty; valid until the next change. */
const char *buffer_text(const struct buffer *buffer);
/* Hands the memory to the caller (free), never NULL, and leaves the buffer empty. */
char *buffer_take(struct buffer *buffer);

#define AUTO_BUFFER __attribute__((cleanup(buffer_finish)))
