#include "image-format/family_lines.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

#include "lib/api/service_spec.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* How a guest takes words apart. */
enum quoting {
    QUOTING_ESCAPED, /* double quotes, with a backslash before quotes and backslashes inside */
    QUOTING_SIMPLE,  /* double quotes that end at the next one */
    QUOTING_NONE,    /* at spaces, always */
};

static int check_length(const struct line *line, struct error *error)
{
    size_t most = line->family->line_max;
    if (line->text.length > most)
        return error_set(error, ERROR_TOO_LARGE,
                         "the command line is longer than the %zu bytes that family %s takes: give "
                         "fewer or shorter args and env",
                         most, line->family->name);
    return 0;
}

static int refuse_word(const struct line *line, const char *argument, const char *what,
                       struct error *error)
{
    return error_set(error, ERROR_INVALID,
                     "argument \"%.100s\" has %s, which family %s cannot take", argument, what,
                     line->family->name);
}

static void append_quoted(struct buffer *text, const char *argument)
{
    buffer_append_text(text, "\"");
    for (const char *at = argument; *at != '\0'; at++) {
        if (*at == '"' || *at == '\\')
            buffer_append_text(text, "\\");
        buffer_append(text, at, 1);
    }
    buffer_append_text(text, "\"");
}

/* One more word of the line, after a space. */
static int append_word(struct line *line, const char *argument, enum quoting quoting,
                       struct error *error)
{
    /* Characters that some guest's shell-like reader takes for more than themselves. */
    static const char special[] = " \"\\'[];|&$<>";
    if (command_line_check_characters(argument, error) < 0)
        return -1;
    if (++line->arguments > line->family->arguments_max)
        return error_set(error, ERROR_TOO_LARGE,
                         "the command line has more than %zu arguments: give fewer args or env",
                         line->family->arguments_max);
    if (line->text.length > 0)
        buffer_append_text(&line->text, " ");
    if (quoting == QUOTING_ESCAPED) {
        if (argument[0] == '\0' || strpbrk(argument, " \"\\") != NULL)
            append_quoted(&line->text, argument);
        else
            buffer_append_text(&line->text, argument);
    } else if (quoting == QUOTING_SIMPLE) {
        if (strpbrk(argument, "\"\\") != NULL)
            return refuse_word(line, argument, "a double quote or a backslash", error);
        bool quoted = argument[0] == '\0' || strpbrk(argument, special) != NULL;
        buffer_printf(&line->text, "%s%s%s", quoted ? "\"" : "", argument, quoted ? "\"" : "");
    } else {
        if (argument[0] == '\0')
            return error_set(error, ERROR_INVALID, "an empty argument: family %s cannot take one",
                             line->family->name);
        if (strchr(argument, ' ') != NULL)
            return refuse_word(line, argument, "a space", error);
        buffer_append_text(&line->text, argument);
    }
    return check_length(line, error);
}

__attribute__((format(printf, 3, 4))) static int append_text(struct line *line, struct error *error,
                                                             const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    AUTO_FREE char *text = xvasprintf(format, arguments);
    va_end(arguments);
    if (line->text.length > 0)
        buffer_append_text(&line->text, " ");
    buffer_append_text(&line->text, text);
    return check_length(line, error);
}

static int append_words(struct line *line, const struct json_strings *words, size_t from,
                        enum quoting quoting, const char *what, struct error *error)
{
    for (size_t i = from; words != NULL && i < words->count; i++) {
        if (append_word(line, words->items[i], quoting, error) < 0)
            return error_wrap(error, "%s %zu", what, i + 1);
    }
    return 0;
}

/* The image's words, then the service's. */
static int append_all(const struct family_line *parts, struct line *line, enum quoting quoting,
                      struct error *error)
{
    if (append_words(line, parts->image, 0, quoting, "cmdline", error) < 0)
        return -1;
    return append_words(line, parts->extra, 0, quoting, "args", error);
}

static size_t environment_count(const struct family_line *parts)
{
    return parts->environment != NULL ? parts->environment->count : 0;
}

/* Whether the family's own form of the address goes in front. */
static bool needs_address(const struct family_line *parts)
{
    return !parts->tells_address && parts->values->address != NULL;
}

static const char *or_nothing(const char *text)
{
    return text != NULL ? text : "";
}

/* "255.255.255.0" for 24. */
static void format_mask(unsigned prefix, char ret_text[INET_ADDRSTRLEN])
{
    struct in_addr mask = {.s_addr = htonl(prefix == 0 ? 0 : ~UINT32_C(0) << (32 - prefix))};
    inet_ntop(AF_INET, &mask, ret_text, INET_ADDRSTRLEN);
}

/* --- shoal --- */

bool family_line_is_runtime_option(const char *argument)
{
    static const char *const names[] = {"--ip=", "--gateway=", "--instance=", "--mtu=", "--env="};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        if (strncmp(argument, names[i], strlen(names[i])) == 0)
            return true;
    }
    return false;
}

/* `--env=K=V` for each, where a guest takes them as options. */
static int append_environment_options(const struct family_line *parts, struct line *line,
                                      enum quoting quoting, struct error *error)
{
    for (size_t i = 0; i < environment_count(parts); i++) {
        const struct json_map_entry *entry = &parts->environment->items[i];
        AUTO_FREE char *argument = xasprintf("--env=%s=%s", entry->key, entry->value);
        if (append_word(line, argument, quoting, error) < 0)
            return error_wrap(error, "env %s", entry->key);
    }
    return 0;
}

static int append_shoal_address(const struct family_line *parts, struct line *line,
                                struct error *error)
{
    const struct command_line_values *values = parts->values;
    for (size_t i = 0; i < parts->image_options; i++) {
        if (strncmp(parts->image->items[i], "--ip=", 5) == 0)
            return 0;
    }
    if (!needs_address(parts))
        return 0;
    line->arguments += 3;
    if (append_text(line, error, "--ip=%s/%u", values->address, values->prefix) < 0)
        return -1;
    if (values->gateway != NULL && append_text(line, error, "--gateway=%s", values->gateway) < 0)
        return -1;
    return append_text(line, error, "--instance=%s", or_nothing(values->instance_id));
}

/* The runtime would take the first word behind its options for one of its own. */
static bool needs_separator(const char *first, bool is_extra)
{
    return family_line_is_runtime_option(first) || (is_extra && strcmp(first, "--") == 0);
}

int family_line_shoal(const struct family_line *parts, struct line *line, struct error *error)
{
    const struct json_strings *image = parts->image, *extra = parts->extra;
    if (append_shoal_address(parts, line, error) < 0)
        return -1;
    for (size_t i = 0; i < parts->image_options; i++) {
        if (append_word(line, image->items[i], QUOTING_ESCAPED, error) < 0)
            return -1;
    }
    if (append_environment_options(parts, line, QUOTING_ESCAPED, error) < 0)
        return -1;
    bool of_image = parts->image_options < image->count;
    const char *first = of_image                            ? image->items[parts->image_options]
                        : extra != NULL && extra->count > 0 ? extra->items[0]
                                                            : "";
    if (needs_separator(first, !of_image) && append_word(line, "--", QUOTING_ESCAPED, error) < 0)
        return -1;
    if (append_words(line, image, parts->image_options, QUOTING_ESCAPED, "cmdline", error) < 0)
        return -1;
    return append_words(line, extra, 0, QUOTING_ESCAPED, "args", error);
}

/* --- Linux --- */

/* K=V in front of "--" is the init's environment, unless the kernel knows the name itself: then it
 * is an option of the kernel's. Those are written in small letters. */
static int append_linux_environment(const struct family_line *parts, struct line *line,
                                    struct error *error)
{
    for (size_t i = 0; i < environment_count(parts); i++) {
        const struct json_map_entry *entry = &parts->environment->items[i];
        for (const char *at = entry->key; *at != '\0'; at++) {
            if (*at >= 'a' && *at <= 'z')
                return error_set(error, ERROR_INVALID,
                                 "env %s: the kernel could take it for an option of its own: "
                                 "family linux takes names in capital letters",
                                 entry->key);
        }
        if (strchr(entry->value, '"') != NULL)
            return error_set(error, ERROR_INVALID,
                             "env %s has a double quote, which family linux cannot take",
                             entry->key);
        bool quoted = strchr(entry->value, ' ') != NULL;
        if (command_line_check_characters(entry->value, error) < 0 ||
            append_text(line, error, "%s=%s%s%s", entry->key, quoted ? "\"" : "", entry->value,
                        quoted ? "\"" : "") < 0)
            return error_wrap(error, "env %s", entry->key);
    }
    return 0;
}

/* The kernel's own options are those of the image's words that stand before "--". */
int family_line_linux(const struct family_line *parts, struct line *line, struct error *error)
{
    const struct json_strings *image = parts->image;
    const struct command_line_values *values = parts->values;
    size_t options = 0;
    while (options < image->count && strcmp(image->items[options], "--") != 0)
        options++;
    for (size_t i = 0; i < options; i++) {
        if (append_word(line, image->items[i], QUOTING_SIMPLE, error) < 0)
            return error_wrap(error, "cmdline %zu", i + 1);
    }
    if (needs_address(parts)) {
        char mask[INET_ADDRSTRLEN];
        format_mask(values->prefix, mask);
        /* Documentation/admin-guide/nfs/nfsroot.rst: ip=client:server:gateway:mask:host:device:auto
         */
        if (append_text(line, error, "ip=%s::%s:%s:%s:eth0:off", values->address,
                        or_nothing(values->gateway), mask, or_nothing(values->instance_id)) < 0)
            return -1;
    }
    if (append_linux_environment(parts, line, error) < 0)
        return -1;
    bool has_words =
        options + 1 < image->count || (parts->extra != NULL && parts->extra->count > 0);
    if (!has_words)
        return 0;
    if (append_text(line, error, "--") < 0 ||
        append_words(line, image, options + 1, QUOTING_SIMPLE, "cmdline", error) < 0)
        return -1;
    return append_words(line, parts->extra, 0, QUOTING_SIMPLE, "args", error);
}

/* --- Unikraft --- */

/* Options of the kernel's libraries, "--", the application's words. An initrd is unpacked to /. An
 * image that says options itself (behind which stands "--") keeps them. */
int family_line_unikraft(const struct family_line *parts, struct line *line, struct error *error)
{
    const struct json_strings *image = parts->image;
    const struct command_line_values *values = parts->values;
    size_t options = 0, words = 0;
    while (options < image->count && strcmp(image->items[options], "--") != 0)
        options++;
    if (options == image->count)
        options = 0; /* no separator: all of it is the application's */
    else
        words = options + 1;
    if (needs_address(parts) &&
        append_text(line, error, "netdev.ip=%s/%u:%s:%s", values->address, values->prefix,
                    or_nothing(values->gateway), or_nothing(values->dns)) < 0)
        return -1;
    if (environment_count(parts) > 0 && append_text(line, error, "env.vars=[") < 0)
        return -1;
    for (size_t i = 0; i < environment_count(parts); i++) {
        const struct json_map_entry *entry = &parts->environment->items[i];
        AUTO_FREE char *pair = xasprintf("%s=%s", entry->key, entry->value);
        if (append_word(line, pair, QUOTING_SIMPLE, error) < 0)
            return error_wrap(error, "env %s", entry->key);
    }
    if (environment_count(parts) > 0 && append_text(line, error, "]") < 0)
        return -1;
    bool says_mounts = false;
    for (size_t i = 0; i < options; i++) {
        says_mounts = says_mounts || strncmp(image->items[i], "vfs.fstab=", 10) == 0;
        if (append_word(line, image->items[i], QUOTING_SIMPLE, error) < 0)
            return error_wrap(error, "cmdline %zu", i + 1);
    }
    if (parts->has_initrd && !says_mounts &&
        append_text(line, error, "vfs.fstab=[ \"initrd0:/:extract:::\" ]") < 0)
        return -1;
    if (append_text(line, error, "--") < 0 ||
        append_words(line, image, words, QUOTING_SIMPLE, "cmdline", error) < 0)
        return -1;
    return append_words(line, parts->extra, 0, QUOTING_SIMPLE, "args", error);
}

/* --- Solo5, MirageOS --- */

int family_line_solo5(const struct family_line *parts, struct line *line, struct error *error)
{
    const struct command_line_values *values = parts->values;
    if (needs_address(parts)) {
        if (append_text(line, error, "--ipv4=%s/%u", values->address, values->prefix) < 0)
            return -1;
        if (values->gateway != NULL &&
            append_text(line, error, "--ipv4-gateway=%s", values->gateway) < 0)
            return -1;
    }
    return append_all(parts, line, QUOTING_ESCAPED, error);
}

/* --- OSv --- */

/* A disk has its command line inside and asks DHCP. */
int family_line_osv(const struct family_line *parts, struct line *line, struct error *error)
{
    const struct command_line_values *values = parts->values;
    if (!parts->has_kernel)
        return family_line_none(parts, line, error);
    if (needs_address(parts)) {
        char mask[INET_ADDRSTRLEN];
        format_mask(values->prefix, mask);
        if (append_text(line, error, "--ip=eth0,%s,%s", values->address, mask) < 0)
            return -1;
        if (values->gateway != NULL &&
            append_text(line, error, "--defaultgw=%s", values->gateway) < 0)
            return -1;
        if (values->dns != NULL && append_text(line, error, "--nameserver=%s", values->dns) < 0)
            return -1;
    }
    if (append_environment_options(parts, line, QUOTING_SIMPLE, error) < 0)
        return -1;
    return append_all(parts, line, QUOTING_SIMPLE, error);
}

/* --- Rumprun --- */

/* JSON in which a key may stand several times. */
static void append_member(struct buffer *text, const char *key, const char *value)
{
    AUTO_JSON struct json_object *string = json_object_new_string(value);
    AUTO_FREE char *quoted = json_text(string);
    buffer_printf(text, "%s\"%s\":%s", text->length > 1 ? "," : "", key, quoted);
}

int family_line_rumprun(const struct family_line *parts, struct line *line, struct error *error)
{
    const struct command_line_values *values = parts->values;
    struct line words = {.family = line->family};
    AUTO_BUFFER struct buffer text = {0};
    int result = append_all(parts, &words, QUOTING_ESCAPED, error);
    if (result == 0) {
        buffer_append_text(&text, "{");
        append_member(&text, "cmdline", buffer_text(&words.text));
    }
    buffer_finish(&words.text);
    for (size_t i = 0; result == 0 && i < environment_count(parts); i++) {
        const struct json_map_entry *entry = &parts->environment->items[i];
        AUTO_FREE char *pair = xasprintf("%s=%s", entry->key, entry->value);
        result = command_line_check_characters(pair, error);
        append_member(&text, "env", pair);
    }
    if (result < 0)
        return -1;
    if (values->address != NULL)
        buffer_printf(&text,
                      ",\"net\":{\"if\":\"vioif0\",\"type\":\"inet\",\"method\":\"static\","
                      "\"addr\":\"%s\",\"mask\":\"%u\"%s%s%s}",
                      values->address, values->prefix, values->gateway != NULL ? ",\"gw\":\"" : "",
                      or_nothing(values->gateway), values->gateway != NULL ? "\"" : "");
    buffer_append_text(&text, "}");
    return append_text(line, error, "%s", buffer_text(&text));
}

/* --- Hermit --- */

int family_line_hermit(const struct family_line *parts, struct line *line, struct error *error)
{
    const struct command_line_values *values = parts->values;
    if (needs_address(parts)) {
        char mask[INET_ADDRSTRLEN];
        format_mask(values->prefix, mask);
        if (append_text(line, error, "-ip %s -mask %s", values->address, mask) < 0)
            return -1;
        if (values->gateway != NULL && append_text(line, error, "-gateway %s", values->gateway) < 0)
            return -1;
    }
    for (size_t i = 0; i < environment_count(parts); i++) {
        const struct json_map_entry *entry = &parts->environment->items[i];
        AUTO_FREE char *pair = xasprintf("env=%s=%s", entry->key, entry->value);
        if (append_word(line, pair, QUOTING_NONE, error) < 0)
            return error_wrap(error, "env %s", entry->key);
    }
    if (parts->image->count == 0 && (parts->extra == NULL || parts->extra->count == 0))
        return 0;
    if (append_text(line, error, "--") < 0)
        return -1;
    return append_all(parts, line, QUOTING_NONE, error);
}

/* --- the others --- */

int family_line_plain(const struct family_line *parts, struct line *line, struct error *error)
{
    return append_all(parts, line, QUOTING_NONE, error);
}

int family_line_none(const struct family_line *parts, struct line *line, struct error *error)
{
    if (parts->image->count > 0 || (parts->extra != NULL && parts->extra->count > 0) ||
        environment_count(parts) > 0)
        return error_set(error, ERROR_INVALID,
                         "a guest of family %s that boots its own disk reads no command line: its "
                         "args and env are set when the image is built",
                         line->family->name);
    return 0;
}
