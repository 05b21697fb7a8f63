/* What json-c keeps quiet about: keys that are there twice, where it takes the last value, and NUL
 * bytes, where it ends a key. */
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"

/* As many as the text has: each has one colon outside its strings. False for a NUL in a string. */
static bool members_of_text(const char *text, size_t length, size_t *ret_count)
{
    size_t count = 0;
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        if (in_string && text[i] == '\\' && length - i >= 6 && memcmp(text + i, "\\u0000", 6) == 0)
            return false;
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (!in_string && text[i] == ':')
            count++;
    }
    *ret_count = count;
    return true;
}

/* As many as were kept. json_parse bounds the depth. */
static size_t members_of_object(struct json_object *object)
{
    size_t count = 0;
    if (json_object_is_type(object, json_type_object)) {
        json_object_object_foreach (object, key, value) {
            (void)key;
            count += 1 + members_of_object(value);
        }
    } else if (json_object_is_type(object, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(object); i++)
            count += members_of_object(json_object_array_get_idx(object, i));
    }
    return count;
}

int json_check_unique(const char *text, size_t length, struct json_object *object,
                      struct error *error)
{
    size_t count = 0;
    if (!members_of_text(text, length, &count))
        return error_set(error, ERROR_INVALID, "the JSON document holds a NUL byte");
    if (count == members_of_object(object))
        return 0;
    return error_set(error, ERROR_INVALID, "the JSON document has a key twice in one mapping");
}

/* An empty object takes 3 bytes of text and hundreds of memory. */
static int check_containers(const char *text, size_t length, struct error *error)
{
    size_t count = 0;
    bool in_string = false;
    for (size_t i = 0; i < length; i++) {
        if (in_string && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            in_string = !in_string;
        else if (!in_string && (text[i] == '{' || text[i] == '['))
            count++;
    }
    if (count <= JSON_CONTAINERS_MAX)
        return 0;
    return error_set(error, ERROR_INVALID,
                     "the JSON document has %zu objects and lists, at most %d are read", count,
                     JSON_CONTAINERS_MAX);
}

int json_parse_unique_record(const struct json_record *record, const char *text, size_t length,
                             enum json_strictness strictness, void *ret_struct, struct error *error)
{
    AUTO_JSON struct json_object *object = NULL;
    if (check_containers(text, length, error) < 0 || json_parse(text, length, &object, error) < 0 ||
        json_check_unique(text, length, object, error) < 0)
        return -1;
    return json_decode(record, object, strictness, ret_struct, error);
}
