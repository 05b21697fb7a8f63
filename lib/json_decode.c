#include "lib/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json_internal.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* Where a decoder stands: the pointer is built on the way down and cut on the way back. */
struct decoder {
    enum json_strictness strictness;
    char pointer[ERROR_POINTER_MAX];
    struct error *error;
};

static int decode_record(struct decoder *decoder, const struct json_record *record,
                         struct json_object *object, char *base);

static size_t pointer_push(struct decoder *decoder, const char *key)
{
    size_t before = strlen(decoder->pointer), used = before;
    if (used + 1 < sizeof decoder->pointer)
        decoder->pointer[used++] = '/';
    for (; *key != '\0' && used + 3 < sizeof decoder->pointer; key++) {
        if (*key == '~' || *key == '/') {
            decoder->pointer[used++] = '~';
            decoder->pointer[used++] = *key == '~' ? '0' : '1';
        } else {
            decoder->pointer[used++] = *key;
        }
    }
    decoder->pointer[used] = '\0';
    return before;
}

static size_t pointer_push_index(struct decoder *decoder, size_t index)
{
    char text[24];
    snprintf(text, sizeof text, "%zu", index);
    return pointer_push(decoder, text);
}

static void pointer_pop(struct decoder *decoder, size_t before)
{
    decoder->pointer[before] = '\0';
}

__attribute__((format(printf, 3, 4))) static int refuse(struct decoder *decoder,
                                                        enum error_code code, const char *format,
                                                        ...)
{
    va_list arguments;
    char message[1024];
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    error_set(decoder->error, code, "%s", message);
    if (decoder->error != NULL)
        memcpy(decoder->error->pointer, decoder->pointer, sizeof decoder->error->pointer);
    return -1;
}

#define FOUND_MAX 128

/* What stands there, for a message: texts in quotes, so that "3" is not taken for 3. */
static const char *found(struct json_object *value, char buffer[FOUND_MAX])
{
    switch (json_object_get_type(value)) {
    case json_type_null:
        return "nothing";
    case json_type_object:
        return "a mapping";
    case json_type_array:
        return "a list";
    case json_type_string:
        snprintf(buffer, FOUND_MAX, "\"%.100s\"", json_object_get_string(value));
        return buffer;
    default:
        return json_object_get_string(value);
    }
}

static int expect(struct decoder *decoder, struct json_object *value, enum json_type type,
                  const char *what)
{
    if (json_object_is_type(value, type))
        return 0;
    return refuse(decoder, ERROR_INVALID, "expected %s, found %.100s", what,
                  found(value, (char[FOUND_MAX]){0}));
}

static int check_text(struct decoder *decoder, const struct json_field *field, const char *text,
                      size_t length)
{
    if (strlen(text) != length)
        return refuse(decoder, ERROR_INVALID, "the text holds a NUL byte");
    const char *allowed = field->check != NULL ? field->check(text) : NULL;
    if (allowed != NULL)
        return refuse(decoder, ERROR_INVALID, "\"%.100s\" is not allowed: %s", text, allowed);
    return 0;
}

static int read_text(struct decoder *decoder, const struct json_field *field,
                     struct json_object *value, const char **ret_text)
{
    bool takes_number = (field->flags & JSON_NUMBER_TOO) != 0;
    bool number = takes_number && json_object_is_type(value, json_type_int);
    /* What is allowed is what the check says of a text that never is. */
    const char *what = takes_number ? field->check("") : "a text (quote it if it is one)";
    if (!number && expect(decoder, value, json_type_string, what) < 0)
        return -1;
    const char *text = json_object_get_string(value);
    size_t length = number ? strlen(text) : (size_t)json_object_get_string_len(value);
    if (check_text(decoder, field, text, length) < 0)
        return -1;
    *ret_text = text;
    return 0;
}

static int decode_string(struct decoder *decoder, const struct json_field *field,
                         struct json_object *value, char *member)
{
    const char *text;
    if (read_text(decoder, field, value, &text) < 0)
        return -1;
    if (!text_copy(member, field->size, text))
        return refuse(decoder, ERROR_INVALID, "the text is longer than %zu characters",
                      field->size - 1);
    return 0;
}

static int decode_text(struct decoder *decoder, const struct json_field *field,
                       struct json_object *value, char **member)
{
    const char *text;
    if (read_text(decoder, field, value, &text) < 0)
        return -1;
    free(*member);
    *member = xstrdup(text);
    return 0;
}

void json_store_uint(char *member, size_t size, uint64_t number)
{
    if (size == sizeof(uint32_t))
        *(uint32_t *)(void *)member = (uint32_t)number;
    else
        *(uint64_t *)(void *)member = number;
}

uint64_t json_upper_bound(const struct json_field *field)
{
    if (field->max != 0)
        return field->max;
    return field->size == sizeof(uint32_t) ? UINT32_MAX : INT64_MAX;
}

static int decode_uint(struct decoder *decoder, const struct json_field *field,
                       struct json_object *value, char *member)
{
    if (expect(decoder, value, json_type_int, "a whole number") < 0)
        return -1;
    int64_t number = json_object_get_int64(value);
    uint64_t max = json_upper_bound(field);
    if (number < 0 || (uint64_t)number < field->min || (uint64_t)number > max)
        return refuse(decoder, ERROR_INVALID,
                      "%" PRId64 " is out of range: allowed are %" PRIu64 " to %" PRIu64, number,
                      field->min, max);
    json_store_uint(member, field->size, (uint64_t)number);
    return 0;
}

/* Durations and sizes: text with a unit; sizes also as a plain number of bytes. */
static int decode_quantity(struct decoder *decoder, const struct json_field *field,
                           struct json_object *value, char *member)
{
    bool duration = field->kind == JSON_DURATION;
    uint64_t number;
    const char *text = json_object_get_string(value);
    bool typed = json_object_is_type(value, json_type_string) ||
                 (!duration && json_object_is_type(value, json_type_int));
    if (!typed || text == NULL ||
        !(duration ? text_parse_duration(text, &number) : text_parse_size(text, &number)))
        return refuse(decoder, ERROR_INVALID, "expected %s, found %.100s",
                      duration ? "a duration such as 500ms, 10s, 2m, 12h or 30d"
                               : "a size such as 32Mi or 1Gi",
                      found(value, (char[FOUND_MAX]){0}));
    if (number < field->min || (field->max != 0 && number > field->max)) {
        char low[JSON_QUANTITY_MAX], high[JSON_QUANTITY_MAX];
        json_format_quantity(field->kind, field->min, low);
        json_format_quantity(field->kind, field->max, high);
        if (field->max == 0)
            return refuse(decoder, ERROR_INVALID, "%s is out of range: at least %s", text, low);
        return refuse(decoder, ERROR_INVALID, "%s is out of range: allowed are %s to %s", text, low,
                      high);
    }
    *(uint64_t *)(void *)member = number;
    return 0;
}

static void list_names(const char *const *names, char *ret_text, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; names[i] != NULL && used < size; i++)
        used += (size_t)snprintf(ret_text + used, size - used, "%s%s", i > 0 ? ", " : "", names[i]);
}

static int decode_enum(struct decoder *decoder, const struct json_field *field,
                       struct json_object *value, char *member)
{
    char allowed[512];
    list_names(field->names, allowed, sizeof allowed);
    if (!json_object_is_type(value, json_type_string))
        return refuse(decoder, ERROR_INVALID, "expected one of %s, found %.100s", allowed,
                      found(value, (char[FOUND_MAX]){0}));
    const char *text = json_object_get_string(value);
    for (int i = 0; field->names[i] != NULL; i++) {
        if (strcmp(field->names[i], text) == 0) {
            memcpy(member, &i, sizeof i);
            return 0;
        }
    }
    return refuse(decoder, ERROR_INVALID, "\"%.100s\" is not allowed: allowed are %s", text,
                  allowed);
}

static int check_count(struct decoder *decoder, const struct json_field *field, size_t count)
{
    if (count < field->min)
        return refuse(decoder, ERROR_INVALID, "%zu entries are too few: at least %" PRIu64, count,
                      field->min);
    if (field->max != 0 && count > field->max)
        return refuse(decoder, ERROR_INVALID, "%zu entries are too many: at most %" PRIu64, count,
                      field->max);
    return 0;
}

static int decode_list(struct decoder *decoder, const struct json_field *field,
                       struct json_object *value, char *base)
{
    if (expect(decoder, value, json_type_array, "a list") < 0)
        return -1;
    size_t count = json_object_array_length(value);
    if (check_count(decoder, field, count) < 0)
        return -1;
    char **member = (char **)(void *)(base + field->offset);
    size_t *member_count = (size_t *)(void *)(base + field->count_offset);
    size_t size = field->record->size;
    if (*member != NULL) {
        for (size_t i = 0; i < *member_count; i++)
            json_record_release(field->record, *member + i * size);
        free(*member);
    }
    *member = count > 0 ? xcalloc(count, size) : NULL;
    *member_count = count;
    for (size_t i = 0; i < count; i++) {
        size_t before = pointer_push_index(decoder, i);
        if (decode_record(decoder, field->record, json_object_array_get_idx(value, i),
                          *member + i * size) < 0)
            return -1;
        pointer_pop(decoder, before);
    }
    return 0;
}

static int decode_strings(struct decoder *decoder, const struct json_field *field,
                          struct json_object *value, struct json_strings *member)
{
    if (expect(decoder, value, json_type_array, "a list") < 0)
        return -1;
    size_t count = json_object_array_length(value);
    if (check_count(decoder, field, count) < 0)
        return -1;
    json_strings_release(member);
    for (size_t i = 0; i < count; i++) {
        const char *text;
        size_t before = pointer_push_index(decoder, i);
        if (read_text(decoder, field, json_object_array_get_idx(value, i), &text) < 0)
            return -1;
        json_strings_add(member, text);
        pointer_pop(decoder, before);
    }
    return 0;
}

static int decode_map(struct decoder *decoder, const struct json_field *field,
                      struct json_object *value, struct json_map *member)
{
    if (expect(decoder, value, json_type_object, "a mapping") < 0)
        return -1;
    if (check_count(decoder, field, (size_t)json_object_object_length(value)) < 0)
        return -1;
    json_map_release(member);
    member->items = xcalloc((size_t)json_object_object_length(value), sizeof *member->items);
    json_object_object_foreach (value, key, item) {
        size_t before = pointer_push(decoder, key);
        if (check_text(decoder, field, key, strlen(key)) < 0 ||
            expect(decoder, item, json_type_string, "a text (quote it if it is one)") < 0)
            return -1;
        const char *text = json_object_get_string(item);
        if (strlen(text) != (size_t)json_object_get_string_len(item))
            return refuse(decoder, ERROR_INVALID, "the text holds a NUL byte");
        /* An object's keys are there once: json_map_set would look for each among all. */
        member->items[member->count++] = (struct json_map_entry){xstrdup(key), xstrdup(text)};
        pointer_pop(decoder, before);
    }
    return 0;
}

static int decode_field(struct decoder *decoder, const struct json_field *field,
                        struct json_object *value, char *base)
{
    char *member = base + field->offset;
    switch (field->kind) {
    case JSON_STRING:
        return decode_string(decoder, field, value, member);
    case JSON_TEXT:
        return decode_text(decoder, field, value, (char **)(void *)member);
    case JSON_UINT:
        return decode_uint(decoder, field, value, member);
    case JSON_BOOL:
        if (expect(decoder, value, json_type_boolean, "true or false") < 0)
            return -1;
        *(bool *)member = json_object_get_boolean(value);
        return 0;
    case JSON_ENUM:
        return decode_enum(decoder, field, value, member);
    case JSON_DURATION:
    case JSON_SIZE:
        return decode_quantity(decoder, field, value, member);
    case JSON_OBJECT:
        return decode_record(decoder, field->record, value, member);
    case JSON_LIST:
        return decode_list(decoder, field, value, base);
    case JSON_STRINGS:
        return decode_strings(decoder, field, value, (struct json_strings *)(void *)member);
    case JSON_MAP:
        return decode_map(decoder, field, value, (struct json_map *)(void *)member);
    case JSON_ANY:
        json_object_put(*(struct json_object **)(void *)member);
        *(struct json_object **)(void *)member = json_object_get(value);
        return 0;
    case JSON_UNSUPPORTED:
        break;
    }
    return refuse(decoder, ERROR_UNSUPPORTED, "\"%s\" is not supported yet", field->key);
}

static int refuse_unknown_keys(struct decoder *decoder, const struct json_record *record,
                               struct json_object *object)
{
    json_object_object_foreach (object, key, item) {
        (void)item;
        const struct json_field *field = record->fields;
        while (field->key != NULL && strcmp(field->key, key) != 0)
            field++;
        if (field->key != NULL)
            continue;
        char allowed[700] = "";
        size_t used = 0;
        for (field = record->fields; field->key != NULL && used < sizeof allowed; field++) {
            if (field->kind != JSON_UNSUPPORTED)
                used += (size_t)snprintf(allowed + used, sizeof allowed - used, "%s%s",
                                         used > 0 ? ", " : "", field->key);
        }
        pointer_push(decoder, key);
        return refuse(decoder, ERROR_INVALID, "unknown key \"%.100s\": allowed are %s", key,
                      allowed);
    }
    return 0;
}

static int decode_record(struct decoder *decoder, const struct json_record *record,
                         struct json_object *object, char *base)
{
    if (expect(decoder, object, json_type_object, "a mapping") < 0)
        return -1;
    if (decoder->strictness == JSON_STRICT && refuse_unknown_keys(decoder, record, object) < 0)
        return -1;
    for (const struct json_field *field = record->fields; field->key != NULL; field++) {
        struct json_object *value;
        bool present = json_object_object_get_ex(object, field->key, &value);
        if (present && value == NULL && field->kind != JSON_UNSUPPORTED && field->kind != JSON_ANY)
            present = false; /* null is the same as absent */
        if (!present && (field->flags & JSON_REQUIRED))
            return refuse(decoder, ERROR_INVALID, "the key \"%s\" is missing", field->key);
        if (!present)
            continue;
        size_t before = pointer_push(decoder, field->key);
        if (decode_field(decoder, field, value, base) < 0)
            return -1;
        pointer_pop(decoder, before);
        if (field->present_offset != 0)
            *(bool *)(base + field->present_offset) = true;
    }
    return 0;
}

int json_decode(const struct json_record *record, struct json_object *object,
                enum json_strictness strictness, void *ret_struct, struct error *error)
{
    struct decoder decoder = {.strictness = strictness, .error = error};
    if (decode_record(&decoder, record, object, ret_struct) == 0)
        return 0;
    json_record_release(record, ret_struct);
    return -1;
}
