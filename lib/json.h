/* JSON as typed structs: one table describes a struct and gives its decoder, encoder and release.
 *
 * A `struct json_record` lists the members of a C struct, each with its key, kind and limits.
 * Decoding checks every type, range and length and names the offending value by a JSON pointer in
 * error->pointer. Strict decoding refuses unknown keys (users' documents); lenient decoding
 * ignores them (daemons' messages and stored documents, so that versions can differ). Any thread;
 * parsing depth and size are bounded. */
#pragma once

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/error.h"

enum json_kind {
    JSON_STRING,      /* char member[N] */
    JSON_TEXT,        /* char *member, heap; NULL when absent */
    JSON_UINT,        /* uint32_t or uint64_t by size, min..max */
    JSON_BOOL,        /* bool */
    JSON_ENUM,        /* enum (int) by names, a NULL-terminated list indexed by value */
    JSON_DURATION,    /* uint64_t milliseconds, written "1m30s" */
    JSON_SIZE,        /* uint64_t bytes, written "32Mi" */
    JSON_OBJECT,      /* a nested struct */
    JSON_LIST,        /* T *member and size_t count, elements described by `record` */
    JSON_STRINGS,     /* struct json_strings: ["a", "b"] */
    JSON_MAP,         /* struct json_map: {"K": "V"} */
    JSON_ANY,         /* struct json_object *member, a reference of its own */
    JSON_UNSUPPORTED, /* a key that is known but not built yet: refused, never ignored */
};

struct json_strings {
    char **items;
    size_t count;
};

struct json_map {
    struct json_map_entry {
        char *key;
        char *value;
    } * items;
    size_t count;
};

enum json_flags {
    JSON_REQUIRED = 1,
    JSON_OMIT_EMPTY = 2, /* do not write "", 0, false, an empty list or an absent object */
    JSON_NUMBER_TOO = 4, /* JSON_STRING: a whole number is taken as its digits; needs a `check` */
};

struct buffer;
struct json_record;

struct json_field {
    const char *key;
    enum json_kind kind;
    unsigned flags;
    size_t offset;
    size_t size; /* of the member */
    /* A bool member set when the key was there; 0: none, so never a struct's first member. */
    size_t present_offset;
    size_t count_offset; /* JSON_LIST: the size_t count */
    uint64_t min, max;   /* JSON_UINT, JSON_DURATION, JSON_SIZE: range; lists: count (max 0: any) */
    const char *const *names;
    const struct json_record *record;
    /* Further check of a string, map key or list item: NULL when fine, else what is allowed. */
    const char *(*check)(const char *value);
};

struct json_record {
    size_t size;
    const struct json_field *fields; /* ends with a NULL key */
};

/* Table rows. `...` takes further designated initializers: .flags, .min, .max, .check, .names. */
#define JSON_FIELD(type, member, name, kind_, ...)                                                 \
    {                                                                                              \
        .key = (name), .kind = (kind_), .offset = offsetof(type, member),                          \
        .size = sizeof(((type *)0)->member), __VA_ARGS__                                           \
    }
#define JSON_FIELD_LIST(type, member, count_member, name, record_, ...)                            \
    {                                                                                              \
        .key = (name), .kind = JSON_LIST, .offset = offsetof(type, member),                        \
        .size = sizeof(((type *)0)->member), .count_offset = offsetof(type, count_member),         \
        .record = (record_), __VA_ARGS__                                                           \
    }
#define JSON_FIELD_REFUSED(name)                                                                   \
    {                                                                                              \
        .key = (name), .kind = JSON_UNSUPPORTED                                                    \
    }
#define JSON_FIELD_END                                                                             \
    {                                                                                              \
        .key = NULL                                                                                \
    }

enum json_strictness { JSON_LENIENT, JSON_STRICT };

/* Fills a struct that the caller zeroed or filled with defaults: absent keys leave members alone.
 * On failure the struct is released to what json_record_release leaves. */
int json_decode(const struct json_record *record, struct json_object *object,
                enum json_strictness strictness, void *ret_struct, struct error *error);
/* The caller owns the object. */
struct json_object *json_encode(const struct json_record *record, const void *value);
/* Frees what the members own and zeroes them; the struct's own memory stays the caller's. */
void json_record_release(const struct json_record *record, void *value);
/* A deep copy into `ret_copy`, by way of the same table. */
void json_record_copy(const struct json_record *record, const void *value, void *ret_copy);

/* One document of at most `length` bytes, nested at most 32 deep, nothing but white space behind
 * it. ERROR_INVALID names line and reason. The caller owns the object. */
int json_parse(const char *text, size_t length, struct json_object **ret_object,
               struct error *error);
/* ERROR_INVALID when an object of the parsed `text` has a key twice, or a string a NUL byte:
 * readers would differ on what counts, so nothing that is signed or secret may have one. */
int json_check_unique(const char *text, size_t length, struct json_object *object,
                      struct error *error);
/* Parses and decodes. */
int json_parse_record(const struct json_record *record, const char *text, size_t length,
                      enum json_strictness strictness, void *ret_struct, struct error *error);
/* Objects and lists of one document from outside. */
#define JSON_CONTAINERS_MAX 65536
/* The same for documents from outside: json_check_unique in between, and ERROR_INVALID for one of
 * more than JSON_CONTAINERS_MAX, which could take 300 times its length in memory. */
int json_parse_unique_record(const struct json_record *record, const char *text, size_t length,
                             enum json_strictness strictness, void *ret_struct,
                             struct error *error);
/* Compact text; the caller frees it. */
char *json_text(struct json_object *object);
char *json_record_text(const struct json_record *record, const void *value);
/* The same, behind what `text` has. */
void json_record_append(struct buffer *text, const struct json_record *record, const void *value);

void json_strings_add(struct json_strings *strings, const char *text);
void json_strings_release(struct json_strings *strings);
void json_map_set(struct json_map *map, const char *key, const char *value);
/* NULL when absent. */
const char *json_map_get(const struct json_map *map, const char *key);
void json_map_release(struct json_map *map);
