/* Tables for people: aligned columns without borders, made of whatever text the daemons send.
 * Control characters in cells are shown as '?', so that no guest or image speaks to the terminal.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "lib/buffer.h"

enum tone { TONE_PLAIN, TONE_GOOD, TONE_BAD, TONE_BUSY };

struct table_column {
    const char *title;
    bool right; /* aligned to the right: numbers */
    bool wide;  /* only with -o wide */
};

struct table;

/* `columns` ends with a NULL title and must outlive the table. */
struct table *table_create(const struct table_column *columns);
void table_destroy(struct table *table);
/* The next cell; rows fill by themselves. An empty text prints as "-". */
void table_cell(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_cell_toned(struct table *table, enum tone tone, const char *text);
size_t table_rows(const struct table *table);
/* Lines with the header first. */
void table_render(const struct table *table, bool wide, bool colored, struct buffer *text);

/* Appends text with '?' for control characters and for what is not UTF-8. */
void text_append_safe(struct buffer *text, const char *from);
/* A line of bytes from outside as text that may be shown and sent: the same, but tabs stay. The
 * caller frees it. */
char *text_of_line(const char *line, size_t length);
