/* The config blob of an image: what is read, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "image-format/image_config.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define KERNEL "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static const char good[] =
    "{\"schemaVersion\": 1, \"architecture\": \"amd64\", \"os\": \"unikernel\","
    " \"family\": \"shoal\", \"boot\": {\"protocol\": \"pvh\", \"kernel\": \"" KERNEL "\","
    " \"initrd\": null, \"disks\": [], \"machine\": \"microvm\"},"
    " \"memory\": {\"min\": 8388608, \"default\": 33554432},"
    " \"vcpus\": {\"default\": 1, \"max\": 1}, \"cmdline\": [\"--ip=${net.address}\"],"
    " \"ports\": [{\"name\": \"http\", \"port\": 8080, \"mode\": \"http\"},"
    " {\"name\": \"admin\", \"port\": 8081, \"private\": true}],"
    " \"health\": {\"readiness\": {\"http\": {\"path\": \"/healthz\", \"port\": \"http\"}}},"
    " \"stop\": {\"method\": \"console\"}, \"added-later\": true}";

static void a_config_is_read_whole(void **state)
{
    (void)state;
    struct image_config config;
    assert_int_equal(image_config_parse(good, strlen(good), &config, NULL), 0);
    assert_string_equal(config.family, "shoal");
    assert_string_equal(config.boot.kernel, KERNEL);
    assert_int_equal(config.memory.default_bytes, 33554432);
    assert_int_equal(config.vcpus.max, 1);
    assert_int_equal(config.cmdline.count, 1);
    assert_int_equal(config.port_count, 2);
    assert_false(config.ports[0].is_private);
    assert_true(config.ports[1].is_private);
    assert_non_null(image_config_port(&config, "admin"));
    assert_null(image_config_port(&config, "other"));
    assert_true(config.has_health);
    assert_string_equal(config.health.readiness.http.path, "/healthz");
    assert_int_equal(config.health.readiness.every_ms, 1000);
    assert_int_equal(config.stop.method, IMAGE_STOP_CONSOLE);
    image_config_release(&config);
}

static void writing_and_reading_again_gives_the_same(void **state)
{
    (void)state;
    struct image_config config, again;
    assert_int_equal(image_config_parse(good, strlen(good), &config, NULL), 0);
    AUTO_FREE char *text = json_record_text(&image_config_record, &config);
    assert_int_equal(image_config_parse(text, strlen(text), &again, NULL), 0);
    AUTO_FREE char *text_again = json_record_text(&image_config_record, &again);
    assert_string_equal(text, text_again);
    image_config_release(&config);
    image_config_release(&again);
}

static void stop_is_the_familys_when_left_out(void **state)
{
    (void)state;
    AUTO_FREE char *text = xstrdup(good);
    memcpy(strstr(text, "\"stop\""), "\"sxop\"", 6);
    struct image_config config;
    assert_int_equal(image_config_parse(text, strlen(text), &config, NULL), 0);
    assert_false(config.has_stop);
    assert_int_equal(image_config_stop_method(&config), IMAGE_STOP_CONSOLE);
    image_config_release(&config);
}

/* The good config with its first `from` replaced by `to`. */
static void assert_refused(const char *from, const char *to, enum error_code code,
                           const char *message)
{
    const char *at = strstr(good, from);
    assert_non_null(at);
    AUTO_FREE char *text = xasprintf("%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    struct image_config config;
    struct error error = ERROR_INIT;
    if (image_config_parse(text, strlen(text), &config, &error) == 0)
        fail_msg("accepted: %s", text);
    if (error.code != code || strstr(error.message, message) == NULL)
        fail_msg("%s: expected \"%s\"", error.message, message);
}

static void what_makes_no_sense_is_invalid(void **state)
{
    (void)state;
    assert_refused("\"unikernel\"", "\"linux\"", ERROR_INVALID, "allowed is unikernel");
    assert_refused("\"amd64\"", "\"m68k\"", ERROR_INVALID, "allowed are amd64 and arm64");
    assert_refused("\"shoal\"", "\"../shoal\"", ERROR_INVALID, "not a name");
    assert_refused(KERNEL, "/etc/passwd", ERROR_INVALID, "/boot/kernel");
    assert_refused("\"kernel\"", "\"path\"", ERROR_INVALID, "\"kernel\" is missing");
    assert_refused("8388608", "33554433", ERROR_INVALID, "less than min");
    assert_refused("8388608", "0", ERROR_INVALID, "out of range");
    assert_refused("33554432", "-1", ERROR_INVALID, "out of range");
    assert_refused("33554432", "99999999999999", ERROR_INVALID, "out of range");
    assert_refused("\"max\": 1}", "\"max\": 65}", ERROR_INVALID, "out of range");
    assert_refused("\"vcpus\": {\"default\": 1", "\"vcpus\": {\"default\": 2", ERROR_INVALID,
                   "1 <= default <= max");
    assert_refused("${net.address}", "${net.adress}", ERROR_INVALID,
                   "unknown variable \"${net.adress}\"");
    assert_refused("${net.address}", "a\\nb", ERROR_INVALID, "control character");
    assert_refused("${net.address}", "a\\u0000b", ERROR_INVALID, "NUL");
    assert_refused("8081", "8080", ERROR_INVALID, "listed twice");
    assert_refused("\"admin\"", "\"http\"", ERROR_INVALID, "used twice");
    assert_refused("8081", "65536", ERROR_INVALID, "out of range");
    assert_refused("\"port\": \"http\"", "\"port\": \"web\"", ERROR_INVALID,
                   "no port named \"web\"");
    assert_refused("{\"http\": {", "{\"ftp\": {", ERROR_INVALID, "exactly one");
    assert_refused("\"console\"", "\"shout\"", ERROR_INVALID, "allowed are kill, console");
    assert_refused("{\"schemaVersion\"", "[{\"schemaVersion\"", ERROR_INVALID, "");
}

static void what_the_table_does_not_have_is_unsupported(void **state)
{
    (void)state;
    assert_refused("\"schemaVersion\": 1", "\"schemaVersion\": 2", ERROR_UNSUPPORTED,
                   "not supported yet");
    assert_refused("\"amd64\"", "\"arm64\"", ERROR_UNSUPPORTED,
                   "family shoal does not boot arm64 by pvh on microvm: it boots amd64 by pvh on "
                   "microvm, arm64 by elf on virt");
    assert_refused("\"shoal\"", "\"linux\"", ERROR_UNSUPPORTED, "does not boot amd64 by pvh");
    assert_refused("\"shoal\"", "\"plan9\"", ERROR_UNSUPPORTED,
                   "there is no family \"plan9\": there are shoal, linux, ");
    assert_refused("\"pvh\"", "\"multiboot\"", ERROR_UNSUPPORTED, "does not boot");
    assert_refused("\"microvm\"", "\"pc\"", ERROR_UNSUPPORTED, "does not boot");
    assert_refused("\"console\"", "\"acpi\"", ERROR_INVALID, "does not listen to");
    assert_refused("\"console\"", "\"http\"", ERROR_UNSUPPORTED, "not supported yet");
}

static const char disk_config[] =
    "{\"schemaVersion\": 1, \"architecture\": \"amd64\", \"os\": \"unikernel\","
    " \"family\": \"nanos\", \"boot\": {\"protocol\": \"disk\", \"disks\": [\"" KERNEL "\"],"
    " \"machine\": \"pc\"}, \"memory\": {\"min\": 67108864, \"default\": 67108864},"
    " \"vcpus\": {\"default\": 1, \"max\": 1}}";

static void a_guest_may_boot_its_disk(void **state)
{
    (void)state;
    struct image_config config;
    struct error error = ERROR_INIT;
    if (image_config_parse(disk_config, strlen(disk_config), &config, &error) < 0)
        fail_msg("%s", error.message);
    assert_string_equal(config.boot.kernel, "");
    assert_int_equal(config.boot.disks.count, 1);
    assert_int_equal(image_config_stop_method(&config), IMAGE_STOP_ACPI);
    image_config_release(&config);
    AUTO_FREE char *text = xstrdup(disk_config);
    memcpy(strstr(text, "\"disks\""), "\"other\"", 7);
    assert_int_equal(image_config_parse(text, strlen(text), &config, &error), -1);
    assert_non_null(strstr(error.message, "no disk to boot"));
}

static void initrd_and_disks_are_read(void **state)
{
    (void)state;
    struct image_config config;
    const char *at = strstr(good, "\"initrd\": null, \"disks\": []");
    assert_non_null(at);
    AUTO_FREE char *text =
        xasprintf("%.*s\"initrd\": \"%s\", \"disks\": [\"%s\", \"%s\"]%s", (int)(at - good), good,
                  KERNEL, KERNEL, KERNEL, at + strlen("\"initrd\": null, \"disks\": []"));
    assert_int_equal(image_config_parse(text, strlen(text), &config, NULL), 0);
    assert_string_equal(config.boot.initrd, KERNEL);
    assert_int_equal(config.boot.disks.count, 2);
    image_config_release(&config);
    assert_refused("\"initrd\": null", "\"initrd\": \"/etc/shadow\"", ERROR_INVALID, "sha256:");
    assert_refused("\"disks\": []", "\"disks\": [\"../x\"]", ERROR_INVALID, "sha256:");
}

static void a_huge_config_is_refused_before_it_is_read(void **state)
{
    (void)state;
    struct image_config config;
    struct error error = ERROR_INIT;
    size_t length = OCI_CONFIG_LIMIT + 1;
    AUTO_FREE char *text = malloc(length);
    memset(text, ' ', length);
    assert_int_equal(image_config_parse(text, length, &config, &error), -1);
    assert_int_equal(error.code, ERROR_TOO_LARGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_config_is_read_whole),
        cmocka_unit_test(writing_and_reading_again_gives_the_same),
        cmocka_unit_test(stop_is_the_familys_when_left_out),
        cmocka_unit_test(what_makes_no_sense_is_invalid),
        cmocka_unit_test(what_the_table_does_not_have_is_unsupported),
        cmocka_unit_test(a_guest_may_boot_its_disk),
        cmocka_unit_test(initrd_and_disks_are_read),
        cmocka_unit_test(a_huge_config_is_refused_before_it_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
