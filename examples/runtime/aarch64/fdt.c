#include "fdt.h"

#include <string.h>

#define MAGIC       0xd00dfeed
#define VERSION     17
#define HEADER_SIZE 40

/* Fields of the header, by their cell. */
enum header_field {
    HEADER_MAGIC,
    HEADER_TOTAL_SIZE,
    HEADER_STRUCTURE,
    HEADER_STRINGS,
    HEADER_RESERVATIONS,
    HEADER_VERSION,
    HEADER_COMPATIBLE_VERSION,
    HEADER_PROCESSOR,
    HEADER_STRINGS_SIZE,
    HEADER_STRUCTURE_SIZE,
};

enum token_kind {
    TOKEN_BEGIN_NODE = 1,
    TOKEN_END_NODE = 2,
    TOKEN_PROPERTY = 3,
    TOKEN_NOTHING = 4,
    TOKEN_END = 9,
};

struct token {
    uint32_t kind;
    const char *name; /* of a node or a property */
    struct fdt_value value;
};

static uint32_t read_big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* Whether [offset, offset + size) lies in [0, limit). */
static bool is_inside(uint32_t offset, uint32_t size, uint32_t limit)
{
    return offset <= limit && size <= limit - offset;
}

int fdt_open(struct fdt *ret_tree, const void *bytes, size_t size)
{
    const uint8_t *header = bytes;
    uint32_t field[HEADER_STRUCTURE_SIZE + 1];
    if (size < HEADER_SIZE) {
        return -1;
    }
    for (unsigned i = 0; i <= HEADER_STRUCTURE_SIZE; i++) {
        field[i] = read_big_endian(header + (size_t)4 * i);
    }
    if (field[HEADER_MAGIC] != MAGIC || field[HEADER_VERSION] < VERSION ||
        field[HEADER_COMPATIBLE_VERSION] > VERSION || field[HEADER_TOTAL_SIZE] > size ||
        field[HEADER_STRUCTURE] % 4 != 0 ||
        !is_inside(field[HEADER_STRUCTURE], field[HEADER_STRUCTURE_SIZE],
                   field[HEADER_TOTAL_SIZE]) ||
        !is_inside(field[HEADER_STRINGS], field[HEADER_STRINGS_SIZE], field[HEADER_TOTAL_SIZE])) {
        return -1;
    }
    struct fdt tree = {
        .structure = header + field[HEADER_STRUCTURE],
        .structure_size = field[HEADER_STRUCTURE_SIZE],
        .strings = (const char *)header + field[HEADER_STRINGS],
        .strings_size = field[HEADER_STRINGS_SIZE],
    };
    /* With this every name that begins inside ends inside. */
    if (tree.strings_size > 0 && tree.strings[tree.strings_size - 1] != '\0') {
        return -1;
    }
    *ret_tree = tree;
    return 0;
}

struct fdt_node fdt_begin(const struct fdt *tree)
{
    return (struct fdt_node){.tree = tree};
}

/* A node's name; its size with the padding that follows. */
static const char *read_name(const struct fdt *tree, uint32_t offset, uint32_t *ret_size)
{
    const uint8_t *name = tree->structure + offset;
    const uint8_t *end = memchr(name, '\0', tree->structure_size - offset);
    if (end == NULL) {
        return NULL;
    }
    *ret_size = ((uint32_t)(end - name) + 4) & ~3U;
    return (const char *)name;
}

/* A property: its length, the offset of its name, its bytes. */
static int read_property(const struct fdt *tree, uint32_t *offset, struct token *ret_token)
{
    if (!is_inside(*offset, 8, tree->structure_size)) {
        return -1;
    }
    uint32_t size = read_big_endian(tree->structure + *offset);
    uint32_t name = read_big_endian(tree->structure + *offset + 4);
    *offset += 8;
    if (!is_inside(*offset, size, tree->structure_size) || name >= tree->strings_size) {
        return -1;
    }
    ret_token->name = tree->strings + name;
    ret_token->value = (struct fdt_value){tree->structure + *offset, size};
    *offset += size;
    if (*offset % 4 != 0) {
        *offset += 4 - *offset % 4; /* checked with the next token */
    }
    return 0;
}

/* The one place that reads the structure. Returns 0, -1 when it is broken. */
static int read_token(const struct fdt *tree, uint32_t *offset, struct token *ret_token)
{
    if (!is_inside(*offset, 4, tree->structure_size)) {
        return -1;
    }
    ret_token->kind = read_big_endian(tree->structure + *offset);
    *offset += 4;
    uint32_t size;
    switch (ret_token->kind) {
    case TOKEN_BEGIN_NODE:
        ret_token->name = read_name(tree, *offset, &size);
        *offset += ret_token->name != NULL ? size : 0;
        return ret_token->name != NULL ? 0 : -1;
    case TOKEN_PROPERTY:
        return read_property(tree, offset, ret_token);
    case TOKEN_END_NODE:
    case TOKEN_NOTHING:
    case TOKEN_END:
        return 0;
    default:
        return -1;
    }
}

int fdt_next(struct fdt_node *node)
{
    struct token token;
    uint32_t offset = node->properties;
    while (read_token(node->tree, &offset, &token) == 0) {
        if (token.kind == TOKEN_BEGIN_NODE) {
            if (node->depth == FDT_DEPTH_MAX) {
                return -1;
            }
            node->depth++;
            node->name = token.name;
            node->properties = offset;
            return 1;
        }
        if (token.kind == TOKEN_END_NODE) {
            if (node->depth == 0) {
                return -1;
            }
            node->depth--;
        } else if (token.kind == TOKEN_END) {
            return node->depth == 0 ? 0 : -1;
        }
    }
    return -1;
}

bool fdt_find(const struct fdt_node *node, const char *name, struct fdt_value *ret_value)
{
    struct token token;
    uint32_t offset = node->properties;
    /* A node's properties come before the nodes in it. */
    while (read_token(node->tree, &offset, &token) == 0) {
        if (token.kind == TOKEN_PROPERTY && strcmp(token.name, name) == 0) {
            *ret_value = token.value;
            return true;
        }
        if (token.kind != TOKEN_PROPERTY && token.kind != TOKEN_NOTHING) {
            break;
        }
    }
    return false;
}

bool fdt_read_cell(struct fdt_value value, unsigned index, uint32_t *ret_cell)
{
    if (index >= value.size / 4) {
        return false;
    }
    *ret_cell = read_big_endian(value.bytes + (size_t)4 * index);
    return true;
}

bool fdt_read_number(struct fdt_value value, unsigned index, unsigned count, uint64_t *ret_number)
{
    uint32_t high = 0, low;
    if (count < 1 || count > 2 || (count == 2 && !fdt_read_cell(value, index, &high)) ||
        !fdt_read_cell(value, index + count - 1, &low)) {
        return false;
    }
    *ret_number = (uint64_t)high << 32 | low;
    return true;
}

bool fdt_has_string(struct fdt_value value, const char *string)
{
    size_t length = strlen(string) + 1;
    const uint8_t *rest = value.bytes;
    size_t size = value.size;
    while (size >= length) {
        if (memcmp(rest, string, length) == 0) {
            return true;
        }
        const uint8_t *end = memchr(rest, '\0', size);
        if (end == NULL) {
            break;
        }
        size -= (size_t)(end + 1 - rest);
        rest = end + 1;
    }
    return false;
}

const char *fdt_read_text(struct fdt_value value)
{
    if (value.size == 0 || memchr(value.bytes, '\0', value.size) != value.bytes + value.size - 1) {
        return NULL;
    }
    return (const char *)value.bytes;
}
