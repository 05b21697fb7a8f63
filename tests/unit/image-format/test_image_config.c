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

static void stop_is_kill_when_left_out(void **state)
{
    (void)state;
    AUTO_FREE char *text = xstrdup(good);
    memcpy(strstr(text, "\"stop\""), "\"sxop\"", 6);
    struct image_config config;
    assert_int_equal(image_config_parse(text, strlen(text), &config, NULL), 0);
    assert_int_equal(config.stop.method, IMAGE_STOP_KILL);
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

static void what_is_known_but_not_built_is_unsupported(void **state)
{
    (void)state;
    assert_refused("\"schemaVersion\": 1", "\"schemaVersion\": 2", ERROR_UNSUPPORTED,
                   "not supported yet");
    assert_refused("\"amd64\"", "\"arm64\"", ERROR_UNSUPPORTED, "not supported yet");
    assert_refused("\"shoal\"", "\"linux\"", ERROR_UNSUPPORTED, "not supported yet");
    assert_refused("\"pvh\"", "\"multiboot\"", ERROR_UNSUPPORTED, "not supported yet");
    assert_refused("\"microvm\"", "\"pc\"", ERROR_UNSUPPORTED, "not supported yet");
    assert_refused("\"initrd\": null", "\"initrd\": \"" KERNEL "\"", ERROR_UNSUPPORTED, "initrd");
    assert_refused("\"disks\": []", "\"disks\": [\"" KERNEL "\"]", ERROR_UNSUPPORTED, "disks");
    assert_refused("\"console\"", "\"acpi\"", ERROR_UNSUPPORTED, "not supported yet");
    assert_refused("\"console\"", "\"http\"", ERROR_UNSUPPORTED, "not supported yet");
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
        cmocka_unit_test(stop_is_kill_when_left_out),
        cmocka_unit_test(what_makes_no_sense_is_invalid),
        cmocka_unit_test(what_is_known_but_not_built_is_unsupported),
        cmocka_unit_test(a_huge_config_is_refused_before_it_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
