#include "lib/manifest.h"

#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/image_reference.h"
#include "lib/xalloc.h"
#include "lib/yaml.h"

struct service {
    struct api_service_spec spec;
    struct json_object *document;
};

struct manifest {
    struct yaml_documents *documents;
    struct service *services;
    size_t count;
};

static int refuse(struct error *error, const char *pointer, const char *message)
{
    error_set(error, ERROR_INVALID, "%s", message);
    if (error != NULL)
        snprintf(error->pointer, sizeof error->pointer, "%s", pointer);
    return -1;
}

static bool has_text(struct json_object *object, const char *key)
{
    struct json_object *value;
    return json_object_object_get_ex(object, key, &value) && value != NULL;
}

/* The document as it is sent: a copy, because the namespace is filled in. */
static struct json_object *copy_with_namespace(struct json_object *value,
                                               const char *namespace_name)
{
    struct json_object *copy = NULL;
    json_object_deep_copy(value, &copy, NULL);
    json_object_object_add(copy, "namespace", json_object_new_string(namespace_name));
    return copy;
}

/* A port is published once in the whole cluster, so also in one file. */
static int check_published(const struct manifest *manifest, const struct api_service_spec *spec,
                           struct error *error)
{
    for (size_t i = 0; i < spec->port_count; i++) {
        uint32_t publish = spec->ports[i].publish;
        for (size_t j = 0; publish != 0 && j < manifest->count; j++) {
            const struct api_service_spec *other = &manifest->services[j].spec;
            for (size_t k = 0; k < other->port_count; k++) {
                if (other->ports[k].publish != publish)
                    continue;
                char pointer[64], message[256];
                snprintf(pointer, sizeof pointer, "/ports/%zu/publish", i);
                snprintf(message, sizeof message,
                         "port %u is published by service %s in this file already: choose "
                         "another one",
                         publish, other->service);
                return refuse(error, pointer, message);
            }
        }
    }
    return 0;
}

/* What only the whole file, or another module's grammar, can tell. */
static int check_service(const struct manifest *manifest, const struct api_service_spec *spec,
                         struct error *error)
{
    struct image_reference reference;
    if (image_reference_parse(spec->image, spec->namespace_name, &reference, error) < 0) {
        if (error != NULL)
            strcpy(error->pointer, "/image");
        return -1;
    }
    for (size_t i = 0; i < manifest->count; i++) {
        const struct api_service_spec *other = &manifest->services[i].spec;
        if (strcmp(other->service, spec->service) != 0 ||
            strcmp(other->namespace_name, spec->namespace_name) != 0)
            continue;
        char message[256];
        snprintf(message, sizeof message, "the service %s/%s stands in this file twice",
                 spec->namespace_name, spec->service);
        return refuse(error, "/service", message);
    }
    return check_published(manifest, spec, error);
}

static int read_service(struct manifest *manifest, size_t index, const char *namespace_name,
                        struct error *error)
{
    struct json_object *value = yaml_value(manifest->documents, index);
    struct service service = {0};
    if (api_service_spec_decode(value, &service.spec, error) < 0)
        return -1;
    if (!has_text(value, "namespace"))
        snprintf(service.spec.namespace_name, sizeof service.spec.namespace_name, "%s",
                 namespace_name);
    if (check_service(manifest, &service.spec, error) < 0) {
        api_service_spec_release(&service.spec);
        return -1;
    }
    service.document = copy_with_namespace(value, service.spec.namespace_name);
    manifest->services =
        xreallocarray(manifest->services, manifest->count + 1, sizeof *manifest->services);
    manifest->services[manifest->count++] = service;
    return 0;
}

static int read_services(struct manifest *manifest, const char *name, const char *namespace_name,
                         struct error *error)
{
    size_t count = yaml_count(manifest->documents);
    if (count == 0)
        return error_set(error, ERROR_INVALID,
                         "%s: no service in it: a manifest needs at least \"service\" and "
                         "\"image\"",
                         name);
    if (count > MANIFEST_SERVICES_MAX)
        return error_set(error, ERROR_TOO_LARGE, "%s: %zu services, at most %d fit one file", name,
                         count, MANIFEST_SERVICES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (read_service(manifest, i, namespace_name, error) < 0)
            return yaml_error_locate(manifest->documents, i, error);
    }
    return 0;
}

int manifest_parse(const char *name, const char *text, size_t length, const char *namespace_name,
                   struct manifest **ret_manifest, struct error *error)
{
    struct manifest *manifest = xcalloc(1, sizeof *manifest);
    if (yaml_parse(name, text, length, &manifest->documents, error) < 0 ||
        read_services(manifest, name, namespace_name, error) < 0) {
        manifest_destroy(manifest);
        return -1;
    }
    *ret_manifest = manifest;
    return 0;
}

void manifest_destroy(struct manifest *manifest)
{
    if (manifest == NULL)
        return;
    for (size_t i = 0; i < manifest->count; i++) {
        api_service_spec_release(&manifest->services[i].spec);
        json_object_put(manifest->services[i].document);
    }
    free(manifest->services);
    yaml_destroy(manifest->documents);
    free(manifest);
}

size_t manifest_count(const struct manifest *manifest)
{
    return manifest->count;
}

const struct api_service_spec *manifest_spec(const struct manifest *manifest, size_t index)
{
    return &manifest->services[index].spec;
}

struct json_object *manifest_document(const struct manifest *manifest, size_t index)
{
    return manifest->services[index].document;
}

int manifest_error_locate(const struct manifest *manifest, size_t index, struct error *error)
{
    if (error == NULL || error->pointer[0] == '\0')
        return -1;
    yaml_error_locate(manifest->documents, index, error);
    error->pointer[0] = '\0';
    return -1;
}
