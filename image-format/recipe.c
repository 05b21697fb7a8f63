#include "image-format/recipe.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"
#include "lib/yaml.h"

#define MIB (1ull << 20)

static const char *check_relative_path(const char *value)
{
    bool fine = value[0] != '\0' && value[0] != '/';
    for (const char *at = value; *at != '\0';) {
        size_t length = strcspn(at, "/");
        if (length == 2 && strncmp(at, "..", 2) == 0)
            fine = false;
        at += length + (at[length] == '/');
    }
    return fine ? NULL : "a path inside the folder of this file";
}

static const struct json_field kernel_fields[] = {
    JSON_FIELD(struct recipe_kernel, kernel, "kernel", JSON_STRING, .flags = JSON_REQUIRED,
               .check = check_relative_path),
    JSON_FIELD_REFUSED("build"),
    JSON_FIELD_REFUSED("initrd"),
    JSON_FIELD_REFUSED("disks"),
    JSON_FIELD_END,
};
static const struct json_record kernel_record = {sizeof(struct recipe_kernel), kernel_fields};

static const struct json_field architectures_fields[] = {
    JSON_FIELD(struct recipe_architectures, amd64, RECIPE_ARCH_AMD64, JSON_OBJECT,
               .record = &kernel_record,
               .present_offset = offsetof(struct recipe_architectures, has_amd64)),
    JSON_FIELD_REFUSED("arm64"),
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
    JSON_FIELD(struct recipe, family, "family", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct recipe, architectures, "architectures", JSON_OBJECT, .flags = JSON_REQUIRED,
               .record = &architectures_record),
    JSON_FIELD(struct recipe, memory, "memory", JSON_OBJECT, .record = &memory_record),
    JSON_FIELD(struct recipe, vcpus, "vcpus", JSON_OBJECT, .record = &vcpus_record),
    JSON_FIELD(struct recipe, cmdline, "cmdline", JSON_STRINGS, .max = IMAGE_ARGUMENTS_MAX),
    JSON_FIELD_LIST(struct recipe, ports, port_count, "ports", &api_image_port_record,
                    .max = IMAGE_PORTS_MAX),
    JSON_FIELD(struct recipe, health, "health", JSON_OBJECT, .record = &api_health_record,
               .present_offset = offsetof(struct recipe, has_health)),
    JSON_FIELD(struct recipe, stop, "stop", JSON_OBJECT, .record = &image_stop_record,
               .present_offset = offsetof(struct recipe, has_stop)),
    JSON_FIELD_END,
};
static const struct json_record recipe_record = {sizeof(struct recipe), recipe_fields};

static void set_defaults(struct recipe *recipe)
{
    recipe->memory = (struct image_memory){8 * MIB, 32 * MIB};
    recipe->vcpus = (struct image_vcpus){1, 1};
    image_health_set_defaults(&recipe->health);
}

/* What the codec cannot say: the checks of the config that this recipe will become. */
static int check(const struct recipe *recipe, struct error *error)
{
    struct image_config config;
    char nothing[DIGEST_TEXT_MAX];
    digest_of_bytes("", 0, nothing);
    if (!recipe->architectures.has_amd64) {
        error_set(error, ERROR_INVALID, "no architecture is given: allowed is %s",
                  RECIPE_ARCH_AMD64);
        if (error != NULL)
            strcpy(error->pointer, "/architectures");
        return -1;
    }
    recipe_config(recipe, RECIPE_ARCH_AMD64, nothing, &config);
    int result = image_config_check(&config, error);
    image_config_release(&config);
    return result;
}

void recipe_config(const struct recipe *recipe, const char *architecture, const char *kernel_digest,
                   struct image_config *ret_config)
{
    /* The shared members are lent for one deep copy. */
    struct image_config config = {
        .schema_version = IMAGE_SCHEMA_VERSION,
        .os = IMAGE_OS,
        .boot = {.protocol = "pvh", .machine = "microvm"},
        .memory = recipe->memory,
        .vcpus = recipe->vcpus,
        .cmdline = recipe->cmdline,
        .ports = recipe->ports,
        .port_count = recipe->port_count,
        .has_health = recipe->has_health,
        .health = recipe->health,
        .has_stop = recipe->has_stop,
        .stop = recipe->stop,
    };
    snprintf(config.architecture, sizeof config.architecture, "%s", architecture);
    snprintf(config.family, sizeof config.family, "%s", recipe->family);
    snprintf(config.boot.kernel, sizeof config.boot.kernel, "%s", kernel_digest);
    *ret_config = (struct image_config){0};
    json_record_copy(&image_config_record, &config, ret_config);
}

static int decode(const struct yaml_documents *documents, struct recipe *recipe,
                  struct error *error)
{
    set_defaults(recipe);
    if (json_decode(&recipe_record, yaml_value(documents, 0), JSON_STRICT, recipe, error) < 0)
        return yaml_error_locate(documents, 0, error);
    if (check(recipe, error) < 0) {
        json_record_release(&recipe_record, recipe);
        return yaml_error_locate(documents, 0, error);
    }
    return 0;
}

static int load_file(const char *path, struct recipe *recipe, struct error *error)
{
    AUTO_FREE char *text = NULL;
    size_t length;
    struct yaml_documents *documents;
    if (file_read(path, RECIPE_SIZE_MAX, &text, &length, error) < 0 ||
        yaml_parse(path, text, length, &documents, error) < 0)
        return -1;
    int result = yaml_count(documents) == 1
                     ? decode(documents, recipe, error)
                     : error_set(error, ERROR_INVALID, "%s: expected one document, found %zu", path,
                                 yaml_count(documents));
    yaml_destroy(documents);
    return result;
}

int recipe_load(const char *path, struct recipe *ret_recipe, struct error *error)
{
    struct stat status;
    if (stat(path, &status) < 0)
        return error_set_errno(error, errno, "%s", path);
    AUTO_FREE char *file =
        S_ISDIR(status.st_mode) ? xasprintf("%s/%s", path, RECIPE_FILE) : xstrdup(path);
    AUTO_FREE char *copy = xstrdup(file);
    AUTO_FREE char *folder = realpath(dirname(copy), NULL);
    if (folder == NULL)
        return error_set_errno(error, errno, "%s", path);
    struct recipe recipe = {0};
    if (load_file(file, &recipe, error) < 0)
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
    json_record_release(&recipe_record, recipe);
    *recipe = (struct recipe){0};
}

int recipe_open(const struct recipe *recipe, const char *path, int *ret_descriptor,
                struct error *error)
{
    AUTO_CLOSE int folder = open(recipe->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0)
        return error_set_errno(error, errno, "%s", recipe->folder);
    /* The kernel resolves: nothing above the folder is reached, by ".." or by a link. */
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
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
