/* The OCI documents as structs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/oci.h"

#define DIGEST "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define CONFIG "{\"mediaType\":\"" SHOAL_CONFIG_TYPE "\",\"digest\":\"" DIGEST "\",\"size\":3}"

static const char manifest_text[] =
    "{\"schemaVersion\":2,\"mediaType\":\"" OCI_MANIFEST_TYPE
    "\",\"artifactType\":\"" SHOAL_ARTIFACT_TYPE "\",\"config\":" CONFIG ",\"layers\":[" CONFIG
    "],\"annotations\":{\"a\":"
    "\"b\"}}";

static void a_manifest_is_read_and_written_without_loss(void **state)
{
    (void)state;
    struct oci_manifest manifest = {0};
    assert_int_equal(json_parse_record(&oci_manifest_record, manifest_text, strlen(manifest_text),
                                       JSON_LENIENT, &manifest, NULL),
                     0);
    assert_true(manifest.has_config);
    assert_false(manifest.has_subject);
    assert_int_equal(manifest.layer_count, 1);
    assert_int_equal(manifest.layers[0].size, 3);
    assert_string_equal(json_map_get(&manifest.annotations, "a"), "b");
    AUTO_FREE char *text = json_record_text(&oci_manifest_record, &manifest);
    assert_string_equal(text, manifest_text);
    json_record_release(&oci_manifest_record, &manifest);
}

static void an_index_lists_manifests_by_platform(void **state)
{
    (void)state;
    static const char text[] =
        "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" OCI_MANIFEST_TYPE
        "\",\"digest\":\"" DIGEST "\",\"size\":7,\"platform\":{\"architecture\":\"amd64\",\"os\":"
        "\"unikernel\",\"variant\":\"v1\"}},{\"mediaType\":\"x/y\",\"digest\":\"" DIGEST
        "\",\"size\":8}]}";
    struct oci_index index = {0};
    assert_int_equal(
        json_parse_record(&oci_index_record, text, strlen(text), JSON_LENIENT, &index, NULL), 0);
    assert_int_equal(index.manifest_count, 2);
    assert_true(index.manifests[0].has_platform);
    assert_string_equal(index.manifests[0].platform.architecture, "amd64");
    assert_false(index.manifests[1].has_platform);
    json_record_release(&oci_index_record, &index);
}

static void a_descriptor_without_a_real_digest_is_refused(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "{\"mediaType\":\"x/y\",\"digest\":\"sha256:../../etc\",\"size\":1}",
        "{\"mediaType\":\"x/y\",\"digest\":\"" DIGEST "\",\"size\":-1}",
        "{\"mediaType\":\"x/y\",\"digest\":\"" DIGEST "\"}",
        "{\"digest\":\"" DIGEST "\",\"size\":1}",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(refused); i++) {
        struct oci_descriptor descriptor = {0};
        struct error error = ERROR_INIT;
        assert_int_equal(json_parse_record(&oci_descriptor_record, refused[i], strlen(refused[i]),
                                           JSON_LENIENT, &descriptor, &error),
                         -1);
        assert_int_equal(error.code, ERROR_INVALID);
    }
}

/* Each was once looked for among all the others, for hours. */
static void as_many_annotations_as_fit_are_read(void **state)
{
    (void)state;
    struct oci_manifest manifest = {0};
    AUTO_BUFFER struct buffer text = {0};
    size_t count = 0;
    buffer_append_text(&text, "{\"schemaVersion\":2,\"annotations\":{");
    for (; text.length < OCI_MANIFEST_LIMIT - 32; count++)
        buffer_printf(&text, "%s\"%zu\":\"\"", count > 0 ? "," : "", count);
    buffer_append_text(&text, "}}");
    assert_int_equal(json_parse_record(&oci_manifest_record, buffer_text(&text), text.length,
                                       JSON_LENIENT, &manifest, NULL),
                     0);
    assert_int_equal(manifest.annotations.count, count);
    json_record_release(&oci_manifest_record, &manifest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_is_read_and_written_without_loss),
        cmocka_unit_test(an_index_lists_manifests_by_platform),
        cmocka_unit_test(a_descriptor_without_a_real_digest_is_refused),
        cmocka_unit_test(as_many_annotations_as_fit_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
