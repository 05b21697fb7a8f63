/*
 * A reader of flattened device trees, the form in which a hypervisor describes its machine
 * (Devicetree Specification 0.4, chapter 5). Knows the bytes and no machine; every offset and
 * length is checked against the tree's own bounds before use, so that a broken tree is an answer
 * and never a stray read. Nothing is copied: names and values point into the tree.
 */
#ifndef RUNTIME_AARCH64_FDT_H
#define RUNTIME_AARCH64_FDT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Nodes nested deeper than this are refused. */
#define FDT_DEPTH_MAX 16

struct fdt {
    const uint8_t *structure;
    uint32_t structure_size;
    const char *strings;
    uint32_t strings_size;
};

struct fdt_node {
    const struct fdt *tree;
    const char *name;    /* "virtio_mmio@a000000", "" for the root */
    unsigned depth;      /* 1 for the root, 0 before the first node */
    uint32_t properties; /* where the node's properties begin in the structure */
};

struct fdt_value {
    const uint8_t *bytes;
    uint32_t size;
};

/* The header at `bytes`, of which at most `size` may be read. Returns 0, -1 when this is no tree
 * of version 17 within that size. */
int fdt_open(struct fdt *ret_tree, const void *bytes, size_t size);

/* Before the first node. */
struct fdt_node fdt_begin(const struct fdt *tree);

/* Moves to the next node in the tree's order. Returns 1, 0 behind the last, -1 when the tree is
 * broken; `node` is of no use after either. */
int fdt_next(struct fdt_node *node);

/* The node's own property of that name. */
bool fdt_find(const struct fdt_node *node, const char *name, struct fdt_value *ret_value);

/* The 32-bit number `index` of a value; false when the value has no such number. */
bool fdt_read_cell(struct fdt_value value, unsigned index, uint32_t *ret_cell);

/* A number of `count` cells (1 or 2) from cell `index` on. */
bool fdt_read_number(struct fdt_value value, unsigned index, unsigned count, uint64_t *ret_number);

/* Whether a list of strings, each ended by NUL, has this one. */
bool fdt_has_string(struct fdt_value value, const char *string);

/* The value as text; NULL unless its last byte is the only NUL. */
const char *fdt_read_text(struct fdt_value value);

#endif
