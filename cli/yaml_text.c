#include "cli/yaml_text.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

static void append_value(struct buffer *text, struct json_object *value, int depth, bool in_list);

static bool is_word(const char *text)
{
    static const char *const reserved[] = {"null", "true", "false", "yes", "no",
                                           "on",   "off",  "y",     "n",   NULL};
    if (!isalpha((unsigned char)text[0]) && text[0] != '/' && text[0] != '_')
        return false;
    for (const char *at = text; *at != '\0'; at++) {
        bool colon = *at == ':' && at[1] != '\0' && at[1] != ' ';
        if (!isalnum((unsigned char)*at) && strchr("_-./@", *at) == NULL && !colon)
            return false;
    }
    for (const char *const *word = reserved; *word != NULL; word++) {
        if (strcasecmp(*word, text) == 0)
            return false;
    }
    return true;
}

static void append_string(struct buffer *text, struct json_object *string)
{
    const char *plain = json_object_get_string(string);
    buffer_append_text(text, is_word(plain) ? plain
                                            : json_object_to_json_string_ext(
                                                  string, JSON_C_TO_STRING_NOSLASHESCAPE));
}

static void indent(struct buffer *text, int depth)
{
    for (int i = 0; i < depth; i++)
        buffer_append_text(text, "  ");
}

static bool is_empty(struct json_object *value)
{
    if (json_object_is_type(value, json_type_object))
        return json_object_object_length(value) == 0;
    return json_object_is_type(value, json_type_array) && json_object_array_length(value) == 0;
}

static bool is_scalar(struct json_object *value)
{
    return is_empty(value) || (!json_object_is_type(value, json_type_object) &&
                               !json_object_is_type(value, json_type_array));
}

static void append_object(struct buffer *text, struct json_object *object, int depth, bool in_list)
{
    bool first = true;
    json_object_object_foreach (object, key, member) {
        if (!(first && in_list))
            indent(text, depth);
        first = false;
        struct json_object *name = json_object_new_string(key);
        append_string(text, name);
        json_object_put(name);
        buffer_append_text(text, is_scalar(member) ? ": " : ":\n");
        append_value(text, member, depth + 1, false);
    }
}

static void append_array(struct buffer *text, struct json_object *array, int depth)
{
    for (size_t i = 0; i < json_object_array_length(array); i++) {
        indent(text, depth);
        buffer_append_text(text, "- ");
        struct json_object *item = json_object_array_get_idx(array, i);
        if (json_object_is_type(item, json_type_array) && !is_empty(item))
            buffer_append_text(text, "\n");
        append_value(text, item, depth + 1, true);
    }
}

static void append_value(struct buffer *text, struct json_object *value, int depth, bool in_list)
{
    if (!is_scalar(value) && json_object_is_type(value, json_type_object)) {
        append_object(text, value, depth, in_list);
        return;
    }
    if (!is_scalar(value)) {
        append_array(text, value, depth);
        return;
    }
    if (json_object_is_type(value, json_type_string))
        append_string(text, value);
    else
        buffer_append_text(text, is_empty(value)
                                     ? (json_object_is_type(value, json_type_object) ? "{}" : "[]")
                                     : json_object_to_json_string(value));
    buffer_append_text(text, "\n");
}

void yaml_text_append(struct buffer *text, struct json_object *value)
{
    append_value(text, value, 0, false);
}
