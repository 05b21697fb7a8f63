#include "registry/settings.h"

#include <stdio.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define FILE_LIMIT   ((size_t)1 << 20)
#define POLICIES_MAX 1000

static const char *const client_certificates_names[] = {"off", "optional", "required", NULL};
static const char *const backend_names[] = {"files", "s3", NULL};
static const char *const level_names[] = {"debug", "info", "warn", "error", NULL};

static const struct json_field listen_fields[] = {
    JSON_FIELD(struct listen_settings, address, "address", JSON_STRING, .flags = 0),
    JSON_FIELD(struct listen_settings, port, "port", JSON_UINT, .max = UINT16_MAX),
    JSON_FIELD_END,
};
static const struct json_record listen_record = {sizeof(struct listen_settings), listen_fields};

static const struct json_field tls_fields[] = {
    JSON_FIELD(struct tls_settings, certificate, "certificate", JSON_TEXT, .flags = 0),
    JSON_FIELD(struct tls_settings, key, "key", JSON_TEXT, .flags = 0),
    JSON_FIELD(struct tls_settings, client_ca, "client_ca", JSON_TEXT, .flags = 0),
    JSON_FIELD(struct tls_settings, client_certificates, "client_certificates", JSON_ENUM,
               .names = client_certificates_names),
    JSON_FIELD_END,
};
static const struct json_record tls_record = {sizeof(struct tls_settings), tls_fields};

static const struct json_field limit_fields[] = {
    JSON_FIELD(struct limit_settings, connections, "connections", JSON_UINT, .min = 1,
               .max = 100000),
    JSON_FIELD(struct limit_settings, connections_per_address, "connections_per_address", JSON_UINT,
               .max = 100000),
    JSON_FIELD(struct limit_settings, requests_per_second, "requests_per_second", JSON_UINT,
               .max = 1000000),
    JSON_FIELD(struct limit_settings, burst, "burst", JSON_UINT, .max = 1000000),
    JSON_FIELD(struct limit_settings, slow_window, "slow_window", JSON_DURATION, .min = 1000,
               .max = 3600000),
    JSON_FIELD(struct limit_settings, slow_bytes, "slow_bytes", JSON_SIZE, .max = 1 << 30),
    JSON_FIELD_END,
};
static const struct json_record limit_record = {sizeof(struct limit_settings), limit_fields};

static const struct json_field log_fields[] = {
    JSON_FIELD(struct log_settings, access, "access", JSON_TEXT, .flags = 0),
    JSON_FIELD(struct log_settings, level, "level", JSON_ENUM, .names = level_names),
    JSON_FIELD_END,
};
static const struct json_record log_record = {sizeof(struct log_settings), log_fields};

static const struct json_field storage_fields[] = {
    JSON_FIELD(struct storage_settings, backend, "backend", JSON_ENUM, .names = backend_names),
    JSON_FIELD(struct storage_settings, s3, "s3", JSON_OBJECT, .record = &s3_settings_record),
    JSON_FIELD_END,
};
static const struct json_record storage_record = {sizeof(struct storage_settings), storage_fields};

static const struct json_field settings_fields[] = {
    JSON_FIELD(struct registry_settings, state, "state", JSON_TEXT, .flags = 0),
    JSON_FIELD(struct registry_settings, listen, "listen", JSON_OBJECT, .record = &listen_record),
    JSON_FIELD(struct registry_settings, tls, "tls", JSON_OBJECT, .record = &tls_record,
               .present_offset = offsetof(struct registry_settings, has_tls)),
    JSON_FIELD(struct registry_settings, access, "access", JSON_OBJECT,
               .record = &access_settings_record,
               .present_offset = offsetof(struct registry_settings, has_access)),
    JSON_FIELD(struct registry_settings, limits, "limits", JSON_OBJECT, .record = &limit_record),
    JSON_FIELD(struct registry_settings, log, "log", JSON_OBJECT, .record = &log_record),
    JSON_FIELD(struct registry_settings, collection, "collection", JSON_OBJECT,
               .record = &collector_settings_record),
    JSON_FIELD(struct registry_settings, storage, "storage", JSON_OBJECT,
               .record = &storage_record),
    JSON_FIELD_LIST(struct registry_settings, policies, policy_count, "policies",
                    &policy_settings_record, .max = POLICIES_MAX),
    JSON_FIELD_END,
};
static const struct json_record settings_record = {sizeof(struct registry_settings),
                                                   settings_fields};

static void set_defaults(struct registry_settings *settings)
{
    *settings = (struct registry_settings){
        .state = xstrdup("/var/lib/shoal/registry"),
        .listen = {.address = "127.0.0.1", .port = 5000},
        .limits = {.connections = 512, .slow_window = 30000, .slow_bytes = 1024},
        .collection = COLLECTOR_SETTINGS_DEFAULT,
        .log = {.level = LOG_LEVEL_INFO},
    };
    access_settings_set_defaults(&settings->access);
}

static int load_file(const char *path, struct registry_settings *settings, struct error *error)
{
    AUTO_FREE char *text = NULL;
    size_t length;
    if (file_read(path, FILE_LIMIT, &text, &length, error) < 0)
        return error_wrap(error, "settings");
    if (json_parse_record(&settings_record, text, length, JSON_STRICT, settings, error) == 0)
        return 0;
    if (error != NULL && error->pointer[0] != '\0')
        return error_wrap(error, "settings %s, at %s", path, error->pointer);
    return error_wrap(error, "settings %s", path);
}

int registry_settings_load(const char *path, struct registry_settings *ret_settings,
                           struct error *error)
{
    struct registry_settings settings;
    set_defaults(&settings);
    if (path != NULL && load_file(path, &settings, error) < 0) {
        registry_settings_release(&settings);
        return -1;
    }
    *ret_settings = settings;
    return 0;
}

static int check_tls(const struct tls_settings *tls, struct error *error)
{
    if ((tls->certificate == NULL) != (tls->key == NULL))
        return error_set(
            error, ERROR_INVALID,
            "tls.certificate (--tls-cert) and tls.key (--tls-key) belong together: give "
            "both or none");
    if (tls->client_certificates != HTTP_CLIENT_CERTIFICATES_OFF && tls->client_ca == NULL)
        return error_set(error, ERROR_INVALID,
                         "tls.client_certificates needs tls.client_ca (--tls-client-ca), the file "
                         "of the authorities that clients' certificates come from");
    /* Who names authorities does not mean everybody. */
    if (tls->client_ca != NULL && tls->client_certificates == HTTP_CLIENT_CERTIFICATES_OFF)
        return error_set(error, ERROR_INVALID,
                         "tls.client_ca means nothing while tls.client_certificates is \"off\": "
                         "say \"required\" or \"optional\"");
    if (tls->client_ca != NULL && tls->certificate == NULL)
        return error_set(error, ERROR_INVALID,
                         "tls.client_ca (--tls-client-ca) needs a certificate and a key of the "
                         "registry's own: tls.certificate (--tls-cert) and tls.key (--tls-key)");
    return 0;
}

static int check_storage(const struct storage_settings *storage, struct error *error)
{
    if (storage->backend == STORAGE_S3 && storage->s3.endpoint == NULL)
        return error_set(error, ERROR_INVALID,
                         "storage: the backend \"s3\" needs \"s3\" with an endpoint and a bucket");
    if (storage->backend == STORAGE_FILES && storage->s3.endpoint != NULL)
        return error_set(error, ERROR_INVALID,
                         "storage: \"s3\" means nothing unless \"backend\" is \"s3\"");
    if (storage->backend == STORAGE_S3 && s3_settings_check(&storage->s3, error) < 0)
        return error_wrap(error, "storage: s3");
    return 0;
}

int registry_settings_check(const struct registry_settings *settings, struct error *error)
{
    if (policies_check(settings->policies, settings->policy_count, error) < 0)
        return -1;
    if (settings->state == NULL || settings->state[0] == '\0')
        return error_set(error, ERROR_INVALID, "state (--state): the name of a folder is needed");
    if (settings->limits.burst > 0 && settings->limits.requests_per_second == 0)
        return error_set(error, ERROR_INVALID,
                         "limits.burst means nothing without limits.requests_per_second");
    if (check_storage(&settings->storage, error) < 0 ||
        access_settings_check(&settings->access, settings->has_access, error) < 0)
        return -1;
    if (settings->has_tls && settings->tls.certificate == NULL && settings->tls.key == NULL)
        return error_set(error, ERROR_INVALID,
                         "tls: without \"certificate\" and \"key\" the registry would speak plain "
                         "HTTP: give both, or leave all of \"tls\" out");
    return check_tls(&settings->tls, error);
}

/* --- what a reload takes over --- */

struct comparison {
    const struct registry_settings *running;
    const struct registry_settings *loaded;
    struct buffer pending; /* the names */
};

/* Whether registry_reload takes the setting over: policies and rules always, others only from one
 * value to another, since there is nothing yet, or nobody left, to take them. */
static bool is_taken_over(const struct comparison *comparison, const char *name)
{
    const struct registry_settings *running = comparison->running, *loaded = comparison->loaded;
    if (strncmp(name, "tls.", 4) == 0)
        return running->tls.certificate != NULL && loaded->tls.certificate != NULL;
    if (strcmp(name, "log.access") == 0)
        return running->log.access != NULL && loaded->log.access != NULL;
    return strcmp(name, "policies") == 0 || strcmp(name, "access.rules") == 0;
}

static void compare(struct comparison *comparison, const struct json_record *record,
                    const char *prefix, struct json_object *running, struct json_object *loaded)
{
    for (const struct json_field *field = record->fields; field->key != NULL; field++) {
        AUTO_FREE char *name = xasprintf("%s%s", prefix, field->key);
        struct json_object *before = json_object_object_get(running, field->key);
        struct json_object *after = json_object_object_get(loaded, field->key);
        if (field->kind == JSON_OBJECT) {
            AUTO_FREE char *inner = xasprintf("%s.", name);
            compare(comparison, field->record, inner, before, after);
        } else if (!json_object_equal(before, after) && !is_taken_over(comparison, name)) {
            buffer_printf(&comparison->pending, "%s%s", comparison->pending.length > 0 ? ", " : "",
                          name);
        }
    }
}

/* With the sections that the file did not have, too: of defaults. */
static struct json_object *encode(const struct registry_settings *settings)
{
    struct registry_settings whole = *settings;
    whole.has_tls = whole.has_access = true;
    return json_encode(&settings_record, &whole);
}

char *registry_settings_pending(const struct registry_settings *running,
                                const struct registry_settings *loaded)
{
    struct comparison comparison = {.running = running, .loaded = loaded};
    AUTO_JSON struct json_object *before = encode(running);
    AUTO_JSON struct json_object *after = encode(loaded);
    compare(&comparison, &settings_record, "", before, after);
    return comparison.pending.length > 0 ? buffer_take(&comparison.pending) : NULL;
}

void registry_settings_copy(const struct registry_settings *settings,
                            struct registry_settings *ret_copy)
{
    json_record_copy(&settings_record, settings, ret_copy);
}

void registry_settings_release(struct registry_settings *settings)
{
    json_record_release(&settings_record, settings);
}
