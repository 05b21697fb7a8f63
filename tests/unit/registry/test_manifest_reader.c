#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "lib/oci.h"
#include "registry/manifest_reader.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"

struct reading {
    struct metadata_manifest manifest;
    struct metadata_references references;
    struct error error;
    int result;
};

static struct reading read_text(const char *text, const char *content_type)
{
    struct reading reading = {.error = ERROR_INIT};
    reading.result = manifest_read(text, strlen(text), content_type, &reading.manifest,
                                   &reading.references, &reading.error);
    return reading;
}

static void reading_finish(struct reading *reading)
{
    metadata_manifest_finish(&reading->manifest);
    metadata_references_finish(&reading->references);
}

static void expect_refused(const char *text, const char *content_type, const char *why)
{
    struct reading reading = read_text(text, content_type);
    assert_int_equal(reading.result, -1);
    assert_int_equal(reading.error.code, ERROR_INVALID);
    assert_non_null(strstr(reading.error.message, why));
    assert_null(reading.manifest.bytes);
    assert_null(reading.references.blobs.items);
    reading_finish(&reading);
}

static void config_and_layers_are_needed_a_subject_is_not(void **state)
{
    (void)state;
    const char *text = "{\"schemaVersion\": 2, \"config\": {\"digest\": \"" A "\"},"
                       " \"layers\": [{\"digest\": \"" B "\"}], \"subject\": {\"digest\": \"" C
                       "\"}, \"unknown\": [1]}";
    struct reading reading = read_text(text, OCI_MANIFEST_TYPE "; charset=utf-8");
    assert_int_equal(reading.result, 0);
    assert_string_equal(reading.manifest.media_type, OCI_MANIFEST_TYPE);
    assert_int_equal(reading.manifest.length, strlen(text));
    assert_memory_equal(reading.manifest.bytes, text, strlen(text));
    assert_string_equal(reading.manifest.subject, C);
    assert_int_equal(reading.references.blobs.count, 2);
    assert_string_equal(reading.references.blobs.items[0], A);
    assert_string_equal(reading.references.blobs.items[1], B);
    assert_int_equal(reading.references.manifests.count, 0);
    reading_finish(&reading);
}

static void an_index_needs_its_manifests(void **state)
{
    (void)state;
    struct reading reading = read_text(
        "{\"schemaVersion\": 2, \"manifests\": [{\"digest\": \"" A "\"}]}", OCI_INDEX_TYPE);
    assert_int_equal(reading.result, 0);
    assert_int_equal(reading.references.blobs.count, 0);
    assert_int_equal(reading.references.manifests.count, 1);
    assert_string_equal(reading.references.manifests.items[0], A);
    reading_finish(&reading);

    reading = read_text("{\"schemaVersion\": 2, \"manifests\": []}", OCI_INDEX_TYPE);
    assert_int_equal(reading.result, 0);
    assert_int_equal(reading.references.manifests.count, 0);
    reading_finish(&reading);
}

static void a_layer_with_urls_may_be_elsewhere(void **state)
{
    (void)state;
    struct reading reading = read_text("{\"schemaVersion\": 2, \"layers\": [{\"digest\": \"" A
                                       "\", \"urls\": [\"https://a.example/\"]}, {\"digest\": \"" B
                                       "\", \"urls\": []}]}",
                                       OCI_MANIFEST_TYPE);
    assert_int_equal(reading.result, 0);
    assert_int_equal(reading.references.blobs.count, 1);
    assert_string_equal(reading.references.blobs.items[0], B);
    reading_finish(&reading);
}

static void a_layer_that_must_not_be_distributed_may_be_elsewhere(void **state)
{
    (void)state;
    struct reading reading = read_text(
        "{\"schemaVersion\": 2, \"layers\": ["
        "{\"mediaType\": \"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip\","
        " \"digest\": \"" A "\"},"
        "{\"mediaType\": \"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip\","
        " \"digest\": \"" B "\"},"
        "{\"mediaType\": \"application/vnd.oci.image.layer.v1.tar\", \"digest\": \"" C "\"}]}",
        OCI_MANIFEST_TYPE);
    assert_int_equal(reading.result, 0);
    assert_int_equal(reading.references.elsewhere.count, 2);
    assert_int_equal(reading.references.blobs.count, 1);
    assert_string_equal(reading.references.blobs.items[0], C);
    reading_finish(&reading);
}

static void without_a_content_type_it_is_what_it_says(void **state)
{
    (void)state;
    struct reading reading =
        read_text("{\"schemaVersion\": 2, \"mediaType\": \"" OCI_INDEX_TYPE "\"}", NULL);
    assert_int_equal(reading.result, 0);
    assert_string_equal(reading.manifest.media_type, OCI_INDEX_TYPE);
    reading_finish(&reading);
}

static void only_the_withdrawn_artifact_has_no_version(void **state)
{
    (void)state;
    const char *text = "{\"mediaType\": \"application/vnd.oci.artifact.manifest.v1+json\","
                       " \"artifactType\": \"type/own\", \"blobs\": [{\"digest\": \"" A "\"}]}";
    struct reading reading = read_text(text, "application/vnd.oci.artifact.manifest.v1+json");
    assert_int_equal(reading.result, 0);
    assert_int_equal(reading.references.blobs.count, 1);
    reading_finish(&reading);
    expect_refused("{\"mediaType\": \"" OCI_MANIFEST_TYPE "\"}", OCI_MANIFEST_TYPE,
                   "schemaVersion");
}

static void what_is_no_manifest_is_refused_with_a_reason(void **state)
{
    (void)state;
    const char *type = OCI_MANIFEST_TYPE;
    expect_refused("", type, "");
    expect_refused("[]", type, "schemaVersion");
    expect_refused("{\"schemaVersion\": 1}", type, "schemaVersion");
    expect_refused("{\"schemaVersion\": \"2\"}", type, "schemaVersion");
    expect_refused("{\"schemaVersion\": 2}", NULL, "Content-Type");
    expect_refused("{\"schemaVersion\": 2}", " ", "Content-Type");
    expect_refused("{\"schemaVersion\": 2}", "a/b\rX: y", "is no media type");
    expect_refused("{\"schemaVersion\": 2}", "a/\x7f", "is no media type");
    expect_refused("{\"schemaVersion\": 2, \"mediaType\": \"text/plain\"}", type, "mediaType");
    expect_refused("{\"schemaVersion\": 2, \"layers\": {}}", type, "layers");
    expect_refused("{\"schemaVersion\": 2, \"layers\": [7]}", type, "layers[0]");
    expect_refused("{\"schemaVersion\": 2, \"config\": {\"digest\": \"sha256:../x\"}}", type,
                   "config");
    expect_refused("{\"schemaVersion\": 2, \"config\": {\"digest\": \"" A "\\u0000b\"}}", type,
                   "config");
    expect_refused("{\"schemaVersion\": 2, \"subject\": {}}", type, "subject");
}

static void the_type_of_an_artifact_is_its_own_or_its_configs(void **state)
{
    (void)state;
    struct reading reading =
        read_text("{\"schemaVersion\": 2, \"artifactType\": \"\","
                  " \"config\": {\"mediaType\": \"type/config\", \"digest\": \"" A "\"},"
                  " \"layers\": [{\"digest\": \"" B "\", \"urls\": [\"https://x.example/\"]}],"
                  " \"annotations\": {\"k\": \"v\"}}",
                  OCI_MANIFEST_TYPE);
    assert_int_equal(reading.result, 0);
    assert_string_equal(reading.manifest.artifact_type, "type/config");
    assert_string_equal(reading.manifest.annotations, "{\"k\":\"v\"}");
    assert_int_equal(reading.references.blobs.count, 1);
    assert_int_equal(reading.references.elsewhere.count, 1);
    assert_string_equal(reading.references.elsewhere.items[0], B);
    reading_finish(&reading);
    reading = read_text("{\"schemaVersion\": 2, \"artifactType\": \"type/own\","
                        " \"config\": {\"mediaType\": \"type/config\", \"digest\": \"" A
                        "\"}, \"annotations\": null}",
                        OCI_MANIFEST_TYPE);
    assert_int_equal(reading.result, 0);
    assert_string_equal(reading.manifest.artifact_type, "type/own");
    assert_null(reading.manifest.annotations);
    reading_finish(&reading);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(config_and_layers_are_needed_a_subject_is_not),
        cmocka_unit_test(an_index_needs_its_manifests),
        cmocka_unit_test(a_layer_with_urls_may_be_elsewhere),
        cmocka_unit_test(a_layer_that_must_not_be_distributed_may_be_elsewhere),
        cmocka_unit_test(without_a_content_type_it_is_what_it_says),
        cmocka_unit_test(only_the_withdrawn_artifact_has_no_version),
        cmocka_unit_test(what_is_no_manifest_is_refused_with_a_reason),
        cmocka_unit_test(the_type_of_an_artifact_is_its_own_or_its_configs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
