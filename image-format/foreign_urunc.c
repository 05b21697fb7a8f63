/* urunc's images: unikernels of several families in an ordinary container image, described by a
 * few keys. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image-format/family.h"
#include "image-format/foreign_internal.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define PREFIX "com.urunc.unikernel."

enum key {
    KEY_TYPE,
    KEY_HYPERVISOR,
    KEY_BINARY,
    KEY_COMMAND_LINE,
    KEY_INITRD,
    KEY_BLOCK,
    KEY_MOUNT_POINT,
    KEY_VERSION,
    KEY_DEVICE_MAPPER,
    KEY_MOUNT_ROOT,
    KEY_COUNT,
};

static const char *const key_names[KEY_COUNT] = {
    [KEY_TYPE] = PREFIX "unikernelType",
    [KEY_HYPERVISOR] = PREFIX "hypervisor",
    [KEY_BINARY] = PREFIX "binary",
    [KEY_COMMAND_LINE] = PREFIX "cmdline",
    [KEY_INITRD] = PREFIX "initrd",
    [KEY_BLOCK] = PREFIX "block",
    [KEY_MOUNT_POINT] = PREFIX "blkMntPoint",
    [KEY_VERSION] = PREFIX "unikernelVersion",
    [KEY_DEVICE_MAPPER] = PREFIX "useDMBlock",
    [KEY_MOUNT_ROOT] = PREFIX "mountRootfs",
};

/* Its names of what we call a family. */
static const struct {
    const char *type;
    const char *family;
} types[] = {
    {"unikraft", "unikraft"}, {"rumprun", "rumprun"}, {"mirage", "solo5"},
    {"linux", "linux"},       {"hermit", "hermit"},
};

struct keys {
    char *values[KEY_COUNT]; /* "" : not said */
};

static void keys_release(struct keys *keys)
{
    for (size_t i = 0; i < KEY_COUNT; i++)
        free(keys->values[i]);
}
#define AUTO_KEYS __attribute__((cleanup(keys_release)))

static const char *family_of(const char *type)
{
    for (size_t i = 0; i < ARRAY_LENGTH(types); i++) {
        if (strcmp(types[i].type, type) == 0)
            return types[i].family;
    }
    return NULL;
}

bool foreign_is_uruncs(const struct oci_manifest *manifest, const struct foreign_config *config,
                       const char *metadata)
{
    return metadata != NULL || json_map_get(&manifest->annotations, key_names[KEY_TYPE]) != NULL ||
           json_map_get(&config->config.labels, key_names[KEY_TYPE]) != NULL;
}

/* --- reading the keys --- */

static const char *text_of(struct json_object *document, const char *name)
{
    struct json_object *value;
    if (document == NULL || !json_object_object_get_ex(document, name, &value) ||
        !json_object_is_type(value, json_type_string))
        return NULL;
    return json_object_get_string(value);
}

static char *decoded(const char *text)
{
    AUTO_FREE unsigned char *bytes = NULL;
    size_t length;
    if (!base64_decode(text, &bytes, &length) || memchr(bytes, '\0', length) != NULL)
        return NULL;
    return xstrndup((const char *)bytes, length);
}

/* All values are plain, or all are base64: the type, which is one of a few words, tells. */
static int decode_all(struct keys *keys, struct error *error)
{
    if (family_of(keys->values[KEY_TYPE]) != NULL)
        return 0;
    AUTO_FREE char *type = decoded(keys->values[KEY_TYPE]);
    if (type == NULL || family_of(type) == NULL)
        return error_set(error, ERROR_UNSUPPORTED,
                         "%s \"%.100s\" is not supported: supported are unikraft, rumprun, mirage, "
                         "linux, hermit",
                         key_names[KEY_TYPE], keys->values[KEY_TYPE]);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        char *value = decoded(keys->values[i]);
        if (value == NULL)
            return error_set(error, ERROR_INVALID, "%s is not base64, as the others are",
                             key_names[i]);
        free(keys->values[i]);
        keys->values[i] = value;
    }
    return 0;
}

static int read_keys(const struct oci_manifest *manifest, const struct foreign_config *config,
                     const char *metadata, size_t metadata_length, struct keys *keys,
                     struct error *error)
{
    AUTO_JSON struct json_object *document = NULL;
    if (metadata != NULL && (json_parse(metadata, metadata_length, &document, error) < 0 ||
                             json_check_unique(metadata, metadata_length, document, error) < 0))
        return error_wrap(error, FOREIGN_METADATA_PATH);
    if (document != NULL && !json_object_is_type(document, json_type_object))
        return error_set(error, ERROR_INVALID, FOREIGN_METADATA_PATH " is not an object");
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const char *value = json_map_get(&manifest->annotations, key_names[i]);
        if (value == NULL)
            value = json_map_get(&config->config.labels, key_names[i]);
        if (value == NULL)
            value = text_of(document, key_names[i]);
        keys->values[i] = xstrdup(value != NULL ? value : "");
    }
    if (keys->values[KEY_TYPE][0] == '\0')
        return error_set(error, ERROR_INVALID,
                         "it is not a unikernel image: " FOREIGN_METADATA_PATH " has no %s",
                         key_names[KEY_TYPE]);
    return decode_all(keys, error);
}

/* --- what they ask for --- */

static bool says_yes(const char *value)
{
    return strcmp(value, "true") == 0 || strcmp(value, "1") == 0 || strcmp(value, "True") == 0;
}

static int refuse_key(enum key key, const struct keys *keys, const char *why, struct error *error)
{
    return error_set(error, ERROR_UNSUPPORTED, "%s \"%.100s\" cannot be honoured: %s",
                     key_names[key], keys->values[key], why);
}

/* Unikraft was told its address in other words before 0.16.1. */
static bool is_old_unikraft(const char *version)
{
    unsigned minor, patch = 0;
    return sscanf(version, "0.%u.%u", &minor, &patch) >= 1 &&
           (minor < 16 || (minor == 16 && patch < 1));
}

static int check_keys(const struct keys *keys, const char *family, struct error *error)
{
    const char *hypervisor = keys->values[KEY_HYPERVISOR];
    if (hypervisor[0] != '\0' && strcmp(hypervisor, "qemu") != 0)
        return refuse_key(KEY_HYPERVISOR, keys, "nodes boot what is built for qemu", error);
    if (keys->values[KEY_BINARY][0] == '\0')
        return error_set(error, ERROR_INVALID, "%s is missing", key_names[KEY_BINARY]);
    if (says_yes(keys->values[KEY_DEVICE_MAPPER]))
        return refuse_key(KEY_DEVICE_MAPPER, keys, "there is no container's snapshot to give",
                          error);
    if (says_yes(keys->values[KEY_MOUNT_ROOT]))
        return refuse_key(KEY_MOUNT_ROOT, keys, "there is no container's root file system to give",
                          error);
    if (keys->values[KEY_MOUNT_POINT][0] != '\0' && strcmp(family, "linux") != 0)
        return refuse_key(KEY_MOUNT_POINT, keys, "the guest has to mount its disk by itself",
                          error);
    if (strcmp(family, "unikraft") == 0 && is_old_unikraft(keys->values[KEY_VERSION]))
        return refuse_key(KEY_VERSION, keys, "Unikraft is supported from 0.16.1 on", error);
    return 0;
}

/* Words between blanks; single and double quotes keep blanks, a backslash the next character. */
static int split(const char *text, struct json_strings *words, struct error *error)
{
    AUTO_BUFFER struct buffer word = {0};
    bool in_word = false;
    char quote = '\0';
    for (const char *at = text; *at != '\0'; at++) {
        bool escapes = *at == '\\' && quote != '\'' && at[1] != '\0';
        if (quote == '\0' && (*at == ' ' || *at == '\t')) {
            if (in_word)
                json_strings_add(words, buffer_text(&word));
            buffer_clear(&word);
            in_word = false;
        } else if (quote == '\0' && (*at == '\'' || *at == '"')) {
            quote = *at;
            in_word = true;
        } else if (quote != '\0' && *at == quote) {
            quote = '\0';
        } else {
            at += escapes ? 1 : 0;
            buffer_append(&word, at, 1);
            in_word = true;
        }
    }
    if (quote != '\0')
        return error_set(error, ERROR_INVALID, "%s has a quote that is not closed",
                         key_names[KEY_COMMAND_LINE]);
    if (in_word)
        json_strings_add(words, buffer_text(&word));
    return 0;
}

static int read_words(const struct keys *keys, const struct foreign_config *config,
                      struct json_strings *words, struct error *error)
{
    const struct foreign_execution *execution = &config->config;
    if (keys->values[KEY_COMMAND_LINE][0] != '\0')
        return split(keys->values[KEY_COMMAND_LINE], words, error);
    for (size_t i = 0; i < execution->entry_point.count; i++)
        json_strings_add(words, execution->entry_point.items[i]);
    for (size_t i = 0; i < execution->command.count; i++)
        json_strings_add(words, execution->command.items[i]);
    return 0;
}

/* Linux: the words are the program that is to be the init, and its arguments. */
static void add_linux_words(const struct json_strings *words, bool has_disk,
                            struct json_strings *line)
{
    json_strings_add(line, "panic=-1");
    json_strings_add(line, "console=ttyS0");
    if (has_disk) {
        json_strings_add(line, "root=/dev/vda");
        json_strings_add(line, "rw");
    }
    if (words->count == 0)
        return;
    AUTO_FREE char *init = xasprintf("init=%s", words->items[0]);
    json_strings_add(line, init);
    if (words->count > 1)
        json_strings_add(line, "--");
    for (size_t i = 1; i < words->count; i++)
        json_strings_add(line, words->items[i]);
}

static int fill_command_line(const struct keys *keys, const struct foreign_config *config,
                             struct image_verified *verified, struct error *error)
{
    struct json_strings words = {0};
    struct json_strings *line = &verified->config.cmdline;
    int result = read_words(keys, config, &words, error);
    if (result == 0 && strcmp(verified->config.family, "linux") == 0) {
        add_linux_words(&words, keys->values[KEY_BLOCK][0] != '\0', line);
    } else if (result == 0) {
        for (size_t i = 0; i < words.count; i++)
            json_strings_add(line, words.items[i]);
    }
    json_strings_release(&words);
    return result;
}

static int add_parts(const struct keys *keys, struct image_verified *verified, struct error *error)
{
    if (foreign_add_part(verified, IMAGE_PART_KERNEL, keys->values[KEY_BINARY], false, error) < 0)
        return -1;
    if (keys->values[KEY_INITRD][0] != '\0' &&
        foreign_add_part(verified, IMAGE_PART_INITRD, keys->values[KEY_INITRD], false, error) < 0)
        return -1;
    if (keys->values[KEY_BLOCK][0] != '\0' &&
        foreign_add_part(verified, IMAGE_PART_DISK, keys->values[KEY_BLOCK], false, error) < 0)
        return -1;
    return 0;
}

int foreign_read_uruncs(const struct oci_manifest *manifest, const struct foreign_config *config,
                        const char *metadata, size_t metadata_length,
                        struct image_verified *verified, struct error *error)
{
    AUTO_KEYS struct keys keys = {0};
    if (read_keys(manifest, config, metadata, metadata_length, &keys, error) < 0)
        return -1;
    const char *family = family_of(keys.values[KEY_TYPE]);
    if (check_keys(&keys, family, error) < 0 || foreign_add_layers(manifest, verified, error) < 0 ||
        foreign_fill_config(verified, family, foreign_architecture_name(config->architecture), "",
                            error) < 0 ||
        add_parts(&keys, verified, error) < 0 ||
        fill_command_line(&keys, config, verified, error) < 0)
        return -1;
    return foreign_add_environment(verified, &config->config.environment, error);
}
