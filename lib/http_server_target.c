#include <string.h>
#include <strings.h>

#include "lib/cleanup.h"
#include "lib/http_server_internal.h"
#include "lib/xalloc.h"

#define FIRST_PAIRS ((size_t)8)
#define FIRST_BYTES ((size_t)512)

/* Most requests have all they say of one kind in one allocation: the first pairs, and behind them
 * the first texts. More get their own. */
static void make_place(struct text_pairs *pairs)
{
    if (pairs->first == NULL) {
        pairs->first = xmalloc(FIRST_PAIRS * sizeof *pairs->items + FIRST_BYTES);
        pairs->items = (struct text_pair *)(void *)pairs->first;
        pairs->capacity = FIRST_PAIRS;
        pairs->used = FIRST_PAIRS * sizeof *pairs->items;
    } else if (pairs->count == FIRST_PAIRS && pairs->capacity == FIRST_PAIRS) {
        struct text_pair *items = xreallocarray(NULL, FIRST_PAIRS * 4, sizeof *items);
        memcpy(items, pairs->items, FIRST_PAIRS * sizeof *items);
        pairs->items = items;
        pairs->capacity = FIRST_PAIRS * 4;
    } else if (pairs->count == pairs->capacity) {
        pairs->capacity *= 2;
        pairs->items = xreallocarray(pairs->items, pairs->capacity, sizeof *pairs->items);
    }
}

static void add(struct text_pairs *pairs, const char *name, size_t name_length, const char *value,
                size_t value_length)
{
    make_place(pairs);
    size_t size = name_length + 1 + value_length + 1;
    bool fits = size <= FIRST_PAIRS * sizeof *pairs->items + FIRST_BYTES - pairs->used;
    char *both = fits ? pairs->first + pairs->used : xmalloc(size);
    if (fits)
        pairs->used += size;
    memcpy(both, name, name_length);
    both[name_length] = '\0';
    memcpy(both + name_length + 1, value, value_length);
    both[size - 1] = '\0';
    pairs->items[pairs->count++] = (struct text_pair){both, both + name_length + 1, !fits};
}

void text_pairs_add(struct text_pairs *pairs, const char *name, const char *value)
{
    add(pairs, name, strlen(name), value, strlen(value));
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
        if (pairs->items[i].is_own)
            free(pairs->items[i].name); /* and the value behind it */
    }
    if (pairs->capacity > FIRST_PAIRS)
        free(pairs->items);
    free(pairs->first);
    *pairs = (struct text_pairs){0};
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    char lower = (char)(digit | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Undoes percent-encoding; `to` may be where `from` is. Returns the end of what it wrote, NULL when
 * an escape is none. A NUL, encoded or not, has no place in a path or a query. */
static char *decode(char *to, const char *from, const char *end, bool plus_is_space)
{
    for (; from < end; from++) {
        if (*from == '+' && plus_is_space) {
            *to++ = ' ';
        } else if (*from == '%') {
            int high = end - from > 2 ? hex_value(from[1]) : -1;
            int low = high >= 0 ? hex_value(from[2]) : -1;
            if (low < 0 || (high | low) == 0)
                return NULL;
            *to++ = (char)(high << 4 | low);
            from += 2;
        } else {
            *to++ = *from;
        }
    }
    return to;
}

static bool decode_word(char *text)
{
    char *end = decode(text, text, text + strlen(text), true);
    if (end != NULL)
        *end = '\0';
    return end != NULL;
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
            return error_set(error, ERROR_TOO_LARGE, "the query has more than %d values",
                             TARGET_QUERY_MAX);
        if (!decode_word(item) || (value != NULL && !decode_word(value)))
            return error_set(error, ERROR_INVALID, "the query has a bad %%-escape");
        text_pairs_add(query, item, value != NULL ? value : "");
    }
    return 0;
}

/* Splits first and decodes then, so that an encoded slash never makes a segment of its own; inside
 * one it would be taken for a slash later on, so it is refused. */
static int parse_path(const char *raw, size_t length, struct http_target *target,
                      struct error *error)
{
    const char *end = raw + length;
    char *to = target->path = xmalloc(2 * (length + 1));
    for (const char *from = raw; from < end;) {
        const char *segment = from + 1;
        from = memchr(segment, '/', (size_t)(end - segment));
        if (from == NULL)
            from = end;
        if (target->segment_count == TARGET_SEGMENTS_MAX)
            return error_set(error, ERROR_INVALID, "the path has more than %d segments",
                             TARGET_SEGMENTS_MAX);
        *to++ = '/';
        char *decoded = to;
        to = decode(to, segment, from, false);
        if (to == NULL || memchr(decoded, '/', (size_t)(to - decoded)) != NULL)
            return error_set(error, ERROR_INVALID, "the path has a bad %%-escape");
        target->segments[target->segment_count++] = decoded;
    }
    *to++ = '\0';
    /* The segments are the path's bytes once more, ended by NULs instead of slashes. */
    target->segment_bytes = memcpy(to, target->path, (size_t)(to - target->path));
    for (size_t i = 0; i < target->segment_count; i++) {
        char *segment = target->segment_bytes + (target->segments[i] - target->path);
        *(segment - 1) = '\0'; /* the slash in front of it */
        target->segments[i] = segment;
    }
    return 0;
}

/* The absolute form ("http://host/path?query"), which clients use towards proxies, is to be taken
 * by servers too (RFC 9112, 3.2.2): what is behind the authority. */
const char *http_target_skip_authority(const char *raw)
{
    size_t scheme = strncasecmp(raw, "http://", 7) == 0    ? 7
                    : strncasecmp(raw, "https://", 8) == 0 ? 8
                                                           : 0;
    if (scheme == 0 || raw[scheme] == '/' || raw[scheme] == '\0')
        return raw;
    const char *path = raw + scheme + strcspn(raw + scheme, "/?");
    return *path == '\0' ? "/" : path;
}

int http_target_parse(const char *raw, struct http_target *ret_target, struct error *error)
{
    raw = http_target_skip_authority(raw);
    if (raw[0] != '/')
        return error_set(error, ERROR_INVALID, "the path does not begin with a slash");
    struct http_target target = {0};
    size_t length = strcspn(raw, "?");
    AUTO_FREE char *query = raw[length] == '?' ? xstrdup(raw + length + 1) : NULL;
    if (parse_path(raw, length, &target, error) < 0 ||
        (query != NULL && parse_query(query, &target.query, error) < 0)) {
        http_target_finish(&target);
        return -1;
    }
    *ret_target = target;
    return 0;
}

void http_target_finish(struct http_target *target)
{
    free(target->path);
    text_pairs_finish(&target->query);
    *target = (struct http_target){0};
}

void http_pattern_parse(const char *pattern, struct http_pattern *ret_pattern)
{
    size_t count = 0;
    for (const char *at = pattern; at != NULL && *at == '/' && count < PATTERN_SEGMENTS_MAX;
         at = strchr(at + 1, '/')) {
        struct pattern_segment segment = {.text = at + 1, .length = strcspn(at + 1, "/")};
        if (segment.length > 2 && segment.text[0] == '{') {
            segment.is_name = true;
            segment.is_many = memcmp(segment.text + segment.length - 4, "...}", 4) == 0;
            segment.text++;
            segment.length -= segment.is_many ? 5 : 2;
        }
        ret_pattern->segments[count++] = segment;
    }
    ret_pattern->count = count;
}

/* How many of the target's segments one of the pattern's takes: the "{name...}", of which a
 * pattern has one at most, takes what the others leave. */
static size_t taken_by(const struct pattern_segment *segment, const struct http_pattern *pattern,
                       const struct http_target *target)
{
    return segment->is_many ? target->segment_count - (pattern->count - 1) : 1;
}

static bool fits(const struct http_target *target, const struct http_pattern *pattern)
{
    if (target->segment_count < pattern->count)
        return false;
    size_t at = 0;
    for (size_t i = 0; i < pattern->count; i++) {
        const struct pattern_segment *wanted = &pattern->segments[i];
        size_t end = at + taken_by(wanted, pattern, target);
        if (end > target->segment_count)
            return false;
        for (; at < end; at++) {
            const char *segment = target->segments[at];
            if (wanted->is_name ? segment[0] == '\0'
                                : strncmp(segment, wanted->text, wanted->length) != 0 ||
                                      segment[wanted->length] != '\0')
                return false;
        }
    }
    return at == target->segment_count;
}

bool http_target_matches(const struct http_target *target, const struct http_pattern *pattern,
                         struct text_pairs *ret_parameters)
{
    if (!fits(target, pattern))
        return false;
    size_t at = 0;
    for (size_t i = 0; i < pattern->count; i++) {
        const struct pattern_segment *segment = &pattern->segments[i];
        size_t end = at + taken_by(segment, pattern, target);
        if (segment->is_name) {
            /* Of the path: there the slashes between them still are. */
            size_t first = (size_t)(target->segments[at] - target->segment_bytes);
            const char *last = target->segments[end - 1];
            size_t behind = (size_t)(last - target->segment_bytes) + strlen(last);
            add(ret_parameters, segment->text, segment->length, target->path + first,
                behind - first);
        }
        at = end;
    }
    return true;
}
