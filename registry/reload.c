/* What a registry takes over from its settings while it runs. */
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "registry/registry.h"

struct http_server_tls registry_tls(const struct registry_settings *settings)
{
    const struct tls_settings *tls = &settings->tls;
    return (struct http_server_tls){.certificate = tls->certificate,
                                    .key = tls->key,
                                    .client_ca = tls->client_ca,
                                    .client_certificates =
                                        (enum http_client_certificates)tls->client_certificates};
}

static void replace_policies(struct registry *registry, const struct registry_settings *settings)
{
    struct policies policies;
    policies_copy(settings->policies, settings->policy_count, &policies);
    pthread_rwlock_wrlock(&registry->policies_lock);
    struct policies before = registry->policies;
    registry->policies = policies;
    pthread_rwlock_unlock(&registry->policies_lock);
    policies_release(&before);
}

static int reload_access(struct registry *registry, const struct registry_settings *settings,
                         struct error *error)
{
    bool are_used = access_settings_are_used(&settings->access);
    if (registry->access != NULL && !are_used)
        return error_set(error, ERROR_UNSUPPORTED,
                         "there are none any more: restart to open the registry to everybody");
    if (registry->access == NULL && are_used)
        return error_set(error, ERROR_UNSUPPORTED,
                         "the registry is open to everybody until it is restarted");
    return registry->access != NULL ? access_reload(registry->access, &settings->access, error) : 0;
}

/* From none to some, and back, is for registry_settings_pending to tell. */
static int reload_certificates(struct registry *registry, const struct registry_settings *settings,
                               struct error *error)
{
    const struct http_server_tls tls = registry_tls(settings);
    bool spoke_tls = registry->settings.tls.certificate != NULL;
    return spoke_tls && tls.certificate != NULL
               ? http_server_reload_tls(registry->server, &tls, error)
               : 0;
}

static int reload_access_log(struct registry *registry, const struct registry_settings *settings,
                             struct error *error)
{
    return registry->access_log != NULL && settings->log.access != NULL
               ? log_file_reopen(registry->access_log, settings->log.access, error)
               : 0;
}

static const struct {
    const char *name;
    const char *failure;
    int (*reload)(struct registry *registry, const struct registry_settings *settings,
                  struct error *error);
} parts[] = {
    {"users and rules", "users and rules stay as they were", reload_access},
    {"certificates", "the certificates stay as they were", reload_certificates},
    {"access log", "the access log stays as it was", reload_access_log},
};

void registry_reload(struct registry *registry, const struct registry_settings *settings)
{
    AUTO_BUFFER struct buffer failed = {0};
    AUTO_FREE char *pending = registry_settings_pending(&registry->settings, settings);
    replace_policies(registry, settings);
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
        struct error error = ERROR_INIT;
        if (parts[i].reload(registry, settings, &error) == 0)
            continue;
        log_error(parts[i].failure, "error", error.message);
        buffer_printf(&failed, "%s%s", failed.length > 0 ? ", " : "", parts[i].name);
    }
    if (failed.length == 0 && pending == NULL)
        log_info("settings reloaded");
    else if (failed.length == 0)
        log_warn("settings reloaded, but some count at the next start only", "settings", pending);
    else if (pending == NULL)
        log_warn("settings reloaded in part", "as_before", buffer_text(&failed));
    else
        log_warn("settings reloaded in part, and some count at the next start only", "as_before",
                 buffer_text(&failed), "settings", pending);
}
