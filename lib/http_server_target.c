#include <string.h>
#include <strings.h>

#include "lib/cleanup.h"
#include "lib/http_server_internal.h"
#include "lib/xalloc.h"

void text_pairs_add(struct text_pairs *pairs, const char *name, const char *value)
{
    pairs->items = xreallocarray(pairs->items, pairs->count + 1, sizeof *pairs->items);
    pairs->items[pairs->count++] = (struct text_pair){xstrdup(name), xstrdup(value)};
}

const char *text_pairs_get(const struct text_pairs *pairs, const char *name)
{
    for (size_t i = 0; i < pairs->count; i++) {
        if (strcmp(pairs->items[i].name, name) == 0)
            return pairs->items[i].value;
    }
    return NULL;
}

const char *text_pairs_get_caseless(const struct text_pairs *pairs, const char *name)
{
    for (size_t i = 0; i < pairs->count; i++) {
        if (strcasecmp(pairs->items[i].name, name) == 0)
            return pairs->items[i].value;
    }
    return NULL;
}

void text_pairs_finish(struct text_pairs *pairs)
{
    for (size_t i = 0; i < pairs->count; i++) {
        free(pairs->items[i].name);
        free(pairs->items[i].value);
    }
    free(pairs->items);
    *pairs = (struct text_pairs){0};
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    char lower = (char)(digit | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Undoes percent-encoding in place. A NUL, encoded or not, has no place in a path or a query. */
static bool decode(char *text, bool plus_is_space)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        if (*from == '+' && plus_is_space) {
            *to++ = ' ';
        } else if (*from == '%') {
            int high = hex_value(from[1]), low = high >= 0 ? hex_value(from[2]) : -1;
            if (low < 0 || (high | low) == 0)
                return false;
            *to++ = (char)(high << 4 | low);
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
    return true;
}

static int parse_query(char *text, struct text_pairs *query, struct error *error)
{
    char *rest = text;
    for (char *item = strsep(&rest, "&"); item != NULL; item = strsep(&rest, "&")) {
        if (*item == '\0')
            continue;
        char *value = strchr(item, '=');
        if (value != NULL)
            *value++ = '\0';
        if (query->count == TARGET_QUERY_MAX)
            return error_set(error, ERROR_INVALID, "the query has more than %d values",
                             TARGET_QUERY_MAX);
        if (!decode(item, true) || (value != NULL && !decode(value, true)))
            return error_set(error, ERROR_INVALID, "the query has a bad %%-escape");
        text_pairs_add(query, item, value != NULL ? value : "");
    }
    return 0;
}

/* Splits first and decodes then, so that an encoded slash never makes a segment of its own; inside
 * one it would be taken for a slash later on, so it is refused. */
static int parse_segments(char *text, struct http_target *target, struct error *error)
{
    struct buffer path = {0};
    char *rest = text + 1;
    int result = 0;
    for (char *segment = strsep(&rest, "/"); segment != NULL; segment = strsep(&rest, "/")) {
        if (target->segment_count == TARGET_SEGMENTS_MAX) {
            result = error_set(error, ERROR_INVALID, "the path has more than %d segments",
                               TARGET_SEGMENTS_MAX);
            break;
        }
        if (!decode(segment, false) || strchr(segment, '/') != NULL) {
            result = error_set(error, ERROR_INVALID, "the path has a bad %%-escape");
            break;
        }
        buffer_append_text(&path, "/");
        buffer_append_text(&path, segment);
        target->segments[target->segment_count++] = xstrdup(segment);
    }
    target->path = buffer_take(&path);
    return result;
}

int http_target_parse(const char *raw, struct http_target *ret_target, struct error *error)
{
    if (raw[0] != '/')
        return error_set(error, ERROR_INVALID, "the path does not begin with a slash");
    struct http_target target = {0};
    AUTO_FREE char *text = xstrdup(raw);
    char *query = strchr(text, '?');
    if (query != NULL)
        *query++ = '\0';
    if (parse_segments(text, &target, error) < 0 ||
        (query != NULL && parse_query(query, &target.query, error) < 0)) {
        http_target_finish(&target);
        return -1;
    }
    *ret_target = target;
    return 0;
}

void http_target_finish(struct http_target *target)
{
    for (size_t i = 0; i < target->segment_count; i++)
        free(target->segments[i]);
    free(target->path);
    text_pairs_finish(&target->query);
    *target = (struct http_target){0};
}

/* One segment of a pattern: its text, and what kind it is. */
struct pattern_segment {
    const char *text; /* of a "{name}", the name */
    size_t length;
    bool is_name;
    bool is_many;
};

static size_t split_pattern(const char *pattern, struct pattern_segment *ret_segments)
{
    size_t count = 0;
    for (const char *at = pattern; at != NULL && *at == '/' && count < TARGET_SEGMENTS_MAX;
         at = strchr(at + 1, '/')) {
        struct pattern_segment segment = {.text = at + 1, .length = strcspn(at + 1, "/")};
        if (segment.length > 2 && segment.text[0] == '{') {
            segment.is_name = true;
            segment.is_many = memcmp(segment.text + segment.length - 4, "...}", 4) == 0;
            segment.text++;
            segment.length -= segment.is_many ? 5 : 2;
        }
        ret_segments[count++] = segment;
    }
    return count;
}

/* How many of the target's segments one of the pattern's takes: the "{name...}", of which a
 * pattern has one at most, takes what the others leave. */
static size_t taken_by(const struct pattern_segment *segment, size_t pattern_count,
                       const struct http_target *target)
{
    return segment->is_many ? target->segment_count - (pattern_count - 1) : 1;
}

static bool fits(const struct http_target *target, const struct pattern_segment *wanted,
                 size_t count)
{
    if (target->segment_count < count)
        return false;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        size_t end = at + taken_by(&wanted[i], count, target);
        if (end > target->segment_count)
            return false;
        for (; at < end; at++) {
            const char *segment = target->segments[at];
            if (wanted[i].is_name ? segment[0] == '\0'
                                  : strlen(segment) != wanted[i].length ||
                                        memcmp(segment, wanted[i].text, wanted[i].length) != 0)
                return false;
        }
    }
    return at == target->segment_count;
}

bool http_target_matches(const struct http_target *target, const char *pattern,
                         struct text_pairs *ret_parameters)
{
    struct pattern_segment wanted[TARGET_SEGMENTS_MAX];
    size_t count = split_pattern(pattern, wanted);
    if (!fits(target, wanted, count))
        return false;
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        struct buffer value = {0};
        for (size_t end = at + taken_by(&wanted[i], count, target); at < end; at++) {
            if (value.length > 0)
                buffer_append_text(&value, "/");
            buffer_append_text(&value, target->segments[at]);
        }
        AUTO_FREE char *name = xstrndup(wanted[i].text, wanted[i].length);
        if (wanted[i].is_name)
            text_pairs_add(ret_parameters, name, buffer_text(&value));
        buffer_finish(&value);
    }
    return true;
}
