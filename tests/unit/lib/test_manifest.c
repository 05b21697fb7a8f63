/* Service manifests: specs, documents, and where what is wrong stands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/json.h"
#include "lib/manifest.h"

static struct manifest *parse(const char *text)
{
    struct manifest *manifest = NULL;
    struct error error = ERROR_INIT;
    if (manifest_parse("a.yaml", text, strlen(text), "team", &manifest, &error) < 0)
        fail_msg("%s", error.message);
    return manifest;
}

static void assert_refused(const char *text, enum error_code code, const char *message)
{
    struct manifest *manifest = NULL;
    struct error error = ERROR_INIT;
    assert_int_equal(manifest_parse("a.yaml", text, strlen(text), "team", &manifest, &error), -1);
    assert_null(manifest);
    if (strstr(error.message, message) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", message, error.message);
    assert_int_equal(error.code, code);
}

#define HEAD "service: hello\nimage: hello:1.0\n"

static void a_manifest_becomes_a_spec_over_the_defaults(void **state)
{
    (void)state;
    struct manifest *manifest = parse(HEAD "replicas: 3\nresources: {memory: 32Mi}\n");
    const struct api_service_spec *spec = manifest_spec(manifest, 0);
    assert_int_equal(manifest_count(manifest), 1);
    assert_string_equal(spec->service, "hello");
    assert_true(spec->has_replicas);
    assert_int_equal(spec->replicas, 3);
    assert_int_equal(spec->resources.memory, 32 << 20);
    assert_int_equal(spec->boot_timeout_ms, 20000);
    manifest_destroy(manifest);
}

static void a_service_without_a_namespace_gets_the_callers(void **state)
{
    (void)state;
    struct manifest *manifest = parse(HEAD "---\nservice: b\nimage: b\nnamespace: other\n");
    assert_int_equal(manifest_count(manifest), 2);
    assert_string_equal(manifest_spec(manifest, 0)->namespace_name, "team");
    assert_string_equal(manifest_spec(manifest, 1)->namespace_name, "other");
    AUTO_FREE char *first = json_text(manifest_document(manifest, 0));
    AUTO_FREE char *second = json_text(manifest_document(manifest, 1));
    assert_string_equal(first, "{\"service\":\"hello\",\"image\":\"hello:1.0\","
                               "\"namespace\":\"team\"}");
    assert_string_equal(second, "{\"service\":\"b\",\"image\":\"b\",\"namespace\":\"other\"}");
    manifest_destroy(manifest);
}

static void refusals_name_file_line_column_and_what_is_allowed(void **state)
{
    (void)state;
    assert_refused(HEAD "replicsa: 2\n", ERROR_INVALID,
                   "a.yaml:3:1: unknown key \"replicsa\": allowed are service, namespace, image, "
                   "replicas");
    assert_refused(HEAD "replicas: many\n", ERROR_INVALID,
                   "a.yaml:3:11: expected a whole number, found \"many\"");
    assert_refused(HEAD "replicas: 10001\n", ERROR_INVALID,
                   "a.yaml:3:11: 10001 is out of range: allowed are 0 to 10000");
    assert_refused(HEAD "ports:\n  - {name: http, port: 8080}\n  - {name: http, port: 81}\n",
                   ERROR_INVALID, "a.yaml:5:12: the port name \"http\" is used twice");
    assert_refused(HEAD "health: {readiness: {every: 1s}}\n", ERROR_INVALID,
                   "a.yaml:3:21: a check needs exactly one of http, tcp and console");
    assert_refused(
        HEAD "health: {readiness: {http: {path: /, port: a, status: 2xx}}}\n", ERROR_INVALID,
        "a.yaml:3:55: \"2xx\" is not allowed: statuses from 100 to 599 like 200, 200-299 "
        "or 200-299,404");
    assert_refused(HEAD "egress: true\n", ERROR_UNSUPPORTED,
                   "a.yaml:3:9: \"egress\" is not supported yet");
    assert_refused(HEAD "rollout: {canary: one}\n", ERROR_INVALID,
                   "a.yaml:3:19: expected a whole number, found \"one\"");
    assert_refused("service: hello\n", ERROR_INVALID, "a.yaml:1:1: the key \"image\" is missing");
    assert_refused("service: hello\nimage: Hello:1.0\n", ERROR_INVALID,
                   "a.yaml:2:8: image \"Hello");
    assert_refused(HEAD "env: {A: 1}\n", ERROR_INVALID,
                   "a.yaml:3:10: expected a text (quote it if it is one), found 1");
    assert_refused("- 1\n", ERROR_INVALID, "a.yaml:1:1: expected a mapping, found a list");
}

static void a_mistake_in_a_later_service_is_found_at_its_own_line(void **state)
{
    (void)state;
    assert_refused(HEAD "---\nservice: b\nimage: b:1\nreplicas: -1\n", ERROR_INVALID,
                   "a.yaml:6:11: ");
}

static void a_service_stands_in_a_file_once(void **state)
{
    (void)state;
    assert_refused(HEAD "---\n" HEAD, ERROR_INVALID,
                   "a.yaml:4:10: the service team/hello stands in this file twice");
    manifest_destroy(parse(HEAD "---\nnamespace: other\n" HEAD));
}

static void a_port_is_published_once_in_a_file(void **state)
{
    (void)state;
    assert_refused(HEAD "ports: [{name: a, port: 1, publish: 80}]\n---\nservice: b\nimage: b\n"
                        "namespace: other\nports:\n  - {name: a, port: 1, publish: 81}\n"
                        "  - {name: b, port: 2, publish: 80}\n",
                   ERROR_INVALID,
                   "a.yaml:10:33: port 80 is published by service hello in this file already");
    manifest_destroy(parse(HEAD "ports: [{name: a, port: 1}]\n---\nservice: b\nimage: b\n"
                                "ports: [{name: a, port: 1}]\n"));
}

static void a_file_without_a_service_is_refused(void **state)
{
    (void)state;
    assert_refused("# nothing\n", ERROR_INVALID, "a.yaml: no service in it");
}

static void a_schedulers_pointer_becomes_a_position(void **state)
{
    (void)state;
    struct manifest *manifest =
        parse(HEAD "---\nservice: b\nimage: b:1\nports:\n  - {name: web, port: 80, publish: 80}\n");
    struct error error = ERROR_INIT;
    error_set(&error, ERROR_CONFLICT, "port 80 is published by default/web already");
    strcpy(error.pointer, "/ports/0/publish");
    assert_int_equal(manifest_error_locate(manifest, 1, &error), -1);
    assert_string_equal(error.message, "a.yaml:7:36: port 80 is published by default/web already");
    assert_string_equal(error.pointer, "");
    assert_int_equal(error.code, ERROR_CONFLICT);
    error_set(&error, ERROR_UNAVAILABLE, "the registry does not answer");
    manifest_error_locate(manifest, 0, &error);
    assert_string_equal(error.message, "the registry does not answer");
    manifest_destroy(manifest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_manifest_becomes_a_spec_over_the_defaults),
        cmocka_unit_test(a_service_without_a_namespace_gets_the_callers),
        cmocka_unit_test(refusals_name_file_line_column_and_what_is_allowed),
        cmocka_unit_test(a_mistake_in_a_later_service_is_found_at_its_own_line),
        cmocka_unit_test(a_service_stands_in_a_file_once),
        cmocka_unit_test(a_port_is_published_once_in_a_file),
        cmocka_unit_test(a_file_without_a_service_is_refused),
        cmocka_unit_test(a_schedulers_pointer_becomes_a_position),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
