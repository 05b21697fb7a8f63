/* A recipe becomes an OCI image. */
#include <fcntl.h>

#include "image-format/packing.h"
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

/* Packs the recipe `text` in the folder. */
static int pack_text(const char *folder, const char *text, const struct pack_options *options,
                     struct packed_image *ret_image, struct error *error)
{
    struct recipe recipe;
    write_file(folder, RECIPE_FILE, text, strlen(text));
    if (recipe_load(folder, &recipe, error) < 0)
        return -1;
    int result = pack_image(&recipe, options, ret_image, error);
    recipe_release(&recipe);
    return result;
}

static void assert_refused(const char *folder, const char *text, const char *message)
{
    struct packed_image image;
    struct error error = ERROR_INIT;
    if (pack_text(folder, text, NULL, &image, &error) == 0)
        fail_msg("accepted: %s", text);
    if (strstr(error.message, message) == NULL)
        fail_msg("expected \"%s\", found \"%s\"", message, error.message);
}

static void write_kernel(const char *folder, const char *name, unsigned machine, unsigned char code)
{
    struct tiny_kernel kernel = tiny_kernel(code);
    kernel.header.e_machine = (Elf64_Half)machine;
    write_file(folder, name, &kernel, sizeof kernel);
}

#define ONE(family, parts) "family: " family "\narchitectures: {amd64: {" parts "}}\n"

static void what_a_file_is_must_agree_with_the_recipe(void **state)
{
    (void)state;
    char *folder = temporary_folder();
    write_kernel(folder, "amd64.elf", EM_X86_64, 1);
    write_kernel(folder, "riscv.elf", EM_RISCV, 1);
    write_file(folder, "script", "#!/bin/sh\n", 10);
    write_file(folder, "empty", "", 0);
    write_file(folder, "qcow", "QFI\xfb\0\0\0\x03", 8);
    assert_refused(folder, ONE("shoal", "kernel: absent"), ":2:33: ");
    assert_refused(folder, ONE("shoal", "kernel: absent"), "say with `build:` how it is made");
    assert_refused(folder, ONE("shoal", "build: make, kernel: absent"),
                   "the build command does not make it");
    assert_refused(folder, ONE("shoal", "kernel: script"), "/script: nothing shows that it boots");
    assert_refused(folder, ONE("shoal", "kernel: empty"), "/empty is empty");
    assert_refused(folder, ONE("shoal", "kernel: riscv.elf"), "riscv.elf: a file for riscv");
    assert_refused(folder, ONE("solo5", "kernel: amd64.elf"),
                   "declared to boot by multiboot, but it boots by pvh");
    assert_refused(folder, ONE("auto", "kernel: amd64.elf"), ":2:33: ");
    assert_refused(folder, ONE("auto", "kernel: amd64.elf"),
                   "whose it is does not show: say which `family` it is");
    assert_refused(folder, ONE("auto", "kernel: script"), "its family does not show");
    assert_refused(folder, ONE("shoal", "kernel: amd64.elf, disks: [qcow]"), ":2:52: ");
    assert_refused(folder, ONE("shoal", "kernel: amd64.elf, initrd: amd64.elf"),
                   ":2:52: this initrd has the very bytes of a part of another kind");
    assert_refused(folder, ONE("shoal", "kernel: amd64.elf, initrd: empty"), "/empty is empty");
    assert_refused(folder, "family: shoal\narchitectures: {arm64: {kernel: amd64.elf}}\n",
                   "declared for arm64, but it is for amd64");
    remove_folder(folder);
}

/* A kernel with the note of family shoal instead of its code. */
static void write_marked_kernel(const char *folder, const char *name)
{
    static const struct {
        Elf64_Nhdr header;
        char name[8];
        uint32_t version;
    } note = {{6, 4, 1}, "Shoal", 1};
    struct {
        struct tiny_kernel kernel;
        unsigned char note[sizeof note];
    } file = {.kernel = tiny_kernel(0)};
    memcpy(file.note, &note, sizeof note);
    file.kernel.note.p_filesz = sizeof file - offsetof(struct tiny_kernel, pvh);
    /* The code, with the four bytes that align the struct, becomes a note that nobody knows. */
    Elf64_Nhdr filler = {4, 4, 77};
    memcpy(file.kernel.code, &filler, sizeof filler);
    memcpy(file.kernel.code + sizeof filler, "any", 4);
    write_file(folder, name, &file, sizeof file);
}

static void a_family_is_told_from_its_mark(void **state)
{
    (void)state;
    char *folder = temporary_folder();
    struct packed_image image;
    struct error error = ERROR_INIT;
    struct image_config config;
    write_marked_kernel(folder, "hello.elf");
    if (pack_text(folder, "architectures: {amd64: {kernel: hello.elf}}\n", NULL, &image, &error) <
        0)
        fail_msg("%s", error.message);
    const struct packed_blob *blob = fixture_blob(&image, SHOAL_CONFIG_TYPE);
    assert_int_equal(image_config_parse(blob->bytes, blob->size, &config, NULL), 0);
    assert_string_equal(config.family, "shoal");
    assert_string_equal(config.boot.protocol, "pvh");
    image_config_release(&config);
    packed_image_release(&image);
    assert_refused(folder, ONE("unikraft", "kernel: hello.elf"), "declare family shoal");
    remove_folder(folder);
}

static void all_parts_are_layers_and_two_equal_disks_are_one(void **state)
{
    (void)state;
    char *folder = temporary_folder();
    struct packed_image image;
    struct error error = ERROR_INIT;
    write_kernel(folder, "a.elf", EM_X86_64, 1);
    write_file(folder, "init", "initrd", 6);
    write_file(folder, "one", "disk", 4);
    write_file(folder, "two", "disk", 4);
    write_file(folder, "three", "another", 7);
    write_file(folder, "symbols", "debug", 5);
    if (pack_text(folder,
                  ONE("shoal", "kernel: a.elf, initrd: init, disks: [one, two, three], "
                               "debug: symbols"),
                  NULL, &image, &error) < 0)
        fail_msg("%s", error.message);
    static const char *const types[] = {SHOAL_KERNEL_TYPE, SHOAL_INITRD_TYPE, SHOAL_DISK_TYPE,
                                        SHOAL_DISK_TYPE, SHOAL_DEBUG_TYPE};
    struct oci_manifest manifest = {0};
    struct image_config config;
    assert_int_equal(json_parse_record(&oci_manifest_record, image.manifests[0].bytes,
                                       image.manifests[0].length, JSON_STRICT, &manifest, NULL),
                     0);
    assert_int_equal(manifest.layer_count, ARRAY_LENGTH(types));
    for (size_t i = 0; i < ARRAY_LENGTH(types); i++)
        assert_string_equal(manifest.layers[i].media_type, types[i]);
    const struct packed_blob *blob = fixture_blob(&image, SHOAL_CONFIG_TYPE);
    assert_int_equal(image_config_parse(blob->bytes, blob->size, &config, NULL), 0);
    assert_string_equal(config.boot.initrd, manifest.layers[1].digest);
    assert_int_equal(config.boot.disks.count, 3);
    assert_string_equal(config.boot.disks.items[0], manifest.layers[2].digest);
    assert_string_equal(config.boot.disks.items[1], manifest.layers[2].digest);
    assert_string_equal(config.boot.disks.items[2], manifest.layers[3].digest);
    assert_null(strstr(blob->bytes, manifest.layers[4].digest));
    image_config_release(&config);
    json_record_release(&oci_manifest_record, &manifest);
    packed_image_release(&image);
    remove_folder(folder);
}

/* Compresses, and unpacks again into a file of the folder. */
static void assert_compressed(const struct packed_blob *blob, const struct oci_descriptor *layer,
                              const char *folder, const char *content, size_t length)
{
    AUTO_FREE char *path = xasprintf("%s/unpacked", folder);
    char digest[DIGEST_TEXT_MAX];
    AUTO_FREE char *size = xasprintf("%zu", length);
    AUTO_CLOSE int from = open(blob->path, O_RDONLY);
    AUTO_CLOSE int to = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    digest_of_bytes(content, length, digest);
    assert_string_equal(json_map_get(&layer->annotations, "dev.shoal.content.digest"), digest);
    assert_string_equal(json_map_get(&layer->annotations, "dev.shoal.content.size"), size);
    assert_int_equal(packing_unpack_zstd(from, length, to, NULL, NULL), 0);
    AUTO_FREE char *found = NULL;
    assert_int_equal(file_read(path, length, &found, NULL, NULL), 0);
    assert_memory_equal(found, content, length);
}

static void layers_may_be_compressed(void **state)
{
    (void)state;
    char *folder = temporary_folder(), *scratch = temporary_folder();
    struct packed_image image, again, plain;
    struct error error = ERROR_INIT;
    AUTO_FREE char *disk = xcalloc(300000, 1);
    struct tiny_kernel kernel = tiny_kernel(1);
    struct pack_options options = {.scratch = scratch};
    static const char text[] = ONE("shoal", "kernel: a.elf, disks: [disk]") "compress: zstd\n";
    write_kernel(folder, "a.elf", EM_X86_64, 1);
    write_file(folder, "disk", disk, 300000);
    if (pack_text(folder, text, &options, &image, &error) < 0)
        fail_msg("%s", error.message);
    struct oci_manifest manifest = {0};
    struct image_config config;
    assert_int_equal(json_parse_record(&oci_manifest_record, image.manifests[0].bytes,
                                       image.manifests[0].length, JSON_STRICT, &manifest, NULL),
                     0);
    assert_string_equal(manifest.layers[0].media_type, SHOAL_KERNEL_TYPE "+zstd");
    assert_string_equal(manifest.layers[1].media_type, SHOAL_DISK_TYPE "+zstd");
    assert_true(manifest.layers[1].size < 1000);
    assert_compressed(fixture_blob(&image, SHOAL_KERNEL_TYPE "+zstd"), &manifest.layers[0], folder,
                      (const char *)&kernel, sizeof kernel);
    assert_compressed(fixture_blob(&image, SHOAL_DISK_TYPE "+zstd"), &manifest.layers[1], folder,
                      disk, 300000);
    const struct packed_blob *blob = fixture_blob(&image, SHOAL_CONFIG_TYPE);
    assert_int_equal(image_config_parse(blob->bytes, blob->size, &config, NULL), 0);
    assert_string_equal(config.boot.kernel,
                        json_map_get(&manifest.layers[0].annotations, "dev.shoal.content.digest"));
    image_config_release(&config);

    assert_int_equal(pack_text(folder, text, &options, &again, NULL), 0);
    assert_string_equal(packed_image_top(&image)->digest, packed_image_top(&again)->digest);
    options.has_compression = true; /* and it is none */
    assert_int_equal(pack_text(folder, text, &options, &plain, NULL), 0);
    (void)fixture_blob(&plain, SHOAL_DISK_TYPE);
    json_record_release(&oci_manifest_record, &manifest);
    packed_image_release(&image);
    packed_image_release(&again);
    packed_image_release(&plain);
    remove_folder(folder);
    remove_folder(scratch);
}

static void write_arm64_kernel(const char *folder, const char *name)
{
    struct tiny_kernel kernel = tiny_kernel(3);
    kernel.header.e_machine = EM_AARCH64;
    kernel.header.e_phnum = 1;
    kernel.header.e_entry = kernel.load.p_vaddr = kernel.load.p_paddr = 0x40080000;
    write_file(folder, name, &kernel, sizeof kernel);
}

static void both_architectures_make_one_index(void **state)
{
    (void)state;
    static const char text[] = "family: shoal\n"
                               "architectures: {arm64: {kernel: b.elf}, amd64: {kernel: a.elf}}\n";
    char *folder = temporary_folder();
    struct packed_image image;
    struct error error = ERROR_INIT;
    write_kernel(folder, "a.elf", EM_X86_64, 1);
    write_arm64_kernel(folder, "b.elf");
    if (pack_text(folder, text, NULL, &image, &error) < 0)
        fail_msg("%s", error.message);
    assert_true(image.has_index);
    assert_int_equal(image.manifest_count, 2);
    assert_string_equal(image.manifests[0].architecture, "amd64");
    assert_string_equal(image.manifests[1].architecture, "arm64");
    struct oci_index index = {0};
    assert_int_equal(json_parse_record(&oci_index_record, image.index.bytes, image.index.length,
                                       JSON_STRICT, &index, NULL),
                     0);
    assert_int_equal(index.manifest_count, 2);
    assert_string_equal(index.manifests[1].platform.architecture, "arm64");
    json_record_release(&oci_index_record, &index);
    packed_image_release(&image);

    struct pack_options options = {.architecture = "arm64"};
    assert_int_equal(pack_text(folder, text, &options, &image, NULL), 0);
    assert_false(image.has_index);
    assert_string_equal(packed_image_top(&image)->architecture, "arm64");
    packed_image_release(&image);
    remove_folder(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_has_a_manifest_a_config_and_a_kernel_layer),
        cmocka_unit_test(digests_are_of_the_bytes),
        cmocka_unit_test(the_same_inputs_give_the_same_digest),
        cmocka_unit_test(an_index_names_each_platform),
        cmocka_unit_test(what_a_file_is_must_agree_with_the_recipe),
        cmocka_unit_test(a_family_is_told_from_its_mark),
        cmocka_unit_test(all_parts_are_layers_and_two_equal_disks_are_one),
        cmocka_unit_test(layers_may_be_compressed),
        cmocka_unit_test(both_architectures_make_one_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
