/* TLS: real certificates, made by openssl for the test, and curl as the client. */
#include "tests/unit/lib/http_harness.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "lib/file.h"
#include "lib/http_server_internal.h"

static char folder[] = "/tmp/shoal-tls.XXXXXX";

static void run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void run(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    AUTO_FREE char *command = xvasprintf(format, arguments);
    va_end(arguments);
    AUTO_FREE char *inside = xasprintf("cd %s && { %s; } >log 2>&1", folder, command);
    if (system(inside) != 0)
        fail_msg("%s", inside);
}

/* An authority NAME, and what it signs. */
static void make_authority(const char *name)
{
    run("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
        " -subj /CN=%s -keyout %s.key -out %s.crt",
        name, name, name);
}

static void make_certificate(const char *name, const char *authority, const char *purpose)
{
    run("openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=%s"
        " -keyout %s.key -out %s.csr &&"
        " printf 'subjectAltName=IP:127.0.0.1\\n%s' >%s.ext &&"
        " openssl x509 -req -in %s.csr -CA %s.crt -CAkey %s.key -CAcreateserial -days 2"
        " -extfile %s.ext -out %s.crt",
        name, name, name, purpose, name, name, authority, authority, name, name);
}

static char *path_of(const char *name)
{
    return xasprintf("%s/%s", folder, name);
}

static void say_name(struct http_request *request, void *data)
{
    (void)data;
    const char *name = http_request_certificate_name(request);
    AUTO_FREE char *text = xasprintf("hello %s", name != NULL ? name : "nobody");
    http_request_respond(request, 200, "text/plain", text, strlen(text));
}

static int take_nothing(struct http_request *request, const void *bytes, size_t length, void *data)
{
    (void)bytes;
    (void)data;
    if (length == 0)
        return 0;
    http_request_respond(request, 409, "text/plain", "no more", 7);
    return -1;
}

static void serve_large(struct http_request *request, void *data)
{
    (void)data;
    AUTO_FREE char *path = path_of("large");
    int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    http_request_respond_file(request, 200, "application/octet-stream", descriptor, 0, 3000000);
}

static const struct http_route routes[] = {
    {.method = "GET", .pattern = "/", .handler = say_name},
    {.method = "GET", .pattern = "/large", .handler = serve_large},
    {.method = "PUT", .pattern = "/", .handler = say_name, .on_body = take_nothing},
};

struct fixture {
    char *certificate, *key, *authority;
    struct http_server *server;
};

static void start(struct fixture *fixture, enum http_server_mode mode, uv_loop_t *loop,
                  enum http_client_certificates client_certificates)
{
    struct error error = ERROR_INIT;
    fixture->certificate = path_of("server.crt");
    fixture->key = path_of("server.key");
    fixture->authority = path_of("ca.crt");
    const struct http_server_tls tls = {
        fixture->certificate, fixture->key,
        client_certificates == HTTP_CLIENT_CERTIFICATES_OFF ? NULL : fixture->authority,
        client_certificates};
    const struct http_server_options options = {.mode = mode,
                                                .loop = loop,
                                                .address = "127.0.0.1",
                                                .tls = &tls,
                                                .routes = routes,
                                                .route_count = ARRAY_LENGTH(routes)};
    if (http_server_create(&options, &fixture->server, &error) < 0)
        fail_msg("%s", error.message);
}

static void stop(struct fixture *fixture)
{
    http_server_destroy(fixture->server, NULL, NULL);
    free(fixture->certificate);
    free(fixture->key);
    free(fixture->authority);
}

/* What curl prints with the arguments, status behind the body. */
static void curl(const struct fixture *fixture, const char *arguments, const char *wanted)
{
    run("curl -sS --max-time 30 --cacert ca.crt -w ' %%{http_code}' %s https://127.0.0.1:%u/ >out"
        " || echo \"curl $?\" >out",
        arguments, http_server_port(fixture->server));
    AUTO_FREE char *path = path_of("out");
    AUTO_FREE char *text = NULL;
    assert_int_equal(file_read(path, 1 << 20, &text, NULL, NULL), 0);
    if (strstr(text, wanted) == NULL)
        fail_msg("no \"%s\" in \"%s\"", wanted, text);
}

static void a_client_sees_a_certificate_it_can_trust(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, HTTP_SERVER_THREADS, NULL, HTTP_CLIENT_CERTIFICATES_OFF);
    curl(&fixture, "", "hello nobody 200");
    curl(&fixture, "--tls-max 1.2", "hello nobody 200");
    curl(&fixture, "--tls-max 1.1 --ciphers DEFAULT@SECLEVEL=0", "curl 35");
    curl(&fixture, "--cacert other.crt", "curl 60");
    stop(&fixture);
}

static void files_go_out_whole(void **state)
{
    (void)state;
    struct fixture fixture;
    run("head -c 3000000 /dev/urandom >large");
    start(&fixture, HTTP_SERVER_THREADS, NULL, HTTP_CLIENT_CERTIFICATES_OFF);
    run("curl -sS --max-time 30 --cacert ca.crt -o got https://127.0.0.1:%u/large && cmp got large",
        http_server_port(fixture.server));
    stop(&fixture);
}

static void an_answer_in_the_middle_of_a_body_is_encrypted_too(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, HTTP_SERVER_THREADS, NULL, HTTP_CLIENT_CERTIFICATES_OFF);
    curl(&fixture, "-X PUT -H Expect: --data-binary @large", "no more 409");
    stop(&fixture);
}

static void a_required_certificate_must_be_there_and_good(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, HTTP_SERVER_THREADS, NULL, HTTP_CLIENT_CERTIFICATES_REQUIRED);
    curl(&fixture, "--cert alice.crt --key alice.key", "hello alice 200");
    curl(&fixture, "", "none was shown");
    curl(&fixture, "", "403");
    curl(&fixture, "--cert mallory.crt --key mallory.key", "403");
    curl(&fixture, "--cert mallory.crt --key mallory.key", "NOT trusted");
    curl(&fixture, "-X PUT --data-binary @large", "403");
    curl(&fixture, "--cert robot.crt --key robot.key", "hello robot 200");
    curl(&fixture, "--cert shop.crt --key shop.key", "403"); /* it is a server's */
    stop(&fixture);
}

static void an_optional_certificate_must_be_good(void **state)
{
    (void)state;
    struct fixture fixture;
    start(&fixture, HTTP_SERVER_THREADS, NULL, HTTP_CLIENT_CERTIFICATES_OPTIONAL);
    curl(&fixture, "--cert alice.crt --key alice.key", "hello alice 200");
    curl(&fixture, "", "hello nobody 200");
    curl(&fixture, "--cert mallory.crt --key mallory.key", "403");
    stop(&fixture);
}

static void a_new_certificate_needs_no_new_server(void **state)
{
    (void)state;
    struct fixture fixture;
    struct error error = ERROR_INIT;
    start(&fixture, HTTP_SERVER_THREADS, NULL, HTTP_CLIENT_CERTIFICATES_REQUIRED);
    AUTO_FREE char *certificate = path_of("second.crt");
    AUTO_FREE char *key = path_of("second.key");
    AUTO_FREE char *authority = path_of("other.crt");
    struct http_server_tls tls = {certificate, key, authority, HTTP_CLIENT_CERTIFICATES_REQUIRED};
    assert_int_equal(http_server_reload_tls(fixture.server, &tls, &error), 0);
    /* other.crt signed both the new certificate and mallory's. */
    curl(&fixture, "--cert alice.crt --key alice.key", "curl 60");
    curl(&fixture, "--cacert other.crt --cert mallory.crt --key mallory.key", "hello mallory 200");
    curl(&fixture, "--cacert other.crt --cert alice.crt --key alice.key", "403");

    tls.key = fixture.key; /* not this certificate's */
    assert_int_equal(http_server_reload_tls(fixture.server, &tls, &error), -1);
    assert_non_null(strstr(error.message, "second.crt"));
    tls.key = "/nowhere";
    assert_int_equal(http_server_reload_tls(fixture.server, &tls, &error), -1);
    assert_non_null(strstr(error.message, "/nowhere"));
    curl(&fixture, "--cacert other.crt --cert mallory.crt --key mallory.key", "hello mallory 200");
    stop(&fixture);
}

static void files_that_are_wrong_are_named_at_the_start(void **state)
{
    (void)state;
    struct http_server *server = NULL;
    struct error error = ERROR_INIT;
    AUTO_FREE char *certificate = path_of("server.crt");
    AUTO_FREE char *key = path_of("alice.key");
    AUTO_FREE char *empty = path_of("empty");
    struct http_server_tls tls = {certificate, key, NULL, HTTP_CLIENT_CERTIFICATES_OFF};
    const struct http_server_options options = {.mode = HTTP_SERVER_THREADS,
                                                .address = "127.0.0.1",
                                                .tls = &tls,
                                                .routes = routes,
                                                .route_count = ARRAY_LENGTH(routes)};
    run("touch empty");
    assert_int_equal(http_server_create(&options, &server, &error), -1);
    assert_non_null(strstr(error.message, "alice.key"));
    AUTO_FREE char *right = path_of("server.key");
    tls.key = right;
    tls.client_ca = empty;
    assert_int_equal(http_server_create(&options, &server, &error), -1);
    assert_non_null(strstr(error.message, "empty"));
}

static void a_wrong_file_is_told_with_what_helps(void **state)
{
    (void)state;
    static const struct {
        const char *certificate, *key, *name, *help;
    } cases[] = {
        {"server.key", "server.crt", "server.key", "swapped"},
        {"server.crt", "server.crt", "key ", "swapped"},
        {"server.csr", "server.key", "server.csr", "request"},
        {"server.der", "server.key", "server.der", "-inform DER"},
        {"server.crt", "server.key.der", "server.key.der", "-inform DER"},
        {"server.crt", "locked.key", "locked.key", "encrypted"},
        {"server.crt", "old.key", "old.key", "encrypted"},
        {"server.crt", "parameters.pem", "parameters.pem", "no private key"},
    };
    run("openssl x509 -in server.crt -outform DER -out server.der");
    run("openssl pkey -in server.key -outform DER -out server.key.der");
    run("openssl pkcs8 -topk8 -in server.key -out locked.key -passout pass:secret");
    run("openssl ec -in server.key -aes128 -out old.key -passout pass:secret");
    run("openssl ecparam -name prime256v1 -out parameters.pem");
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        AUTO_FREE char *certificate = path_of(cases[i].certificate);
        AUTO_FREE char *key = path_of(cases[i].key);
        struct http_server_tls tls = {certificate, key, NULL, HTTP_CLIENT_CERTIFICATES_OFF};
        struct error error = ERROR_INIT;
        struct http_identity *identity = NULL;
        assert_int_equal(http_identity_load(&tls, &identity, &error), -1);
        if (strstr(error.message, cases[i].name) == NULL ||
            strstr(error.message, cases[i].help) == NULL)
            fail_msg("%s, %s: %s", cases[i].certificate, cases[i].key, error.message);
    }
}

static void who_never_ends_the_handshake_is_cut_off(void **state)
{
    (void)state;
    struct fixture fixture;
    struct http_server *server = NULL;
    struct error error = ERROR_INIT;
    start(&fixture, HTTP_SERVER_THREADS, NULL, HTTP_CLIENT_CERTIFICATES_OFF);
    const struct http_server_tls tls = {.certificate = fixture.certificate, .key = fixture.key};
    const struct http_server_options options = {.mode = HTTP_SERVER_THREADS,
                                                .address = "127.0.0.1",
                                                .tls = &tls,
                                                .routes = routes,
                                                .route_count = ARRAY_LENGTH(routes),
                                                .slow_window_ms = 300};
    assert_int_equal(http_server_create(&options, &server, &error), 0);
    AUTO_CLOSE int descriptor = harness_connect(http_server_port(server));
    const struct timeval patience = {.tv_sec = PATIENCE_MS / 1000};
    setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    char byte = 0x16; /* the first of a ClientHello; the others never come */
    assert_int_equal(send(descriptor, &byte, 1, MSG_NOSIGNAL), 1);
    ssize_t count = recv(descriptor, &byte, 1, 0);
    assert_true(count == 0 || (count < 0 && errno == ECONNRESET)); /* and no plain text */
    http_server_destroy(server, NULL, NULL);
    stop(&fixture);
}

/* --- on a loop --- */

static void a_loop_speaks_tls_as_well(void **state)
{
    (void)state;
    struct fixture fixture;
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    start(&fixture, HTTP_SERVER_LOOP, &loop, HTTP_CLIENT_CERTIFICATES_REQUIRED);
    pid_t child = fork();
    if (child == 0) {
        AUTO_FREE char *command = xasprintf(
            "cd %s && curl -sS --max-time 30 --cacert ca.crt --cert alice.crt --key alice.key"
            " https://127.0.0.1:%u/ | grep -q 'hello alice'",
            folder, http_server_port(fixture.server));
        _exit(system(command) == 0 ? 0 : 1);
    }
    int status = -1;
    while (waitpid(child, &status, WNOHANG) == 0) {
        uv_run(&loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
    assert_int_equal(status, 0);
    stop(&fixture);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
}

static int make_certificates(void **state)
{
    (void)state;
    if (mkdtemp(folder) == NULL)
        return -1;
    make_authority("ca");
    make_authority("other");
    make_certificate("server", "ca", "");
    make_certificate("alice", "ca", "");
    make_certificate("robot", "ca", "extendedKeyUsage=clientAuth");
    make_certificate("shop", "ca", "extendedKeyUsage=serverAuth");
    make_certificate("mallory", "other", "");
    make_certificate("second", "other", "");
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return file_remove_tree(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_client_sees_a_certificate_it_can_trust),
        cmocka_unit_test(files_go_out_whole),
        cmocka_unit_test(an_answer_in_the_middle_of_a_body_is_encrypted_too),
        cmocka_unit_test(a_required_certificate_must_be_there_and_good),
        cmocka_unit_test(an_optional_certificate_must_be_good),
        cmocka_unit_test(a_new_certificate_needs_no_new_server),
        cmocka_unit_test(files_that_are_wrong_are_named_at_the_start),
        cmocka_unit_test(a_wrong_file_is_told_with_what_helps),
        cmocka_unit_test(who_never_ends_the_handshake_is_cut_off),
        cmocka_unit_test(a_loop_speaks_tls_as_well),
    };
    return cmocka_run_group_tests(tests, make_certificates, remove_folder);
}
