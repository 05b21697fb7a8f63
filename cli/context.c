#include "cli/context.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define CONFIG_MAX     65536 /* bytes */
#define STRING(value)  STRING_(value)
#define STRING_(value) #value

struct context {
    char name[NAME_MAX_TEXT];
    char scheduler[ADDRESSES_TEXT_MAX];
    char registry[ADDRESS_TEXT_MAX];
};

struct config {
    char current[NAME_MAX_TEXT];
    struct context *contexts;
    size_t count;
};

static const struct json_field context_fields[] = {
    JSON_FIELD(struct context, name, "name", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct context, scheduler, "scheduler", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct context, registry, "registry", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
static const struct json_record context_record = {sizeof(struct context), context_fields};

static const struct json_field config_fields[] = {
    JSON_FIELD(struct config, current, "current", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_LIST(struct config, contexts, count, "contexts", &context_record, .flags = 0),
    JSON_FIELD_END,
};
static const struct json_record config_record = {sizeof(struct config), config_fields};

/* $<variable>/shoal/<name>, or $HOME/<fallback>/shoal/<name>. */
static char *user_path(const char *variable, const char *fallback, const char *name)
{
    const char *folder = getenv(variable), *home = getenv("HOME");
    if (folder != NULL && folder[0] == '/')
        return xasprintf("%s/shoal/%s", folder, name);
    return xasprintf("%s/%s/shoal/%s", home != NULL && home[0] != '\0' ? home : "/root", fallback,
                     name);
}

char *context_path(void)
{
    return user_path("XDG_CONFIG_HOME", ".config", "config.json");
}

char *debug_store_path(void)
{
    return user_path("XDG_CACHE_HOME", ".cache", "debug");
}

char *image_store_path(void)
{
    const char *folder = getenv("SHOAL_IMAGES");
    if (folder != NULL && folder[0] != '\0')
        return xstrdup(folder);
    return user_path("XDG_DATA_HOME", ".local/share", "images");
}

static int config_read(const char *path, struct config *ret_config, struct error *error)
{
    AUTO_FREE char *text = NULL;
    size_t length;
    struct error reason = ERROR_INIT;
    if (file_read(path, CONFIG_MAX, &text, &length, &reason) < 0)
        return reason.code == ERROR_NOT_FOUND ? 0 : error_copy(error, &reason);
    if (json_parse_record(&config_record, text, length, JSON_LENIENT, ret_config, error) < 0)
        return error_wrap(error, "%s", path);
    return 0;
}

static struct context *config_find(const struct config *config, const char *name)
{
    for (size_t i = 0; i < config->count; i++) {
        if (strcmp(config->contexts[i].name, name) == 0)
            return &config->contexts[i];
    }
    return NULL;
}

/* The first of option, environment, context and default that is there. */
static const char *choose(const struct invocation *invocation, const char *option,
                          const char *variable, const char *configured, const char *otherwise,
                          const char **ret_source)
{
    const char *typed = invocation_text(invocation, option + strlen("--"));
    const char *set = getenv(variable);
    if (typed != NULL) {
        *ret_source = option;
        return typed;
    }
    if (set != NULL && set[0] != '\0') {
        *ret_source = variable;
        return set;
    }
    *ret_source = configured[0] != '\0' ? "context" : "default";
    return configured[0] != '\0' ? configured : otherwise;
}

static int choose_all(const struct invocation *invocation, const struct config *config,
                      struct settings *settings, struct error *error)
{
    static const struct context none;
    const struct context *context = config_find(config, config->current);
    const char *namespace_name = invocation_text(invocation, "namespace");
    if (context == NULL)
        context = &none;
    strcpy(settings->context, context->name);
    if (namespace_name == NULL)
        namespace_name = "default";
    if (!text_is_name(namespace_name))
        return error_set(error, ERROR_INVALID,
                         "--namespace \"%s\": allowed are 1 to 63 of a-z, 0-9 and -, with a letter "
                         "or digit at both ends",
                         namespace_name);
    strcpy(settings->namespace_name, namespace_name);
    const char *schedulers =
        choose(invocation, "--address", "SHOAL_ADDRESS", context->scheduler,
               "http://127.0.0.1:" STRING(SCHEDULER_DEFAULT_PORT), &settings->scheduler_source);
    if (addresses_parse(schedulers, settings->scheduler_source, &settings->schedulers, error) < 0)
        return -1;
    const char *registry =
        choose(invocation, "--registry", "SHOAL_REGISTRY", context->registry,
               "http://127.0.0.1:" STRING(REGISTRY_DEFAULT_PORT), &settings->registry_source);
    return address_normalize(registry, settings->registry_source, settings->registry, error);
}

int settings_load(const struct invocation *invocation, struct settings *ret_settings,
                  struct error *error)
{
    AUTO_FREE char *path = context_path();
    struct config config = {0};
    struct settings settings = {0};
    if (config_read(path, &config, error) < 0)
        return -1;
    int result = choose_all(invocation, &config, &settings, error);
    json_record_release(&config_record, &config);
    if (result == 0)
        *ret_settings = settings;
    return result;
}

static int config_save(const char *path, const struct config *config, struct error *error)
{
    AUTO_FREE char *copy = xstrdup(path);
    AUTO_JSON struct json_object *object = json_encode(&config_record, config);
    const char *text = json_object_to_json_string_ext(
        object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED | JSON_C_TO_STRING_NOSLASHESCAPE);
    AUTO_FREE char *line = xasprintf("%s\n", text);
    if (file_make_directory(dirname(copy), 0700, error) < 0)
        return -1;
    return file_write(path, line, strlen(line), 0600, error);
}

int context_write(const char *name, const char *scheduler, const char *registry,
                  struct error *error)
{
    AUTO_FREE char *path = context_path();
    struct config config = {0};
    if (config_read(path, &config, error) < 0)
        return -1;
    struct context *context = config_find(&config, name);
    if (context == NULL) {
        config.contexts = xreallocarray(config.contexts, config.count + 1, sizeof *config.contexts);
        context = &config.contexts[config.count++];
    }
    *context = (struct context){0};
    int result = -1;
    if (text_copy(context->name, sizeof context->name, name) &&
        text_copy(context->scheduler, sizeof context->scheduler, scheduler) &&
        text_copy(context->registry, sizeof context->registry, registry) &&
        text_copy(config.current, sizeof config.current, name))
        result = config_save(path, &config, error);
    else
        error_set(error, ERROR_INVALID, "the context's name or addresses are too long");
    json_record_release(&config_record, &config);
    return result;
}
