/* What a check may be, and the judgements that need no guest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "lib/api/health_spec.h"
#include "lib/cleanup.h"

static int decode(const char *text, struct api_health *ret_health, struct error *error)
{
    struct api_health health = {0};
    api_probe_set_defaults(&health.readiness);
    api_probe_set_defaults(&health.liveness);
    if (json_parse_record(&api_health_record, text, strlen(text), JSON_STRICT, &health, error) < 0)
        return -1;
    *ret_health = health;
    if (api_health_validate(&health, error) == 0)
        return 0;
    json_record_release(&api_health_record, &health);
    return -1;
}

static void assert_refused(const char *text, const char *pointer, const char *says)
{
    struct api_health health;
    struct error error = ERROR_INIT;
    if (decode(text, &health, &error) == 0)
        fail_msg("taken: %s", text);
    assert_string_equal(error.pointer, pointer);
    if (strstr(error.message, says) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", error.message, says);
}

#define HTTP(more) "{\"readiness\":{\"http\":{\"path\":\"/h\",\"port\":\"http\"" more "}}}"

static void all_keys_are_read_and_written_alike(void **state)
{
    static const char text[] =
        "{\"readiness\":{\"http\":{\"path\":\"/h\",\"port\":\"http\",\"status\":\"200-299,404\","
        "\"body\":\"ok\",\"headers\":{\"Host\":\"a\",\"X-Empty\":\"\"}},\"every\":\"1s\","
        "\"timeout\":\"500ms\",\"rise\":1,\"fall\":3,\"start_grace\":\"20s\"},"
        "\"liveness\":{\"tcp\":{\"port\":\"http\"},\"every\":\"1s\",\"timeout\":\"500ms\","
        "\"rise\":1,\"fall\":3}}";
    struct api_health health;
    struct error error = ERROR_INIT;
    (void)state;
    if (decode(text, &health, &error) < 0)
        fail_msg("%s: %s", error.pointer, error.message);
    assert_int_equal(health.readiness.start_grace_ms, 20000);
    AUTO_FREE char *again = json_record_text(&api_health_record, &health);
    assert_string_equal(again, text);
    json_record_release(&api_health_record, &health);
}

static void one_status_may_be_written_as_a_number(void **state)
{
    struct api_health health;
    struct error error = ERROR_INIT;
    (void)state;
    if (decode(HTTP(",\"status\":204"), &health, &error) < 0)
        fail_msg("%s: %s", error.pointer, error.message);
    assert_string_equal(health.readiness.http.status, "204");
    json_record_release(&api_health_record, &health);
    assert_refused(HTTP(",\"status\":99"), "/readiness/http/status", "100 to 599");
    assert_refused(HTTP(",\"status\":-200"), "/readiness/http/status", "100 to 599");
    assert_refused(HTTP(",\"status\":200.5"), "/readiness/http/status",
                   "expected statuses from 100 to 599 like 200");
    assert_refused(HTTP(",\"status\":[200,404]"), "/readiness/http/status",
                   "200-299,404, found a list");
    assert_refused(HTTP(",\"status\":true"), "/readiness/http/status", "found true");
}

static void what_does_not_fit_is_refused_at_its_place(void **state)
{
    (void)state;
    assert_refused(HTTP(",\"status\":\"20\""), "/readiness/http/status", "200-299,404");
    assert_refused(HTTP(",\"status\":\"099\""), "/readiness/http/status", "100 to 599");
    assert_refused(HTTP(",\"status\":\"600\""), "/readiness/http/status", "100 to 599");
    assert_refused(HTTP(",\"status\":\"299-200\""), "/readiness/http/status", "200-299");
    assert_refused(HTTP(",\"status\":\"200,\""), "/readiness/http/status", "200-299");
    assert_refused(HTTP(",\"status\":\"\""), "/readiness/http/status", "200-299");
    assert_refused(HTTP(",\"body\":\"\""), "/readiness/http/body", "1 to 255");
    assert_refused(HTTP(",\"body\":\"a\\nb\""), "/readiness/http/body", "control");
    assert_refused(HTTP(",\"headers\":{\"a b\":\"c\"}"), "/readiness/http/headers/a b", "letters");
    assert_refused(HTTP(",\"headers\":{\"Content-Length\":\"1\"}"),
                   "/readiness/http/headers/Content-Length", "itself");
    assert_refused(HTTP(",\"headers\":{\"X\":\"a\\r\\nY: b\"}"), "/health/readiness/http/headers/X",
                   "control");
    assert_refused("{\"readiness\":{\"console\":{}}}", "/readiness/console", "pattern");
    assert_refused("{\"readiness\":{\"console\":{\"pattern\":\"\"}}}", "/readiness/console/pattern",
                   "1 to 255");
    assert_refused("{\"readiness\":{\"console\":{\"pattern\":\"x\"},\"tcp\":{\"port\":\"a\"}}}",
                   "/health/readiness", "more than one");
    assert_refused("{\"liveness\":{\"console\":{\"pattern\":\"x\"}}}", "/health/liveness/console",
                   "check liveness by http or tcp");
}

static void statuses_are_matched(void **state)
{
    static const struct {
        const char *list;
        int status;
        bool matches;
    } rows[] = {
        {"", 200, true},
        {"", 399, true},
        {"", 400, false},
        {"", 101, false},
        {"204", 204, true},
        {"204", 200, false},
        {"200-299", 250, true},
        {"200-299", 300, false},
        {"200-299,404", 404, true},
        {"404,200-204", 204, true},
        {"404,200-204", 205, false},
        {"nonsense", 200, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(api_status_matches(rows[i].list, rows[i].status), rows[i].matches);
}

static void lines_are_matched(void **state)
{
    static const struct {
        const char *pattern, *line;
        bool matches;
    } rows[] = {
        {"ready", "now ready to go", true},
        {"ready", "rea dy", false},
        {"listening on *:80", "listening on 10.0.0.2:80.", true},
        {"listening on *:80", "listening on 10.0.0.2:90", false},
        {"a*b*c", "xxaxxbxxbxxcxx", true},
        {"a*b*c", "xxcxxbxxa", false},
        {"*", "", true},
        {"aab", "aaab", true},
        {"a*", "a", true},
        {"b", "", false},
        {"ab*ab", "abab", true},
        {"ab*ab", "aba", false},
        {"**a**", "xa", true},
        {"*a*", "", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (api_console_matches(rows[i].pattern, rows[i].line, strlen(rows[i].line)) !=
            rows[i].matches)
            fail_msg("\"%s\" in \"%s\"", rows[i].pattern, rows[i].line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_keys_are_read_and_written_alike),
        cmocka_unit_test(one_status_may_be_written_as_a_number),
        cmocka_unit_test(what_does_not_fit_is_refused_at_its_place),
        cmocka_unit_test(statuses_are_matched),
        cmocka_unit_test(lines_are_matched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
