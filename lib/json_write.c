/* Text straight from a struct and its table, byte for byte what json_encode's object would give:
 * what is written by the thousand a second makes no object of each member. */
#include <string.h>

#include "lib/json_internal.h"
#include "lib/text.h"
#include "lib/xalloc.h"

static void write_record(struct buffer *text, const struct json_record *record, const char *base);

/* Most of it is a few bytes for which there is room. */
static inline void put(struct buffer *text, const char *bytes, size_t length)
{
    if (text->capacity - text->length <= length) {
        buffer_append(text, bytes, length);
        return;
    }
    memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = '\0';
}

static void write_uint(struct buffer *text, uint64_t value)
{
    char digits[24];
    size_t at = sizeof digits;
    int64_t number = (int64_t)value; /* as json-c keeps it */
    uint64_t rest = number < 0 ? (uint64_t)-number : value;
    do
        digits[--at] = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (number < 0)
        digits[--at] = '-';
    put(text, &digits[at], sizeof digits - at);
}

static void write_escaped(struct buffer *text, unsigned char byte)
{
    static const char digits[] = "0123456789abcdef";
    static const char plain[] = "\"\\\b\n\r\t\f", letters[] = "\"\\bnrtf";
    const char *found = memchr(plain, byte, sizeof plain - 1);
    if (found != NULL) {
        const char pair[2] = {'\\', letters[found - plain]};
        put(text, pair, sizeof pair);
        return;
    }
    const char code[6] = {'\\', 'u', '0', '0', digits[byte >> 4], digits[byte & 15]};
    put(text, code, sizeof code);
}

static void write_string(struct buffer *text, const char *value)
{
    const char *run = value, *at = value;
    put(text, "\"", 1);
    for (; *at != '\0'; at++) {
        unsigned char byte = (unsigned char)*at;
        if (byte >= 0x20 && byte != '"' && byte != '\\')
            continue;
        put(text, run, (size_t)(at - run));
        write_escaped(text, byte);
        run = at + 1;
    }
    put(text, run, (size_t)(at - run));
    put(text, "\"", 1);
}

/* A member of fixed size may have been cut in the middle of a character: one such message would
 * make the whole document one that json_parse refuses. */
static void write_member_string(struct buffer *text, const char *value)
{
    const char *at = value;
    while (*at != '\0' && (unsigned char)*at < 0x80)
        at++;
    if (*at == '\0') {
        write_string(text, value);
        return;
    }
    char *copy = json_whole_characters(value);
    write_string(text, copy);
    free(copy);
}

static void write_list(struct buffer *text, const struct json_field *field, const char *base)
{
    const char *items = *(char *const *)(const void *)(base + field->offset);
    size_t count = *(const size_t *)(const void *)(base + field->count_offset);
    put(text, "[", 1);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            put(text, ",", 1);
        write_record(text, field->record, items + i * field->record->size);
    }
    put(text, "]", 1);
}

static void write_strings(struct buffer *text, const struct json_strings *strings)
{
    put(text, "[", 1);
    for (size_t i = 0; i < strings->count; i++) {
        if (i > 0)
            put(text, ",", 1);
        write_string(text, strings->items[i]);
    }
    put(text, "]", 1);
}

static void write_map(struct buffer *text, const struct json_map *map)
{
    put(text, "{", 1);
    for (size_t i = 0; i < map->count; i++) {
        if (i > 0)
            put(text, ",", 1);
        write_string(text, map->items[i].key);
        put(text, ":", 1);
        write_string(text, map->items[i].value);
    }
    put(text, "}", 1);
}

static void write_quantity(struct buffer *text, const struct json_field *field, uint64_t value)
{
    char quantity[JSON_QUANTITY_MAX];
    json_format_quantity(field->kind, value, quantity);
    write_string(text, quantity);
}

static void write_object(struct buffer *text, struct json_object *object)
{
    buffer_append_text(text, json_object_to_json_string_ext(
                                 object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void write_field(struct buffer *text, const struct json_field *field, const char *base)
{
    const char *member = base + field->offset;
    int number;
    switch (field->kind) {
    case JSON_STRING:
        write_member_string(text, member);
        break;
    case JSON_TEXT:
        write_string(text, *(char *const *)(const void *)member);
        break;
    case JSON_UINT:
        write_uint(text, json_load_uint(member, field->size));
        break;
    case JSON_BOOL:
        buffer_append_text(text, *(const bool *)member ? "true" : "false");
        break;
    case JSON_ENUM:
        memcpy(&number, member, sizeof number);
        write_string(text, field->names[number]);
        break;
    case JSON_DURATION:
    case JSON_SIZE:
        write_quantity(text, field, *(const uint64_t *)(const void *)member);
        break;
    case JSON_OBJECT:
        write_record(text, field->record, member);
        break;
    case JSON_LIST:
        write_list(text, field, base);
        break;
    case JSON_STRINGS:
        write_strings(text, (const struct json_strings *)(const void *)member);
        break;
    case JSON_MAP:
        write_map(text, (const struct json_map *)(const void *)member);
        break;
    case JSON_ANY:
        write_object(text, *(struct json_object *const *)(const void *)member);
        break;
    case JSON_UNSUPPORTED:
        break;
    }
}

static void write_record(struct buffer *text, const struct json_record *record, const char *base)
{
    bool first = true;
    put(text, "{", 1);
    for (const struct json_field *field = record->fields; field->key != NULL; field++) {
        if (json_field_is_absent(field, base))
            continue;
        put(text, first ? "\"" : ",\"", first ? 1 : 2);
        put(text, field->key, strlen(field->key)); /* ours: nothing to escape */
        put(text, "\":", 2);
        write_field(text, field, base);
        first = false;
    }
    put(text, "}", 1);
}

void json_record_append(struct buffer *text, const struct json_record *record, const void *value)
{
    write_record(text, record, value);
}

char *json_record_text(const struct json_record *record, const void *value)
{
    struct buffer text = {0};
    write_record(&text, record, value);
    return buffer_take(&text);
}
