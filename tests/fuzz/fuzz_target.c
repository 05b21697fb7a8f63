/* A request's target: its segments, its query, and the patterns of routes that it fits. */
#include "lib/http_server_internal.h"
#include "tests/fuzz/fuzz.h"

static void append_escaped(struct buffer *to, const char *text)
{
    for (; *text != '\0'; text++) {
        char escape[4];
        snprintf(escape, sizeof escape, "%%%02x", (unsigned char)*text);
        buffer_append_text(to, escape);
    }
}

/* The target written again with every byte escaped. */
static char *write_target(const struct http_target *target)
{
    struct buffer text = {0};
    for (size_t i = 0; i < target->segment_count; i++) {
        buffer_append_text(&text, "/");
        append_escaped(&text, target->segments[i]);
    }
    for (size_t i = 0; i < target->query.count; i++) {
        buffer_append_text(&text, i == 0 ? "?" : "&");
        append_escaped(&text, target->query.items[i].name);
        buffer_append_text(&text, "=");
        append_escaped(&text, target->query.items[i].value);
    }
    return buffer_take(&text);
}

static void expect_same(const struct http_target *one, const struct http_target *other)
{
    EXPECT(strcmp(one->path, other->path) == 0);
    EXPECT(one->segment_count == other->segment_count && one->query.count == other->query.count);
    for (size_t i = 0; i < one->segment_count; i++)
        EXPECT(strcmp(one->segments[i], other->segments[i]) == 0);
    for (size_t i = 0; i < one->query.count; i++) {
        EXPECT(strcmp(one->query.items[i].name, other->query.items[i].name) == 0);
        EXPECT(strcmp(one->query.items[i].value, other->query.items[i].value) == 0);
    }
}

static void check_patterns(const struct http_target *target)
{
    static const char *const patterns[] = {
        "/",
        "/v2/",
        "/v2/_catalog",
        "/v2/{name...}/blobs/uploads/",
        "/v2/{name...}/blobs/uploads/{id}",
        "/v2/{name...}/blobs/{digest}",
        "/v2/{name...}/manifests/{reference}",
        "/{all...}",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(patterns); i++) {
        struct text_pairs parameters = {0};
        struct http_pattern pattern;
        http_pattern_parse(patterns[i], &pattern);
        bool fits = http_target_matches(target, &pattern, &parameters);
        EXPECT(fits || parameters.count == 0);
        for (size_t j = 0; j < parameters.count; j++) {
            bool is_many = strcmp(parameters.items[j].name, "name") == 0 ||
                           strcmp(parameters.items[j].name, "all") == 0;
            EXPECT(parameters.items[j].value[0] != '\0');
            EXPECT(is_many || strchr(parameters.items[j].value, '/') == NULL);
        }
        text_pairs_finish(&parameters);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE char *text = fuzz_text(bytes, length);
    struct error error = ERROR_INIT;
    struct http_target target = {0}, again = {0};
    if (http_target_parse(text, &target, &error) < 0) {
        EXPECT(error.message[0] != '\0' && target.path == NULL);
        return 0;
    }
    EXPECT(target.path[0] == '/' && target.segment_count >= 1);
    EXPECT(target.segment_count <= TARGET_SEGMENTS_MAX && target.query.count <= TARGET_QUERY_MAX);
    for (size_t i = 0; i < target.segment_count; i++)
        EXPECT(strchr(target.segments[i], '/') == NULL);
    check_patterns(&target);
    AUTO_FREE char *written = write_target(&target);
    EXPECT(http_target_parse(written, &again, &error) == 0);
    expect_same(&target, &again);
    http_target_finish(&target);
    http_target_finish(&again);
    return 0;
}
