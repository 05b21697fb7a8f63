/* Service specs: defaults, limits, what is refused, and where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "lib/api/service_spec.h"
#include "lib/cleanup.h"
#include "lib/json.h"

#define HEAD "{\"service\":\"hello\",\"image\":\"hello:1.0\""

static int decode(const char *text, struct api_service_spec *ret_spec, struct error *error)
{
    AUTO_JSON struct json_object *object = NULL;
    if (json_parse(text, strlen(text), &object, error) < 0)
        return -1;
    return api_service_spec_decode(object, ret_spec, error);
}

static void assert_refused(const char *members, enum error_code code, const char *pointer,
                           const char *message)
{
    struct api_service_spec spec = {0};
    struct error error = ERROR_INIT;
    char whole[2048];
    snprintf(whole, sizeof whole, HEAD "%s%s}", members[0] != '\0' ? "," : "", members);
    assert_int_equal(decode(whole, &spec, &error), -1);
    if (strstr(error.message, message) == NULL)
        fail_msg("expected \"%s\" in \"%s\"", message, error.message);
    assert_int_equal(error.code, code);
    assert_string_equal(error.pointer, pointer);
}

static void defaults_are_those_of_the_manual(void **state)
{
    (void)state;
    struct api_service_spec spec = {0};
    assert_int_equal(decode(HEAD "}", &spec, NULL), 0);
    assert_string_equal(spec.namespace_name, "default");
    assert_false(spec.has_replicas);
    assert_int_equal(spec.boot_timeout_ms, 20000);
    assert_int_equal(spec.restart.policy, API_RESTART_ALWAYS);
    assert_int_equal(spec.restart.attempts, 5);
    assert_int_equal(spec.restart.backoff_ms, 1000);
    assert_int_equal(spec.restart.max_backoff_ms, 60000);
    assert_int_equal(spec.restart.reset_after_ms, 600000);
    assert_int_equal(spec.reschedule.attempts, 5);
    assert_int_equal(spec.reschedule.backoff_ms, 5000);
    assert_int_equal(spec.reschedule.max_backoff_ms, 300000);
    assert_int_equal(spec.rollout.max_surge, 1);
    assert_int_equal(spec.rollout.max_unavailable, 0);
    assert_int_equal(spec.rollout.min_healthy_time_ms, 3000);
    assert_int_equal(spec.rollout.progress_deadline_ms, 120000);
    assert_true(spec.rollout.auto_rollback);
    assert_int_equal(spec.stop.drain_ms, 10000);
    assert_int_equal(spec.stop.grace_ms, 5000);
    assert_string_equal(spec.placement.spread, API_SPREAD_NODE);
    assert_int_equal(spec.priority, 50);
    assert_int_equal(spec.history, 20);
    assert_string_equal(spec.arch, "");
    api_service_spec_release(&spec);
}

static void a_probes_defaults_hold_for_keys_left_out(void **state)
{
    (void)state;
    struct api_service_spec spec = {0};
    assert_int_equal(decode(HEAD ",\"health\":{\"readiness\":{\"tcp\":{\"port\":\"http\"}},"
                                 "\"liveness\":{\"tcp\":{\"port\":\"http\"},\"fall\":9}}}",
                            &spec, NULL),
                     0);
    assert_true(spec.health.has_readiness && spec.health.readiness.has_tcp);
    assert_int_equal(spec.health.readiness.every_ms, 1000);
    assert_int_equal(spec.health.readiness.timeout_ms, 500);
    assert_int_equal(spec.health.readiness.fall, 3);
    assert_int_equal(spec.health.liveness.every_ms, 5000);
    assert_int_equal(spec.health.liveness.fall, 9);
    api_service_spec_release(&spec);
}

static void a_spec_that_is_written_decodes_to_the_same(void **state)
{
    (void)state;
    static const char text[] =
        HEAD ",\"namespace\":\"team\",\"replicas\":0,"
             "\"resources\":{\"memory\":\"32Mi\",\"vcpus\":2},"
             "\"ports\":[{\"name\":\"http\",\"port\":8080,\"publish\":80,\"mode\":\"http\"}],"
             "\"args\":[\"--a\",\"b c\"],\"env\":{\"LOG\":\"info\"},"
             "\"health\":{\"readiness\":{\"http\":{\"path\":\"/h\",\"port\":\"http\"}}},"
             "\"restart\":{\"policy\":\"on-failure\"},\"arch\":\"amd64\",\"history\":3}";
    struct api_service_spec spec = {0}, again = {0};
    struct error error = ERROR_INIT;
    if (decode(text, &spec, &error) < 0)
        fail_msg("%s", error.message);
    AUTO_FREE char *first = json_record_text(&api_service_spec_record, &spec);
    if (decode(first, &again, &error) < 0)
        fail_msg("%s", error.message);
    AUTO_FREE char *second = json_record_text(&api_service_spec_record, &again);
    assert_string_equal(first, second);
    assert_true(again.has_replicas);
    assert_int_equal(again.replicas, 0);
    assert_int_equal(again.restart.policy, API_RESTART_ON_FAILURE);
    assert_string_equal(again.args.items[1], "b c");
    assert_int_equal(api_port_find(again.ports, again.port_count, "http")->publish, 80);
    assert_null(api_port_find(again.ports, again.port_count, "admin"));
    api_service_spec_release(&spec);
    api_service_spec_release(&again);
}

static void unknown_keys_are_refused_at_every_level(void **state)
{
    (void)state;
    assert_refused("\"replicsa\":1", ERROR_INVALID, "/replicsa", "unknown key \"replicsa\"");
    assert_refused("\"resources\":{\"cpu\":1}", ERROR_INVALID, "/resources/cpu",
                   "allowed are memory, vcpus");
    assert_refused("\"ports\":[{\"name\":\"a\",\"port\":1,\"private\":true}]", ERROR_INVALID,
                   "/ports/0/private", "allowed are name, port, publish, mode");
    assert_refused("\"health\":{\"startup\":{}}", ERROR_INVALID, "/health/startup",
                   "allowed are readiness, liveness");
    assert_refused("\"rollout\":{\"surge\":1}", ERROR_INVALID, "/rollout/surge",
                   "allowed are max_surge, max_unavailable, min_healthy_time, progress_deadline, "
                   "auto_rollback");
}

static void what_is_asked_of_a_place_is_read_once_and_refused_where_it_stands(void **state)
{
    (void)state;
    struct api_service_spec spec = {0};
    assert_int_equal(decode(HEAD
                            ",\"priority\":80,\"placement\":{\"spread\":\"label.zone\","
                            "\"constraints\":[\"label.disk == ssd\"],\"distinct_nodes\":true,"
                            "\"max_per_node\":2,\"rebalance\":true,"
                            "\"affinity\":[{\"constraint\":\"service == cache\",\"weight\":100}]}}",
                            &spec, NULL),
                     0);
    assert_string_equal(spec.placement.spread, "label.zone");
    assert_int_equal(spec.priority, 80);
    assert_int_equal(spec.placement.affinity[0].weight, 100);
    api_service_spec_release(&spec);
    assert_refused("\"placement\":{\"constraints\":[\"arch == amd64\",\"zone == a\"]}",
                   ERROR_INVALID, "/placement/constraints/1", "label.KEY");
    assert_refused("\"placement\":{\"constraints\":[\"service == cache\"]}", ERROR_INVALID,
                   "/placement/constraints/0", "only asked about in an affinity");
    assert_refused("\"placement\":{\"affinity\":[{\"constraint\":\"x\",\"weight\":1}]}",
                   ERROR_INVALID, "/placement/affinity/0/constraint", "found \"x\"");
    assert_refused("\"placement\":{\"affinity\":[{\"constraint\":\"node == a\",\"weight\":0}]}",
                   ERROR_INVALID, "/placement/affinity/0/weight", "1 to 100");
    assert_refused("\"placement\":{\"spread\":\"zone\"}", ERROR_INVALID, "/placement/spread",
                   "node, none, or label.KEY");
    assert_refused("\"priority\":101", ERROR_INVALID, "/priority", "0 to 100");
}

static void what_is_not_built_yet_is_refused_never_ignored(void **state)
{
    (void)state;
    static const char *const keys[] = {"secrets", "egress", "allow_from"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        char members[64], pointer[32];
        snprintf(members, sizeof members, "\"%s\":true", keys[i]);
        snprintf(pointer, sizeof pointer, "/%s", keys[i]);
        assert_refused(members, ERROR_UNSUPPORTED, pointer, "is not supported yet");
    }
    assert_refused("\"rollout\":{\"auto_promote\":true}", ERROR_INVALID, "/rollout",
                   "set canary to 1 or more");
    assert_refused("\"rollout\":{\"canary\":1,\"canary_weight\":101}", ERROR_INVALID,
                   "/rollout/canary_weight", "0 to 100");
}

static void volumes_are_named_once_and_have_no_canaries(void **state)
{
    (void)state;
    assert_refused("\"volumes\":[{\"name\":\"data\"}]", ERROR_INVALID, "/volumes/0", "size");
    assert_refused("\"volumes\":[{\"name\":\"a\",\"size\":1048576},"
                   "{\"name\":\"a\",\"size\":1048576}]",
                   ERROR_INVALID, "/volumes/1/name", "used twice");
    assert_refused("\"volumes\":[{\"name\":\"a\",\"size\":1048576},"
                   "{\"name\":\"b\",\"size\":1048576,\"device\":\"a\"}]",
                   ERROR_INVALID, "/volumes/1", "used twice");
    assert_refused("\"volumes\":[{\"name\":\"a-name-of-21-character\",\"size\":1048576}]",
                   ERROR_INVALID, "/volumes/0", "name a shorter one by `device`");
    assert_refused("\"volumes\":[{\"name\":\"a\",\"size\":1048576}],"
                   "\"rollout\":{\"canary\":1}",
                   ERROR_INVALID, "/rollout/canary", "has no canaries");
}

static void values_stay_in_their_ranges(void **state)
{
    (void)state;
    assert_refused("\"replicas\":10001", ERROR_INVALID, "/replicas", "0 to 10000");
    assert_refused("\"resources\":{\"memory\":\"1Ki\"}", ERROR_INVALID, "/resources/memory",
                   "1Mi to 1Ti");
    assert_refused("\"resources\":{\"vcpus\":0}", ERROR_INVALID, "/resources/vcpus", "1 to 256");
    assert_refused("\"ports\":[{\"name\":\"a\",\"port\":65536}]", ERROR_INVALID, "/ports/0/port",
                   "1 to 65535");
    assert_refused("\"ports\":[{\"name\":\"a\",\"port\":1,\"publish\":0}]", ERROR_INVALID,
                   "/ports/0/publish", "1 to 65535");
    assert_refused("\"ports\":[{\"name\":\"a\",\"port\":1,\"mode\":\"udp\"}]", ERROR_INVALID,
                   "/ports/0/mode", "allowed are tcp, http");
    assert_refused("\"boot_timeout\":\"10ms\"", ERROR_INVALID, "/boot_timeout", "100ms to 1h");
    assert_refused("\"history\":0", ERROR_INVALID, "/history", "1 to 1000");
    assert_refused("\"arch\":\"riscv\"", ERROR_INVALID, "/arch", "amd64, arm64");
    assert_refused("\"restart\":{\"policy\":\"maybe\"}", ERROR_INVALID, "/restart/policy",
                   "always, on-failure, never");
    assert_refused("\"env\":{\"1A\":\"x\"}", ERROR_INVALID, "/env/1A",
                   "letters, digits and _, not starting with a digit");
    assert_refused("\"args\":[\"a\\nb\"]", ERROR_INVALID, "/args/0", "no control characters");
}

static void combinations_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    assert_refused("\"rollout\":{\"max_surge\":0}", ERROR_INVALID, "/rollout/max_surge",
                   "nothing could ever be replaced");
    assert_refused("\"rollout\":{\"min_healthy_time\":\"2m\"}", ERROR_INVALID,
                   "/rollout/progress_deadline", "longer than min_healthy_time");
    assert_refused("\"health\":{\"readiness\":{\"every\":\"1s\"}}", ERROR_INVALID,
                   "/health/readiness", "exactly one of http, tcp and console, found none");
    assert_refused("\"health\":{\"liveness\":{\"tcp\":{\"port\":\"a\"},\"http\":{\"path\":\"/\","
                   "\"port\":\"a\"}}}",
                   ERROR_INVALID, "/health/liveness", "found more than one");
    assert_refused("\"ports\":[{\"name\":\"a\",\"port\":1},{\"name\":\"a\",\"port\":2}]",
                   ERROR_INVALID, "/ports/1/name", "used twice");
    assert_refused("\"ports\":[{\"name\":\"a\",\"port\":1},{\"name\":\"b\",\"port\":1}]",
                   ERROR_INVALID, "/ports/1/port", "listed twice");
    assert_refused("\"ports\":[{\"name\":\"a\",\"port\":1,\"publish\":9},"
                   "{\"name\":\"b\",\"port\":2,\"publish\":9}]",
                   ERROR_INVALID, "/ports/1/publish", "published twice");
    assert_refused("\"env\":{\"A\":\"x\\u0007\"}", ERROR_INVALID, "/env/A", "control character");
}

static void a_service_needs_a_name_and_an_image(void **state)
{
    (void)state;
    struct api_service_spec spec = {0};
    struct error error = ERROR_INIT;
    assert_int_equal(decode("{\"image\":\"a\"}", &spec, &error), -1);
    assert_non_null(strstr(error.message, "the key \"service\" is missing"));
    assert_int_equal(decode("{\"service\":\"Hello\",\"image\":\"a\"}", &spec, &error), -1);
    assert_string_equal(error.pointer, "/service");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(defaults_are_those_of_the_manual),
        cmocka_unit_test(a_probes_defaults_hold_for_keys_left_out),
        cmocka_unit_test(a_spec_that_is_written_decodes_to_the_same),
        cmocka_unit_test(unknown_keys_are_refused_at_every_level),
        cmocka_unit_test(what_is_asked_of_a_place_is_read_once_and_refused_where_it_stands),
        cmocka_unit_test(what_is_not_built_yet_is_refused_never_ignored),
        cmocka_unit_test(values_stay_in_their_ranges),
        cmocka_unit_test(volumes_are_named_once_and_have_no_canaries),
        cmocka_unit_test(combinations_that_make_no_sense_are_refused),
        cmocka_unit_test(a_service_needs_a_name_and_an_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
