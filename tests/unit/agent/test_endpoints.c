/* The endpoints document on a node. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "agent/endpoints.h"
#include "lib/cleanup.h"

static const char whole_text[] =
    "{\"cluster\":\"c1\",\"term\":1,\"revision\":7,\"full\":true,\"frontends\":["
    "{\"namespace\":\"default\",\"service\":\"hello\",\"publish\":8080,\"mode\":\"http\","
    "\"servers\":["
    "{\"id\":\"000100000001\",\"address\":\"10.64.0.2\",\"port\":80,\"state\":\"ready\",\"weight\":"
    "0},"
    "{\"id\":\"000100000002\",\"address\":\"10.64.0.3\",\"port\":80,\"state\":\"drain\"}]},"
    "{\"namespace\":\"default\",\"service\":\"other\",\"publish\":8081,\"mode\":\"tcp\","
    "\"servers\":["
    "{\"id\":\"000100000002\",\"address\":\"10.64.0.3\",\"port\":81,\"state\":\"drain\"}]}]}";
static const char delta_text[] =
    "{\"cluster\":\"c1\",\"term\":1,\"revision\":8,\"full\":false,\"frontends\":["
    "{\"namespace\":\"default\",\"service\":\"other\",\"publish\":8081,\"mode\":\"tcp\","
    "\"servers\":[]},"
    "{\"namespace\":\"default\",\"service\":\"third\",\"publish\":8082,\"mode\":\"tcp\","
    "\"servers\":[]}]}";

static void merge_text(struct api_endpoints *current, const char *text)
{
    struct api_endpoints update = {0};
    struct error error = ERROR_INIT;
    if (json_parse_record(&api_endpoints_record, text, strlen(text), JSON_LENIENT, &update,
                          &error) < 0)
        fail_msg("%s", error.message);
    endpoints_merge(current, &update);
    json_record_release(&api_endpoints_record, &update);
}

static void a_delta_replaces_the_ports_that_it_names(void **state)
{
    (void)state;
    struct api_endpoints current = {0};
    merge_text(&current, whole_text);
    merge_text(&current, delta_text);
    assert_int_equal(current.revision, 8);
    assert_int_equal(current.frontend_count, 3);
    assert_int_equal(current.frontends[0].server_count, 2);
    assert_int_equal(current.frontends[1].server_count, 0);
    assert_string_equal(current.frontends[2].service, "third");
    json_record_release(&api_endpoints_record, &current);
}

static void a_whole_document_replaces_everything(void **state)
{
    (void)state;
    struct api_endpoints current = {0};
    merge_text(&current, whole_text);
    merge_text(&current, delta_text);
    merge_text(&current, whole_text);
    assert_int_equal(current.revision, 7);
    assert_int_equal(current.frontend_count, 2);
    json_record_release(&api_endpoints_record, &current);
}

static void every_server_is_sent_behind_its_frontend(void **state)
{
    (void)state;
    static const uint32_t types[] = {HOST_PROXY_BEGIN,  HOST_PROXY_FRONTEND, HOST_PROXY_SERVER,
                                     HOST_PROXY_SERVER, HOST_PROXY_FRONTEND, HOST_PROXY_SERVER,
                                     HOST_PROXY_COMMIT};
    struct api_endpoints current = {0};
    merge_text(&current, whole_text);
    size_t count;
    AUTO_FREE struct host_message *messages = endpoints_messages(&current, &count);
    assert_int_equal(count, ARRAY_LENGTH(types));
    for (size_t i = 0; i < count; i++) {
        struct error error = ERROR_INIT;
        messages[i].sequence = i + 1;
        assert_int_equal(messages[i].type, types[i]);
        if (host_message_check(&messages[i], &error) < 0)
            fail_msg("message %zu: %s", i, error.message);
    }
    assert_string_equal(messages[1].proxy_frontend.name, "default.hello");
    assert_int_equal(messages[3].proxy_server.state, API_SERVER_DRAIN);
    assert_int_equal(messages[2].proxy_server.weight, 0);
    assert_int_equal(messages[3].proxy_server.weight, 1); /* nothing was said */
    assert_int_equal(messages[6].proxy.revision, 7);
    json_record_release(&api_endpoints_record, &current);
}

static void a_draining_instance_is_counted_once(void **state)
{
    (void)state;
    struct api_endpoints current = {0};
    struct json_strings ids;
    merge_text(&current, whole_text);
    endpoints_draining(&current, &ids);
    assert_int_equal(ids.count, 1);
    assert_string_equal(ids.items[0], "000100000002");
    json_strings_release(&ids);
    json_record_release(&api_endpoints_record, &current);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_delta_replaces_the_ports_that_it_names),
        cmocka_unit_test(a_whole_document_replaces_everything),
        cmocka_unit_test(every_server_is_sent_behind_its_frontend),
        cmocka_unit_test(a_draining_instance_is_counted_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
