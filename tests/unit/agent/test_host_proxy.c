#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "agent/host/proxy_model.h"
#include "agent/host/proxy_runtime.h"

static struct host_proxy_frontend frontend(uint32_t publish, enum api_port_mode mode)
{
    return (struct host_proxy_frontend){.name = "default.hello", .publish = publish, .mode = mode};
}

static struct host_proxy_server server(const char *id, enum api_server_state state)
{
    struct host_proxy_server message = {
        .address = "10.64.0.2", .port = 8080, .state = state, .weight = 1};
    snprintf(message.id, sizeof message.id, "%s", id);
    return message;
}

static struct proxy_model *model_of(enum api_port_mode mode)
{
    struct proxy_model *model = proxy_model_create();
    struct host_proxy_frontend first = frontend(8080, mode);
    struct host_proxy_server ready = server("0001000000a1", API_SERVER_READY);
    struct host_proxy_server drain = server("0001000000a2", API_SERVER_DRAIN);
    assert_int_equal(proxy_model_add_frontend(model, &first, NULL), 0);
    assert_int_equal(proxy_model_add_server(model, &ready, NULL), 0);
    assert_int_equal(proxy_model_add_server(model, &drain, NULL), 0);
    return model;
}

static void render(const struct proxy_model *model, struct buffer *text)
{
    struct proxy_config config = {
        .stats_socket = "/run/p/s/8080.sock", .connections_max = 1000, .threads = 2};
    proxy_config_render(&model->frontends[0], &config, text);
}

static void a_port_and_an_instance_come_once(void **state)
{
    (void)state;
    struct proxy_model *model = model_of(API_PORT_HTTP);
    struct host_proxy_frontend again = frontend(8080, API_PORT_TCP);
    struct host_proxy_server twice = server("0001000000a1", API_SERVER_READY);
    assert_int_equal(proxy_model_add_frontend(model, &again, NULL), -1);
    assert_int_equal(proxy_model_add_server(model, &twice, NULL), -1);
    assert_int_equal(model->frontend_count, 1);
    assert_int_equal(model->frontends[0].server_count, 2);
    proxy_model_destroy(model);
}

static void a_server_needs_a_port_before_it(void **state)
{
    (void)state;
    struct proxy_model *model = proxy_model_create();
    struct host_proxy_server message = server("0001000000a1", API_SERVER_READY);
    assert_int_equal(proxy_model_add_server(model, &message, NULL), -1);
    proxy_model_destroy(model);
}

static void the_configuration_holds_what_may_get_requests(void **state)
{
    (void)state;
    struct proxy_model *model = model_of(API_PORT_HTTP);
    AUTO_BUFFER struct buffer text = {0};
    render(model, &text);
    assert_non_null(strstr(text.data, "bind fd@3\n"));
    assert_non_null(strstr(text.data, "mode http\n"));
    assert_non_null(strstr(text.data, "server i0001000000a1 10.64.0.2:8080 weight 1\n"));
    assert_null(strstr(text.data, "0001000000a2"));
    assert_non_null(strstr(text.data, "option redispatch 1\n"));
    proxy_model_destroy(model);
}

static void tcp_repeats_no_requests(void **state)
{
    (void)state;
    struct proxy_model *model = model_of(API_PORT_TCP);
    AUTO_BUFFER struct buffer text = {0};
    render(model, &text);
    assert_non_null(strstr(text.data, "mode tcp\n"));
    assert_null(strstr(text.data, "http"));
    proxy_model_destroy(model);
}

static void a_state_line_of_haproxy_is_read(void **state)
{
    (void)state;
    struct proxy_runtime_server found;
    assert_true(proxy_runtime_parse_server(
        "3 port 2 i0001000000a2 10.64.0.3 2 8 7 1 1 1 0 2 0 0 0 0 - 8080 - 0 0 - - 0", &found));
    assert_string_equal(found.id, "0001000000a2");
    assert_string_equal(found.address, "10.64.0.3");
    assert_int_equal(found.port, 8080);
    assert_int_equal(found.admin, 8);
    assert_int_equal(found.weight, 7);
}

static void other_lines_of_haproxy_are_passed_over(void **state)
{
    (void)state;
    struct proxy_runtime_server found;
    assert_false(proxy_runtime_parse_server("1", &found));
    assert_false(proxy_runtime_parse_server("", &found));
    assert_false(proxy_runtime_parse_server(
        "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state a b c d e f g h i j "
        "k srv_port",
        &found));
    assert_false(proxy_runtime_parse_server(
        "3 port 2 i0001000000a2ffffffff 10.64.0.3 2 8 1 1 1 1 0 2 0 0 0 0 - 8080", &found));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_port_and_an_instance_come_once),
        cmocka_unit_test(a_server_needs_a_port_before_it),
        cmocka_unit_test(the_configuration_holds_what_may_get_requests),
        cmocka_unit_test(tcp_repeats_no_requests),
        cmocka_unit_test(a_state_line_of_haproxy_is_read),
        cmocka_unit_test(other_lines_of_haproxy_are_passed_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
