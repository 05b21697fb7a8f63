/* A recipe becomes an OCI image. */
#include "tests/unit/image-format/fixture.h"

static void an_image_has_a_manifest_a_config_and_a_kernel_layer(void **state)
{
    (void)state;
    struct packed_image image = packed_fixture(1);
    assert_int_equal(image.manifest_count, 1);
    assert_int_equal(image.blob_count, 2);
    assert_false(image.has_index);
    const struct packed_manifest *top = packed_image_top(&image);
    assert_string_equal(top->media_type, OCI_MANIFEST_TYPE);
    assert_string_equal(top->architecture, "amd64");

    struct oci_manifest manifest = {0};
    assert_int_equal(json_parse_record(&oci_manifest_record, top->bytes, top->length, JSON_STRICT,
                                       &manifest, NULL),
                     0);
    const struct packed_blob *kernel = fixture_blob(&image, SHOAL_KERNEL_TYPE);
    const struct packed_blob *config_blob = fixture_blob(&image, SHOAL_CONFIG_TYPE);
    assert_string_equal(manifest.artifact_type, SHOAL_ARTIFACT_TYPE);
    assert_string_equal(manifest.config.digest, config_blob->digest);
    assert_string_equal(manifest.config.media_type, SHOAL_CONFIG_TYPE);
    assert_int_equal(manifest.layer_count, 1);
    assert_string_equal(manifest.layers[0].digest, kernel->digest);
    assert_int_equal(manifest.layers[0].size, sizeof(struct tiny_kernel));

    struct image_config config;
    assert_int_equal(image_config_parse(config_blob->bytes, config_blob->size, &config, NULL), 0);
    assert_string_equal(config.boot.kernel, kernel->digest);
    assert_string_equal(config.architecture, "amd64");
    assert_int_equal(config.port_count, 2);
    image_config_release(&config);
    json_record_release(&oci_manifest_record, &manifest);
    packed_image_release(&image);
}

static void digests_are_of_the_bytes(void **state)
{
    (void)state;
    struct packed_image image = packed_fixture(1);
    char digest[DIGEST_TEXT_MAX];
    for (size_t i = 0; i < image.blob_count; i++) {
        digest_of_bytes(image.blobs[i].bytes, image.blobs[i].size, digest);
        assert_string_equal(digest, image.blobs[i].digest);
    }
    digest_of_bytes(image.manifests[0].bytes, image.manifests[0].length, digest);
    assert_string_equal(digest, image.manifests[0].digest);
    packed_image_release(&image);
}

static void the_same_inputs_give_the_same_digest(void **state)
{
    (void)state;
    struct packed_image first = packed_fixture(1), second = packed_fixture(1);
    struct packed_image other = packed_fixture(2);
    assert_string_equal(packed_image_top(&first)->digest, packed_image_top(&second)->digest);
    assert_string_not_equal(packed_image_top(&first)->digest, packed_image_top(&other)->digest);
    packed_image_release(&first);
    packed_image_release(&second);
    packed_image_release(&other);
}

static void an_index_names_each_platform(void **state)
{
    (void)state;
    struct packed_image image = packed_fixture(1);
    packed_image_add_index(&image);
    const struct packed_manifest *top = packed_image_top(&image);
    assert_string_equal(top->media_type, OCI_INDEX_TYPE);
    struct oci_index index = {0};
    assert_int_equal(
        json_parse_record(&oci_index_record, top->bytes, top->length, JSON_STRICT, &index, NULL),
        0);
    assert_int_equal(index.manifest_count, 1);
    assert_string_equal(index.manifests[0].digest, image.manifests[0].digest);
    assert_string_equal(index.manifests[0].platform.os, "unikernel");
    assert_string_equal(index.manifests[0].platform.architecture, "amd64");
    json_record_release(&oci_index_record, &index);
    packed_image_release(&image);
}

static void a_kernel_that_is_none_is_refused(void **state)
{
    (void)state;
    char *folder = temporary_folder();
    struct recipe recipe;
    struct packed_image image;
    struct error error = ERROR_INIT;
    write_file(folder, RECIPE_FILE, GOOD_RECIPE, strlen(GOOD_RECIPE));
    assert_int_equal(recipe_load(folder, &recipe, NULL), 0);
    assert_int_equal(pack_image(&recipe, NULL, &image, &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "hello.elf"));
    write_file(folder, "hello.elf", "#!/bin/sh\n", 10);
    assert_int_equal(pack_image(&recipe, NULL, &image, &error), -1);
    assert_int_equal(error.code, ERROR_INVALID);
    assert_non_null(strstr(error.message, "hello.elf: expected an ELF64 kernel"));
    recipe_release(&recipe);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_has_a_manifest_a_config_and_a_kernel_layer),
        cmocka_unit_test(digests_are_of_the_bytes),
        cmocka_unit_test(the_same_inputs_give_the_same_digest),
        cmocka_unit_test(an_index_names_each_platform),
        cmocka_unit_test(a_kernel_that_is_none_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
