/* Structs straight from text, by the same table as json_decode.c: for the documents and messages
 * that come by the thousand. It takes only what is plain, the usual escapes included; whatever else
 * there is, or is wrong, is left to the long way, which words the errors. What it takes, both ways
 * read alike. */
#include <string.h>

#include "lib/json_internal.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define NESTING_MAX   8
#define FIELDS_MAX    64
#define DIGITS_MAX    18 /* of a number that is sure to fit */
#define MAP_MAX       64
#define QUANTITY_TEXT 64
#define SAVED_MAX     2048 /* bytes of a struct that is saved on the stack */

struct reader {
    const char *at;
    const char *end;
    unsigned depth;
};

static bool read_object(struct reader *reader, const struct json_record *record, char *base);
static bool skip_value(struct reader *reader);

/* --- tokens --- */

static void skip_space(struct reader *reader)
{
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\n' ||
                                        *reader->at == '\t' || *reader->at == '\r'))
        reader->at++;
}

static bool take(struct reader *reader, char wanted)
{
    skip_space(reader);
    if (reader->at == reader->end || *reader->at != wanted)
        return false;
    reader->at++;
    return true;
}

static bool take_word(struct reader *reader, const char *word)
{
    size_t length = strlen(word);
    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
        return false;
    reader->at += length;
    return true;
}

/* A string as it stands between its quotes: `ret_length` bytes, perhaps with escapes. */
static bool take_string(struct reader *reader, const char **ret_start, size_t *ret_length,
                        bool *ret_escaped)
{
    if (!take(reader, '"'))
        return false;
    const char *at = reader->at;
    bool escaped = false;
    for (;;) {
        /* Most of it is ASCII that means itself. */
        while (at < reader->end && (unsigned char)*at - 0x20u < 0x60 && *at != '"' && *at != '\\')
            at++;
        if (at == reader->end || *at == '"')
            break;
        unsigned char byte = (unsigned char)*at;
        size_t length = 1;
        if (byte == '\\') {
            if (reader->end - at < 2 || memchr("\"\\/bfnrt", at[1], 8) == NULL)
                return false;
            escaped = true;
            length = 2;
        } else if (byte >= 0x80) {
            char character[5] = "";
            size_t rest = (size_t)(reader->end - at);
            memcpy(character, at, rest < 4 ? rest : 4);
            length = text_character_length(character);
        } else if (byte < 0x20) {
            length = 0;
        }
        if (length == 0)
            return false;
        at += length;
    }
    if (at >= reader->end)
        return false;
    *ret_start = reader->at;
    *ret_length = (size_t)(at - reader->at);
    *ret_escaped = escaped;
    reader->at = at + 1;
    return true;
}

static char unescape_byte(char letter)
{
    static const char letters[] = "bfnrt", bytes[] = "\b\f\n\r\t";
    const char *found = strchr(letters, letter);
    return found != NULL ? bytes[found - letters] : letter;
}

/* The string's bytes with a NUL; `ret_text` has room for length + 1. */
static void unescape(const char *start, size_t length, bool escaped, char *ret_text)
{
    if (!escaped) {
        memcpy(ret_text, start, length);
        ret_text[length] = '\0';
        return;
    }
    for (size_t i = 0; i < length; i++)
        *ret_text++ = start[i] == '\\' ? unescape_byte(start[++i]) : start[i];
    *ret_text = '\0';
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* A whole number without sign; one that goes on as a fraction is not taken. */
static bool take_number(struct reader *reader, uint64_t *ret_number)
{
    const char *start = reader->at, *at = start;
    uint64_t number = 0;
    while (at < reader->end && is_digit(*at) && at - start < DIGITS_MAX)
        number = number * 10 + (uint64_t)(*at++ - '0');
    bool whole = at > start && (at - start == 1 || *start != '0');
    if (!whole || at == reader->end || (*at != ',' && *at != '}' && *at != ']'))
        return false;
    reader->at = at;
    *ret_number = number;
    return true;
}

/* --- what no field wants --- */

static bool skip_members(struct reader *reader, bool is_object)
{
    char end = is_object ? '}' : ']';
    if (++reader->depth > NESTING_MAX)
        return false;
    if (take(reader, end)) {
        reader->depth--;
        return true;
    }
    do {
        const char *start;
        size_t length;
        bool escaped;
        if (is_object && (!take_string(reader, &start, &length, &escaped) || !take(reader, ':')))
            return false;
        if (!skip_value(reader))
            return false;
    } while (take(reader, ','));
    reader->depth--;
    return take(reader, end);
}

static bool skip_value(struct reader *reader)
{
    const char *start;
    size_t length;
    uint64_t number;
    bool escaped;
    skip_space(reader);
    if (reader->at == reader->end)
        return false;
    switch (*reader->at) {
    case '"':
        return take_string(reader, &start, &length, &escaped);
    case '{':
    case '[':
        return skip_members(reader, *reader->at++ == '{');
    case 't':
        return take_word(reader, "true");
    case 'f':
        return take_word(reader, "false");
    case 'n':
        return take_word(reader, "null");
    default:
        return take_number(reader, &number);
    }
}

/* --- members --- */

/* On the heap; NULL: not plain, or refused by the field's check. */
static char *read_text(struct reader *reader, const struct json_field *field)
{
    const char *start;
    size_t length;
    bool escaped;
    if (!take_string(reader, &start, &length, &escaped))
        return NULL;
    char *text = xmalloc(length + 1);
    unescape(start, length, escaped, text);
    if (field->check == NULL || field->check(text) == NULL)
        return text;
    free(text);
    return NULL;
}

/* Into `ret_text` of `size` bytes. */
static bool read_short(struct reader *reader, const struct json_field *field, char *ret_text,
                       size_t size)
{
    const char *start;
    size_t length;
    bool escaped;
    if (!take_string(reader, &start, &length, &escaped) || length >= size)
        return false;
    unescape(start, length, escaped, ret_text);
    return field->check == NULL || field->check(ret_text) == NULL;
}

static bool read_uint(struct reader *reader, const struct json_field *field, char *member)
{
    uint64_t number;
    if (!take_number(reader, &number) || number < field->min || number > json_upper_bound(field))
        return false;
    json_store_uint(member, field->size, number);
    return true;
}

static bool read_enum(struct reader *reader, const struct json_field *field, char *member)
{
    const char *start;
    size_t length;
    bool escaped;
    if (!take_string(reader, &start, &length, &escaped) || escaped)
        return false;
    for (int i = 0; field->names[i] != NULL; i++) {
        if (strncmp(field->names[i], start, length) == 0 && field->names[i][length] == '\0') {
            memcpy(member, &i, sizeof i);
            return true;
        }
    }
    return false;
}

static bool read_quantity(struct reader *reader, const struct json_field *field, char *member)
{
    char text[QUANTITY_TEXT];
    uint64_t number;
    bool read = read_short(reader, &(struct json_field){0}, text, sizeof text) &&
                (field->kind == JSON_DURATION ? text_parse_duration(text, &number)
                                              : text_parse_size(text, &number));
    if (!read || number < field->min || (field->max != 0 && number > field->max))
        return false;
    *(uint64_t *)(void *)member = number;
    return true;
}

static bool read_bool(struct reader *reader, char *member)
{
    bool is_true = take_word(reader, "true");
    *(bool *)member = is_true;
    return is_true || take_word(reader, "false");
}

static bool is_count(const struct json_field *field, size_t count)
{
    return count >= field->min && (field->max == 0 || count <= field->max);
}

/* The members' own memory grows with them, so that whatever fails can be released. */
static bool read_list(struct reader *reader, const struct json_field *field, char *base)
{
    char **items = (char **)(void *)(base + field->offset);
    size_t *count = (size_t *)(void *)(base + field->count_offset);
    size_t size = field->record->size, capacity = 0;
    if (!take(reader, '['))
        return false;
    if (take(reader, ']'))
        return is_count(field, 0);
    do {
        if (*count == capacity) {
            capacity = capacity > 0 ? 2 * capacity : 4;
            *items = xreallocarray(*items, capacity, size);
        }
        memset(*items + *count * size, 0, size);
        if (!read_object(reader, field->record, *items + (*count)++ * size))
            return false;
    } while (take(reader, ','));
    return take(reader, ']') && is_count(field, *count);
}

static bool read_strings(struct reader *reader, const struct json_field *field,
                         struct json_strings *strings)
{
    if (!take(reader, '['))
        return false;
    if (take(reader, ']'))
        return is_count(field, 0);
    do {
        char *text = read_text(reader, field);
        if (text == NULL)
            return false;
        strings->items = xreallocarray(strings->items, strings->count + 1, sizeof *strings->items);
        strings->items[strings->count++] = text;
    } while (take(reader, ','));
    return take(reader, ']') && is_count(field, strings->count);
}

static bool read_map(struct reader *reader, const struct json_field *field, struct json_map *map)
{
    if (!take(reader, '{'))
        return false;
    if (take(reader, '}'))
        return is_count(field, 0);
    do {
        char *key = read_text(reader, field);
        char *value =
            key != NULL && take(reader, ':') ? read_text(reader, &(struct json_field){0}) : NULL;
        bool fits = value != NULL && map->count < MAP_MAX && json_map_get(map, key) == NULL;
        if (fits)
            json_map_set(map, key, value);
        free(key);
        free(value);
        if (!fits)
            return false;
    } while (take(reader, ','));
    return take(reader, '}') && is_count(field, map->count);
}

static bool read_member(struct reader *reader, const struct json_field *field, char *base)
{
    char *member = base + field->offset;
    skip_space(reader);
    switch (field->kind) {
    case JSON_STRING:
        return read_short(reader, field, member, field->size);
    case JSON_TEXT:
        *(char **)(void *)member = read_text(reader, field);
        return *(char **)(void *)member != NULL;
    case JSON_UINT:
        return read_uint(reader, field, member);
    case JSON_BOOL:
        return read_bool(reader, member);
    case JSON_ENUM:
        return read_enum(reader, field, member);
    case JSON_DURATION:
    case JSON_SIZE:
        return read_quantity(reader, field, member);
    case JSON_OBJECT:
        return read_object(reader, field->record, member);
    case JSON_LIST:
        return read_list(reader, field, base);
    case JSON_STRINGS:
        return read_strings(reader, field, (struct json_strings *)(void *)member);
    case JSON_MAP:
        return read_map(reader, field, (struct json_map *)(void *)member);
    case JSON_ANY:
    case JSON_UNSUPPORTED:
        break;
    }
    return false;
}

/* The field of a key; members come in the table's order, so the search begins behind the last. */
static size_t find_field(const struct json_record *record, size_t count, size_t expected,
                         const char *key, size_t length)
{
    for (size_t i = 0; i < count; i++) {
        size_t at = expected + i < count ? expected + i : expected + i - count;
        const char *name = record->fields[at].key;
        if (strncmp(name, key, length) == 0 && name[length] == '\0')
            return at;
    }
    return count;
}

static size_t count_fields(const struct json_record *record)
{
    size_t count = 0;
    while (record->fields[count].key != NULL)
        count++;
    return count;
}

static bool read_members(struct reader *reader, const struct json_record *record, char *base,
                         size_t count, uint64_t *seen)
{
    size_t expected = 0;
    do {
        const char *key;
        size_t length;
        bool escaped;
        if (!take_string(reader, &key, &length, &escaped) || escaped || !take(reader, ':'))
            return false;
        size_t at = find_field(record, count, expected, key, length);
        if (at == count) {
            if (!skip_value(reader))
                return false;
            continue;
        }
        const struct json_field *field = &record->fields[at];
        /* A key that comes twice, and null, mean what the long way says. */
        if ((*seen & UINT64_C(1) << at) != 0 || !read_member(reader, field, base))
            return false;
        *seen |= UINT64_C(1) << at;
        if (field->present_offset != 0)
            *(bool *)(base + field->present_offset) = true;
        expected = at + 1;
    } while (take(reader, ','));
    return take(reader, '}');
}

static bool read_object(struct reader *reader, const struct json_record *record, char *base)
{
    size_t count = count_fields(record);
    uint64_t seen = 0;
    if (count > FIELDS_MAX || ++reader->depth > NESTING_MAX || !take(reader, '{'))
        return false;
    if (!take(reader, '}') && !read_members(reader, record, base, count, &seen))
        return false;
    reader->depth--;
    for (size_t i = 0; i < count; i++) {
        if ((record->fields[i].flags & JSON_REQUIRED) && (seen & UINT64_C(1) << i) == 0)
            return false;
    }
    return true;
}

/* --- all of it, or nothing --- */

/* Whether no member has memory of its own yet, so that a failure leaves nothing to restore. */
static bool owns_nothing(const struct json_record *record, const char *base)
{
    bool nothing = true;
    for (const struct json_field *field = record->fields; field->key != NULL && nothing; field++) {
        const void *member = base + field->offset;
        if (field->kind == JSON_OBJECT)
            nothing = owns_nothing(field->record, member);
        else if (field->kind == JSON_TEXT || field->kind == JSON_LIST || field->kind == JSON_ANY ||
                 field->kind == JSON_STRINGS || field->kind == JSON_MAP)
            nothing = *(void *const *)member == NULL;
    }
    return nothing;
}

bool json_read_record(const struct json_record *record, const char *text, size_t length,
                      void *ret_struct)
{
    struct reader reader = {text, text + length, 0};
    char saved[SAVED_MAX];
    if (record->size > sizeof saved || !owns_nothing(record, ret_struct))
        return false;
    memcpy(saved, ret_struct, record->size);
    bool read = read_object(&reader, record, ret_struct);
    skip_space(&reader);
    if (read && reader.at == reader.end)
        return true;
    json_record_release(record, ret_struct);
    memcpy(ret_struct, saved, record->size);
    return false;
}
