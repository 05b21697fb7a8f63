/* The OCI client against a registry that does what the test says. */
#include "tests/unit/lib/registry_fixture.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#define MANIFEST "{\"schemaVersion\":2}"
#define REPO     "default/hello"

static int set_up(void **state)
{
    *state = script_open(3);
    return 0;
}

static int tear_down(void **state)
{
    script_close(*state);
    return 0;
}

static struct scripted *add_manifest(struct scripted_registry *registry, const char *reference)
{
    AUTO_FREE char *path = xasprintf("/v2/" REPO "/manifests/%s", reference);
    return script_add(registry, path, OCI_MANIFEST_TYPE "; charset=utf-8", MANIFEST,
                      strlen(MANIFEST));
}

static void get_manifest(struct scripted_registry *registry, const char *reference)
{
    registry->inside_call = true;
    oci_client_get_manifest(registry->client, REPO, reference, script_note, registry);
    registry->inside_call = false;
}

static void a_manifest_comes_with_its_digest_and_type(void **state)
{
    struct scripted_registry *registry = *state;
    char digest[DIGEST_TEXT_MAX];
    digest_of_bytes(MANIFEST, strlen(MANIFEST), digest);
    add_manifest(registry, "1.0");
    add_manifest(registry, digest);
    get_manifest(registry, "1.0");
    script_assert_ok(registry);
    assert_string_equal(registry->digest, digest);
    assert_string_equal(registry->media_type, OCI_MANIFEST_TYPE);
    assert_string_equal(buffer_text(&registry->bytes), MANIFEST);
    get_manifest(registry, digest);
    script_assert_ok(registry);
}

static void altered_bytes_are_refused_with_both_digests(void **state)
{
    struct scripted_registry *registry = *state;
    char digest[DIGEST_TEXT_MAX], other[DIGEST_TEXT_MAX];
    digest_of_bytes(MANIFEST, strlen(MANIFEST), digest);
    digest_of_bytes("other", 5, other);
    AUTO_FREE char *message = xasprintf("altered bytes: expected %s, got %s", other, digest);
    add_manifest(registry, other);
    get_manifest(registry, other);
    script_assert_error(registry, ERROR_SIGNATURE, message);
    add_manifest(registry, "1.0")->claimed_digest = other;
    get_manifest(registry, "1.0");
    script_assert_error(registry, ERROR_SIGNATURE, message);
}

static void what_is_not_there_is_not_found_and_named(void **state)
{
    struct scripted_registry *registry = *state;
    get_manifest(registry, "9");
    script_assert_error(registry, ERROR_NOT_FOUND, "manifest default/hello:9: MANIFEST_UNKNOWN");
    assert_non_null(strstr(registry->message, registry->url));
}

static void names_that_no_registry_takes_are_refused_later_not_at_once(void **state)
{
    struct scripted_registry *registry = *state;
    get_manifest(registry, "../../etc");
    script_assert_error(registry, ERROR_INVALID, "not a name");
    oci_client_get_blob(registry->client, REPO, "1.0", 10, script_note, registry);
    script_assert_error(registry, ERROR_INVALID, "not a name");
    oci_client_list_tags(registry->client, "../x", script_note, registry);
    script_assert_error(registry, ERROR_INVALID, "not a name");
    oci_client_push_manifest(registry->client, "X", "1", OCI_MANIFEST_TYPE, "{}", 2, script_note,
                             registry);
    script_assert_error(registry, ERROR_INVALID, "not a name");
    assert_int_equal(registry->puts, 0);
}

static void temporary_failures_are_retried(void **state)
{
    struct scripted_registry *registry = *state;
    struct scripted *answer = add_manifest(registry, "1.0");
    answer->failures = 2;
    get_manifest(registry, "1.0");
    script_assert_ok(registry);
    assert_int_equal(answer->requests, 3);
    answer->failures = 3;
    get_manifest(registry, "1.0");
    script_assert_error(registry, ERROR_UNAVAILABLE, "3 attempts: ");
    assert_int_equal(answer->requests, 6);
}

static void a_registry_that_is_down_is_unavailable(void **state)
{
    (void)state;
    struct scripted_registry *registry = script_open(2);
    struct oci_client_options options = {
        .http = registry->harness.client, .url = "http://127.0.0.1:1", .attempts = 2};
    oci_client_destroy(registry->client);
    registry->client = oci_client_create(&options);
    get_manifest(registry, "1.0");
    script_assert_error(registry, ERROR_UNAVAILABLE, "2 attempts: ");
    script_close(registry);
}

static void a_small_blob_is_limited(void **state)
{
    struct scripted_registry *registry = *state;
    char digest[DIGEST_TEXT_MAX];
    digest_of_bytes("0123456789", 10, digest);
    AUTO_FREE char *path = xasprintf("/v2/" REPO "/blobs/%s", digest);
    script_add(registry, path, "application/octet-stream", "0123456789", 10);
    oci_client_get_blob(registry->client, REPO, digest, 10, script_note, registry);
    script_assert_ok(registry);
    assert_string_equal(buffer_text(&registry->bytes), "0123456789");
    oci_client_get_blob(registry->client, REPO, digest, 9, script_note, registry);
    script_assert_error(registry, ERROR_TOO_LARGE, "larger than 9 bytes");
}

/* --- pulling into files --- */

#define BLOB_SIZE 300000

struct pulled {
    struct scripted_registry *registry;
    struct scripted *answer;
    char folder[32];
    char *path, *partial;
    char digest[DIGEST_TEXT_MAX];
    char bytes[BLOB_SIZE];
};

static struct pulled *pull_open(struct scripted_registry *registry)
{
    struct pulled *pulled = xcalloc(1, sizeof *pulled);
    pulled->registry = registry;
    strcpy(pulled->folder, "/tmp/shoal-pull-XXXXXX");
    assert_non_null(mkdtemp(pulled->folder));
    pulled->path = xasprintf("%s/blob", pulled->folder);
    pulled->partial = xasprintf("%s/blob.partial", pulled->folder);
    for (size_t i = 0; i < BLOB_SIZE; i++)
        pulled->bytes[i] = (char)(i * 7 + i / 251);
    digest_of_bytes(pulled->bytes, BLOB_SIZE, pulled->digest);
    AUTO_FREE char *path = xasprintf("/v2/" REPO "/blobs/%s", pulled->digest);
    pulled->answer =
        script_add(registry, path, "application/octet-stream", pulled->bytes, BLOB_SIZE);
    return pulled;
}

static void pull_close(struct pulled *pulled)
{
    assert_int_equal(file_remove_tree(pulled->folder, NULL), 0);
    free(pulled->path);
    free(pulled->partial);
    free(pulled);
}

static void pull(struct pulled *pulled)
{
    oci_client_pull_blob(pulled->registry->client, REPO, pulled->digest, BLOB_SIZE, pulled->path,
                         script_progress, script_note, pulled->registry);
}

static void assert_pulled(struct pulled *pulled)
{
    struct stat status;
    AUTO_FREE char *data = NULL;
    size_t length = 0;
    script_assert_ok(pulled->registry);
    assert_int_equal(file_read(pulled->path, BLOB_SIZE, &data, &length, NULL), 0);
    assert_int_equal(length, BLOB_SIZE);
    assert_memory_equal(data, pulled->bytes, BLOB_SIZE);
    assert_int_equal(stat(pulled->path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(access(pulled->partial, F_OK), -1);
    assert_int_equal(pulled->registry->progressed, BLOB_SIZE);
    assert_int_equal(pulled->registry->total, BLOB_SIZE);
}

static void a_blob_is_pulled_into_a_file(void **state)
{
    struct pulled *pulled = pull_open(*state);
    pull(pulled);
    assert_pulled(pulled);
    assert_string_equal(pulled->answer->last_range, "");
    pull_close(pulled);
}

/* Two answers over plain sockets: one that breaks off, and what the next request asked for. */
struct breaking {
    int listener;
    const struct pulled *pulled;
    char second_request[2048];
};

#define BREAK_AT 100000

static void read_request(int connection, char *ret_text, size_t size)
{
    size_t length = 0;
    while (length + 1 < size && (length < 4 || memcmp(ret_text + length - 4, "\r\n\r\n", 4) != 0)) {
        ssize_t got = read(connection, ret_text + length, size - 1 - length);
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    ret_text[length] = '\0';
}

static void answer_part(int connection, const char *status, size_t announced, const char *bytes,
                        size_t length)
{
    AUTO_FREE char *head =
        xasprintf("HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", status, announced);
    file_write_all(connection, head, strlen(head), NULL);
    file_write_all(connection, bytes, length, NULL);
    close(connection);
}

static void *serve_breaking(void *data)
{
    struct breaking *breaking = data;
    const char *bytes = breaking->pulled->bytes;
    char request[2048];
    int first = accept(breaking->listener, NULL, NULL);
    read_request(first, request, sizeof request);
    answer_part(first, "200 OK", BLOB_SIZE, bytes, BREAK_AT);
    int second = accept(breaking->listener, NULL, NULL);
    read_request(second, breaking->second_request, sizeof breaking->second_request);
    answer_part(second, "206 Partial Content", BLOB_SIZE - BREAK_AT, bytes + BREAK_AT,
                BLOB_SIZE - BREAK_AT);
    return NULL;
}

static void a_pull_that_breaks_off_goes_on_where_it_was(void **state)
{
    struct scripted_registry *registry = *state;
    struct pulled *pulled = pull_open(registry);
    struct breaking breaking = {socket(AF_INET, SOCK_STREAM, 0), pulled, ""};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    assert_int_equal(bind(breaking.listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(breaking.listener, 2), 0);
    assert_int_equal(getsockname(breaking.listener, (struct sockaddr *)&address, &length), 0);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, serve_breaking, &breaking), 0);

    AUTO_FREE char *url = xasprintf("http://127.0.0.1:%u", ntohs(address.sin_port));
    struct oci_client_options options = {
        .http = registry->harness.client, .url = url, .attempts = 2};
    oci_client_destroy(registry->client);
    registry->client = oci_client_create(&options);
    pull(pulled);
    assert_pulled(pulled);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_non_null(strstr(breaking.second_request, "\r\nRange: bytes=100000-\r\n"));
    close(breaking.listener);
    pull_close(pulled);
}

static void a_pull_goes_on_from_what_an_earlier_one_left(void **state)
{
    struct pulled *pulled = pull_open(*state);
    assert_int_equal(file_write(pulled->partial, pulled->bytes, 1234, 0600, NULL), 0);
    pull(pulled);
    assert_pulled(pulled);
    assert_int_equal(pulled->answer->requests, 1);
    assert_string_equal(pulled->answer->last_range, "bytes=1234-");
    unlink(pulled->path);
    assert_int_equal(file_write(pulled->partial, pulled->bytes, BLOB_SIZE, 0600, NULL), 0);
    pull(pulled);
    assert_pulled(pulled);
    assert_int_equal(pulled->answer->requests, 1);
    pull_close(pulled);
}

static void a_broken_leftover_is_thrown_away(void **state)
{
    struct pulled *pulled = pull_open(*state);
    assert_int_equal(file_write(pulled->partial, "garbage", 7, 0600, NULL), 0);
    pull(pulled);
    assert_pulled(pulled);
    assert_string_equal(pulled->answer->last_range, "");
    pull_close(pulled);
}

static void a_registry_without_ranges_is_read_from_the_start(void **state)
{
    struct pulled *pulled = pull_open(*state);
    pulled->answer->without_ranges = true;
    assert_int_equal(file_write(pulled->partial, pulled->bytes, 1234, 0600, NULL), 0);
    pull(pulled);
    assert_pulled(pulled);
    pull_close(pulled);
}

static void an_altered_blob_leaves_no_file(void **state)
{
    struct pulled *pulled = pull_open(*state);
    pulled->answer->bytes[BLOB_SIZE / 2] ^= 1;
    pull(pulled);
    script_assert_error(*state, ERROR_SIGNATURE, pulled->digest);
    assert_int_equal(access(pulled->path, F_OK), -1);
    assert_int_equal(access(pulled->partial, F_OK), -1);
    pull_close(pulled);
}

static void a_blob_of_another_size_is_refused(void **state)
{
    struct pulled *pulled = pull_open(*state);
    pulled->answer->length--;
    pull(pulled);
    script_assert_error(*state, ERROR_SIGNATURE, "instead of the expected 300000");
    pulled->answer->length++;
    oci_client_pull_blob(pulled->registry->client, REPO, pulled->digest, BLOB_SIZE - 1,
                         pulled->path, NULL, script_note, pulled->registry);
    script_assert_error(*state, ERROR_SIGNATURE, "more than the expected 299999");
    assert_int_equal(access(pulled->path, F_OK), -1);
    assert_int_equal(access(pulled->partial, F_OK), -1);
    pull_close(pulled);
}

static void a_folder_that_is_not_there_is_named(void **state)
{
    struct scripted_registry *registry = *state;
    struct pulled *pulled = pull_open(registry);
    oci_client_pull_blob(registry->client, REPO, pulled->digest, BLOB_SIZE, "/nowhere/blob", NULL,
                         script_note, registry);
    script_assert_error(registry, ERROR_NOT_FOUND, "/nowhere/blob.partial");
    pull_close(pulled);
}

/* --- pushing --- */

static void a_blob_is_uploaded_once(void **state)
{
    struct scripted_registry *registry = *state;
    char digest[DIGEST_TEXT_MAX];
    digest_of_bytes("hello", 5, digest);
    oci_client_push_blob(registry->client, REPO, digest, 5, NULL, "hello", script_progress,
                         script_note, registry);
    script_assert_ok(registry);
    assert_string_equal(registry->put_path, "/v2/uploads/1");
    assert_string_equal(registry->put_digest, digest);
    assert_string_equal(registry->put_type, "application/octet-stream");
    assert_string_equal(buffer_text(&registry->put_body), "hello");
    assert_int_equal(registry->progressed, 5);

    AUTO_FREE char *path = xasprintf("/v2/" REPO "/blobs/%s", digest);
    script_add(registry, path, "application/octet-stream", "hello", 5);
    oci_client_push_blob(registry->client, REPO, digest, 5, NULL, "hello", NULL, script_note,
                         registry);
    script_assert_ok(registry);
    assert_int_equal(registry->posts, 1);
    assert_int_equal(registry->puts, 1);
}

static void a_file_is_uploaded_and_a_failed_upload_tried_again(void **state)
{
    struct scripted_registry *registry = *state;
    struct pulled *pulled = pull_open(registry);
    free(pulled->answer->path);
    pulled->answer->path = xstrdup("/elsewhere");
    registry->put_failures = 1;
    assert_int_equal(file_write(pulled->path, pulled->bytes, BLOB_SIZE, 0600, NULL), 0);
    oci_client_push_blob(registry->client, REPO, pulled->digest, BLOB_SIZE, pulled->path, NULL,
                         NULL, script_note, registry);
    script_assert_ok(registry);
    assert_int_equal(registry->puts, 2);
    assert_int_equal(registry->put_body.length, BLOB_SIZE);
    assert_memory_equal(registry->put_body.data, pulled->bytes, BLOB_SIZE);
    oci_client_push_blob(registry->client, REPO, pulled->digest, BLOB_SIZE, "/nowhere", NULL, NULL,
                         script_note, registry);
    script_assert_error(registry, ERROR_NOT_FOUND, "/nowhere");
    pull_close(pulled);
}

static void a_manifest_is_put_with_its_type(void **state)
{
    struct scripted_registry *registry = *state;
    char digest[DIGEST_TEXT_MAX];
    digest_of_bytes(MANIFEST, strlen(MANIFEST), digest);
    oci_client_push_manifest(registry->client, REPO, "1.0", OCI_MANIFEST_TYPE, MANIFEST,
                             strlen(MANIFEST), script_note, registry);
    script_assert_ok(registry);
    assert_string_equal(registry->digest, digest);
    assert_string_equal(registry->put_path, "/v2/" REPO "/manifests/1.0");
    assert_string_equal(registry->put_type, OCI_MANIFEST_TYPE);
    assert_string_equal(buffer_text(&registry->put_body), MANIFEST);
}

static void errors_with_holes_in_them_are_errors(void **state)
{
    struct scripted_registry *registry = *state;
    static const char *const bodies[] = {
        "{\"error\":{\"code\":null,\"message\":null}}",
        "{\"errors\":[{\"code\":null}]}",
        "{\"errors\":[null]}",
        "{\"errors\":[{\"code\":\"DENIED\",\"message\":null}]}",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(bodies); i++) {
        AUTO_FREE char *path = xasprintf("/v2/r%zu/manifests/1.0", i);
        AUTO_FREE char *repository = xasprintf("r%zu", i);
        script_add(registry, path, "application/json", bodies[i], strlen(bodies[i]))->status = 401;
        oci_client_get_manifest(registry->client, repository, "1.0", script_note, registry);
        script_assert_error(registry, ERROR_INVALID, i < 3 ? "HTTP status 401" : "DENIED");
    }
}

/* --- the end --- */

static void never(const struct oci_result *result, void *data)
{
    (void)result;
    (void)data;
    fail();
}

static void a_destroyed_client_calls_nobody_back(void **state)
{
    struct scripted_registry *registry = *state;
    add_manifest(registry, "1.0")->failures = 100;
    oci_client_get_manifest(registry->client, REPO, "1.0", never, NULL);
    uv_run(&registry->harness.loop, UV_RUN_ONCE);
    oci_client_get_manifest(registry->client, REPO, "1.0", never, NULL);
    oci_client_list_tags(registry->client, REPO, never, NULL);
    oci_client_push_blob(registry->client, REPO, "x", 1, NULL, "x", NULL, never, NULL);
    oci_client_destroy(registry->client);
    registry->client = NULL;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_manifest_comes_with_its_digest_and_type),
        TEST(altered_bytes_are_refused_with_both_digests),
        TEST(what_is_not_there_is_not_found_and_named),
        TEST(names_that_no_registry_takes_are_refused_later_not_at_once),
        TEST(temporary_failures_are_retried),
        cmocka_unit_test(a_registry_that_is_down_is_unavailable),
        TEST(a_small_blob_is_limited),
        TEST(a_blob_is_pulled_into_a_file),
        TEST(a_pull_that_breaks_off_goes_on_where_it_was),
        TEST(a_pull_goes_on_from_what_an_earlier_one_left),
        TEST(a_broken_leftover_is_thrown_away),
        TEST(a_registry_without_ranges_is_read_from_the_start),
        TEST(an_altered_blob_leaves_no_file),
        TEST(a_blob_of_another_size_is_refused),
        TEST(a_folder_that_is_not_there_is_named),
        TEST(a_blob_is_uploaded_once),
        TEST(a_file_is_uploaded_and_a_failed_upload_tried_again),
        TEST(a_manifest_is_put_with_its_type),
        TEST(errors_with_holes_in_them_are_errors),
        TEST(a_destroyed_client_calls_nobody_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
