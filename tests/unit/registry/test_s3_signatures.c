/* AWS Signature Version 4 on the examples of the Amazon S3 API reference ("Authenticating Requests:
 * Using the Authorization Header" and "Using Query Parameters"): ours for URLs, libcurl's for
 * headers, as they arrive at a socket. */
#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/http_client_blocking.h"
#include "lib/xalloc.h"
#include "registry/storage/s3_presign.h"

#define ACCESS_KEY "AKIAIOSFODNN7EXAMPLE"
#define SECRET_KEY "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define HOST       "examplebucket.s3.amazonaws.com"
#define EMPTY      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define MAY_24     1369353600 /* 2013-05-24T00:00:00Z */

static void a_presigned_url_is_the_published_one(void **state)
{
    (void)state;
    AUTO_FREE char *url = s3_presign_get(&(struct s3_presign){.scheme = "https",
                                                              .host = HOST,
                                                              .path = "/test.txt",
                                                              .region = "us-east-1",
                                                              .access_key_id = ACCESS_KEY,
                                                              .secret_access_key = SECRET_KEY,
                                                              .wall_s = MAY_24,
                                                              .lifetime_s = 86400});
    assert_string_equal(
        url, "https://" HOST "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
             "&X-Amz-Credential=" ACCESS_KEY "%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
             "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
             "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
}

static void a_session_token_is_part_of_what_is_signed(void **state)
{
    (void)state;
    struct s3_presign presign = {.scheme = "https",
                                 .host = HOST,
                                 .path = "/test.txt",
                                 .region = "us-east-1",
                                 .access_key_id = ACCESS_KEY,
                                 .secret_access_key = SECRET_KEY,
                                 .wall_s = MAY_24,
                                 .lifetime_s = 86400};
    AUTO_FREE char *without = s3_presign_get(&presign);
    presign.session_token = "a+b/c=";
    AUTO_FREE char *with = s3_presign_get(&presign);
    assert_non_null(strstr(with, "&X-Amz-Security-Token=a%2Bb%2Fc%3D&X-Amz-SignedHeaders=host&"));
    assert_string_not_equal(strstr(with, "X-Amz-Signature"), strstr(without, "X-Amz-Signature"));
}

/* --- libcurl's --- */

struct listener {
    int descriptor;
    uint16_t port;
    struct buffer head; /* of the one request it takes */
};

static void *take_request(void *data)
{
    struct listener *listener = data;
    AUTO_CLOSE int peer = accept(listener->descriptor, NULL, NULL);
    char bytes[4096];
    while (strstr(buffer_text(&listener->head), "\r\n\r\n") == NULL) {
        ssize_t got = recv(peer, bytes, sizeof bytes, 0);
        if (got <= 0)
            return NULL;
        buffer_append(&listener->head, bytes, (size_t)got);
    }
    static const char answer[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    send(peer, answer, sizeof answer - 1, MSG_NOSIGNAL);
    /* Until the client has closed, so that no body of its is met by a reset. */
    while (recv(peer, bytes, sizeof bytes, 0) > 0)
        ;
    return NULL;
}

static void listener_open(struct listener *listener)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    *listener = (struct listener){.descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(bind(listener->descriptor, (struct sockaddr *)&address, length), 0);
    assert_int_equal(listen(listener->descriptor, 1), 0);
    assert_int_equal(getsockname(listener->descriptor, (struct sockaddr *)&address, &length), 0);
    listener->port = ntohs(address.sin_port);
}

/* Sends the request to a socket and looks there for the signature. */
static void assert_signed(struct http_client_request request, const char *target,
                          const char *const *headers, const char *signed_headers,
                          const char *signature)
{
    struct listener listener;
    listener_open(&listener);
    AUTO_FREE char *url = xasprintf("http://127.0.0.1:%u%s", listener.port, target);
    AUTO_FREE char *wanted =
        xasprintf("Authorization: AWS4-HMAC-SHA256 "
                  "Credential=" ACCESS_KEY "/20130524/us-east-1/s3/aws4_request, "
                  "SignedHeaders=%s, Signature=%s\r\n",
                  signed_headers, signature);
    request.url = url;
    request.headers = headers;
    request.user = ACCESS_KEY;
    request.password = SECRET_KEY;
    request.aws_sigv4 = "aws:amz:us-east-1:s3";
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, take_request, &listener), 0);
    struct http_blocking_client *client = http_blocking_client_create(0);
    struct error error = ERROR_INIT;
    const struct http_client_response *response =
        http_client_perform(client, &request, NULL, &error);
    if (response == NULL || response->failed)
        fail_msg("%s", response == NULL ? error.message : response->error.message);
    http_client_release(client, response);
    http_blocking_client_destroy(client);
    pthread_join(thread, NULL);
    close(listener.descriptor);
    if (strstr(buffer_text(&listener.head), wanted) == NULL)
        fail_msg("no \"%s\" in \"%s\"", wanted, buffer_text(&listener.head));
    assert_null(strstr(buffer_text(&listener.head), SECRET_KEY));
    buffer_finish(&listener.head);
}

#define PLAIN_HEADERS "host;x-amz-content-sha256;x-amz-date"

static void curl_signs_a_get_with_a_range_as_published(void **state)
{
    (void)state;
    const char *const headers[] = {"Host: " HOST, "Range: bytes=0-9",
                                   "x-amz-content-sha256: " EMPTY, "X-Amz-Date: 20130524T000000Z",
                                   NULL};
    assert_signed((struct http_client_request){0}, "/test.txt", headers,
                  "host;range;x-amz-content-sha256;x-amz-date",
                  "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
}

static void curl_signs_a_query_without_a_value_as_published(void **state)
{
    (void)state;
    const char *const headers[] = {"Host: " HOST, "x-amz-content-sha256: " EMPTY,
                                   "X-Amz-Date: 20130524T000000Z", NULL};
    assert_signed((struct http_client_request){0}, "/?lifecycle=", headers, PLAIN_HEADERS,
                  "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
}

static void curl_signs_a_listing_as_published(void **state)
{
    (void)state;
    const char *const headers[] = {"Host: " HOST, "x-amz-content-sha256: " EMPTY,
                                   "X-Amz-Date: 20130524T000000Z", NULL};
    assert_signed((struct http_client_request){0}, "/?max-keys=2&prefix=J", headers, PLAIN_HEADERS,
                  "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

static void curl_signs_a_put_of_a_file_as_published(void **state)
{
    (void)state;
    static const char text[] = "Welcome to Amazon S3.";
    const char *const headers[] = {
        "Host: " HOST,
        "Date: Fri, 24 May 2013 00:00:00 GMT",
        "x-amz-content-sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
        "X-Amz-Date: 20130524T000000Z",
        "x-amz-storage-class: REDUCED_REDUNDANCY",
        NULL};
    AUTO_CLOSE int descriptor = memfd_create("body", MFD_CLOEXEC);
    assert_int_equal(write(descriptor, text, sizeof text - 1), sizeof text - 1);
    assert_signed((struct http_client_request){.method = "PUT",
                                               .has_body_file = true,
                                               .body_descriptor = descriptor,
                                               .body_file_length = sizeof text - 1},
                  "/test%24file.text", headers,
                  "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
                  "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_presigned_url_is_the_published_one),
        cmocka_unit_test(a_session_token_is_part_of_what_is_signed),
        cmocka_unit_test(curl_signs_a_get_with_a_range_as_published),
        cmocka_unit_test(curl_signs_a_query_without_a_value_as_published),
        cmocka_unit_test(curl_signs_a_listing_as_published),
        cmocka_unit_test(curl_signs_a_put_of_a_file_as_published),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
