#include "lib/yaml.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define DOCUMENT_MAX (1u << 20) /* bytes */
#define DEPTH_MAX    32

struct position {
    unsigned line;
    unsigned column;
};

/* One value and where it stands: a tree beside the JSON tree. */
struct node {
    char *key;    /* in a mapping; NULL in a list */
    size_t index; /* in a list */
    struct position key_at;
    struct position value_at;
    struct node *first, *last, *next; /* children, and the next sibling */
};

struct document {
    struct json_object *value;
    struct node *root;
};

struct yaml_documents {
    char *name;
    struct document *items;
    size_t count;
};

struct reader {
    yaml_parser_t parser;
    const char *name;
    unsigned depth;
    struct error *error;
};

static struct position position_of(yaml_mark_t mark)
{
    return (struct position){(unsigned)mark.line + 1, (unsigned)mark.column + 1};
}

__attribute__((format(printf, 3, 4))) static int refuse(struct reader *reader, yaml_mark_t mark,
                                                        const char *format, ...)
{
    va_list arguments;
    char message[512];
    struct position at = position_of(mark);
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return error_set(reader->error, ERROR_INVALID, "%s:%u:%u: %s", reader->name, at.line, at.column,
                     message);
}

static int next_event(struct reader *reader, yaml_event_t *ret_event)
{
    if (yaml_parser_parse(&reader->parser, ret_event))
        return 0;
    const yaml_parser_t *parser = &reader->parser;
    const char *problem = parser->problem != NULL ? parser->problem : "not YAML";
    if (parser->error == YAML_READER_ERROR)
        return error_set(reader->error, ERROR_INVALID, "%s: byte %zu: %s", reader->name,
                         parser->problem_offset, problem);
    return refuse(reader, parser->problem_mark, "%s%s%s", problem,
                  parser->context != NULL ? " " : "",
                  parser->context != NULL ? parser->context : "");
}

static struct node *node_create(struct node *parent, yaml_mark_t mark)
{
    struct node *node = xcalloc(1, sizeof *node);
    node->value_at = node->key_at = position_of(mark);
    if (parent == NULL)
        return node;
    if (parent->last != NULL)
        parent->last->next = node;
    else
        parent->first = node;
    parent->last = node;
    return node;
}

/* Depth is bounded by the parser's own limit. */
static void node_destroy(struct node *node)
{
    while (node != NULL) {
        struct node *next = node->next;
        node_destroy(node->first);
        free(node->key);
        free(node);
        node = next;
    }
}

static int refuse_anchor_and_tag(struct reader *reader, const yaml_event_t *event,
                                 const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor != NULL)
        return refuse(reader, event->start_mark, "anchors are not allowed (&%.60s)",
                      (const char *)anchor);
    if (tag != NULL)
        return refuse(reader, event->start_mark, "tags are not allowed (%.60s)", (const char *)tag);
    return 0;
}

static bool is_one_of(const char *text, const char *const *words)
{
    for (; *words != NULL; words++) {
        if (strcmp(text, *words) == 0)
            return true;
    }
    return false;
}

/* An integer of YAML 1.2's core schema that fits 64 bits. */
static bool parse_integer(const char *text, int64_t *ret_number)
{
    int base = 10;
    const char *digits = text;
    const char *allowed = "0123456789";
    if (strncmp(text, "0x", 2) == 0) {
        base = 16;
        digits = text + 2;
        allowed = "0123456789abcdefABCDEF";
    } else if (strncmp(text, "0o", 2) == 0) {
        base = 8;
        digits = text + 2;
        allowed = "01234567";
    } else if (*text == '-' || *text == '+') {
        digits = text + 1;
    }
    if (*digits == '\0' || strspn(digits, allowed) != strlen(digits))
        return false;
    errno = 0;
    *ret_number = strtoll(base == 10 ? text : digits, NULL, base);
    return errno == 0;
}

/* NULL is JSON's null. */
static struct json_object *resolve_plain(const char *text)
{
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    int64_t number;
    if (is_one_of(text, nulls))
        return NULL;
    if (is_one_of(text, trues))
        return json_object_new_boolean(true);
    if (is_one_of(text, falses))
        return json_object_new_boolean(false);
    if (parse_integer(text, &number))
        return json_object_new_int64(number);
    return json_object_new_string(text);
}

static int read_scalar(struct reader *reader, const yaml_event_t *event,
                       struct json_object **ret_value)
{
    if (refuse_anchor_and_tag(reader, event, event->data.scalar.anchor, event->data.scalar.tag) < 0)
        return -1;
    const char *text = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    if (length > INT32_MAX)
        return refuse(reader, event->start_mark, "the text is too long");
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strlen(text) == length)
        *ret_value = resolve_plain(text);
    else
        *ret_value = json_object_new_string_len(text, (int)length);
    return 0;
}

static int read_value(struct reader *reader, const yaml_event_t *event, struct node *node,
                      struct json_object **ret_value);

static int read_list(struct reader *reader, struct node *node, struct json_object *list)
{
    for (size_t index = 0;; index++) {
        yaml_event_t event;
        if (next_event(reader, &event) < 0)
            return -1;
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            return 0;
        }
        struct node *child = node_create(node, event.start_mark);
        struct json_object *item = NULL;
        child->index = index;
        int result = read_value(reader, &event, child, &item);
        yaml_event_delete(&event);
        if (result < 0)
            return -1;
        json_object_array_add(list, item);
    }
}

static int read_key(struct reader *reader, const yaml_event_t *event, struct json_object *object,
                    struct node *child)
{
    if (event->type != YAML_SCALAR_EVENT)
        return refuse(reader, event->start_mark, "a key must be a text");
    AUTO_JSON struct json_object *key = NULL;
    if (read_scalar(reader, event, &key) < 0)
        return -1;
    const char *text = (const char *)event->data.scalar.value;
    if (!json_object_is_type(key, json_type_string))
        return refuse(reader, event->start_mark, "a key must be a text, found %.60s (quote it)",
                      *text != '\0' ? text : "nothing");
    if (strlen(text) != event->data.scalar.length)
        return refuse(reader, event->start_mark, "a key holds a NUL byte");
    if (json_object_object_get_ex(object, text, NULL))
        return refuse(reader, event->start_mark, "the key \"%.100s\" stands here twice", text);
    child->key = xstrdup(text);
    return 0;
}

static int read_mapping(struct reader *reader, struct node *node, struct json_object *object)
{
    for (;;) {
        yaml_event_t event;
        if (next_event(reader, &event) < 0)
            return -1;
        if (event.type == YAML_MAPPING_END_EVENT) {
            yaml_event_delete(&event);
            return 0;
        }
        struct node *child = node_create(node, event.start_mark);
        int result = read_key(reader, &event, object, child);
        yaml_event_delete(&event);
        if (result < 0 || next_event(reader, &event) < 0)
            return -1;
        child->value_at = position_of(event.start_mark);
        struct json_object *value = NULL;
        result = read_value(reader, &event, child, &value);
        yaml_event_delete(&event);
        if (result < 0)
            return -1;
        json_object_object_add(object, child->key, value);
    }
}

static int read_collection(struct reader *reader, const yaml_event_t *event, struct node *node,
                           struct json_object **ret_value)
{
    bool list = event->type == YAML_SEQUENCE_START_EVENT;
    if (refuse_anchor_and_tag(
            reader, event,
            list ? event->data.sequence_start.anchor : event->data.mapping_start.anchor,
            list ? event->data.sequence_start.tag : event->data.mapping_start.tag) < 0)
        return -1;
    if (++reader->depth > DEPTH_MAX)
        return refuse(reader, event->start_mark, "nested more than %d deep", DEPTH_MAX);
    AUTO_JSON struct json_object *value = list ? json_object_new_array() : json_object_new_object();
    int result = list ? read_list(reader, node, value) : read_mapping(reader, node, value);
    reader->depth--;
    if (result < 0)
        return -1;
    *ret_value = TAKE_POINTER(value);
    return 0;
}

static int read_value(struct reader *reader, const yaml_event_t *event, struct node *node,
                      struct json_object **ret_value)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(reader, event, ret_value);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return read_collection(reader, event, node, ret_value);
    case YAML_ALIAS_EVENT:
        return refuse(reader, event->start_mark, "aliases are not allowed (*%.60s)",
                      (const char *)event->data.alias.anchor);
    default:
        return refuse(reader, event->start_mark, "expected a value");
    }
}

/* A document with nothing in it, as a trailing "---" leaves, is none. */
static bool is_nothing(const yaml_event_t *event)
{
    return event->type == YAML_SCALAR_EVENT && event->data.scalar.length == 0 &&
           event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           event->data.scalar.anchor == NULL && event->data.scalar.tag == NULL;
}

static int read_document(struct reader *reader, struct yaml_documents *documents)
{
    yaml_event_t event;
    if (next_event(reader, &event) < 0)
        return -1;
    int result = 0;
    if (!is_nothing(&event)) {
        documents->items =
            xreallocarray(documents->items, documents->count + 1, sizeof *documents->items);
        struct document *document = &documents->items[documents->count++];
        document->value = NULL;
        document->root = node_create(NULL, event.start_mark);
        result = read_value(reader, &event, document->root, &document->value);
    }
    yaml_event_delete(&event);
    if (result < 0 || next_event(reader, &event) < 0)
        return -1;
    yaml_event_delete(&event); /* the document's end */
    return 0;
}

static int read_stream(struct reader *reader, struct yaml_documents *documents)
{
    for (;;) {
        yaml_event_t event;
        if (next_event(reader, &event) < 0)
            return -1;
        yaml_event_type_t type = event.type;
        bool tagged =
            type == YAML_DOCUMENT_START_EVENT && event.data.document_start.tag_directives.start !=
                                                     event.data.document_start.tag_directives.end;
        yaml_mark_t mark = event.start_mark;
        yaml_event_delete(&event);
        if (type == YAML_STREAM_END_EVENT)
            return 0;
        if (tagged)
            return refuse(reader, mark, "tags are not allowed (%%TAG)");
        if (type == YAML_DOCUMENT_START_EVENT && read_document(reader, documents) < 0)
            return -1;
    }
}

int yaml_parse(const char *name, const char *text, size_t length,
               struct yaml_documents **ret_documents, struct error *error)
{
    if (length > DOCUMENT_MAX)
        return error_set(error, ERROR_TOO_LARGE, "%s is larger than %u bytes", name, DOCUMENT_MAX);
    struct reader reader = {.name = name, .error = error};
    if (!yaml_parser_initialize(&reader.parser))
        return error_set(error, ERROR_INTERNAL, "%s: the YAML parser does not start", name);
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, length);
    struct yaml_documents *documents = xcalloc(1, sizeof *documents);
    documents->name = xstrdup(name);
    int result = read_stream(&reader, documents);
    yaml_parser_delete(&reader.parser);
    if (result < 0) {
        yaml_destroy(documents);
        return -1;
    }
    *ret_documents = documents;
    return 0;
}

size_t yaml_count(const struct yaml_documents *documents)
{
    return documents->count;
}

struct json_object *yaml_value(const struct yaml_documents *documents, size_t index)
{
    return documents->items[index].value;
}

/* Whether one segment of a JSON pointer (up to '/' or the end) names the node. */
static bool segment_names(const char *segment, size_t length, const struct node *node)
{
    char index[24];
    const char *key = node->key;
    if (key == NULL) {
        snprintf(index, sizeof index, "%zu", node->index);
        key = index;
    }
    for (size_t i = 0; i < length; i++, key++) {
        char c = segment[i];
        if (c == '~' && i + 1 < length)
            c = segment[++i] == '1' ? '/' : '~';
        if (*key != c)
            return false;
    }
    return *key == '\0';
}

/* The node behind `pointer`, or its nearest present parent. */
static const struct node *find(const struct node *node, const char *pointer)
{
    while (*pointer == '/') {
        size_t length = strcspn(pointer + 1, "/");
        const struct node *child = node->first;
        while (child != NULL && !segment_names(pointer + 1, length, child))
            child = child->next;
        if (child == NULL)
            return node;
        node = child;
        pointer += 1 + length;
    }
    return node;
}

void yaml_position(const struct yaml_documents *documents, size_t index, const char *pointer,
                   unsigned *ret_line, unsigned *ret_column)
{
    const struct node *node = find(documents->items[index].root, pointer);
    *ret_line = node->value_at.line;
    *ret_column = node->value_at.column;
}

int yaml_error_locate(const struct yaml_documents *documents, size_t index, struct error *error)
{
    if (error == NULL)
        return -1;
    const struct node *node = find(documents->items[index].root, error->pointer);
    /* A pointer cannot say "the key itself"; the decoder's words do (lib/json_decode.c). */
    bool key = strstr(error->message, "unknown key \"") != NULL;
    struct position at = key ? node->key_at : node->value_at;
    return error_wrap(error, "%s:%u:%u", documents->name, at.line, at.column);
}

void yaml_destroy(struct yaml_documents *documents)
{
    if (documents == NULL)
        return;
    for (size_t i = 0; i < documents->count; i++) {
        json_object_put(documents->items[i].value);
        node_destroy(documents->items[i].root);
    }
    free(documents->items);
    free(documents->name);
    free(documents);
}
