#include "cli/table.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

struct cell {
    char *text;
    enum tone tone;
};

struct table {
    const struct table_column *columns;
    size_t column_count;
    struct cell *cells;
    size_t count;
};

struct table *table_create(const struct table_column *columns)
{
    struct table *table = xcalloc(1, sizeof *table);
    table->columns = columns;
    while (columns[table->column_count].title != NULL)
        table->column_count++;
    return table;
}

void table_destroy(struct table *table)
{
    if (table == NULL)
        return;
    for (size_t i = 0; i < table->count; i++)
        free(table->cells[i].text);
    free(table->cells);
    free(table);
}

void text_append_safe(struct buffer *text, const char *from)
{
    for (const char *at = from; *at != '\0';) {
        size_t length = text_character_length(at);
        buffer_append(text, length > 0 ? at : "?", length > 0 ? length : 1);
        at += length > 0 ? length : 1;
    }
}

char *text_of_line(const char *line, size_t length)
{
    char *text = xmalloc(length + 1);
    for (size_t i = 0; i < length; i++)
        text[i] = line[i] == '\0' || line[i] == '\n' ? '?' : line[i];
    text[length] = '\0';
    text_make_printable(text);
    return text;
}

static void add(struct table *table, enum tone tone, const char *text)
{
    struct buffer safe = {0};
    text_append_safe(&safe, text[0] != '\0' ? text : "-");
    table->cells = xreallocarray(table->cells, table->count + 1, sizeof *table->cells);
    table->cells[table->count++] = (struct cell){buffer_take(&safe), tone};
}

void table_cell(struct table *table, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    AUTO_FREE char *text = xvasprintf(format, arguments);
    va_end(arguments);
    add(table, TONE_PLAIN, text);
}

void table_cell_toned(struct table *table, enum tone tone, const char *text)
{
    add(table, tone, text);
}

size_t table_rows(const struct table *table)
{
    return table->count / table->column_count;
}

/* Characters, not bytes. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text != '\0'; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static void pad(struct buffer *text, size_t width)
{
    for (; width > 0; width--)
        buffer_append(text, " ", 1);
}

static void render_cell(struct buffer *text, const struct cell *cell, const char *title,
                        bool colored)
{
    static const char *const colors[] = {
        [TONE_PLAIN] = NULL, [TONE_GOOD] = "32", [TONE_BAD] = "31", [TONE_BUSY] = "33"};
    const char *color = cell != NULL && colored ? colors[cell->tone] : NULL;
    if (color != NULL)
        buffer_printf(text, "\033[%sm", color);
    buffer_append_text(text, cell != NULL ? cell->text : title);
    if (color != NULL)
        buffer_append_text(text, "\033[0m");
}

/* `cells` NULL: the header. */
static void render_row(const struct table *table, const struct cell *cells, const size_t *widths,
                       bool wide, bool colored, struct buffer *text)
{
    size_t owed = 0; /* spaces that only a following cell makes necessary */
    for (size_t i = 0; i < table->column_count; i++) {
        const struct table_column *column = &table->columns[i];
        if (column->wide && !wide)
            continue;
        const char *shown = cells != NULL ? cells[i].text : column->title;
        size_t gap = widths[i] - width_of(shown);
        pad(text, owed + (column->right ? gap : 0));
        render_cell(text, cells != NULL ? &cells[i] : NULL, column->title, colored);
        owed = 2 + (column->right ? 0 : gap);
    }
    buffer_append(text, "\n", 1);
}

void table_render(const struct table *table, bool wide, bool colored, struct buffer *text)
{
    size_t rows = table_rows(table);
    AUTO_FREE size_t *widths = xcalloc(table->column_count, sizeof *widths);
    for (size_t i = 0; i < table->column_count; i++) {
        widths[i] = width_of(table->columns[i].title);
        for (size_t row = 0; row < rows; row++) {
            size_t width = width_of(table->cells[row * table->column_count + i].text);
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    render_row(table, NULL, widths, wide, colored, text);
    for (size_t row = 0; row < rows; row++)
        render_row(table, &table->cells[row * table->column_count], widths, wide, colored, text);
}
