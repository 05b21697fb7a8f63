#include <stdarg.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "registry/oci_error.h"
#include "registry/routes.h"

const char *route_repository(struct http_request *request)
{
    const char *name = http_request_parameter(request, "name");
    if (repository_is_valid(name))
        return name;
    oci_error_respond(request, OCI_NAME_INVALID,
                      "\"%.200s\" is no repository name: lower-case letters, digits and single "
                      "separators (. _ -), components between slashes, at most %d characters",
                      name, REPOSITORY_MAX - 1);
    return NULL;
}

const char *route_digest(struct http_request *request)
{
    const char *digest = http_request_parameter(request, "digest");
    if (digest_is_any(digest))
        return digest;
    route_refuse_digest(request, digest);
    return NULL;
}

void route_refuse_digest(struct http_request *request, const char *digest)
{
    oci_error_respond(request, OCI_DIGEST_INVALID,
                      "\"%.200s\" is no digest of the form sha256:<64 lower-case hex digits> or "
                      "sha512:<128>",
                      digest != NULL ? digest : "");
}

static bool tag_is_immutable(const char *repository, const char *tag, void *data)
{
    return policies_tag_is_immutable(data, repository, tag);
}

void route_rules_take(struct registry *registry, const char *repository,
                      struct metadata_rules *ret_rules)
{
    pthread_rwlock_rdlock(&registry->policies_lock);
    *ret_rules = (struct metadata_rules){
        .quota = UINT64_MAX, .is_immutable = tag_is_immutable, .data = &registry->policies};
    policies_quota(&registry->policies, repository, &ret_rules->quota);
}

void route_rules_give(struct registry *registry)
{
    pthread_rwlock_unlock(&registry->policies_lock);
}

void route_respond_over_quota(struct http_request *request, struct registry *registry,
                              const char *repository)
{
    struct metadata_rules rules;
    uint64_t used = 0;
    route_rules_take(registry, repository, &rules);
    route_rules_give(registry);
    metadata_get_used(registry->metadata, repository, &used, NULL);
    registry_count(registry, COUNTER_REFUSED_QUOTA, 1);
    log_warn("a push is over the quota", "repository", repository, "used", LOG_NUMBER(used),
             "quota", LOG_NUMBER(rules.quota), "user", http_request_user(request));
    oci_error_respond_detail(request, OCI_DENIED, 403, "repository", repository,
                             "repository %s uses %llu of its quota of %llu bytes, and this does "
                             "not fit: delete tags and wait for garbage collection (what was just "
                             "pushed counts for its grace), or have the quota raised",
                             repository, (unsigned long long)used, (unsigned long long)rules.quota);
}

int route_check_quota(struct http_request *request, struct registry *registry,
                      const char *repository, uint64_t *ret_room)
{
    struct metadata_rules rules;
    struct error error = ERROR_INIT;
    const char *header = http_request_header(request, "Content-Length");
    uint64_t used = 0, length = 0;
    route_rules_take(registry, repository, &rules);
    route_rules_give(registry);
    if (rules.quota == UINT64_MAX) {
        *ret_room = UINT64_MAX;
        return 0;
    }
    if (metadata_get_used(registry->metadata, repository, &used, &error) < 0) {
        oci_error_respond_failure(request, &error);
        return -1;
    }
    if (header != NULL)
        text_parse_u64(header, INT64_MAX, &length);
    if (used <= rules.quota && length <= rules.quota - used) {
        *ret_room = rules.quota - used;
        return 0;
    }
    route_respond_over_quota(request, registry, repository);
    return -1;
}

void route_add_header(struct http_request *request, const char *name, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    AUTO_FREE char *value = xvasprintf(format, arguments);
    va_end(arguments);
    http_request_add_header(request, name, value);
}

void route_version_check(struct http_request *request, void *data)
{
    (void)data;
    http_request_add_header(request, "Docker-Distribution-Api-Version", "registry/2.0");
    http_request_respond(request, 200, "application/json", "{}", 2);
}

void route_health(struct http_request *request, void *data)
{
    struct registry *registry = data;
    struct error error = ERROR_INIT;
    if (metadata_has_repository(registry->metadata, "health", &error) < 0)
        oci_error_respond_failure(request, &error);
    else
        http_request_respond(request, 200, "text/plain", "ok\n", 3);
}

void route_version(struct http_request *request, void *data)
{
    (void)data;
    struct json_object *object = json_object_new_object();
    json_object_object_add(object, "name", json_object_new_string("shoal-registry"));
    json_object_object_add(object, "version", json_object_new_string(SHOAL_VERSION));
    http_request_respond_json(request, 200, object);
}

void route_metrics(struct http_request *request, void *data)
{
    struct registry *registry = data;
    struct metadata_totals totals;
    struct error error = ERROR_INIT;
    struct buffer text = {0};
    if (metadata_read_totals(registry->metadata, &totals, &error) < 0) {
        oci_error_respond_failure(request, &error);
        return;
    }
    metrics_print(&registry->metrics, &text);
    metrics_print_gauge(&text, "repositories", "Repositories that hold something.",
                        totals.repositories);
    metrics_print_gauge(&text, "used_bytes",
                        "Bytes of all repositories; a blob counts in each that holds it.",
                        totals.used);
    metrics_print_gauge(&text, "uploads", "Uploads that are under way or were left.",
                        totals.uploads);
    http_request_respond(request, 200, "text/plain; version=0.0.4", buffer_text(&text),
                         text.length);
    buffer_finish(&text);
}
