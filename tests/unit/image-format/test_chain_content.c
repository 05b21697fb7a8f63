/* What an image holds: the parts of Shoal's own images, and KraftKit's and urunc's images as they
 * are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "image-format/chain_content.h"
#include "image-format/command_line.h"
#include "image-format/family.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define A "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define D "sha256:dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"

#define TAR    "application/vnd.oci.image.layer.v1.tar"
#define CONFIG "application/vnd.oci.image.config.v1+json"

static int read_image(const char *manifest_text, const char *config, const char *metadata,
                      struct image_verified *verified, struct error *error)
{
    struct oci_manifest manifest = {0};
    if (json_parse_record(&oci_manifest_record, manifest_text, strlen(manifest_text), JSON_LENIENT,
                          &manifest, error) < 0)
        fail_msg("%s: %s", error->message, manifest_text);
    int result = image_content_read(&manifest, config, strlen(config), metadata,
                                    metadata != NULL ? strlen(metadata) : 0, verified, error);
    json_record_release(&oci_manifest_record, &manifest);
    return result;
}

static void assert_reads(const char *manifest, const char *config, const char *metadata,
                         struct image_verified *verified)
{
    struct error error = ERROR_INIT;
    if (read_image(manifest, config, metadata, verified, &error) < 0)
        fail_msg("%s", error.message);
}

static void assert_refused(const char *manifest, const char *config, const char *metadata,
                           enum error_code code, const char *message)
{
    struct image_verified verified = {0};
    struct error error = ERROR_INIT;
    if (read_image(manifest, config, metadata, &verified, &error) == 0)
        fail_msg("accepted, not \"%s\"", message);
    if (error.code != code || strstr(error.message, message) == NULL)
        fail_msg("expected \"%s\", found \"%s\"", message, error.message);
}

static char *line_of(const struct image_verified *verified)
{
    static const struct command_line_values values = {
        .address = "10.0.0.2", .prefix = 24, .gateway = "10.0.0.1", .instance_id = "0001000003f2"};
    struct error error = ERROR_INIT;
    char *line = NULL;
    if (command_line_expand(&verified->config, NULL, NULL, &values, &line, &error) < 0)
        fail_msg("%s", error.message);
    return line;
}

/* --- Shoal's own --- */

static char *shoals(const char *layers)
{
    return xasprintf(
        "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"artifactType\":\"%s\","
        "\"config\":{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":2},\"layers\":[%s]}",
        OCI_MANIFEST_TYPE, SHOAL_ARTIFACT_TYPE, SHOAL_CONFIG_TYPE, D, layers);
}

#define LAYER(type, digest, size)                                                                  \
    "{\"mediaType\":\"" type "\",\"digest\":\"" digest "\",\"size\":" size "}"
#define PACKED(type, digest, size, content, bytes)                                                 \
    "{\"mediaType\":\"" type "+zstd\",\"digest\":\"" digest "\",\"size\":" size                    \
    ",\"annotations\":{\"dev.shoal.content.digest\":\"" content                                    \
    "\",\"dev.shoal.content.size\":\"" bytes "\"}}"

static const char linux_config[] =
    "{\"schemaVersion\":1,\"architecture\":\"amd64\",\"os\":\"unikernel\",\"family\":\"linux\","
    "\"boot\":{\"protocol\":\"linux\",\"kernel\":\"" A "\",\"initrd\":\"" B "\",\"disks\":[\"" C
    "\"],\"machine\":\"pc\"},\"memory\":{\"min\":67108864,\"default\":67108864},"
    "\"vcpus\":{\"default\":1,\"max\":2}}";

static void kernel_initrd_and_disks_are_found(void **state)
{
    (void)state;
    struct image_verified verified = {0};
    AUTO_FREE char *manifest =
        shoals(LAYER(SHOAL_DISK_TYPE, C, "30") "," LAYER(SHOAL_KERNEL_TYPE, A, "10") "," LAYER(
            SHOAL_DEBUG_TYPE, D, "99") "," LAYER(SHOAL_INITRD_TYPE, B, "20"));
    assert_reads(manifest, linux_config, NULL, &verified);
    assert_string_equal(verified.made_for, "shoal");
    assert_int_equal(verified.part_count, 3);
    assert_int_equal(verified.layer_count, 3); /* nodes do not fetch debug symbols */
    assert_int_equal(verified.parts[0].kind, IMAGE_PART_KERNEL);
    assert_int_equal(verified.parts[1].kind, IMAGE_PART_INITRD);
    assert_string_equal(verified.parts[2].digest, C);
    assert_int_equal(verified.parts[2].size, 30);
    image_verified_release(&verified);
}

static void a_packed_layer_is_named_by_what_it_holds(void **state)
{
    (void)state;
    struct image_verified verified = {0};
    AUTO_FREE char *manifest = shoals(PACKED(SHOAL_KERNEL_TYPE, D, "5", A, "10") "," LAYER(
        SHOAL_INITRD_TYPE, B, "20") "," LAYER(SHOAL_DISK_TYPE, C, "30"));
    assert_reads(manifest, linux_config, NULL, &verified);
    const struct image_part *kernel = image_verified_part(&verified, IMAGE_PART_KERNEL);
    assert_int_equal(kernel->packing, IMAGE_PACKING_ZSTD);
    assert_string_equal(kernel->digest, A);
    assert_int_equal(kernel->size, 10);
    assert_string_equal(verified.layers[kernel->layer].digest, D);
    assert_int_equal(verified.layers[kernel->layer].size, 5);
    image_verified_release(&verified);
}

static void layers_that_lie_are_refused(void **state)
{
    (void)state;
#define REST "," LAYER(SHOAL_INITRD_TYPE, B, "20") "," LAYER(SHOAL_DISK_TYPE, C, "30")
    static const struct {
        const char *layers;
        const char *message;
    } cases[] = {
        {LAYER(SHOAL_DISK_TYPE, A, "10") REST, "has the type"},
        {LAYER(TAR, A, "10") REST, "has the type"},
        {LAYER(SHOAL_KERNEL_TYPE, A, "0") REST, "out of range"},
        {LAYER(SHOAL_KERNEL_TYPE, A, "268435457") REST, "out of range"},
        {LAYER(SHOAL_KERNEL_TYPE, A, "10"), "its initrd " B " is not among the layers"},
        {LAYER(SHOAL_KERNEL_TYPE, A, "10") "," LAYER(SHOAL_KERNEL_TYPE, A, "10") REST,
         "is listed twice"},
        {LAYER(SHOAL_KERNEL_TYPE "+zstd", A, "10") REST, "dev.shoal.content.size"},
        {PACKED(SHOAL_KERNEL_TYPE, D, "5", A, "999999999999") REST, "dev.shoal.content.size"},
        {PACKED(SHOAL_KERNEL_TYPE, D, "5", A, "268435457") REST, "out of range"},
        {PACKED(SHOAL_KERNEL_TYPE, D, "5", A, "-1") REST, "dev.shoal.content.size"},
        {PACKED(SHOAL_DISK_TYPE, D, "5", A, "10") REST, "has the type"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        AUTO_FREE char *manifest = shoals(cases[i].layers);
        assert_refused(manifest, linux_config, NULL, ERROR_INVALID, cases[i].message);
    }
}

/* --- KraftKit's --- */

static char *ordinary(const char *annotations, const char *layers)
{
    return xasprintf("{\"schemaVersion\":2,\"mediaType\":\"%s\",\"config\":{\"mediaType\":\"%s\","
                     "\"digest\":\"%s\",\"size\":2},\"layers\":[%s],\"annotations\":{%s}}",
                     OCI_MANIFEST_TYPE, CONFIG, D, layers, annotations);
}

#define KRAFT_VERSION "\"sh.kraftkit.version\":\"0.9.0\""
#define KRAFT_LAYER(digest, key, path)                                                             \
    "{\"mediaType\":\"" TAR "\",\"digest\":\"" digest "\",\"size\":9,\"annotations\":{\"" key      \
    "\":\"" path "\"}}"

static const char kraft_config[] =
    "{\"architecture\":\"x86_64\",\"os\":\"qemu\",\"os.features\":[\"CONFIG_X=y\"],\"config\":"
    "{\"Cmd\":[\"-c\",\"/nginx/conf ${net.address}\"],\"Env\":[\"PATH=/bin\",\"A=b c\"]},"
    "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}";

static void kraftkits_images_are_read_as_they_are(void **state)
{
    (void)state;
    struct image_verified verified = {0};
    AUTO_FREE char *manifest = ordinary(
        KRAFT_VERSION,
        KRAFT_LAYER(A, "org.unikraft.kernel.image", "/unikraft/bin/kernel") "," KRAFT_LAYER(
            B, "org.unikraft.kernel.initrd", "/unikraft/bin/initrd"));
    assert_reads(manifest, kraft_config, NULL, &verified);
    assert_string_equal(verified.made_for, "kraftkit");
    assert_string_equal(verified.config.family, "unikraft");
    assert_string_equal(verified.config.architecture, "amd64");
    assert_string_equal(verified.config.boot.protocol, "multiboot");
    assert_string_equal(verified.config.boot.machine, "pc");
    assert_int_equal(verified.layer_count, 2);
    assert_int_equal(verified.part_count, 2);
    assert_string_equal(verified.parts[0].path, "/unikraft/bin/kernel");
    assert_string_equal(verified.parts[0].digest, "");
    assert_false(verified.parts[1].is_optional);
    /* What was unpacked: the config names it from then on. */
    image_verified_learn(&verified, 1, D, 7);
    image_verified_learn(&verified, 0, C, 8);
    assert_string_equal(verified.config.boot.kernel, C);
    assert_string_equal(verified.config.boot.initrd, D);
    /* Another tool's words hold no variables. */
    AUTO_FREE char *line = line_of(&verified);
    assert_string_equal(line, "netdev.ip=10.0.0.2/24:10.0.0.1: env.vars=[ PATH=/bin \"A=b c\" ] "
                              "vfs.fstab=[ \"initrd0:/:extract:::\" ] -- -c \"/nginx/conf "
                              "${net.address}\"");
    image_verified_release(&verified);
}

static void an_initrd_without_annotation_may_be_missing(void **state)
{
    (void)state;
    struct image_verified verified = {0};
    AUTO_FREE char *manifest = ordinary(KRAFT_VERSION, LAYER(TAR, A, "9"));
    assert_reads(manifest, kraft_config, NULL, &verified);
    assert_int_equal(verified.part_count, 2);
    assert_true(verified.parts[1].is_optional);
    image_verified_learn(&verified, 1, "", 0);
    image_verified_learn(&verified, 0, C, 8);
    assert_int_equal(verified.part_count, 1);
    assert_string_equal(verified.config.boot.initrd, "");
    image_verified_release(&verified);
}

static void what_kraftkit_builds_for_others_is_refused_by_name(void **state)
{
    (void)state;
    AUTO_FREE char *manifest = ordinary(KRAFT_VERSION, LAYER(TAR, A, "9"));
    assert_refused(manifest, "{\"architecture\":\"x86_64\",\"os\":\"fc\"}", NULL, ERROR_UNSUPPORTED,
                   "built for the platform \"fc\"");
    assert_refused(manifest, "{\"architecture\":\"x86_64\",\"os\":\"xen\"}", NULL,
                   ERROR_UNSUPPORTED, "built for the platform \"xen\"");
    assert_refused(manifest, "{\"architecture\":\"riscv64\",\"os\":\"qemu\"}", NULL,
                   ERROR_UNSUPPORTED, "architecture \"riscv64\"");
    AUTO_FREE char *rom = ordinary(
        KRAFT_VERSION, LAYER(TAR, A, "9") "," LAYER("application/vnd.unikraft.rom.v1", B, "9"));
    assert_refused(rom, kraft_config, NULL, ERROR_UNSUPPORTED, "application/vnd.unikraft.rom.v1");
    AUTO_FREE char *climbing =
        ordinary(KRAFT_VERSION, KRAFT_LAYER(A, "org.unikraft.kernel.image", "/../../etc/passwd"));
    assert_refused(climbing, kraft_config, NULL, ERROR_INVALID, "climbs");
    assert_refused(manifest,
                   "{\"architecture\":\"x86_64\",\"os\":\"qemu\",\"config\":{\"Cmd\":[\"a\\nb\"]}}",
                   NULL, ERROR_INVALID, "control character");
    assert_refused(
        manifest,
        "{\"architecture\":\"x86_64\",\"os\":\"qemu\",\"config\":{\"Env\":[\"no sign\"]}}", NULL,
        ERROR_INVALID, "is not NAME=VALUE");
}

/* --- urunc's --- */

#define URUNC(type, more)                                                                          \
    "\"com.urunc.unikernel.unikernelType\":\"" type                                                \
    "\",\"com.urunc.unikernel.hypervisor\":\"qemu\",\"com.urunc.unikernel.binary\":\"/k\"" more

static const char urunc_config[] =
    "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"PATH=/bin\"]}}";

static void uruncs_images_are_read_as_they_are(void **state)
{
    (void)state;
    struct image_verified verified = {0};
    AUTO_FREE char *manifest =
        ordinary(URUNC("mirage", ",\"com.urunc.unikernel.cmdline\":\"--name 'a b' --x=\\\"1\\\"\","
                                 "\"com.urunc.unikernel.block\":\"/data/disk.img\""),
                 LAYER(TAR "+gzip", A, "9"));
    assert_reads(manifest, urunc_config, NULL, &verified);
    assert_string_equal(verified.made_for, "urunc");
    assert_string_equal(verified.config.family, "solo5");
    assert_int_equal(verified.part_count, 2);
    assert_string_equal(verified.parts[0].path, "/k");
    assert_int_equal(verified.parts[1].kind, IMAGE_PART_DISK);
    assert_string_equal(verified.parts[1].path, "/data/disk.img");
    AUTO_FREE char *line = line_of(&verified);
    assert_string_equal(line, "--ipv4=10.0.0.2/24 --ipv4-gateway=10.0.0.1 --name \"a b\" --x=1");
    image_verified_release(&verified);
}

static void a_linux_of_uruncs_gets_its_init(void **state)
{
    (void)state;
    struct image_verified verified = {0};
    AUTO_FREE char *manifest =
        ordinary(URUNC("linux", ",\"com.urunc.unikernel.cmdline\":\"/bin/app -v x\","
                                "\"com.urunc.unikernel.block\":\"/d\","
                                "\"com.urunc.unikernel.blkMntPoint\":\"/\""),
                 LAYER(TAR, A, "9"));
    assert_reads(manifest, urunc_config, NULL, &verified);
    AUTO_FREE char *line = line_of(&verified);
    assert_string_equal(line, "panic=-1 console=ttyS0 root=/dev/vda rw init=/bin/app "
                              "ip=10.0.0.2::10.0.0.1:255.255.255.0:0001000003f2:eth0:off "
                              "PATH=/bin -- -v x");
    image_verified_release(&verified);
}

static void uruncs_keys_may_be_base64_labels_or_a_file(void **state)
{
    (void)state;
    struct image_verified verified = {0};
    AUTO_FREE char *plain = ordinary("", LAYER(TAR, A, "9"));
    /* unikraft, qemu, /k, "/app x" */
    static const char encoded[] = "{\"com.urunc.unikernel.unikernelType\":\"dW5pa3JhZnQ=\","
                                  "\"com.urunc.unikernel.hypervisor\":\"cWVtdQ==\","
                                  "\"com.urunc.unikernel.binary\":\"L2s=\","
                                  "\"com.urunc.unikernel.cmdline\":\"L2FwcCB4\"}";
    assert_reads(plain, urunc_config, encoded, &verified);
    assert_string_equal(verified.config.family, "unikraft");
    assert_string_equal(verified.parts[0].path, "/k");
    assert_int_equal(verified.config.cmdline.count, 2);
    assert_string_equal(verified.config.cmdline.items[0], "/app");
    image_verified_release(&verified);
    verified = (struct image_verified){0};
    assert_reads(plain,
                 "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Labels\":{" URUNC(
                     "rumprun", "") "}}}",
                 NULL, &verified);
    assert_string_equal(verified.config.family, "rumprun");
    image_verified_release(&verified);
}

static void what_urunc_asks_for_in_vain_is_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *annotations;
        const char *message;
    } cases[] = {
        {"\"com.urunc.unikernel.unikernelType\":\"mewz\"",
         "unikernelType \"mewz\" is not supported"},
        {"\"com.urunc.unikernel.unikernelType\":\"unikraft\","
         "\"com.urunc.unikernel.hypervisor\":\"firecracker\"",
         "hypervisor \"firecracker\" cannot be honoured"},
        {URUNC("unikraft", ",\"com.urunc.unikernel.useDMBlock\":\"true\""), "useDMBlock"},
        {URUNC("linux", ",\"com.urunc.unikernel.mountRootfs\":\"true\""), "mountRootfs"},
        {URUNC("rumprun", ",\"com.urunc.unikernel.blkMntPoint\":\"/data\""), "blkMntPoint"},
        {URUNC("unikraft", ",\"com.urunc.unikernel.unikernelVersion\":\"0.15.0\""),
         "unikernelVersion \"0.15.0\""},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        AUTO_FREE char *manifest = ordinary(cases[i].annotations, LAYER(TAR, A, "9"));
        assert_refused(manifest, urunc_config, NULL, ERROR_UNSUPPORTED, cases[i].message);
    }
    AUTO_FREE char *open =
        ordinary(URUNC("mirage", ",\"com.urunc.unikernel.cmdline\":\"'a\""), LAYER(TAR, A, "9"));
    assert_refused(open, urunc_config, NULL, ERROR_INVALID, "not closed");
    AUTO_FREE char *environment = ordinary(URUNC("mirage", ""), LAYER(TAR, A, "9"));
    assert_refused(environment,
                   "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Env\":[\"A=b\"]}}",
                   NULL, ERROR_UNSUPPORTED, "its Env sets A");
    AUTO_FREE char *path = ordinary("\"com.urunc.unikernel.unikernelType\":\"linux\","
                                    "\"com.urunc.unikernel.binary\":\"../../boot/vmlinuz\"",
                                    LAYER(TAR, A, "9"));
    assert_refused(path, urunc_config, NULL, ERROR_INVALID, "climbs");
}

static void hostile_metadata_is_refused(void **state)
{
    (void)state;
    AUTO_FREE char *plain = ordinary("", LAYER(TAR, A, "9"));
    AUTO_BUFFER struct buffer deep = {0};
    for (int i = 0; i < 10000; i++)
        buffer_append_text(&deep, "[");
    assert_refused(plain, urunc_config, buffer_text(&deep), ERROR_INVALID, "/urunc.json");
    assert_refused(plain, urunc_config, "[]", ERROR_INVALID, "not an object");
    assert_refused(plain, urunc_config, "{}", ERROR_INVALID, "has no com.urunc");
    assert_refused(plain, urunc_config, "{\"com.urunc.unikernel.unikernelType\":7}", ERROR_INVALID,
                   "has no com.urunc");
    assert_refused(plain, urunc_config,
                   "{\"com.urunc.unikernel.unikernelType\":\"linux\","
                   "\"com.urunc.unikernel.unikernelType\":\"mirage\"}",
                   ERROR_INVALID, "/urunc.json");
}

static void an_ordinary_container_is_no_unikernel(void **state)
{
    (void)state;
    AUTO_FREE char *plain = ordinary("", LAYER(TAR, A, "9"));
    assert_refused(plain, urunc_config, NULL, ERROR_INVALID, "is not a unikernel image");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernel_initrd_and_disks_are_found),
        cmocka_unit_test(a_packed_layer_is_named_by_what_it_holds),
        cmocka_unit_test(layers_that_lie_are_refused),
        cmocka_unit_test(kraftkits_images_are_read_as_they_are),
        cmocka_unit_test(an_initrd_without_annotation_may_be_missing),
        cmocka_unit_test(what_kraftkit_builds_for_others_is_refused_by_name),
        cmocka_unit_test(uruncs_images_are_read_as_they_are),
        cmocka_unit_test(a_linux_of_uruncs_gets_its_init),
        cmocka_unit_test(uruncs_keys_may_be_base64_labels_or_a_file),
        cmocka_unit_test(what_urunc_asks_for_in_vain_is_refused_by_name),
        cmocka_unit_test(hostile_metadata_is_refused),
        cmocka_unit_test(an_ordinary_container_is_no_unikernel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
