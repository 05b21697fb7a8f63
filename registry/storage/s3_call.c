#include "registry/storage/s3_call.h"

#include <string.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define CONNECT_TIMEOUT_MS 5000
#define SLOW_FACTOR        6
#define HEADERS_MAX        6
#define SHA256_OF_NOTHING  "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* Waits before the second try, the third and the fourth, each with half as much again by chance.
 * After silence there is one more try only: each of them costs a whole stall_timeout. */
static const unsigned pauses_ms[] = {100, 400, 1600};
#define TRIES_AFTER_SILENCE 1

char *s3_url(const struct s3_client *client, const char *key)
{
    if (key == NULL)
        return xasprintf("%s://%s%s", client->scheme, client->host, client->root);
    return xasprintf("%s://%s%s%s%s", client->scheme, client->host, client->root, client->prefix,
                     key);
}

/* A header that is freed with the list it is in. */
struct headers {
    char *items[HEADERS_MAX + 1];
    size_t count;
};

static void add_header(struct headers *headers, const char *name, const char *value)
{
    if (value != NULL)
        headers->items[headers->count++] = xasprintf("%s: %s", name, value);
}

static void headers_release(struct headers *headers)
{
    for (size_t i = 0; i < headers->count; i++) {
        explicit_bzero(headers->items[i], strlen(headers->items[i])); /* a session token */
        free(headers->items[i]);
    }
}

static void set_headers(const struct s3_client *client, const struct s3_call *call,
                        struct headers *ret_headers)
{
    char digest[DIGEST_TEXT_MAX];
    const char *sha256 = SHA256_OF_NOTHING;
    *ret_headers = (struct headers){0};
    if (call->file != NULL) {
        sha256 = call->file->sha256;
    } else if (call->text != NULL) {
        digest_of_bytes(call->text, strlen(call->text), digest);
        sha256 = digest_hex(digest);
    }
    add_header(ret_headers, "x-amz-content-sha256", sha256);
    add_header(ret_headers, "x-amz-security-token", client->credentials.session_token);
    add_header(ret_headers, "Content-Type", call->content_type);
    if (call->header != NULL)
        ret_headers->items[ret_headers->count++] = xstrdup(call->header);
}

static const struct http_client_response *try_once(struct s3_client *client,
                                                   const struct s3_call *call, struct error *error)
{
    struct headers headers;
    set_headers(client, call, &headers);
    AUTO_FREE char *place = s3_url(client, call->key);
    AUTO_FREE char *url = call->query != NULL ? xasprintf("%s?%s", place, call->query) : NULL;
    struct http_client_request request = {
        .method = call->method,
        .url = url != NULL ? url : place,
        .headers = (const char *const *)headers.items,
        .body = call->text,
        .body_length = call->text != NULL ? strlen(call->text) : 0,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
        .timeout_ms = HTTP_NO_TIMEOUT,
        .stall_timeout_s = client->stall_timeout_s * (call->is_slow ? SLOW_FACTOR : 1),
        .response_limit = S3_XML_LIMIT,
        .on_body = call->on_body,
        .ca_file = client->ca,
        .user = client->credentials.access_key_id,
        .password = client->credentials.secret_access_key,
        .aws_sigv4 = client->signing,
    };
    if (call->file != NULL) {
        request.has_body_file = true;
        request.body_descriptor = call->file->descriptor;
        request.body_offset = call->file->offset;
        request.body_file_length = call->file->length;
    }
    if (call->restart != NULL)
        call->restart(call->data);
    const struct http_client_response *response =
        http_client_perform(client->http, &request, call->data, error);
    headers_release(&headers);
    return response;
}

/* --- what an answer means --- */

static bool is_one_of(const char *code, const char *const *codes)
{
    for (; *codes != NULL; codes++) {
        if (strcmp(code, *codes) == 0)
            return true;
    }
    return false;
}

static enum error_code code_of(int status, const char *code)
{
    static const char *const busy[] = {"SlowDown",           "InternalError",    "RequestTimeout",
                                       "ServiceUnavailable", "OperationAborted", NULL};
    static const char *const refused[] = {"AccessDenied",
                                          "InvalidAccessKeyId",
                                          "ExpiredToken",
                                          "SignatureDoesNotMatch",
                                          "RequestTimeTooSkewed",
                                          "InvalidToken",
                                          "AuthorizationHeaderMalformed",
                                          NULL};
    static const char *const absent[] = {"NoSuchKey", "NoSuchUpload", NULL};
    if (is_one_of(code, busy))
        return ERROR_UNAVAILABLE;
    if (is_one_of(code, refused))
        return ERROR_DENIED;
    if (is_one_of(code, absent))
        return ERROR_NOT_FOUND;
    if (strcmp(code, "NoSuchBucket") == 0)
        return ERROR_INVALID;
    if (status >= 500 || status == 429 || status == 408)
        return ERROR_UNAVAILABLE;
    if (status == 401 || status == 403)
        return ERROR_DENIED;
    /* A HEAD has no body to say more. */
    return status == 404 ? ERROR_NOT_FOUND : ERROR_INTERNAL;
}

static const char *remedy_for(const char *code)
{
    static const struct {
        const char *code;
        const char *remedy;
    } remedies[] = {
        {"InvalidAccessKeyId", "; check access_key_id"},
        {"SignatureDoesNotMatch", "; check secret_access_key and region"},
        {"AuthorizationHeaderMalformed", "; check region"},
        {"PermanentRedirect", "; check endpoint and region"},
        {"RequestTimeTooSkewed", "; set this machine's clock right"},
        {"ExpiredToken", "; get new credentials and restart"},
        {"NoSuchBucket", "; make the bucket, or check its name"},
        {"AccessDenied", "; the keys need s3:ListBucket, GetObject, PutObject, DeleteObject and "
                         "AbortMultipartUpload there"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(remedies); i++) {
        if (strcmp(remedies[i].code, code) == 0)
            return remedies[i].remedy;
    }
    return "";
}

static int check_answer(const struct s3_call *call, const struct http_client_response *response,
                        struct error *error)
{
    if (response->failed)
        return error_copy(error, &response->error);
    struct s3_failure failure = {0};
    bool is_fine = response->status >= 200 && response->status < 300;
    /* An operation that takes long has sent its 200 before it knew. */
    if (is_fine && !call->is_slow)
        return 0;
    bool said = s3_xml_read_failure(response->body, response->body_length, &failure);
    if (is_fine && !said)
        return 0;
    if (!said)
        return error_set(error, code_of(response->status, ""), "HTTP status %d", response->status);
    return error_set(error, code_of(response->status, failure.code), "%s (HTTP status %d): %s%s",
                     failure.code, response->status, failure.message, remedy_for(failure.code));
}

/* --- trying again --- */

static void pause_before(unsigned try)
{
    unsigned char chance;
    random_bytes(&chance, sizeof chance);
    unsigned ms = pauses_ms[try] + pauses_ms[try] / 2 * chance / 255;
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&pause, NULL);
}

static bool may_try_again(enum error_code code, unsigned try)
{
    if (code == ERROR_TIMEOUT)
        return try < TRIES_AFTER_SILENCE;
    return code == ERROR_UNAVAILABLE && try < ARRAY_LENGTH(pauses_ms);
}

int s3_perform(struct s3_client *client, const struct s3_call *call,
               const struct http_client_response **ret_response, struct error *error)
{
    for (unsigned try = 0;; try++) {
        struct error why = ERROR_INIT;
        const struct http_client_response *response = try_once(client, call, &why);
        if (response != NULL && check_answer(call, response, &why) == 0) {
            *ret_response = response;
            return 0;
        }
        http_client_release(client->http, response);
        if (!may_try_again(why.code, try)) {
            error_copy(error, &why);
            return error_wrap(error, "S3 %s %s/%s%s", call->method, client->bucket, client->prefix,
                              call->key != NULL ? call->key : "");
        }
        log_debug("an S3 call is tried again", "method", call->method, "key", call->key, "error",
                  why.message);
        pause_before(try);
    }
}

int s3_perform_only(struct s3_client *client, const struct s3_call *call, struct error *error)
{
    const struct http_client_response *response;
    if (s3_perform(client, call, &response, error) < 0)
        return -1;
    http_client_release(client->http, response);
    return 0;
}
