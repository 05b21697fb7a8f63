#include "registry/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/oci.h"
#include "lib/xalloc.h"
#include "registry/observe.h"
#include "registry/oci_error.h"
#include "registry/routes.h"
#include "registry/storage/blob_backend.h"
#include "registry/storage/blob_place.h"
#include "registry/storage/blob_s3.h"
#include "registry/upkeep/control.h"

#define BLOB_LIMIT       ((size_t)64 << 30)
#define TOKEN_FORM_LIMIT ((size_t)16 << 10)

#define UPLOADS "/v2/{name...}/blobs/uploads/"
#define UPLOAD  "/v2/{name...}/blobs/uploads/{id}"
#define BLOB    "/v2/{name...}/blobs/{digest}"
#define IMAGE   "/v2/{name...}/manifests/{reference}"

static const struct http_route routes[] = {
    {.method = "GET", .pattern = "/v2/", .handler = route_version_check, .tag = ACCESS_BASE},
    {.method = "GET", .pattern = "/v2", .handler = route_version_check, .tag = ACCESS_BASE},
    {.method = "GET", .pattern = "/v2/_catalog", .handler = route_catalog, .tag = ACCESS_CATALOG},
    {.method = "GET", .pattern = BLOB, .handler = route_blob_get, .tag = ACCESS_PULL},
    {.method = "DELETE", .pattern = BLOB, .handler = route_blob_delete, .tag = ACCESS_DELETE},
    {.method = "POST",
     .pattern = UPLOADS,
     .handler = route_upload_post,
     .tag = ACCESS_PUSH,
     .on_body = route_upload_bytes,
     .body_limit = BLOB_LIMIT},
    {.method = "POST",
     .pattern = "/v2/{name...}/blobs/uploads",
     .handler = route_upload_post,
     .tag = ACCESS_PUSH,
     .on_body = route_upload_bytes,
     .body_limit = BLOB_LIMIT},
    {.method = "PATCH",
     .pattern = UPLOAD,
     .handler = route_upload_patch,
     .tag = ACCESS_PUSH,
     .on_body = route_upload_bytes,
     .body_limit = BLOB_LIMIT},
    {.method = "PUT",
     .pattern = UPLOAD,
     .handler = route_upload_put,
     .tag = ACCESS_PUSH,
     .on_body = route_upload_bytes,
     .body_limit = BLOB_LIMIT},
    {.method = "GET", .pattern = UPLOAD, .handler = route_upload_get, .tag = ACCESS_PUSH},
    {.method = "DELETE", .pattern = UPLOAD, .handler = route_upload_delete, .tag = ACCESS_PUSH},
    {.method = "GET", .pattern = IMAGE, .handler = route_manifest_get, .tag = ACCESS_PULL},
    {.method = "PUT",
     .pattern = IMAGE,
     .handler = route_manifest_put,
     .tag = ACCESS_PUSH,
     .body_limit = OCI_MANIFEST_LIMIT},
    {.method = "DELETE", .pattern = IMAGE, .handler = route_manifest_delete, .tag = ACCESS_DELETE},
    {.method = "GET",
     .pattern = "/v2/{name...}/tags/list",
     .handler = route_tags_list,
     .tag = ACCESS_PULL},
    {.method = "GET",
     .pattern = "/v2/{name...}/referrers/{digest}",
     .handler = route_referrers,
     .tag = ACCESS_PULL},
    {.method = "GET", .pattern = "/token", .handler = route_token_get, .tag = ACCESS_OPEN},
    {.method = "POST",
     .pattern = "/token",
     .handler = route_token_post,
     .tag = ACCESS_OPEN,
     .body_limit = TOKEN_FORM_LIMIT},
    {.method = "GET", .pattern = "/healthz", .handler = route_health, .tag = ACCESS_OPEN},
    {.method = "GET", .pattern = "/metrics", .handler = route_metrics, .tag = ACCESS_USER},
    {.method = "GET", .pattern = "/version", .handler = route_version, .tag = ACCESS_OPEN},
};

/* Who locked the state wrote its process's number there. */
static int refuse_locked(const char *state, int descriptor, struct error *error)
{
    char pid[24] = "";
    ssize_t length = pread(descriptor, pid, sizeof pid - 1, 0);
    pid[length > 0 ? strspn(pid, "0123456789") : 0] = '\0';
    return error_set(
        error, ERROR_CONFLICT,
        "%s is in use by another shoal-registry%s%s: stop it, wait until it has ended, "
        "or choose another folder by --state",
        state, pid[0] != '\0' ? ", process " : "", pid);
}

int registry_lock_state(const char *state, int *ret_descriptor, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/lock", state);
    AUTO_CLOSE int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (descriptor < 0)
        return error_set_errno(error, errno, "open %s", path);
    if (flock(descriptor, LOCK_EX | LOCK_NB) < 0)
        return refuse_locked(state, descriptor, error);
    /* Only for people: the lock counts, which ends with the process. */
    if (ftruncate(descriptor, 0) < 0 || dprintf(descriptor, "%d\n", (int)getpid()) < 0)
        log_warn("who has the lock cannot be noted", "file", path, "error", strerror(errno));
    *ret_descriptor = TAKE_DESCRIPTOR(descriptor);
    return 0;
}

/* Of a blob that was stored when sizes were not: one that is not there has none. */
static int size_of_blob(const char *digest, void *data, uint64_t *ret_size, struct error *error)
{
    struct error why = ERROR_INIT;
    if (blob_store_stat(data, digest, ret_size, &why) == 0)
        return 0;
    *ret_size = 0;
    return why.code == ERROR_NOT_FOUND ? 0 : error_copy(error, &why);
}

static int open_backend(const struct registry_settings *settings, struct blob_backend **ret_backend,
                        struct error *error)
{
    if (settings->storage.backend == STORAGE_S3)
        return blob_s3_open(&settings->storage.s3, ret_backend, error);
    return blob_files_open(settings->state, ret_backend, error);
}

static char *place_of(const struct registry_settings *settings)
{
    const struct s3_settings *s3 = &settings->storage.s3;
    if (settings->storage.backend == STORAGE_FILES)
        return xstrdup("files");
    /* A bucket may be reached by several addresses. */
    return xasprintf("s3 %s/%s", s3->bucket, s3->prefix != NULL ? s3->prefix : "");
}

int registry_open_blobs(const struct registry_settings *settings, struct blob_store **ret_blobs,
                        struct error *error)
{
    struct blob_backend *backend = NULL;
    AUTO_FREE char *place = place_of(settings);
    if (file_make_directory(settings->state, 0700, error) < 0 ||
        blob_place_check(settings->state, place, error) < 0 ||
        open_backend(settings, &backend, error) < 0)
        return -1;
    if (blob_store_open(settings->state, backend, ret_blobs, error) < 0)
        return -1;
    if (blob_place_keep(settings->state, place, error) == 0)
        return 0;
    blob_store_close(TAKE_POINTER(*ret_blobs));
    return -1;
}

static bool note_blob(const struct blob_entry *entry, void *data)
{
    (void)entry;
    *(bool *)data = true;
    return false;
}

/* Blobs without metadata are not a new registry: it would seem empty, and collect them. */
static int refuse_lost_metadata(const struct registry *registry, const char *database,
                                struct error *error)
{
    bool has_blobs = false;
    if (access(database, F_OK) == 0)
        return 0;
    if (blob_store_list(registry->blobs, note_blob, &has_blobs, error) < 0)
        return -1;
    if (!has_blobs)
        return 0;
    return error_set(error, ERROR_CONFLICT,
                     "there are blobs and no %s: finish the restore, restore a backup into another "
                     "folder, or remove the blobs to begin anew",
                     database);
}

static int open_state(struct registry *registry, const struct registry_settings *settings,
                      struct error *error)
{
    AUTO_FREE char *database = xasprintf("%s/metadata.db", settings->state);
    if (file_make_directory(settings->state, 0700, error) < 0 ||
        registry_lock_state(settings->state, &registry->lock_descriptor, error) < 0 ||
        registry_open_blobs(settings, &registry->blobs, error) < 0 ||
        refuse_lost_metadata(registry, database, error) < 0 ||
        metadata_open(database, &registry->metadata, error) < 0)
        return -1;
    return metadata_learn_sizes(registry->metadata, size_of_blob, registry->blobs, error);
}

static void copy_policies(struct policies *ret_policies, void *data)
{
    struct registry *registry = data;
    pthread_rwlock_rdlock(&registry->policies_lock);
    policies_copy(registry->policies.items, registry->policies.count, ret_policies);
    pthread_rwlock_unlock(&registry->policies_lock);
}

/* Before each collection that comes by itself. */
static void apply_retention(void *data)
{
    struct registry *registry = data;
    const struct upkeep_options options = {0};
    struct error error = ERROR_INIT;
    struct json_object *report = NULL;
    if (upkeep_run(registry->upkeep, UPKEEP_RETAIN, &options, &report, &error) < 0)
        log_warn("retention was not applied", "error", error.message);
    json_object_put(report);
}

/* Before the server: no request comes between. Without one nobody is told of anything that would
 * have to stay, and nothing is collected by itself. */
static int start_upkeep(struct registry *registry, const struct registry_settings *settings,
                        bool serves, struct error *error)
{
    const struct collector_settings *collection = &settings->collection;
    registry->leases = leases_create(serves ? collection->grace : 0, clock_system());
    const struct collector_parts parts = {
        .metadata = registry->metadata,
        .blobs = registry->blobs,
        .leases = registry->leases,
        .metrics = &registry->metrics,
        .state = settings->state,
        .before = apply_retention,
        .data = registry,
    };
    if (collector_create(&parts, collection, &registry->collector, error) < 0)
        return -1;
    const struct upkeep_parts upkeep = {
        .metadata = registry->metadata,
        .blobs = registry->blobs,
        .leases = registry->leases,
        .collector = registry->collector,
        .metrics = &registry->metrics,
        .state = settings->state,
        .copy_policies = copy_policies,
        .data = registry,
    };
    registry->upkeep = upkeep_create(&upkeep);
    return serves ? collector_start(registry->collector, error) : 0;
}

static int take_rate(struct http_request *request, struct registry *registry)
{
    uint64_t wait_ms;
    /* Who probes may share an address with clients. */
    if (registry->rate_limit == NULL || strcmp(http_request_path(request), "/healthz") == 0 ||
        rate_limit_take(registry->rate_limit, http_request_peer(request),
                        clock_monotonic_ms(clock_system()), &wait_ms))
        return 0;
    registry_count(registry, COUNTER_REFUSED_REQUESTS, 1);
    route_add_header(request, "Retry-After", "%llu", (unsigned long long)(wait_ms / 1000 + 1));
    oci_error_respond(request, OCI_TOOMANYREQUESTS,
                      "too many requests from %s: the next one may come in %llu ms",
                      http_request_peer(request), (unsigned long long)wait_ms);
    return -1;
}

/* Before a request's body. */
static int admit(struct http_request *request, void *data)
{
    struct registry *registry = data;
    if (take_rate(request, registry) < 0)
        return -1;
    return access_admit(request, registry->access);
}

static int open_access(struct registry *registry, const struct registry_settings *settings,
                       struct error *error)
{
    if (!access_settings_are_used(&settings->access))
        return 0;
    return access_create(&settings->access, settings->state, settings->tls.certificate != NULL,
                         &registry->metrics.counters[COUNTER_REFUSED_LOGINS], &registry->access,
                         error);
}

static int open_limits_and_log(struct registry *registry, const struct registry_settings *settings,
                               struct error *error)
{
    const struct limit_settings *limits = &settings->limits;
    if (limits->requests_per_second > 0)
        registry->rate_limit = rate_limit_create(limits->requests_per_second, limits->burst);
    if (settings->log.access == NULL)
        return 0;
    return log_file_open(settings->log.access, &registry->access_log, error);
}

static int start_server(struct registry *registry, const struct registry_settings *settings,
                        struct error *error)
{
    const struct http_server_tls tls = registry_tls(settings);
    const struct http_server_options options = {
        .mode = HTTP_SERVER_THREADS,
        .tls = tls.certificate != NULL ? &tls : NULL,
        .address = settings->listen.address,
        .port = (uint16_t)settings->listen.port,
        .routes = routes,
        .route_count = ARRAY_LENGTH(routes),
        .data = registry,
        .max_connections = settings->limits.connections,
        .max_connections_per_address = settings->limits.connections_per_address,
        .slow_window_ms = (unsigned)settings->limits.slow_window,
        .slow_bytes = settings->limits.slow_bytes,
        .respond_error = oci_error_respond_server,
        .admit = admit,
        .on_finished = observe_request,
    };
    return http_server_create(&options, &registry->server, error);
}

/* A registry that nobody can give orders still serves. */
static void start_control(struct registry *registry, const char *state)
{
    struct error error = ERROR_INIT;
    if (control_listen(state, registry->upkeep, &registry->control, &error) < 0)
        log_warn("commands such as gc and backup must wait until it is stopped", "error",
                 error.message);
}

static int open_parts(struct registry *registry, const struct registry_settings *settings,
                      bool serves, struct error *error)
{
    if (open_state(registry, settings, error) < 0)
        return -1;
    return start_upkeep(registry, settings, serves, error);
}

static struct registry *allocate(const struct registry_settings *settings)
{
    struct registry *registry = xcalloc(1, sizeof *registry);
    registry->lock_descriptor = -1;
    pthread_rwlock_init(&registry->policies_lock, NULL);
    policies_copy(settings->policies, settings->policy_count, &registry->policies);
    registry_settings_copy(settings, &registry->settings);
    return registry;
}

int registry_open(const struct registry_settings *settings, struct registry **ret_registry,
                  struct error *error)
{
    struct registry *registry = allocate(settings);
    if (open_parts(registry, settings, false, error) < 0) {
        registry_destroy(registry);
        return -1;
    }
    *ret_registry = registry;
    return 0;
}

/* Both may be meant, behind a proxy or in a lab. */
static void warn_of_exposure(const struct registry_settings *settings)
{
    const char *address = settings->listen.address;
    if (strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0)
        return;
    if (settings->tls.certificate == NULL)
        log_warn(
            "other machines reach it without TLS: passwords and images can be read and changed "
            "on the way; give tls.certificate and tls.key",
            "address", address);
    if (!access_settings_are_used(&settings->access) &&
        settings->tls.client_certificates != HTTP_CLIENT_CERTIFICATES_REQUIRED)
        log_warn("whoever reaches it may push and delete: give access.htpasswd", "address",
                 address);
}

int registry_create(const struct registry_settings *settings, struct registry **ret_registry,
                    struct error *error)
{
    struct registry *registry = allocate(settings);
    if (open_parts(registry, settings, true, error) < 0 ||
        open_limits_and_log(registry, settings, error) < 0 ||
        open_access(registry, settings, error) < 0 || start_server(registry, settings, error) < 0) {
        registry_destroy(registry);
        return -1;
    }
    warn_of_exposure(settings);
    start_control(registry, settings->state);
    *ret_registry = registry;
    return 0;
}

uint16_t registry_port(const struct registry *registry)
{
    return http_server_port(registry->server);
}

void registry_destroy(struct registry *registry)
{
    if (registry == NULL)
        return;
    upkeep_stop(registry->upkeep);
    if (registry->collector != NULL)
        collector_stop(registry->collector);
    http_server_destroy(registry->control, NULL, NULL);
    http_server_destroy(registry->server, NULL, NULL);
    collector_destroy(registry->collector);
    upkeep_destroy(registry->upkeep);
    leases_destroy(registry->leases);
    metadata_close(registry->metadata);
    blob_store_close(registry->blobs);
    access_destroy(registry->access);
    rate_limit_destroy(registry->rate_limit);
    log_file_close(registry->access_log);
    if (registry->lock_descriptor >= 0)
        close(registry->lock_descriptor);
    pthread_rwlock_destroy(&registry->policies_lock);
    policies_release(&registry->policies);
    registry_settings_release(&registry->settings);
    free(registry);
}

void registry_count(struct registry *registry, enum metrics_counter counter, uint64_t amount)
{
    metrics_count(&registry->metrics, counter, amount);
}
