#include "lib/json.h"

#include <string.h>

#include "lib/cleanup.h"
#include "lib/json_internal.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define DEPTH_MAX 32

uint64_t json_load_uint(const char *member, size_t size)
{
    return size == sizeof(uint32_t) ? *(const uint32_t *)(const void *)member
                                    : *(const uint64_t *)(const void *)member;
}

void json_format_quantity(enum json_kind kind, uint64_t value, char ret_text[JSON_QUANTITY_MAX])
{
    if (kind == JSON_DURATION)
        text_format_duration(value, ret_text, JSON_QUANTITY_MAX);
    else
        text_format_size(value, ret_text, JSON_QUANTITY_MAX);
}

static struct json_object *encode_list(const struct json_field *field, const char *base)
{
    const char *items = *(char *const *)(const void *)(base + field->offset);
    size_t count = *(const size_t *)(const void *)(base + field->count_offset);
    struct json_object *list = json_object_new_array_ext((int)(count > 0 ? count : 1));
    for (size_t i = 0; i < count; i++)
        json_object_array_add(list, json_encode(field->record, items + i * field->record->size));
    return list;
}

static struct json_object *encode_strings(const struct json_strings *strings)
{
    struct json_object *list = json_object_new_array();
    for (size_t i = 0; i < strings->count; i++)
        json_object_array_add(list, json_object_new_string(strings->items[i]));
    return list;
}

static struct json_object *encode_map(const struct json_map *map)
{
    struct json_object *object = json_object_new_object();
    for (size_t i = 0; i < map->count; i++)
        json_object_object_add(object, map->items[i].key,
                               json_object_new_string(map->items[i].value));
    return object;
}

static bool is_empty(const struct json_field *field, const char *base)
{
    const char *member = base + field->offset;
    switch (field->kind) {
    case JSON_STRING:
        return *member == '\0';
    case JSON_UINT:
        return json_load_uint(member, field->size) == 0;
    case JSON_BOOL:
        return !*(const bool *)member;
    case JSON_DURATION:
    case JSON_SIZE:
        return *(const uint64_t *)(const void *)member == 0;
    case JSON_LIST:
        return *(const size_t *)(const void *)(base + field->count_offset) == 0;
    case JSON_STRINGS:
        return ((const struct json_strings *)(const void *)member)->count == 0;
    case JSON_MAP:
        return ((const struct json_map *)(const void *)member)->count == 0;
    case JSON_ENUM: {
        int value;
        memcpy(&value, member, sizeof value);
        return value == 0;
    }
    default:
        return false;
    }
}

char *json_whole_characters(const char *text)
{
    char *copy = xstrdup(text);
    for (char *at = copy; *at != '\0';) {
        bool ascii = (unsigned char)*at < 0x80;
        size_t length = ascii ? 1 : text_character_length(at);
        if (length == 0)
            *at = '?';
        at += length > 0 ? length : 1;
    }
    return copy;
}

/* A member of fixed size may have been cut in the middle of a character: one such message would
 * make the whole document one that json_parse refuses. */
static struct json_object *encode_string(const char *text)
{
    AUTO_FREE char *copy = json_whole_characters(text);
    return json_object_new_string(copy);
}

static struct json_object *encode_quantity(const struct json_field *field, uint64_t value)
{
    char text[JSON_QUANTITY_MAX];
    json_format_quantity(field->kind, value, text);
    return json_object_new_string(text);
}

static struct json_object *encode_field(const struct json_field *field, const char *base)
{
    const char *member = base + field->offset;
    int number;
    switch (field->kind) {
    case JSON_STRING:
        return encode_string(member);
    case JSON_TEXT:
        return json_object_new_string(*(char *const *)(const void *)member);
    case JSON_UINT:
        return json_object_new_int64((int64_t)json_load_uint(member, field->size));
    case JSON_BOOL:
        return json_object_new_boolean(*(const bool *)member);
    case JSON_ENUM:
        memcpy(&number, member, sizeof number);
        return json_object_new_string(field->names[number]);
    case JSON_DURATION:
    case JSON_SIZE:
        return encode_quantity(field, *(const uint64_t *)(const void *)member);
    case JSON_OBJECT:
        return json_encode(field->record, member);
    case JSON_LIST:
        return encode_list(field, base);
    case JSON_STRINGS:
        return encode_strings((const struct json_strings *)(const void *)member);
    case JSON_MAP:
        return encode_map((const struct json_map *)(const void *)member);
    case JSON_ANY:
        return json_object_get(*(struct json_object *const *)(const void *)member);
    case JSON_UNSUPPORTED:
        break;
    }
    return NULL;
}

bool json_field_is_absent(const struct json_field *field, const char *base)
{
    if (field->kind == JSON_UNSUPPORTED)
        return true;
    if (field->kind == JSON_TEXT || field->kind == JSON_ANY)
        return *(void *const *)(const void *)(base + field->offset) == NULL;
    if (field->present_offset != 0 && !*(const bool *)(base + field->present_offset))
        return true;
    return (field->flags & JSON_OMIT_EMPTY) && field->present_offset == 0 && is_empty(field, base);
}

struct json_object *json_encode(const struct json_record *record, const void *value)
{
    struct json_object *object = json_object_new_object();
    for (const struct json_field *field = record->fields; field->key != NULL; field++) {
        if (!json_field_is_absent(field, value))
            json_object_object_add(object, field->key, encode_field(field, value));
    }
    return object;
}

static void release_list(const struct json_field *field, char *base)
{
    char **items = (char **)(void *)(base + field->offset);
    size_t *count = (size_t *)(void *)(base + field->count_offset);
    for (size_t i = 0; i < *count; i++)
        json_record_release(field->record, *items + i * field->record->size);
    free(*items);
    *items = NULL;
    *count = 0;
}

void json_record_release(const struct json_record *record, void *value)
{
    char *base = value;
    for (const struct json_field *field = record->fields; field->key != NULL; field++) {
        void *member = base + field->offset;
        if (field->kind == JSON_TEXT) {
            free(*(char **)member);
            *(char **)member = NULL;
        } else if (field->kind == JSON_OBJECT) {
            json_record_release(field->record, member);
        } else if (field->kind == JSON_LIST) {
            release_list(field, base);
        } else if (field->kind == JSON_STRINGS) {
            json_strings_release(member);
        } else if (field->kind == JSON_MAP) {
            json_map_release(member);
        } else if (field->kind == JSON_ANY) {
            json_object_put(*(struct json_object **)member);
            *(struct json_object **)member = NULL;
        }
    }
}

/* Members that own memory are copied one by one over a plain copy of the rest. */
void json_record_copy(const struct json_record *record, const void *value, void *ret_copy)
{
    memcpy(ret_copy, value, record->size);
    for (const struct json_field *field = record->fields; field->key != NULL; field++) {
        const char *from = (const char *)value + field->offset;
        char *to = (char *)ret_copy + field->offset;
        if (field->kind == JSON_TEXT) {
            *(char **)(void *)to = xstrdup(*(char *const *)(const void *)from);
        } else if (field->kind == JSON_OBJECT) {
            json_record_copy(field->record, from, to);
        } else if (field->kind == JSON_LIST) {
            size_t count =
                *(const size_t *)(const void *)((const char *)value + field->count_offset);
            size_t size = field->record->size;
            const char *items = *(char *const *)(const void *)from;
            char *copy = count > 0 ? xcalloc(count, size) : NULL;
            for (size_t i = 0; i < count; i++)
                json_record_copy(field->record, items + i * size, copy + i * size);
            *(char **)(void *)to = copy;
        } else if (field->kind == JSON_STRINGS) {
            const struct json_strings *strings = (const void *)from;
            struct json_strings copy = {0};
            for (size_t i = 0; i < strings->count; i++)
                json_strings_add(&copy, strings->items[i]);
            memcpy(to, &copy, sizeof copy);
        } else if (field->kind == JSON_MAP) {
            const struct json_map *map = (const void *)from;
            struct json_map copy = {0};
            for (size_t i = 0; i < map->count; i++)
                json_map_set(&copy, map->items[i].key, map->items[i].value);
            memcpy(to, &copy, sizeof copy);
        } else if (field->kind == JSON_ANY) {
            json_object_get(*(struct json_object *const *)(const void *)from);
        }
    }
}

static unsigned line_of(const char *text, size_t offset)
{
    unsigned line = 1;
    for (size_t i = 0; i < offset; i++)
        line += text[i] == '\n';
    return line;
}

int json_parse(const char *text, size_t length, struct json_object **ret_object,
               struct error *error)
{
    if (length > INT32_MAX)
        return error_set(error, ERROR_TOO_LARGE, "the JSON document is too large");
    struct json_tokener *tokener = json_tokener_new_ex(DEPTH_MAX);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    struct json_object *object = json_tokener_parse_ex(tokener, text, (int)length);
    enum json_tokener_error failure = json_tokener_get_error(tokener);
    size_t end = json_tokener_get_parse_end(tokener);
    if (failure == json_tokener_continue) {
        /* A number at the very end, or a document that is not finished: all of it was read. */
        object = json_tokener_parse_ex(tokener, "", 1);
        failure = json_tokener_get_error(tokener);
        end = length;
    }
    json_tokener_free(tokener);
    if (failure != json_tokener_success) {
        json_object_put(object);
        return error_set(error, ERROR_INVALID, "not valid JSON: line %u: %s",
                         line_of(text, end < length ? end : length),
                         failure == json_tokener_continue ? "the document is not finished"
                                                          : json_tokener_error_desc(failure));
    }
    for (; end < length; end++) {
        if (strchr(" \t\r\n", text[end]) == NULL || text[end] == '\0') {
            json_object_put(object);
            return error_set(error, ERROR_INVALID, "not valid JSON: line %u: more behind the end",
                             line_of(text, end));
        }
    }
    *ret_object = object;
    return 0;
}

int json_parse_record(const struct json_record *record, const char *text, size_t length,
                      enum json_strictness strictness, void *ret_struct, struct error *error)
{
    AUTO_JSON struct json_object *object = NULL;
    if (strictness == JSON_LENIENT && json_read_record(record, text, length, ret_struct))
        return 0;
    if (json_parse(text, length, &object, error) < 0)
        return -1;
    return json_decode(record, object, strictness, ret_struct, error);
}

char *json_text(struct json_object *object)
{
    return xstrdup(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN |
                                                              JSON_C_TO_STRING_NOSLASHESCAPE));
}

void json_strings_add(struct json_strings *strings, const char *text)
{
    strings->items = xreallocarray(strings->items, strings->count + 1, sizeof *strings->items);
    strings->items[strings->count++] = xstrdup(text);
}

void json_strings_release(struct json_strings *strings)
{
    for (size_t i = 0; i < strings->count; i++)
        free(strings->items[i]);
    free(strings->items);
    *strings = (struct json_strings){0};
}

void json_map_set(struct json_map *map, const char *key, const char *value)
{
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(map->items[i].key, key) == 0) {
            free(map->items[i].value);
            map->items[i].value = xstrdup(value);
            return;
        }
    }
    map->items = xreallocarray(map->items, map->count + 1, sizeof *map->items);
    map->items[map->count++] = (struct json_map_entry){xstrdup(key), xstrdup(value)};
}

const char *json_map_get(const struct json_map *map, const char *key)
{
    for (size_t i = 0; i < map->count; i++) {
        if (strcmp(map->items[i].key, key) == 0)
            return map->items[i].value;
    }
    return NULL;
}

void json_map_release(struct json_map *map)
{
    for (size_t i = 0; i < map->count; i++) {
        free(map->items[i].key);
        free(map->items[i].value);
    }
    free(map->items);
    *map = (struct json_map){0};
}
