/* image list, rm. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/format.h"
#include "cli/images.h"
#include "cli/keys.h"
#include "cli/lists.h"
#include "cli/registry.h"
#include "cli/scheduler.h"
#include "image-format/layout.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

int images_local_name(struct cli *cli, const char *text, char ret_name[IMAGE_TEXT_MAX],
                      struct error *error)
{
    struct image_reference reference;
    if (image_reference_parse(text, cli->settings.namespace_name, &reference, error) < 0)
        return -1;
    if (reference.tag[0] == '\0')
        return error_set(error, ERROR_INVALID,
                         "image \"%s\": the local store knows images by tag, name one", text);
    reference.digest[0] = '\0';
    image_reference_format(&reference, ret_name);
    return 0;
}

static void list_local(struct cli *cli, const struct layout_entry *entries, size_t count)
{
    static const struct table_column columns[] = {{"NAME", .right = false},
                                                  {"DIGEST", .right = false},
                                                  {"SIZE", .right = true},
                                                  {NULL, false, false}};
    struct table *table = table_create(columns);
    for (size_t i = 0; i < count; i++) {
        char digest[FORMAT_MAX], size[FORMAT_MAX];
        format_digest(entries[i].digest, digest);
        format_bytes(entries[i].size, size);
        table_cell(table, "%s", entries[i].name);
        table_cell(table, "%s",
                   cli->format == OUTPUT_WIDE ? entries[i].digest : (const char *)digest);
        table_cell(table, "%s", size);
    }
    lists_print_table(cli, table);
}

static int image_list_local(struct cli *cli, struct error *error)
{
    AUTO_FREE char *folder = image_store_path();
    AUTO_FREE struct layout_entry *entries = NULL;
    size_t count;
    if (layout_list(folder, &entries, &count, error) < 0)
        return -1;
    if (!cli_wants_document(cli)) {
        list_local(cli, entries, count);
        return 0;
    }
    struct json_object *images = json_object_new_array();
    for (size_t i = 0; i < count; i++) {
        struct json_object *image = json_object_new_object();
        json_object_object_add(image, "name", json_object_new_string(entries[i].name));
        json_object_object_add(image, "digest", json_object_new_string(entries[i].digest));
        json_object_object_add(image, "size", json_object_new_int64((int64_t)entries[i].size));
        json_object_array_add(images, image);
    }
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "images", images);
    cli_print_document(cli, document);
    return 0;
}

/* "sha256-<hex>", with or without a ".sig" behind: what stands beside an image, signatures and
 * lists of referrers. */
static bool is_beside(const char *tag)
{
    static const char prefix[] = "sha256-";
    size_t hex = strlen(prefix);
    return strncmp(tag, prefix, hex) == 0 && strspn(tag + hex, "0123456789abcdef") == 64 &&
           (tag[hex + 64] == '\0' || tag[hex + 64] == '.');
}

/* Tags of one repository. */
static int list_repository(struct registry *registry, const char *repository,
                           struct json_object *images, struct error *error)
{
    AUTO_JSON struct json_object *document = NULL;
    struct json_object *tags;
    if (registry_list_tags(registry, repository, &document, error) < 0)
        return -1;
    if (!json_object_object_get_ex(document, "tags", &tags) ||
        !json_object_is_type(tags, json_type_array))
        return 0;
    snprintf(registry->image.repository, sizeof registry->image.repository, "%s", repository);
    for (size_t i = 0; i < json_object_array_length(tags); i++) {
        const char *tag = json_object_get_string(json_object_array_get_idx(tags, i));
        size_t length = tag != NULL ? strlen(tag) : 0;
        struct registry_manifest manifest = {0};
        if (length == 0)
            continue;
        if (is_beside(tag))
            continue;
        if (registry_get_manifest(registry, tag, &manifest, NULL) < 0)
            continue;
        AUTO_FREE char *name = xasprintf("%s:%s", repository, tag);
        struct json_object *image = json_object_new_object();
        json_object_object_add(image, "name", json_object_new_string(name));
        json_object_object_add(image, "digest", json_object_new_string(manifest.digest));
        json_object_array_add(images, image);
        free(manifest.bytes);
    }
    return 0;
}

static int list_remote(struct registry *registry, struct json_object *images, struct error *error)
{
    AUTO_JSON struct json_object *document = NULL;
    struct json_object *repositories;
    if (registry_list_repositories(registry, &document, error) < 0)
        return -1;
    if (!json_object_object_get_ex(document, "repositories", &repositories) ||
        !json_object_is_type(repositories, json_type_array))
        return error_set(error, ERROR_PROTOCOL,
                         "the registry's answer has no list of repositories");
    for (size_t i = 0; i < json_object_array_length(repositories); i++) {
        const char *name = json_object_get_string(json_object_array_get_idx(repositories, i));
        if (name != NULL && repository_is_valid(name) &&
            list_repository(registry, name, images, error) < 0)
            return -1;
    }
    return 0;
}

static int image_list_remote(struct cli *cli, struct error *error)
{
    static const struct table_column columns[] = {
        {"NAME", .right = false}, {"DIGEST", .right = false}, {NULL, false, false}};
    struct registry registry;
    if (registry_init(&registry, cli, "", error) < 0)
        return -1;
    struct json_object *document = json_object_new_object();
    struct json_object *images = json_object_new_array();
    json_object_object_add(document, "images", images);
    if (list_remote(&registry, images, error) < 0) {
        json_object_put(document);
        return -1;
    }
    if (cli_wants_document(cli)) {
        cli_print_document(cli, document);
        return 0;
    }
    struct table *table = table_create(columns);
    for (size_t i = 0; i < json_object_array_length(images); i++) {
        struct json_object *image = json_object_array_get_idx(images, i), *name, *digest;
        char text[FORMAT_MAX];
        json_object_object_get_ex(image, "name", &name);
        json_object_object_get_ex(image, "digest", &digest);
        format_digest(json_object_get_string(digest), text);
        table_cell(table, "%s", json_object_get_string(name));
        table_cell(table, "%s",
                   cli->format == OUTPUT_WIDE ? json_object_get_string(digest)
                                              : (const char *)text);
    }
    lists_print_table(cli, table);
    json_object_put(document);
    return 0;
}

int image_list_run(struct cli *cli, struct error *error)
{
    return invocation_has(cli->invocation, "remote") ? image_list_remote(cli, error)
                                                     : image_list_local(cli, error);
}

int image_remove_run(struct cli *cli, struct error *error)
{
    const char *typed = cli_argument(cli, 0);
    char name[IMAGE_TEXT_MAX];
    if (invocation_has(cli->invocation, "remote")) {
        struct registry registry;
        if (registry_init(&registry, cli, typed, error) < 0 ||
            registry_delete(&registry, error) < 0)
            return error_wrap(error, "remove %s", typed);
        image_reference_format(&registry.image, name);
    } else {
        AUTO_FREE char *folder = image_store_path();
        if (images_local_name(cli, typed, name, error) < 0 ||
            layout_remove(folder, name, error) < 0)
            return -1;
    }
    if (!cli_wants_document(cli)) {
        printf("%s: removed\n", name);
        return 0;
    }
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "name", json_object_new_string(name));
    json_object_object_add(document, "result", json_object_new_string("removed"));
    cli_print_document(cli, document);
    return 0;
}
