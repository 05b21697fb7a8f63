#include "image-format/command_line.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

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

static int check_characters(const char *argument, struct error *error)
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
    if (check_characters(argument, error) < 0)
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

/* The line as it grows, with the family's limits. */
struct line {
    struct buffer text;
    size_t arguments;
};

static int line_append(struct line *line, const char *argument, struct error *error)
{
    if (check_characters(argument, error) < 0)
        return -1;
    if (++line->arguments > COMMAND_LINE_ARGUMENTS_MAX)
        return error_set(error, ERROR_TOO_LARGE,
                         "the command line has more than %d arguments: give fewer args or env",
                         COMMAND_LINE_ARGUMENTS_MAX);
    if (line->text.length > 0)
        buffer_append_text(&line->text, " ");
    bool quoted = argument[0] == '\0' || strpbrk(argument, " \"\\") != NULL;
    if (quoted)
        buffer_append_text(&line->text, "\"");
    for (const char *at = argument; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\')
            buffer_append_text(&line->text, "\\");
        buffer_append(&line->text, at, 1);
    }
    if (quoted)
        buffer_append_text(&line->text, "\"");
    return check_length(&line->text, error);
}

/* The runtime's own options stand in front; the first other argument is the service's. */
static bool is_runtime_option(const char *argument)
{
    static const char *const names[] = {"--ip=", "--gateway=", "--instance=", "--mtu=", "--env="};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        if (strncmp(argument, names[i], strlen(names[i])) == 0)
            return true;
    }
    return false;
}

static int append_image_argument(struct line *line, const struct expansion *expansion,
                                 const char *argument, struct error *error)
{
    AUTO_BUFFER struct buffer expanded = {0};
    if (expand_argument(expansion, argument, &expanded, error) < 0)
        return -1;
    return line_append(line, buffer_text(&expanded), error);
}

static int append_environment(struct line *line, const struct json_map *environment,
                              struct error *error)
{
    if (environment == NULL)
        return 0;
    if (environment->count > COMMAND_LINE_ENVIRONMENT_MAX)
        return error_set(error, ERROR_TOO_LARGE, "env has %zu entries, at most %d reach the guest",
                         environment->count, COMMAND_LINE_ENVIRONMENT_MAX);
    for (size_t i = 0; i < environment->count; i++) {
        const struct json_map_entry *entry = &environment->items[i];
        if (api_check_environment_name(entry->key) != NULL)
            return error_set(error, ERROR_INVALID, "env \"%.100s\" is not allowed: %s", entry->key,
                             api_check_environment_name(entry->key));
        AUTO_FREE char *argument = xasprintf("--env=%s=%s", entry->key, entry->value);
        if (line_append(line, argument, error) < 0)
            return error_wrap(error, "env %s", entry->key);
    }
    return 0;
}

static int append_extra(struct line *line, const struct json_strings *extra, bool first,
                        struct error *error)
{
    if (extra == NULL || extra->count == 0)
        return 0;
    /* The runtime would take these for its own. */
    if (first && (is_runtime_option(extra->items[0]) || strcmp(extra->items[0], "--") == 0) &&
        line_append(line, "--", error) < 0)
        return -1;
    for (size_t i = 0; i < extra->count; i++) {
        if (line_append(line, extra->items[i], error) < 0)
            return error_wrap(error, "args %zu", i + 1);
    }
    return 0;
}

static int build_line(struct line *line, const struct image_config *config,
                      const struct json_strings *extra, const struct expansion *expansion,
                      struct error *error)
{
    const struct json_strings *image = &config->cmdline;
    size_t i = 0;
    for (; i < image->count && is_runtime_option(image->items[i]); i++) {
        if (append_image_argument(line, expansion, image->items[i], error) < 0)
            return -1;
    }
    if (append_environment(line, expansion->environment, error) < 0)
        return -1;
    bool first = i == image->count;
    for (; i < image->count; i++) {
        if (append_image_argument(line, expansion, image->items[i], error) < 0)
            return -1;
    }
    return append_extra(line, extra, first, error);
}

int command_line_expand(const struct image_config *config,
                        const struct json_strings *extra_arguments,
                        const struct json_map *environment,
                        const struct command_line_values *values, char **ret_line,
                        struct error *error)
{
    struct expansion expansion;
    struct line line = {0};
    expansion_init(&expansion, values, environment);
    int result = build_line(&line, config, extra_arguments, &expansion, error);
    if (result == 0)
        *ret_line = buffer_take(&line.text);
    buffer_finish(&line.text);
    return result;
}
