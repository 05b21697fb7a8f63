/* The OCI client at a registry that asks who is there: a token server and a store of two scopes. */
#include "tests/unit/lib/registry_fixture.h"

struct gate {
    struct harness harness;
    struct oci_client *client;
    char url[64];
    bool basic_only;
    bool refuses_all;
    bool short_lived;
    unsigned tokens, refusals;
    char realm[128];
    char last_scope[128];
    struct scripted_registry noted; /* for script_note */
};

static bool is_login(struct http_request *request)
{
    /* alice:secret */
    const char *header = http_request_header(request, "Authorization");
    return header != NULL && strcmp(header, "Basic YWxpY2U6c2VjcmV0") == 0;
}

static void refuse(struct http_request *request, struct gate *gate, const char *scope)
{
    AUTO_FREE char *challenge =
        gate->basic_only
            ? xstrdup("Basic realm=\"x\"")
            : xasprintf("Bearer realm=\"%s\",service=\"s v\",scope=\"%s\"", gate->realm, scope);
    gate->refusals++;
    http_request_add_header(request, "WWW-Authenticate", challenge);
    http_request_respond(request, 401, "application/json", "{}", 2);
}

static bool is_allowed(struct http_request *request, struct gate *gate, const char *scope)
{
    const char *header = http_request_header(request, "Authorization");
    if (gate->refuses_all)
        return false;
    if (gate->basic_only)
        return is_login(request);
    AUTO_FREE char *pull = xasprintf("Bearer token-for-%s", scope);
    return header != NULL && strncmp(header, pull, strlen(pull)) == 0;
}

static void serve_token(struct http_request *request, void *data)
{
    struct gate *gate = ((struct harness *)data)->mine;
    assert_string_equal(http_request_query(request, "service"), "s v");
    snprintf(gate->last_scope, sizeof gate->last_scope, "%s", http_request_query(request, "scope"));
    if (!is_login(request)) {
        http_request_respond(request, 401, NULL, NULL, 0);
        return;
    }
    gate->tokens++;
    AUTO_FREE char *body = xasprintf("{\"token\": \"token-for-%s\", \"expires_in\": %d}",
                                     gate->last_scope, gate->short_lived ? 1 : 300);
    http_request_respond(request, 200, "application/json", body, strlen(body));
}

static void serve_get(struct http_request *request, void *data)
{
    struct gate *gate = ((struct harness *)data)->mine;
    if (!is_allowed(request, gate, "repository:default/hello:pull"))
        refuse(request, gate, "repository:default/hello:pull");
    else if (strcmp(http_request_method(request), "HEAD") == 0)
        http_request_respond(request, 404, NULL, NULL, 0);
    else
        http_request_respond(request, 200, OCI_MANIFEST_TYPE, "{}", 2);
}

static void serve_write(struct http_request *request, void *data)
{
    struct gate *gate = ((struct harness *)data)->mine;
    if (!is_allowed(request, gate, "repository:default/hello:pull,push")) {
        refuse(request, gate, "repository:default/hello:pull,push");
        return;
    }
    bool starts = strcmp(http_request_method(request), "POST") == 0;
    http_request_add_header(request, "Location", "/v2/default/hello/blobs/uploads/1");
    http_request_respond(request, starts ? 202 : 201, NULL, NULL, 0);
}

static const struct http_route routes[] = {
    {.method = "GET", .pattern = "/token", .handler = serve_token},
    {.method = "GET", .pattern = "/v2/{path...}", .handler = serve_get},
    {.method = "POST", .pattern = "/v2/{path...}/", .handler = serve_write},
    {.method = "PUT", .pattern = "/v2/{path...}", .handler = serve_write, .body_limit = 1 << 20},
};

static struct gate *gate_open(const char *username, const char *password)
{
    struct gate *gate = xcalloc(1, sizeof *gate);
    struct http_server_options options = {
        .mode = HTTP_SERVER_LOOP, .routes = routes, .route_count = ARRAY_LENGTH(routes)};
    harness_open(&gate->harness, &options);
    gate->harness.mine = gate;
    snprintf(gate->url, sizeof gate->url, "http://127.0.0.1:%u",
             http_server_port(gate->harness.server));
    snprintf(gate->realm, sizeof gate->realm, "%s/token", gate->url);
    struct oci_client_options client = {.http = gate->harness.client,
                                        .url = gate->url,
                                        .attempts = 1,
                                        .username = username,
                                        .password = password};
    gate->client = oci_client_create(&client);
    return gate;
}

static void gate_close(struct gate *gate)
{
    oci_client_destroy(gate->client);
    harness_close(&gate->harness);
    buffer_finish(&gate->noted.bytes);
    free(gate);
}

static enum error_code wait_end(struct gate *gate)
{
    assert_true(harness_wait(&gate->harness, &gate->noted.done));
    gate->noted.done = false;
    return gate->noted.code;
}

static enum error_code get(struct gate *gate)
{
    oci_client_get_manifest(gate->client, "default/hello", "1.0", script_note, &gate->noted);
    return wait_end(gate);
}

static enum error_code push(struct gate *gate)
{
    char digest[DIGEST_TEXT_MAX];
    digest_of_bytes("bytes", 5, digest);
    oci_client_push_blob(gate->client, "default/hello", digest, 5, NULL, "bytes", NULL, script_note,
                         &gate->noted);
    return wait_end(gate);
}

static void a_token_is_fetched_and_used_again(void **state)
{
    (void)state;
    struct gate *gate = gate_open("alice", "secret");
    assert_int_equal(get(gate), ERROR_NONE);
    assert_int_equal(get(gate), ERROR_NONE);
    assert_int_equal(gate->tokens, 1);
    assert_int_equal(gate->refusals, 1);
    gate_close(gate);
}

static void a_push_gets_the_wider_token_it_needs(void **state)
{
    (void)state;
    struct gate *gate = gate_open("alice", "secret");
    assert_int_equal(get(gate), ERROR_NONE);
    assert_int_equal(push(gate), ERROR_NONE);
    assert_int_equal(gate->tokens, 2);
    assert_string_equal(gate->last_scope, "repository:default/hello:pull,push");
    assert_int_equal(get(gate), ERROR_NONE);
    assert_int_equal(gate->tokens, 2);
    gate_close(gate);
}

static void a_token_that_ended_is_fetched_anew(void **state)
{
    (void)state;
    struct gate *gate = gate_open("alice", "secret");
    gate->short_lived = true;
    assert_int_equal(get(gate), ERROR_NONE);
    const struct timespec pause = {.tv_nsec = 600 * 1000 * 1000};
    nanosleep(&pause, NULL);
    uv_update_time(&gate->harness.loop);
    assert_int_equal(get(gate), ERROR_NONE);
    assert_int_equal(gate->tokens, 2);
    gate_close(gate);
}

static void basic_is_answered_with_each_request(void **state)
{
    (void)state;
    struct gate *gate = gate_open("alice", "secret");
    gate->basic_only = true;
    assert_int_equal(push(gate), ERROR_NONE);
    assert_int_equal(gate->refusals, 1);
    assert_int_equal(gate->tokens, 0);
    gate_close(gate);
}

static void a_wrong_password_is_said(void **state)
{
    (void)state;
    struct gate *gate = gate_open("alice", "wrong");
    assert_int_equal(get(gate), ERROR_DENIED);
    assert_non_null(strstr(gate->noted.message, "log in: HTTP status 401"));
    gate->basic_only = true;
    assert_int_equal(get(gate), ERROR_DENIED);
    assert_non_null(strstr(gate->noted.message, "does not allow this to the user"));
    gate_close(gate);
}

static void without_a_login_the_remedy_is_named(void **state)
{
    (void)state;
    struct gate *gate = gate_open(NULL, NULL);
    gate->basic_only = true;
    assert_int_equal(get(gate), ERROR_DENIED);
    assert_non_null(strstr(gate->noted.message, "wants a login"));
    gate_close(gate);
}

static void a_registry_that_takes_no_token_ends_the_call(void **state)
{
    (void)state;
    struct gate *gate = gate_open("alice", "secret");
    gate->refuses_all = true;
    assert_int_equal(get(gate), ERROR_DENIED);
    assert_int_equal(gate->refusals, 2);
    assert_int_equal(push(gate), ERROR_DENIED);
    gate_close(gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_is_fetched_and_used_again),
        cmocka_unit_test(a_push_gets_the_wider_token_it_needs),
        cmocka_unit_test(a_token_that_ended_is_fetched_anew),
        cmocka_unit_test(basic_is_answered_with_each_request),
        cmocka_unit_test(a_wrong_password_is_said),
        cmocka_unit_test(without_a_login_the_remedy_is_named),
        cmocka_unit_test(a_registry_that_takes_no_token_ends_the_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
