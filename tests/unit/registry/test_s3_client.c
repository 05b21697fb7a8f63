/* The client before an endpoint that is busy, breaks its answers off or changes its mind: what a
 * real one does too seldom to be waited for. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/http_server.h"
#include "lib/xalloc.h"
#include "registry/storage/s3_client.h"
#include "registry/storage/s3_upload.h"

#define EMPTY_LIST                                                                                 \
    "<ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>"
#define SIZE ((size_t)20 << 20) /* two parts */

struct endpoint {
    struct http_server *server;
    struct s3_client *client;
    struct s3_settings settings;
    _Atomic unsigned calls; /* of the kind that a test looks at */
    _Atomic unsigned busy;  /* so many more are answered 503 */
    _Atomic unsigned aborts;
    const char *completed; /* what the next complete call is answered */
    bool completed_once;
    uint64_t object_size; /* of the object at the end; 0: none */
};

static bool is_busy(struct http_request *request, struct endpoint *endpoint)
{
    static const char slow[] = "<Error><Code>SlowDown</Code><Message>later</Message></Error>";
    endpoint->calls++;
    if (endpoint->busy == 0)
        return false;
    endpoint->busy--;
    http_request_respond(request, 503, "application/xml", slow, strlen(slow));
    return true;
}

/* Of "pages/": a page that says there is another, then that one. */
static void answer_list(struct http_request *request, void *data)
{
    (void)data;
    static const char first[] =
        "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>a+b/c=&amp;"
        "</NextContinuationToken><Contents><Key>pages/1</Key><Size>1</Size>"
        "<LastModified>2009-10-12T17:50:30.000Z</LastModified></Contents></ListBucketResult>";
    static const char again[] =
        "<ListBucketResult><IsTruncated>true</IsTruncated>"
        "<NextContinuationToken>again</NextContinuationToken></ListBucketResult>";
    const char *after = http_request_query(request, "continuation-token");
    if (strcmp(http_request_query(request, "prefix"), "again/") == 0) {
        http_request_respond(request, 200, "application/xml", again, strlen(again));
        return;
    }
    if (strcmp(http_request_query(request, "prefix"), "pages/") == 0 && after == NULL) {
        http_request_respond(request, 200, "application/xml", first, strlen(first));
        return;
    }
    if (after != NULL && strcmp(after, "a+b/c=&") != 0) {
        http_request_respond(request, 400, NULL, NULL, 0);
        return;
    }
    http_request_respond(request, 200, "application/xml", EMPTY_LIST, strlen(EMPTY_LIST));
}

/* One of 10 bytes; "short" gives 5 of them, whatever is asked. */
static void answer_get(struct http_request *request, void *data)
{
    struct endpoint *endpoint = data;
    const char *key = http_request_parameter(request, "key");
    if (strcmp(http_request_method(request), "HEAD") == 0) {
        uint64_t size = endpoint->object_size;
        AUTO_FREE char *bytes = xcalloc(1, size + 1);
        http_request_respond(request, size > 0 ? 200 : 404, NULL, bytes, size);
        return;
    }
    if (is_busy(request, endpoint))
        return;
    if (strcmp(key, "absent") == 0) {
        static const char absent[] = "<Error><Code>NoSuchKey</Code><Message>no</Message></Error>";
        http_request_respond(request, 404, "application/xml", absent, strlen(absent));
        return;
    }
    http_request_respond(request, 206, NULL, "0123456789", strcmp(key, "short") == 0 ? 5 : 10);
}

static void answer_put(struct http_request *request, void *data)
{
    if (is_busy(request, data))
        return;
    http_request_add_header(request, "ETag", "\"e\"");
    http_request_respond(request, 200, NULL, NULL, 0);
}

static void answer_post(struct http_request *request, void *data)
{
    static const char created[] = "<InitiateMultipartUploadResult><UploadId>id</UploadId>"
                                  "</InitiateMultipartUploadResult>";
    static const char completed[] = "<CompleteMultipartUploadResult/>";
    struct endpoint *endpoint = data;
    if (http_request_query(request, "uploads") != NULL) {
        http_request_respond(request, 200, "application/xml", created, strlen(created));
        return;
    }
    endpoint->calls++;
    const char *answer = completed;
    if (endpoint->completed != NULL && !endpoint->completed_once)
        answer = endpoint->completed;
    endpoint->completed_once = true;
    http_request_respond(request, strstr(answer, "NoSuchUpload") != NULL ? 404 : 200,
                         "application/xml", answer, strlen(answer));
}

static void answer_delete(struct http_request *request, void *data)
{
    struct endpoint *endpoint = data;
    if (http_request_query(request, "uploadId") != NULL)
        endpoint->aborts++;
    http_request_respond(request, 204, NULL, NULL, 0);
}

static const struct http_route routes[] = {
    {.method = "GET", .pattern = "/bucket/", .handler = answer_list},
    {.method = "GET", .pattern = "/bucket/{key...}", .handler = answer_get},
    {.method = "PUT", .pattern = "/bucket/{key...}", .handler = answer_put, .body_limit = 32 << 20},
    {.method = "POST",
     .pattern = "/bucket/{key...}",
     .handler = answer_post,
     .body_limit = 1 << 20},
    {.method = "DELETE", .pattern = "/bucket/{key...}", .handler = answer_delete},
};

static int open_all(void **state)
{
    struct endpoint *endpoint = xcalloc(1, sizeof *endpoint);
    struct error error = ERROR_INIT;
    const struct http_server_options options = {.mode = HTTP_SERVER_THREADS,
                                                .address = "127.0.0.1",
                                                .routes = routes,
                                                .route_count = ARRAY_LENGTH(routes),
                                                .data = endpoint};
    setenv("AWS_ACCESS_KEY_ID", "A", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "S", 1);
    if (http_server_create(&options, &endpoint->server, &error) < 0)
        fail_msg("%s", error.message);
    endpoint->settings.endpoint =
        xasprintf("http://127.0.0.1:%u", http_server_port(endpoint->server));
    endpoint->settings.bucket = xstrdup("bucket");
    if (s3_client_open(&endpoint->settings, &endpoint->client, &error) < 0)
        fail_msg("%s", error.message);
    *state = endpoint;
    return 0;
}

static int close_all(void **state)
{
    struct endpoint *endpoint = *state;
    s3_client_close(endpoint->client);
    http_server_destroy(endpoint->server, NULL, NULL);
    json_record_release(&s3_settings_record, &endpoint->settings);
    free(endpoint);
    return 0;
}

static void a_busy_endpoint_is_asked_again(void **state)
{
    struct endpoint *endpoint = *state;
    struct error error = ERROR_INIT;
    char bytes[10];
    endpoint->busy = 2;
    if (s3_object_read(endpoint->client, "key", 0, bytes, sizeof bytes, &error) < 0)
        fail_msg("%s", error.message);
    assert_memory_equal(bytes, "0123456789", 10);
    assert_int_equal(endpoint->calls, 3);
}

static void an_endpoint_that_stays_busy_is_given_up(void **state)
{
    struct endpoint *endpoint = *state;
    struct error error = ERROR_INIT;
    char bytes[10];
    endpoint->busy = 100;
    assert_int_equal(s3_object_read(endpoint->client, "key", 0, bytes, sizeof bytes, &error), -1);
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    assert_non_null(strstr(error.message, "S3 GET bucket/key: SlowDown (HTTP status 503): later"));
    assert_int_equal(endpoint->calls, 4);
}

static void what_is_not_there_is_not_asked_for_again(void **state)
{
    struct endpoint *endpoint = *state;
    struct error error = ERROR_INIT;
    char bytes[10];
    assert_int_equal(s3_object_read(endpoint->client, "absent", 0, bytes, sizeof bytes, &error),
                     -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_int_equal(endpoint->calls, 1);
}

static void an_answer_of_another_length_is_an_error(void **state)
{
    struct endpoint *endpoint = *state;
    struct error error = ERROR_INIT;
    char bytes[10];
    assert_int_equal(s3_object_read(endpoint->client, "short", 0, bytes, 10, &error), -1);
    assert_int_equal(error.code, ERROR_INTERNAL);
    assert_non_null(strstr(error.message, "5 bytes"));
    assert_int_equal(s3_object_read(endpoint->client, "key", 0, bytes, 5, &error), -1);
}

/* Uploads SIZE bytes in two parts; the endpoint then says that the object has `size`. */
static int upload(struct endpoint *endpoint, const char *completed, uint64_t size,
                  struct error *error)
{
    char digest[DIGEST_TEXT_MAX];
    AUTO_CLOSE int descriptor = memfd_create("blob", MFD_CLOEXEC);
    assert_int_equal(ftruncate(descriptor, (off_t)SIZE), 0);
    digest_of_bytes("", 0, digest); /* parts are hashed by themselves */
    endpoint->completed = completed;
    endpoint->completed_once = false;
    endpoint->object_size = size;
    return s3_upload(endpoint->client, "key", digest, descriptor, SIZE, error);
}

static void a_busy_endpoint_gets_each_part_again(void **state)
{
    struct endpoint *endpoint = *state;
    struct error error = ERROR_INIT;
    endpoint->busy = 2;
    if (upload(endpoint, NULL, SIZE, &error) < 0)
        fail_msg("%s", error.message);
    assert_int_equal(endpoint->calls, 2 + 2 + 1);
    assert_int_equal(endpoint->aborts, 0);
}

static void an_error_behind_a_200_is_one(void **state)
{
    struct endpoint *endpoint = *state;
    struct error error = ERROR_INIT;
    /* The one is passing, the other is not. */
    assert_int_equal(upload(endpoint,
                            "<Error><Code>InternalError</Code><Message>m</Message></Error>", SIZE,
                            &error),
                     0);
    assert_int_equal(endpoint->aborts, 0);
    assert_int_equal(upload(endpoint, "<Error><Code>InvalidPart</Code><Message>m</Message></Error>",
                            SIZE, &error),
                     -1);
    assert_non_null(strstr(error.message, "InvalidPart"));
    assert_int_equal(endpoint->aborts, 1);
}

static void a_lost_answer_is_made_up_for_by_looking(void **state)
{
    static const char gone[] = "<Error><Code>NoSuchUpload</Code><Message>m</Message></Error>";
    struct endpoint *endpoint = *state;
    struct error error = ERROR_INIT;
    if (upload(endpoint, gone, SIZE, &error) < 0)
        fail_msg("%s", error.message);
    /* No object: then it was not done. */
    assert_int_equal(upload(endpoint, gone, 0, &error), -1);
    assert_non_null(strstr(error.message, "NoSuchUpload"));
}

static void an_object_of_another_size_is_not_believed(void **state)
{
    struct endpoint *endpoint = *state;
    struct error error = ERROR_INIT;
    assert_int_equal(upload(endpoint, NULL, SIZE - 1, &error), -1);
    assert_int_equal(error.code, ERROR_INTERNAL);
}

static void a_listing_goes_on_with_the_token_it_was_given(void **state)
{
    struct endpoint *endpoint = *state;
    struct error error = ERROR_INIT;
    struct s3_page page, last;
    if (s3_list(endpoint->client, "pages/", NULL, &page, &error) < 0 ||
        s3_list(endpoint->client, "pages/", page.next, &last, &error) < 0)
        fail_msg("%s", error.message);
    assert_int_equal(page.count, 1);
    assert_string_equal(page.objects[0].key, "pages/1");
    assert_int_equal(last.count, 0);
    assert_null(last.next);
    s3_page_release(&page);
    s3_page_release(&last);
}

static void a_listing_that_stands_still_is_an_error(void **state)
{
    struct endpoint *endpoint = *state;
    struct error error = ERROR_INIT;
    struct s3_page page;
    assert_int_equal(s3_list(endpoint->client, "again/", NULL, &page, NULL), 0);
    assert_string_equal(page.next, "again");
    s3_page_release(&page);
    assert_int_equal(s3_list(endpoint->client, "again/", "again", &page, &error), -1);
    assert_non_null(strstr(error.message, "does not go on"));
}

static void a_failed_part_takes_the_others_back(void **state)
{
    struct endpoint *endpoint = *state;
    struct error error = ERROR_INIT;
    endpoint->busy = 1000;
    assert_int_equal(upload(endpoint, NULL, SIZE, &error), -1);
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    assert_int_equal(endpoint->aborts, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_busy_endpoint_is_asked_again),
        TEST(an_endpoint_that_stays_busy_is_given_up),
        TEST(what_is_not_there_is_not_asked_for_again),
        TEST(an_answer_of_another_length_is_an_error),
        TEST(a_busy_endpoint_gets_each_part_again),
        TEST(an_error_behind_a_200_is_one),
        TEST(a_lost_answer_is_made_up_for_by_looking),
        TEST(an_object_of_another_size_is_not_believed),
        TEST(a_listing_goes_on_with_the_token_it_was_given),
        TEST(a_listing_that_stands_still_is_an_error),
        TEST(a_failed_part_takes_the_others_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
