/* A registry that answers from a script, so that it can fail the way the test says. */
#pragma once

#include "tests/unit/lib/http_harness.h"

#include <unistd.h>

#include "lib/file.h"
#include "lib/oci.h"
#include "lib/oci_client.h"

#define SCRIPT_MAX 32

/* What a path answers. */
struct scripted {
    char *path;
    const char *type;
    char *bytes;
    size_t length;
    const char *claimed_digest; /* Docker-Content-Digest */
    const char *link;
    int status;        /* 0: 200 */
    unsigned failures; /* so many answers are 503 first */
    bool without_ranges;
    unsigned requests;
    char last_range[64];
};

struct scripted_registry {
    struct harness harness;
    struct oci_client *client;
    struct scripted script[SCRIPT_MAX];
    size_t count;
    char url[64];
    /* Uploads. */
    unsigned posts, puts;
    unsigned put_failures; /* so many uploads are answered 503 first */
    char *put_path;
    char *put_digest;
    char *put_type;
    struct buffer put_body;
    /* The last result. */
    bool done;
    bool inside_call;
    enum error_code code;
    char message[ERROR_MESSAGE_MAX];
    char digest[DIGEST_TEXT_MAX];
    char media_type[128];
    struct buffer bytes;
    uint64_t progressed, total;
};

static inline struct scripted *script_add(struct scripted_registry *registry, const char *path,
                                          const char *type, const void *bytes, size_t length)
{
    assert_true(registry->count < SCRIPT_MAX);
    struct scripted *answer = &registry->script[registry->count++];
    *answer = (struct scripted){.path = xstrdup(path), .type = type, .length = length};
    answer->bytes = xmalloc(length + 1);
    memcpy(answer->bytes, bytes, length);
    return answer;
}

static inline void script_respond_bytes(struct http_request *request, struct scripted *answer)
{
    const char *range = http_request_header(request, "Range");
    size_t offset = 0;
    snprintf(answer->last_range, sizeof answer->last_range, "%s", range != NULL ? range : "");
    if (range != NULL && !answer->without_ranges)
        offset = strtoull(range + strlen("bytes="), NULL, 10);
    if (answer->claimed_digest != NULL)
        http_request_add_header(request, "Docker-Content-Digest", answer->claimed_digest);
    if (answer->link != NULL)
        http_request_add_header(request, "Link", answer->link);
    int status = answer->status != 0 ? answer->status : 200;
    http_request_respond(request, offset > 0 ? 206 : status, answer->type, answer->bytes + offset,
                         answer->length - offset);
}

static inline void script_get(struct http_request *request, void *data)
{
    struct scripted_registry *registry = ((struct harness *)data)->mine;
    for (size_t i = 0; i < registry->count; i++) {
        struct scripted *answer = &registry->script[i];
        if (strcmp(answer->path, http_request_path(request)) != 0)
            continue;
        answer->requests++;
        if (answer->failures > 0) {
            answer->failures--;
            http_request_respond(request, 503, "text/plain", "busy", 4);
            return;
        }
        script_respond_bytes(request, answer);
        return;
    }
    static const char unknown[] =
        "{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\",\"message\":\"no such thing\"}]}";
    http_request_respond(request, 404, "application/json", unknown, strlen(unknown));
}

static inline void script_post(struct http_request *request, void *data)
{
    struct scripted_registry *registry = ((struct harness *)data)->mine;
    registry->posts++;
    http_request_add_header(request, "Location", "/v2/uploads/1?state=x");
    http_request_respond(request, 202, NULL, "", 0);
}

static inline void script_put(struct http_request *request, void *data)
{
    struct scripted_registry *registry = ((struct harness *)data)->mine;
    size_t length = 0;
    const char *body = http_request_body(request, &length);
    registry->puts++;
    if (registry->put_failures > 0) {
        registry->put_failures--;
        http_request_respond(request, 503, NULL, "", 0);
        return;
    }
    free(registry->put_path);
    free(registry->put_digest);
    free(registry->put_type);
    registry->put_path = xstrdup(http_request_path(request));
    registry->put_digest = xstrdup(http_request_query(request, "digest"));
    registry->put_type = xstrdup(http_request_header(request, "Content-Type"));
    buffer_clear(&registry->put_body);
    buffer_append(&registry->put_body, body, length);
    http_request_respond(request, 201, NULL, "", 0);
}

static const struct http_route script_routes[] = {
    {.method = "GET", .pattern = "/v2/{path...}", .handler = script_get},
    {.method = "POST", .pattern = "/v2/{path...}/", .handler = script_post, .body_limit = 1 << 20},
    {.method = "PUT", .pattern = "/v2/{path...}", .handler = script_put, .body_limit = 1 << 22},
};

static inline struct scripted_registry *script_open(unsigned attempts)
{
    struct scripted_registry *registry = xcalloc(1, sizeof *registry);
    struct http_server_options options = {
        .mode = HTTP_SERVER_LOOP,
        .routes = script_routes,
        .route_count = ARRAY_LENGTH(script_routes),
    };
    harness_open(&registry->harness, &options);
    registry->harness.mine = registry;
    snprintf(registry->url, sizeof registry->url, "http://127.0.0.1:%u",
             http_server_port(registry->harness.server));
    struct oci_client_options client = {
        .http = registry->harness.client, .url = registry->url, .attempts = attempts};
    registry->client = oci_client_create(&client);
    return registry;
}

static inline void script_close(struct scripted_registry *registry)
{
    oci_client_destroy(registry->client);
    harness_close(&registry->harness);
    for (size_t i = 0; i < registry->count; i++) {
        free(registry->script[i].path);
        free(registry->script[i].bytes);
    }
    free(registry->put_path);
    free(registry->put_digest);
    free(registry->put_type);
    buffer_finish(&registry->put_body);
    buffer_finish(&registry->bytes);
    free(registry);
}

/* The callback of every call in these tests; `data` is the registry. */
static inline void script_note(const struct oci_result *result, void *data)
{
    struct scripted_registry *registry = data;
    assert_false(registry->inside_call);
    assert_false(registry->done);
    registry->done = true;
    registry->code = ERROR_NONE;
    registry->message[0] = '\0';
    buffer_clear(&registry->bytes);
    if (result->error != NULL) {
        registry->code = result->error->code;
        snprintf(registry->message, sizeof registry->message, "%s", result->error->message);
        return;
    }
    snprintf(registry->digest, sizeof registry->digest, "%s", result->digest);
    snprintf(registry->media_type, sizeof registry->media_type, "%s",
             result->media_type != NULL ? result->media_type : "");
    if (result->bytes != NULL)
        buffer_append(&registry->bytes, result->bytes, result->size);
}

static inline void script_progress(uint64_t done, uint64_t total, void *data)
{
    struct scripted_registry *registry = data;
    registry->progressed = done;
    registry->total = total;
}

static inline void script_wait(struct scripted_registry *registry)
{
    registry->inside_call = false;
    assert_true(harness_wait(&registry->harness, &registry->done));
    registry->done = false;
}

static inline void script_assert_ok(struct scripted_registry *registry)
{
    script_wait(registry);
    if (registry->code != ERROR_NONE)
        fail_msg("%s", registry->message);
}

static inline void script_assert_error(struct scripted_registry *registry, enum error_code code,
                                       const char *message)
{
    script_wait(registry);
    if (registry->code != code || strstr(registry->message, message) == NULL)
        fail_msg("expected \"%s\", found %s: %s", message, error_code_name(registry->code),
                 registry->message);
}
