#include "image-format/command_line.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "image-format/family_lines.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define ENVIRONMENT_PREFIX "env."

/* What the variables' names stand for, as texts of this call. */
struct expansion {
    const struct json_map *environment;
    struct variable {
        const char *name;
        const char *value; /* NULL: none here */
    } variables[11];
    char prefix[12], mtu[12], slot[12];
};

static const char *const variable_names[] = {
    "net.address", "net.prefix",    "net.gateway", "net.dns",   "net.mtu", "net.mac",
    "instance.id", "instance.slot", "service",     "namespace", "node",
};

static const char *number_text(char text[12], unsigned number)
{
    snprintf(text, 12, "%u", number);
    return text;
}

static void expansion_init(struct expansion *expansion, const struct command_line_values *values,
                           const struct json_map *environment)
{
    const char *const texts[] = {
        values->address,
        values->prefix > 0 ? number_text(expansion->prefix, values->prefix) : NULL,
        values->gateway,
        values->dns,
        values->mtu > 0 ? number_text(expansion->mtu, values->mtu) : NULL,
        values->mac,
        values->instance_id,
        number_text(expansion->slot, values->slot),
        values->service,
        values->namespace_name,
        values->node,
    };
    static_assert(ARRAY_LENGTH(texts) == ARRAY_LENGTH(variable_names), "a value for each variable");
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++)
        expansion->variables[i] = (struct variable){variable_names[i], texts[i]};
    expansion->environment = environment;
}

int command_line_check_characters(const char *argument, struct error *error)
{
    for (const char *at = argument; *at != '\0';) {
        size_t length = text_character_length(at);
        if (length == 0)
            return error_set(error, ERROR_INVALID,
                             "byte 0x%02x at offset %zu of an argument is a control character or "
                             "not UTF-8: not allowed in a command line",
                             (unsigned char)*at, (size_t)(at - argument));
        at += length;
    }
    return 0;
}

/* Finds the variable that begins at "${": its name, and what follows it. */
static int scan_variable(const char *argument, const char *at, const char **ret_name,
                         size_t *ret_length, struct error *error)
{
    const char *end = strchr(at, '}');
    if (end == NULL)
        return error_set(error, ERROR_INVALID, "argument \"%.100s\": \"${\" is not closed by \"}\"",
                         argument);
    *ret_name = at + 2;
    *ret_length = (size_t)(end - at) - 2;
    return 0;
}

static bool is_environment_variable(const char *name, size_t length, char ret_name[129])
{
    size_t prefix = strlen(ENVIRONMENT_PREFIX);
    if (length <= prefix || length - prefix > 128 || strncmp(name, ENVIRONMENT_PREFIX, prefix) != 0)
        return false;
    memcpy(ret_name, name + prefix, length - prefix);
    ret_name[length - prefix] = '\0';
    return api_check_environment_name(ret_name) == NULL;
}

static int unknown_variable(const char *name, size_t length, struct error *error)
{
    char allowed[256] = "";
    for (size_t i = 0, used = 0; i < ARRAY_LENGTH(variable_names); i++)
        used += (size_t)snprintf(allowed + used, sizeof allowed - used, "%s, ", variable_names[i]);
    return error_set(error, ERROR_INVALID, "unknown variable \"${%.*s}\": allowed are %senv.NAME",
                     (int)(length < 100 ? length : 100), name, allowed);
}

static size_t find_variable(const char *name, size_t length)
{
    size_t i = 0;
    while (i < ARRAY_LENGTH(variable_names) &&
           (strlen(variable_names[i]) != length || strncmp(variable_names[i], name, length) != 0))
        i++;
    return i;
}

int command_line_check(const char *argument, struct error *error)
{
    if (command_line_check_characters(argument, error) < 0)
        return -1;
    for (const char *at = argument; (at = strstr(at, "${")) != NULL;) {
        const char *name = NULL;
        size_t length = 0;
        char environment[129];
        if (scan_variable(argument, at, &name, &length, error) < 0)
            return -1;
        if (find_variable(name, length) == ARRAY_LENGTH(variable_names) &&
            !is_environment_variable(name, length, environment))
            return unknown_variable(name, length, error);
        at = name + length;
    }
    return 0;
}

/* Early, so that a hostile image cannot make a huge text out of a long value. */
static int check_length(const struct buffer *text, struct error *error)
{
    if (text->length <= COMMAND_LINE_MAX)
        return 0;
    return error_set(error, ERROR_TOO_LARGE,
                     "the command line has more than %d bytes, which do not reach the guest: give "
                     "fewer or shorter args and env",
                     COMMAND_LINE_MAX);
}

static int append_variable(const struct expansion *expansion, const char *name, size_t length,
                           struct buffer *text, struct error *error)
{
    char environment[129];
    const char *value = NULL;
    size_t i = find_variable(name, length);
    if (i < ARRAY_LENGTH(variable_names))
        value = expansion->variables[i].value;
    else if (!is_environment_variable(name, length, environment))
        return unknown_variable(name, length, error);
    else if (expansion->environment != NULL)
        value = json_map_get(expansion->environment, environment);
    if (value == NULL)
        return error_set(error, ERROR_INVALID,
                         "the image's command line asks for ${%.*s}, which has no value here%s",
                         (int)length, name,
                         i == ARRAY_LENGTH(variable_names) ? ": set it in the service's env" : "");
    buffer_append_text(text, value);
    return check_length(text, error);
}

static int expand_argument(const struct expansion *expansion, const char *argument,
                           struct buffer *text, struct error *error)
{
    const char *at = argument, *dollar;
    while ((dollar = strstr(at, "${")) != NULL) {
        const char *name = NULL;
        size_t length = 0;
        buffer_append(text, at, (size_t)(dollar - at));
        if (scan_variable(argument, dollar, &name, &length, error) < 0 ||
            append_variable(expansion, name, length, text, error) < 0)
            return -1;
        at = name + length + 1;
    }
    buffer_append_text(text, at);
    return 0;
}

static int expand_all(const struct expansion *expansion, const struct image_config *config,
                      struct json_strings *expanded, struct error *error)
{
    const struct json_strings *arguments = &config->cmdline;
    for (size_t i = 0; i < arguments->count; i++) {
        AUTO_BUFFER struct buffer text = {0};
        if (config->is_literal)
            buffer_append_text(&text, arguments->items[i]);
        else if (expand_argument(expansion, arguments->items[i], &text, error) < 0)
            return -1;
        json_strings_add(expanded, buffer_text(&text));
    }
    return 0;
}

static bool uses_variable(const struct image_config *config, const char *start)
{
    const struct json_strings *arguments = &config->cmdline;
    if (config->is_literal)
        return false;
    for (size_t i = 0; i < arguments->count; i++) {
        if (strstr(arguments->items[i], start) != NULL)
            return true;
    }
    return false;
}

/* An entry that would not reach the guest is a mistake, unless the image's own words use it. */
static int check_environment(const struct family *family, const struct image_config *config,
                             const struct json_map *environment, struct error *error)
{
    size_t count = environment != NULL ? environment->count : 0;
    if (family->has_environment && count > family->environment_max)
        return error_set(error, ERROR_TOO_LARGE, "env has %zu entries, at most %zu reach the guest",
                         count, family->environment_max);
    for (size_t i = 0; i < count; i++) {
        const char *key = environment->items[i].key;
        AUTO_FREE char *variable = xasprintf("${" ENVIRONMENT_PREFIX "%s}", key);
        if (api_check_environment_name(key) != NULL)
            return error_set(error, ERROR_INVALID, "env \"%.100s\" is not allowed: %s", key,
                             api_check_environment_name(key));
        if (!family->has_environment && !uses_variable(config, variable))
            return error_set(error, ERROR_INVALID,
                             "env %s: a guest of family %s has no environment, and the image's "
                             "command line does not use %s",
                             key, family->name, variable);
    }
    return 0;
}

static int check_arguments(const struct family *family, const struct json_strings *extra,
                           struct error *error)
{
    if (family->has_arguments || extra == NULL || extra->count == 0)
        return 0;
    return error_set(error, ERROR_INVALID,
                     "args do not reach a guest of family %s: it is configured when its image is "
                     "built",
                     family->name);
}

static size_t count_runtime_options(const struct json_strings *image)
{
    size_t count = 0;
    while (count < image->count && family_line_is_runtime_option(image->items[count]))
        count++;
    return count;
}

static int compose(const struct family *family, const struct family_line *parts, char **ret_line,
                   struct error *error)
{
    struct line line = {.family = family};
    int result = family->compose(parts, &line, error);
    if (result == 0)
        *ret_line = buffer_take(&line.text);
    buffer_finish(&line.text);
    return result;
}

int command_line_expand(const struct image_config *config,
                        const struct json_strings *extra_arguments,
                        const struct json_map *environment,
                        const struct command_line_values *values, char **ret_line,
                        struct error *error)
{
    const struct family *family = family_find(config->family);
    struct expansion expansion;
    struct json_strings expanded = {0};
    struct json_map merged = {0};
    if (family == NULL)
        return error_set(error, ERROR_UNSUPPORTED, "there is no family \"%.32s\"", config->family);
    for (size_t i = 0; i < config->env.count; i++)
        json_map_set(&merged, config->env.items[i].key, config->env.items[i].value);
    for (size_t i = 0; environment != NULL && i < environment->count; i++)
        json_map_set(&merged, environment->items[i].key, environment->items[i].value);
    expansion_init(&expansion, values, &merged);
    struct family_line parts = {
        .image = &expanded,
        .image_options = config->is_literal ? 0 : count_runtime_options(&config->cmdline),
        .tells_address = uses_variable(config, "${net."),
        .extra = extra_arguments,
        .environment = family->has_environment ? &merged : NULL,
        .values = values,
        .has_initrd = config->boot.initrd[0] != '\0',
        .has_kernel = strcmp(config->boot.protocol, boot_protocol_names[BOOT_DISK]) != 0,
    };
    int result = -1;
    if (check_arguments(family, extra_arguments, error) == 0 &&
        check_environment(family, config, &merged, error) == 0 &&
        expand_all(&expansion, config, &expanded, error) == 0)
        result = compose(family, &parts, ret_line, error);
    json_strings_release(&expanded);
    json_map_release(&merged);
    return result;
}
