#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"
#include "scheduler/template.h"

#define MIB (UINT64_C(1) << 20)

static struct api_port image_ports[] = {
    {.name = "http", .port = 8080, .has_mode = true, .mode = API_PORT_HTTP},
    {.name = "admin", .port = 8081, .is_private = true},
};
static struct policy_signature signatures[] = {{.name = "shoal", .key = "0123456789abcdef"}};
static const struct image_verified image = {
    .config = {.architecture = "amd64",
               .family = "shoal",
               .memory = {8 * MIB, 32 * MIB},
               .vcpus = {1, 1},
               .ports = image_ports,
               .port_count = 2,
               .has_health = true,
               .health = {.has_readiness = true,
                          .readiness = {.has_http = true,
                                        .http = {.path = "/healthz", .port = "http"}}}},
    .key_name = "shoal",
    .key_id = "0123456789abcdef",
    .evidence = {.signatures = signatures, .signature_count = 1},
};

/* Makes the template of a manifest in JSON; `ret_revision` may be NULL. */
static int make(const char *json, struct document_revision *ret_revision, struct error *error)
{
    AUTO_JSON struct json_object *object = NULL;
    struct api_service_spec spec = {0};
    struct document_revision revision = {0};
    struct template_image whole = {&image, 1, "sha256:pinned"};
    assert_int_equal(json_parse(json, strlen(json), &object, error), 0);
    assert_int_equal(api_service_spec_decode(object, &spec, error), 0);
    int result = template_make(&spec, &whole, &revision, error);
    api_service_spec_release(&spec);
    if (result == 0 && ret_revision != NULL)
        *ret_revision = revision;
    else
        json_record_release(document_record(DOCUMENT_REVISION), &revision);
    return result;
}

static void digest_of(const char *json, char ret_digest[DIGEST_TEXT_MAX])
{
    struct document_revision revision;
    struct error error = ERROR_INIT;
    assert_int_equal(make(json, &revision, &error), 0);
    memcpy(ret_digest, revision.template_digest, DIGEST_TEXT_MAX);
    json_record_release(document_record(DOCUMENT_REVISION), &revision);
}

static void the_image_fills_what_the_manifest_leaves_out(void **state)
{
    (void)state;
    struct document_revision revision;
    struct error error = ERROR_INIT;
    assert_int_equal(make("{\"service\": \"s\", \"image\": \"i\"}", &revision, &error), 0);
    assert_true(revision.template.resources.memory == 32 * MIB);
    assert_int_equal(revision.template.resources.vcpus, 1);
    assert_int_equal(revision.template.port_count, 2);
    assert_true(revision.health.has_readiness);
    assert_string_equal(revision.signed_by, "shoal (0123456789abcdef)");
    assert_string_equal(revision.platforms[0].family, "shoal");
    json_record_release(document_record(DOCUMENT_REVISION), &revision);
}

static void settings_do_not_change_the_digest_and_the_template_does(void **state)
{
    (void)state;
    char plain[DIGEST_TEXT_MAX], settings[DIGEST_TEXT_MAX], args[DIGEST_TEXT_MAX];
    digest_of("{\"service\": \"s\", \"image\": \"i\"}", plain);
    digest_of("{\"service\": \"s\", \"image\": \"i:other\", \"replicas\": 7, \"history\": 3,"
              " \"ports\": [{\"name\": \"http\", \"port\": 8080, \"publish\": 80}],"
              " \"health\": {\"liveness\": {\"tcp\": {\"port\": \"http\"}}}}",
              settings);
    digest_of("{\"service\": \"s\", \"image\": \"i\", \"args\": [\"x\"]}", args);
    assert_string_equal(plain, settings);
    assert_string_not_equal(plain, args);
}

static void expect_refusal(const char *json, const char *pointer)
{
    struct error error = ERROR_INIT;
    assert_int_equal(make(json, NULL, &error), -1);
    assert_int_equal(error.code, ERROR_INVALID);
    assert_string_equal(error.pointer, pointer);
}

static void what_does_not_fit_the_image_is_refused_where_it_stands(void **state)
{
    (void)state;
    expect_refusal("{\"service\": \"s\", \"image\": \"i\", \"resources\": {\"memory\": \"4Mi\"}}",
                   "/resources/memory");
    expect_refusal("{\"service\": \"s\", \"image\": \"i\", \"resources\": {\"vcpus\": 2}}",
                   "/resources/vcpus");
    expect_refusal("{\"service\": \"s\", \"image\": \"i\","
                   " \"health\": {\"readiness\": {\"tcp\": {\"port\": \"nope\"}}}}",
                   "/health/readiness/tcp/port");
}

static void a_private_port_is_never_published_under_any_name(void **state)
{
    (void)state;
    expect_refusal("{\"service\": \"s\", \"image\": \"i\", \"ports\":"
                   " [{\"name\": \"admin\", \"port\": 8081, \"publish\": 81}]}",
                   "/ports/0/publish");
    expect_refusal("{\"service\": \"s\", \"image\": \"i\", \"ports\":"
                   " [{\"name\": \"http\", \"port\": 8081, \"publish\": 81}]}",
                   "/ports/0/publish");
    expect_refusal("{\"service\": \"s\", \"image\": \"i\", \"ports\":"
                   " [{\"name\": \"web\", \"port\": 8080},"
                   " {\"name\": \"other\", \"port\": 8081, \"publish\": 81}]}",
                   "/ports/1/publish");
}

static void the_image_checks_follow_a_port_that_is_renamed(void **state)
{
    (void)state;
    struct document_revision revision;
    struct error error = ERROR_INIT;
    assert_int_equal(make("{\"service\": \"s\", \"image\": \"i\", \"ports\":"
                          " [{\"name\": \"web\", \"port\": 8080, \"publish\": 80}]}",
                          &revision, &error),
                     0);
    assert_string_equal(revision.health.readiness.http.port, "web");
    assert_int_equal(revision.template.port_count, 2);
    json_record_release(document_record(DOCUMENT_REVISION), &revision);
}

static void a_command_line_that_no_guest_takes_is_refused(void **state)
{
    (void)state;
    struct error error = ERROR_INIT;
    char huge[1001] = "";
    memset(huge, 'x', 1000);
    AUTO_FREE char *json =
        xasprintf("{\"service\": \"s\", \"image\": \"i\", \"args\": [\"%s\"]}", huge);
    assert_int_equal(make(json, NULL, &error), -1);
    assert_string_equal(error.pointer, "/args");
    assert_non_null(strstr(error.message, "longer than the 900 bytes"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_image_fills_what_the_manifest_leaves_out),
        cmocka_unit_test(settings_do_not_change_the_digest_and_the_template_does),
        cmocka_unit_test(what_does_not_fit_the_image_is_refused_where_it_stands),
        cmocka_unit_test(a_private_port_is_never_published_under_any_name),
        cmocka_unit_test(the_image_checks_follow_a_port_that_is_renamed),
        cmocka_unit_test(a_command_line_that_no_guest_takes_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
