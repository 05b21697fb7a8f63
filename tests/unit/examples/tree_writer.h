/* Writes device trees for the tests, whole ones and broken ones. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define TREE_HEADER 40
#define TREE_MAX    65536

enum { TREE_BEGIN = 1, TREE_END_NODE = 2, TREE_PROPERTY = 3, TREE_NOTHING = 4, TREE_END = 9 };

struct tree_writer {
    uint8_t structure[TREE_MAX / 2];
    uint32_t structure_size;
    char strings[4096];
    uint32_t strings_size;
    uint8_t bytes[TREE_MAX]; /* the finished tree */
    uint32_t size;
};

static inline void tree_put_cell(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static inline void tree_cell(struct tree_writer *tree, uint32_t value)
{
    tree_put_cell(tree->structure + tree->structure_size, value);
    tree->structure_size += 4;
}

static inline void tree_bytes(struct tree_writer *tree, const void *bytes, uint32_t size)
{
    memset(tree->structure + tree->structure_size, 0, (size + 3) & ~3U);
    memcpy(tree->structure + tree->structure_size, bytes, size);
    tree->structure_size += (size + 3) & ~3U;
}

static inline void tree_begin(struct tree_writer *tree, const char *name)
{
    tree_cell(tree, TREE_BEGIN);
    tree_bytes(tree, name, (uint32_t)strlen(name) + 1);
}

static inline void tree_end(struct tree_writer *tree)
{
    tree_cell(tree, TREE_END_NODE);
}

static inline void tree_property(struct tree_writer *tree, const char *name, const void *bytes,
                                 uint32_t size)
{
    uint32_t length = (uint32_t)strlen(name) + 1;
    tree_cell(tree, TREE_PROPERTY);
    tree_cell(tree, size);
    tree_cell(tree, tree->strings_size);
    memcpy(tree->strings + tree->strings_size, name, length);
    tree->strings_size += length;
    tree_bytes(tree, bytes, size);
}

static inline void tree_text(struct tree_writer *tree, const char *name, const char *text)
{
    tree_property(tree, name, text, (uint32_t)strlen(text) + 1);
}

static inline void tree_cells(struct tree_writer *tree, const char *name, size_t count,
                              const uint32_t *cells)
{
    uint8_t bytes[256];
    for (size_t i = 0; i < count; i++)
        tree_put_cell(bytes + 4 * i, cells[i]);
    tree_property(tree, name, bytes, (uint32_t)(4 * count));
}
#define TREE_CELLS(tree, name, ...)                                                                \
    tree_cells((tree), (name), sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t),               \
               (const uint32_t[]){__VA_ARGS__})

/* Header, structure, strings. */
static inline void tree_finish(struct tree_writer *tree)
{
    const uint32_t strings = TREE_HEADER + tree->structure_size;
    tree->size = strings + tree->strings_size;
    const uint32_t header[TREE_HEADER / 4] = {
        0xd00dfeed, tree->size,         TREE_HEADER,         strings, 0, 17, 16,
        0,          tree->strings_size, tree->structure_size};
    for (size_t i = 0; i < TREE_HEADER / 4; i++)
        tree_put_cell(tree->bytes + 4 * i, header[i]);
    memcpy(tree->bytes + TREE_HEADER, tree->structure, tree->structure_size);
    memcpy(tree->bytes + strings, tree->strings, tree->strings_size);
}
