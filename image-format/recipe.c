#include "image-format/recipe.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "image-format/family.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "lib/yaml.h"

#define MEMORY_MIN_DEFAULT (8ull << 20)
#define MEMORY_DEFAULT     (32ull << 20)

const char *const recipe_architecture_names[] = {"amd64", "arm64", NULL};
const char *const recipe_compression_names[] = {"none", "zstd", NULL};

static bool is_clean(const char *text, const char *controls)
{
    for (size_t length; *text != '\0'; text += length) {
        length = strchr(controls, *text) != NULL ? 1 : text_character_length(text);
        if (length == 0)
            return false;
    }
    return true;
}

static const char *check_relative_path(const char *value)
{
    bool fine = value[0] != '\0' && value[0] != '/' && !text_path_climbs(value);
    return fine && is_clean(value, "") ? NULL : "a path inside the folder of this file";
}

static const char *check_command(const char *value)
{
    bool fine = strlen(value) <= RECIPE_COMMAND_MAX && value[strspn(value, " \t\n")] != '\0';
    return fine && is_clean(value, "\t\n")
               ? NULL
               : "a command for /bin/sh of at most 4096 bytes, without control characters";
}

static const struct json_field architecture_fields[] = {
    JSON_FIELD(struct recipe_architecture, build, "build", JSON_TEXT, .check = check_command),
    JSON_FIELD(struct recipe_architecture, kernel, "kernel", JSON_STRING,
               .check = check_relative_path),
    JSON_FIELD(struct recipe_architecture, initrd, "initrd", JSON_STRING,
               .check = check_relative_path),
    JSON_FIELD(struct recipe_architecture, disks, "disks", JSON_STRINGS, .max = RECIPE_DISKS_MAX,
               .check = check_relative_path),
    JSON_FIELD(struct recipe_architecture, debug, "debug", JSON_STRING,
               .check = check_relative_path),
    JSON_FIELD(struct recipe_architecture, protocol, "protocol", JSON_STRING),
    JSON_FIELD(struct recipe_architecture, machine, "machine", JSON_STRING),
    JSON_FIELD_END,
};
static const struct json_record architecture_record = {sizeof(struct recipe_architecture),
                                                       architecture_fields};

#define ARCHITECTURE_FIELD(index, name)                                                            \
    JSON_FIELD(struct recipe_architectures, items[index], name, JSON_OBJECT,                       \
               .record = &architecture_record,                                                     \
               .present_offset = offsetof(struct recipe_architectures, present[index]))
static const struct json_field architectures_fields[] = {
    ARCHITECTURE_FIELD(0, "amd64"),
    ARCHITECTURE_FIELD(1, "arm64"),
    JSON_FIELD_END,
};
static const struct json_record architectures_record = {sizeof(struct recipe_architectures),
                                                        architectures_fields};

static const struct json_field memory_fields[] = {
    JSON_FIELD(struct image_memory, min, "min", JSON_SIZE, .min = IMAGE_MEMORY_MIN,
               .max = IMAGE_MEMORY_MAX),
    JSON_FIELD(struct image_memory, default_bytes, "default", JSON_SIZE, .min = IMAGE_MEMORY_MIN,
               .max = IMAGE_MEMORY_MAX),
    JSON_FIELD_END,
};
static const struct json_record memory_record = {sizeof(struct image_memory), memory_fields};

static const struct json_field vcpus_fields[] = {
    JSON_FIELD(struct image_vcpus, default_count, "default", JSON_UINT, .min = 1,
               .max = IMAGE_VCPUS_MAX),
    JSON_FIELD(struct image_vcpus, max, "max", JSON_UINT, .min = 1, .max = IMAGE_VCPUS_MAX),
    JSON_FIELD_END,
};
static const struct json_record vcpus_record = {sizeof(struct image_vcpus), vcpus_fields};

static const struct json_field recipe_fields[] = {
    JSON_FIELD(struct recipe, family, "family", JSON_STRING),
    JSON_FIELD(struct recipe, architectures, "architectures", JSON_OBJECT, .flags = JSON_REQUIRED,
               .record = &architectures_record),
    JSON_FIELD(struct recipe, memory, "memory", JSON_OBJECT, .record = &memory_record),
    JSON_FIELD(struct recipe, vcpus, "vcpus", JSON_OBJECT, .record = &vcpus_record),
    JSON_FIELD(struct recipe, cmdline, "cmdline", JSON_STRINGS, .max = IMAGE_ARGUMENTS_MAX),
    JSON_FIELD(struct recipe, args, "args", JSON_STRINGS, .max = IMAGE_ARGUMENTS_MAX),
    JSON_FIELD_LIST(struct recipe, ports, port_count, "ports", &api_image_port_record,
                    .max = IMAGE_PORTS_MAX),
    JSON_FIELD(struct recipe, health, "health", JSON_OBJECT, .record = &api_health_record,
               .present_offset = offsetof(struct recipe, has_health)),
    JSON_FIELD(struct recipe, stop, "stop", JSON_OBJECT, .record = &image_stop_record,
               .present_offset = offsetof(struct recipe, has_stop)),
    JSON_FIELD(struct recipe, compression, "compress", JSON_ENUM,
               .names = recipe_compression_names),
    JSON_FIELD_END,
};
static const struct json_record recipe_record = {sizeof(struct recipe), recipe_fields};

static void set_defaults(struct recipe *recipe)
{
    strcpy(recipe->family, RECIPE_FAMILY_AUTO);
    recipe->vcpus = (struct image_vcpus){1, 1};
    image_health_set_defaults(&recipe->health);
}

/* The recipe's pointer for one into the config that it became. */
static void translate_pointer(const struct recipe *recipe, size_t architecture, const char *pointer,
                              char ret_pointer[ERROR_POINTER_MAX])
{
    static const char boot[] = "/boot/", argument[] = "/cmdline/";
    const char *name = recipe_architecture_names[architecture];
    bool is_argument = strncmp(pointer, argument, strlen(argument)) == 0;
    size_t index = is_argument ? strtoul(pointer + strlen(argument), NULL, 10) : 0;
    if (strncmp(pointer, boot, strlen(boot)) == 0)
        snprintf(ret_pointer, ERROR_POINTER_MAX, "/architectures/%s/%.200s", name,
                 pointer + strlen(boot));
    else if (strcmp(pointer, "/architecture") == 0 || strcmp(pointer, "/boot") == 0)
        snprintf(ret_pointer, ERROR_POINTER_MAX, "/architectures/%s", name);
    else if (is_argument && index >= recipe->cmdline.count)
        snprintf(ret_pointer, ERROR_POINTER_MAX, "/args/%zu", index - recipe->cmdline.count);
    else
        snprintf(ret_pointer, ERROR_POINTER_MAX, "%s", pointer);
}

static uint64_t larger(uint64_t one, uint64_t other)
{
    return one > other ? one : other;
}

/* What was given, else what the family was seen to boot with, and some room. */
static struct image_memory choose_memory(const struct recipe *recipe, const struct family *family)
{
    struct image_memory memory = recipe->memory;
    if (memory.min == 0) {
        memory.min = larger(MEMORY_MIN_DEFAULT, family != NULL ? family->memory_min : 0);
        if (memory.default_bytes != 0 && memory.default_bytes < memory.min)
            memory.min = memory.default_bytes;
    }
    if (memory.default_bytes == 0)
        memory.default_bytes = larger(MEMORY_DEFAULT, memory.min);
    return memory;
}

static bool is_or_empty(const char *given, const char *name)
{
    return given[0] == '\0' || strcmp(given, name) == 0;
}

static bool is_among(const struct json_strings *names, const char *name)
{
    for (size_t i = 0; names != NULL && i < names->count; i++) {
        if (strcmp(names->items[i], name) == 0)
            return true;
    }
    return names == NULL;
}

/* The first way of the family's that fits what was given and what is there to boot: a kernel, or a
 * disk alone; one by which the bytes boot goes first. NULL: none does. */
static const struct family_boot *find_boot(const struct family *family, size_t architecture,
                                           const struct recipe_architecture *given,
                                           const struct recipe_parts *parts)
{
    const struct family_boot *first = NULL;
    for (size_t i = 0; i < FAMILY_BOOTS_MAX && family->boots[i].architecture != NULL; i++) {
        const struct family_boot *boot = &family->boots[i];
        const char *protocol = boot_protocol_names[boot->protocol];
        if (strcmp(boot->architecture, recipe_architecture_names[architecture]) != 0 ||
            !is_or_empty(given->protocol, protocol) ||
            !is_or_empty(given->machine, boot_machine_names[boot->machine]) ||
            (boot->protocol == BOOT_DISK) != (parts->kernel[0] == '\0'))
            continue;
        if (is_among(parts->protocols, protocol))
            return boot;
        first = first != NULL ? first : boot;
    }
    return first;
}

/* Where nothing fits, what was given stays for the config's check to refuse. */
static void choose_boot(const struct recipe *recipe, size_t architecture,
                        const struct recipe_parts *parts, const struct family *family,
                        struct image_boot *boot)
{
    const struct recipe_architecture *given = &recipe->architectures.items[architecture];
    const struct family_boot *found =
        family != NULL ? find_boot(family, architecture, given, parts) : NULL;
    snprintf(boot->protocol, sizeof boot->protocol, "%s",
             found != NULL ? boot_protocol_names[found->protocol] : given->protocol);
    snprintf(boot->machine, sizeof boot->machine, "%s",
             found != NULL ? boot_machine_names[found->machine] : given->machine);
    strcpy(boot->kernel, parts->kernel);
    strcpy(boot->initrd, parts->initrd);
    boot->disks = parts->disks;
}

/* The shared members are lent to `config` for one deep copy. */
static void fill_config(const struct recipe *recipe, size_t architecture,
                        const struct recipe_parts *parts, struct image_config *config)
{
    const struct family *family = family_find(parts->family);
    *config = (struct image_config){
        .schema_version = IMAGE_SCHEMA_VERSION,
        .os = IMAGE_OS,
        .memory = choose_memory(recipe, family),
        .vcpus = recipe->vcpus,
        .ports = recipe->ports,
        .port_count = recipe->port_count,
        .has_health = recipe->has_health,
        .health = recipe->health,
        .has_stop = recipe->has_stop,
        .stop = recipe->stop,
    };
    snprintf(config->architecture, sizeof config->architecture, "%s",
             recipe_architecture_names[architecture]);
    snprintf(config->family, sizeof config->family, "%s", parts->family);
    choose_boot(recipe, architecture, parts, family, &config->boot);
}

static struct json_strings join(const struct json_strings *first, const struct json_strings *second)
{
    struct json_strings joined = {xcalloc(first->count + second->count + 1, sizeof(char *)), 0};
    for (size_t i = 0; i < first->count; i++)
        joined.items[joined.count++] = first->items[i];
    for (size_t i = 0; i < second->count; i++)
        joined.items[joined.count++] = second->items[i];
    return joined;
}

static int check_config(const struct recipe *recipe, size_t architecture,
                        const struct image_config *config, struct error *error)
{
    char pointer[ERROR_POINTER_MAX];
    struct error reason = ERROR_INIT;
    if (config->cmdline.count > IMAGE_ARGUMENTS_MAX) {
        error_set(error, ERROR_TOO_LARGE, "cmdline and args are %zu words together, at most %d",
                  config->cmdline.count, IMAGE_ARGUMENTS_MAX);
        return recipe_locate(recipe, "/args", error);
    }
    if (image_config_check(config, &reason) == 0)
        return 0;
    translate_pointer(recipe, architecture, reason.pointer, pointer);
    error_copy(error, &reason);
    return recipe_locate(recipe, pointer, error);
}

int recipe_config(const struct recipe *recipe, size_t architecture,
                  const struct recipe_parts *parts, struct image_config *ret_config,
                  struct error *error)
{
    struct image_config lent;
    fill_config(recipe, architecture, parts, &lent);
    lent.cmdline = join(&recipe->cmdline, &recipe->args);
    int result = check_config(recipe, architecture, &lent, error);
    if (result == 0) {
        *ret_config = (struct image_config){0};
        json_record_copy(&image_config_record, &lent, ret_config);
    }
    free(lent.cmdline.items);
    return result;
}

int recipe_locate(const struct recipe *recipe, const char *pointer, struct error *error)
{
    if (error == NULL)
        return -1;
    snprintf(error->pointer, sizeof error->pointer, "%s", pointer);
    return yaml_error_locate(recipe->documents, 0, error);
}

/* What stands for the digests of files that nobody has looked at yet. */
static void promise_parts(const struct recipe *recipe, size_t architecture,
                          struct recipe_parts *parts)
{
    const struct recipe_architecture *given = &recipe->architectures.items[architecture];
    char nothing[DIGEST_TEXT_MAX];
    digest_of_bytes("", 0, nothing);
    *parts = (struct recipe_parts){.family = recipe->family};
    if (given->kernel[0] != '\0')
        strcpy(parts->kernel, nothing);
    if (given->initrd[0] != '\0')
        strcpy(parts->initrd, nothing);
    for (size_t i = 0; i < given->disks.count; i++)
        json_strings_add(&parts->disks, nothing);
}

static int check_architecture(const struct recipe *recipe, size_t architecture, struct error *error)
{
    const struct recipe_architecture *given = &recipe->architectures.items[architecture];
    struct recipe_parts parts;
    struct image_config config;
    char pointer[64];
    snprintf(pointer, sizeof pointer, "/architectures/%s", recipe_architecture_names[architecture]);
    if (given->kernel[0] == '\0' && given->disks.count == 0) {
        error_set(error, ERROR_INVALID,
                  "nothing boots: give a kernel, or disks of which the first boots");
        return recipe_locate(recipe, pointer, error);
    }
    if (strcmp(recipe->family, RECIPE_FAMILY_AUTO) == 0)
        return 0; /* looked at with the kernel */
    promise_parts(recipe, architecture, &parts);
    int result = recipe_config(recipe, architecture, &parts, &config, error);
    if (result == 0)
        image_config_release(&config);
    json_strings_release(&parts.disks);
    return result;
}

/* What the codec cannot say: the checks of the configs that this recipe will become. */
static int check(const struct recipe *recipe, struct error *error)
{
    bool any = false;
    for (size_t i = 0; i < RECIPE_ARCHITECTURES; i++) {
        if (!recipe->architectures.present[i])
            continue;
        any = true;
        if (check_architecture(recipe, i, error) < 0)
            return -1;
    }
    if (any)
        return 0;
    error_set(error, ERROR_INVALID, "no architecture is given: allowed are amd64 and arm64");
    return recipe_locate(recipe, "/architectures", error);
}

static int parse(const char *name, const char *text, size_t length, struct recipe *recipe,
                 struct error *error)
{
    if (yaml_parse(name, text, length, &recipe->documents, error) < 0)
        return -1;
    digest_of_bytes(text, length, recipe->digest);
    if (yaml_count(recipe->documents) != 1)
        return error_set(error, ERROR_INVALID, "%s: expected one document, found %zu", name,
                         yaml_count(recipe->documents));
    set_defaults(recipe);
    if (json_decode(&recipe_record, yaml_value(recipe->documents, 0), JSON_STRICT, recipe, error) <
        0)
        return yaml_error_locate(recipe->documents, 0, error);
    return check(recipe, error);
}

int recipe_parse(const char *name, const char *text, size_t length, struct recipe *ret_recipe,
                 struct error *error)
{
    struct recipe recipe = {0};
    if (parse(name, text, length, &recipe, error) < 0) {
        recipe_release(&recipe);
        return -1;
    }
    *ret_recipe = recipe;
    return 0;
}

int recipe_load(const char *path, struct recipe *ret_recipe, struct error *error)
{
    struct stat status;
    if (stat(path, &status) < 0)
        return error_set_errno(error, errno, "%s", path);
    AUTO_FREE char *file =
        S_ISDIR(status.st_mode) ? xasprintf("%s/%s", path, RECIPE_FILE) : xstrdup(path);
    if (stat(file, &status) < 0)
        return error_set_errno(error, errno, "%s", file);
    if (!S_ISREG(status.st_mode)) /* a fifo would be waited for */
        return error_set(error, ERROR_INVALID, "%s is not a file", file);
    AUTO_FREE char *copy = xstrdup(file);
    AUTO_FREE char *folder = realpath(dirname(copy), NULL);
    if (folder == NULL)
        return error_set_errno(error, errno, "%s", path);
    AUTO_FREE char *text = NULL;
    size_t length;
    struct recipe recipe;
    if (file_read(file, RECIPE_SIZE_MAX, &text, &length, error) < 0 ||
        recipe_parse(file, text, length, &recipe, error) < 0)
        return -1;
    recipe.path = TAKE_POINTER(file);
    recipe.folder = TAKE_POINTER(folder);
    *ret_recipe = recipe;
    return 0;
}

void recipe_release(struct recipe *recipe)
{
    free(recipe->path);
    free(recipe->folder);
    yaml_destroy(recipe->documents);
    json_record_release(&recipe_record, recipe);
    *recipe = (struct recipe){0};
}

int recipe_open(const struct recipe *recipe, const char *path, int *ret_descriptor,
                struct error *error)
{
    AUTO_CLOSE int folder = open(recipe->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return error_set_errno(error, errno, "%s", recipe->folder);
    /* The kernel resolves: nothing above the folder is reached, by ".." or by a link. A fifo or a
     * device is not waited for. */
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    AUTO_CLOSE int descriptor = (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
    if (descriptor < 0 && errno == EXDEV)
        return error_set(error, ERROR_DENIED, "%s/%s leads out of the folder: not allowed",
                         recipe->folder, path);
    struct stat status;
    if (descriptor < 0 || fstat(descriptor, &status) < 0)
        return error_set_errno(error, errno, "%s/%s", recipe->folder, path);
    if (!S_ISREG(status.st_mode))
        return error_set(error, ERROR_INVALID, "%s/%s is not a file", recipe->folder, path);
    *ret_descriptor = TAKE_DESCRIPTOR(descriptor);
    return 0;
}
