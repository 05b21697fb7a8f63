#include "image-format/provenance.h"

#include <string.h>
#include <time.h>

#include "image-format/bundle.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"
#include "lib/yaml.h"

static void add_text(struct json_object *object, const char *key, const char *text)
{
    json_object_object_add(object, key, json_object_new_string(text));
}

/* What whoever asked for the build could choose. */
static struct json_object *external_parameters(const struct provenance *provenance)
{
    const struct packed_image *image = provenance->image;
    const struct pack_options *options = provenance->options;
    struct json_object *parameters = json_object_new_object();
    struct json_object *architectures = json_object_new_array();
    enum recipe_compression compression =
        options->has_compression ? options->compression : provenance->recipe->compression;
    json_object_object_add(parameters, "recipe",
                           json_object_get(yaml_value(provenance->recipe->documents, 0)));
    for (size_t i = 0; i < image->manifest_count; i++)
        json_object_array_add(architectures,
                              json_object_new_string(image->manifests[i].architecture));
    json_object_object_add(parameters, "architectures", architectures);
    add_text(parameters, "compress", recipe_compression_names[compression]);
    json_object_object_add(parameters, "buildCommands",
                           json_object_new_boolean(provenance->ran_commands));
    return parameters;
}

static void add_dependency(struct json_object *list, const char *name, const char *digest)
{
    struct json_object *dependency = json_object_new_object();
    struct json_object *digests = json_object_new_object();
    add_text(digests, "sha256", digest_hex(digest));
    add_text(dependency, "name", name);
    json_object_object_add(dependency, "digest", digests);
    json_object_array_add(list, dependency);
}

static struct json_object *build_definition(const struct provenance *provenance)
{
    struct json_object *definition = json_object_new_object();
    struct json_object *dependencies = json_object_new_array();
    add_text(definition, "buildType", PROVENANCE_BUILD_TYPE);
    json_object_object_add(definition, "externalParameters", external_parameters(provenance));
    add_dependency(dependencies, RECIPE_FILE, provenance->recipe->digest);
    for (size_t i = 0; i < provenance->image->source_count; i++)
        add_dependency(dependencies, provenance->image->sources[i].path,
                       provenance->image->sources[i].digest);
    json_object_object_add(definition, "resolvedDependencies", dependencies);
    return definition;
}

static struct json_object *run_details(const struct provenance *provenance)
{
    struct json_object *details = json_object_new_object();
    struct json_object *builder = json_object_new_object();
    struct json_object *version = json_object_new_object();
    add_text(version, "shoal", provenance->version);
    add_text(builder, "id", PROVENANCE_BUILDER);
    json_object_object_add(builder, "version", version);
    json_object_object_add(details, "builder", builder);
    time_t seconds = (time_t)provenance->built_at;
    struct tm parts;
    char text[32];
    if (seconds > 0 && gmtime_r(&seconds, &parts) != NULL &&
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts) > 0) {
        struct json_object *metadata = json_object_new_object();
        add_text(metadata, "startedOn", text);
        add_text(metadata, "finishedOn", text);
        json_object_object_add(details, "metadata", metadata);
    }
    return details;
}

char *provenance_predicate(const struct provenance *provenance)
{
    AUTO_JSON struct json_object *predicate = json_object_new_object();
    json_object_object_add(predicate, "buildDefinition", build_definition(provenance));
    json_object_object_add(predicate, "runDetails", run_details(provenance));
    return json_text(predicate);
}

static void add_blob(struct packed_image *image, const char *media_type, const char *bytes,
                     size_t length, struct oci_descriptor *ret_descriptor)
{
    struct packed_blob blob = {.size = length};
    snprintf(blob.media_type, sizeof blob.media_type, "%s", media_type);
    digest_of_bytes(bytes, length, blob.digest);
    *ret_descriptor = (struct oci_descriptor){.size = length};
    memcpy(ret_descriptor->media_type, blob.media_type, sizeof blob.media_type);
    memcpy(ret_descriptor->digest, blob.digest, sizeof blob.digest);
    blob.bytes = xstrndup(bytes, length);
    packed_image_add_blob(image, &blob);
}

void provenance_attach(struct packed_image *image, const char *media_type, const char *content,
                       size_t length, const char *predicate_type)
{
    const struct packed_manifest *top = packed_image_top(image);
    struct oci_descriptor subject = {.size = top->length}, descriptor, empty;
    memcpy(subject.media_type, top->media_type, sizeof subject.media_type);
    memcpy(subject.digest, top->digest, sizeof subject.digest);
    add_blob(image, media_type, content, length, &descriptor);
    add_blob(image, OCI_EMPTY_TYPE, OCI_EMPTY, strlen(OCI_EMPTY), &empty);
    char *manifest = bundle_referrer(&subject, &descriptor, predicate_type);
    packed_image_add_referrer(image, OCI_MANIFEST_TYPE, manifest, strlen(manifest));
}
