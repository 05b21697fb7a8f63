#include "registry/storage/s3_client.h"

#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "registry/storage/s3_call.h"
#include "registry/storage/s3_presign.h"

#define IDLE_CONNECTIONS   32
#define DEFAULT_REGION     "us-east-1"
#define DEFAULT_LIFETIME_S (20 * 60)
#define DEFAULT_STALL_S    20
#define BINARY             "application/octet-stream"

/* --- opening --- */

/* The scheme's own port goes neither into the Host header nor into a signature. */
static char *host_of(const struct s3_settings *settings)
{
    const char *host = strstr(settings->endpoint, "://") + 3;
    const char *port = strncmp(settings->endpoint, "https:", 6) == 0 ? ":443" : ":80";
    size_t length = strlen(host), cut = strlen(port);
    if (length > cut && strcmp(host + length - cut, port) == 0)
        length -= cut;
    if (settings->addressing == S3_ADDRESSING_HOST)
        return xasprintf("%s.%.*s", settings->bucket, (int)length, host);
    return xstrndup(host, length);
}

static struct s3_client *create(const struct s3_settings *settings)
{
    struct s3_client *client = xcalloc(1, sizeof *client);
    const char *prefix = settings->prefix != NULL ? settings->prefix : "";
    bool needs_slash = prefix[0] != '\0' && prefix[strlen(prefix) - 1] != '/';
    client->http = http_blocking_client_create(IDLE_CONNECTIONS);
    client->scheme = xstrdup(strncmp(settings->endpoint, "https:", 6) == 0 ? "https" : "http");
    client->host = host_of(settings);
    client->root = settings->addressing == S3_ADDRESSING_HOST ? xstrdup("/")
                                                              : xasprintf("/%s/", settings->bucket);
    client->prefix = xasprintf("%s%s", prefix, needs_slash ? "/" : "");
    client->bucket = xstrdup(settings->bucket);
    client->region = xstrdup(settings->region != NULL ? settings->region : DEFAULT_REGION);
    client->signing = xasprintf("aws:amz:%s:s3", client->region);
    client->ca = xstrdup(settings->ca);
    client->redirect_lifetime_s =
        settings->redirect_lifetime > 0 ? settings->redirect_lifetime / 1000 : DEFAULT_LIFETIME_S;
    client->stall_timeout_s =
        settings->stall_timeout > 0 ? (unsigned)(settings->stall_timeout / 1000) : DEFAULT_STALL_S;
    return client;
}

int s3_client_open(const struct s3_settings *settings, struct s3_client **ret_client,
                   struct error *error)
{
    struct s3_page page = {0};
    if (s3_settings_check(settings, error) < 0)
        return error_wrap(error, "storage");
    struct s3_client *client = create(settings);
    if (s3_credentials_load(settings->credentials, &client->credentials, error) < 0 ||
        s3_list(client, "blobs/", NULL, &page, error) < 0) {
        s3_client_close(client);
        return error_wrap(error, "storage: bucket %s at %s", settings->bucket, settings->endpoint);
    }
    s3_page_release(&page);
    *ret_client = client;
    return 0;
}

void s3_client_close(struct s3_client *client)
{
    if (client == NULL)
        return;
    http_blocking_client_destroy(client->http);
    s3_credentials_release(&client->credentials);
    free(client->scheme);
    free(client->host);
    free(client->root);
    free(client->prefix);
    free(client->bucket);
    free(client->region);
    free(client->signing);
    free(client->ca);
    free(client);
}

/* --- objects --- */

int s3_object_size(struct s3_client *client, const char *key, uint64_t *ret_size,
                   struct error *error)
{
    const struct http_client_response *response;
    if (s3_perform(client, &(struct s3_call){.method = "HEAD", .key = key}, &response, error) < 0)
        return -1;
    const char *length = http_response_header(response, "Content-Length");
    bool said = length != NULL && text_parse_u64(length, INT64_MAX, ret_size);
    http_client_release(client->http, response);
    if (!said)
        return error_set(error, ERROR_INTERNAL, "S3 HEAD %s: no Content-Length in the answer", key);
    return 0;
}

struct destination {
    char *bytes;
    size_t length;
    size_t arrived;
};

static int take_bytes(const void *bytes, size_t length, void *data)
{
    struct destination *destination = data;
    if (length > destination->length - destination->arrived)
        return -1;
    memcpy(destination->bytes + destination->arrived, bytes, length);
    destination->arrived += length;
    return 0;
}

static void begin_anew(void *data)
{
    ((struct destination *)data)->arrived = 0;
}

int s3_object_read(struct s3_client *client, const char *key, uint64_t offset, void *ret_bytes,
                   size_t length, struct error *error)
{
    struct destination destination = {ret_bytes, length, 0};
    const struct http_client_response *response;
    AUTO_FREE char *range = xasprintf("Range: bytes=%llu-%llu", (unsigned long long)offset,
                                      (unsigned long long)(offset + length - 1));
    const struct s3_call call = {.method = "GET",
                                 .key = key,
                                 .header = range,
                                 .on_body = take_bytes,
                                 .restart = begin_anew,
                                 .data = &destination};
    if (length == 0)
        return 0;
    if (s3_perform(client, &call, &response, error) < 0)
        return -1;
    int status = response->status;
    http_client_release(client->http, response);
    /* Who knows no ranges sends all from the first byte on. */
    if (destination.arrived != length || (status != 206 && offset > 0))
        return error_set(error, ERROR_INTERNAL,
                         "S3 GET %s: status %d with %zu bytes instead of 206 with %zu", key, status,
                         destination.arrived, length);
    return 0;
}

int s3_object_put(struct s3_client *client, const char *key, const struct s3_body *body,
                  struct error *error)
{
    return s3_perform_only(
        client,
        &(struct s3_call){.method = "PUT", .key = key, .content_type = BINARY, .file = body},
        error);
}

int s3_object_delete(struct s3_client *client, const char *key, struct error *error)
{
    struct error why = ERROR_INIT;
    if (s3_perform_only(client, &(struct s3_call){.method = "DELETE", .key = key}, &why) == 0 ||
        why.code == ERROR_NOT_FOUND)
        return 0;
    return error_copy(error, &why);
}

int s3_object_copy(struct s3_client *client, const char *from, const char *to, struct error *error)
{
    const struct http_client_response *response;
    AUTO_FREE char *source =
        xasprintf("x-amz-copy-source: /%s/%s%s", client->bucket, client->prefix, from);
    const struct s3_call call = {.method = "PUT", .key = to, .header = source, .is_slow = true};
    if (s3_perform(client, &call, &response, error) < 0)
        return -1;
    int result =
        s3_xml_check_root(response->body, response->body_length, "CopyObjectResult", error);
    http_client_release(client->http, response);
    return result < 0 ? error_wrap(error, "S3 copy %s", from) : 0;
}

char *s3_object_url(const struct s3_client *client, const char *key, uint64_t wall_s)
{
    AUTO_FREE char *path = xasprintf("%s%s%s", client->root, client->prefix, key);
    return s3_presign_get(&(struct s3_presign){
        .scheme = client->scheme,
        .host = client->host,
        .path = path,
        .region = client->region,
        .access_key_id = client->credentials.access_key_id,
        .secret_access_key = client->credentials.secret_access_key,
        .session_token = client->credentials.session_token,
        .wall_s = wall_s,
        .lifetime_s = client->redirect_lifetime_s,
    });
}

/* --- objects in parts --- */

int s3_multipart_create(struct s3_client *client, const char *key, char **ret_id,
                        struct error *error)
{
    const struct http_client_response *response;
    const struct s3_call call = {
        .method = "POST", .key = key, .query = "uploads=", .content_type = BINARY};
    if (s3_perform(client, &call, &response, error) < 0)
        return -1;
    int result = s3_xml_read_upload_id(response->body, response->body_length, ret_id, error);
    http_client_release(client->http, response);
    return result < 0 ? error_wrap(error, "S3 POST %s", key) : 0;
}

int s3_multipart_put(struct s3_client *client, const char *key, const char *id, unsigned number,
                     const struct s3_body *body, char **ret_etag, struct error *error)
{
    const struct http_client_response *response;
    AUTO_FREE char *encoded = http_encode_segment(id);
    AUTO_FREE char *query = xasprintf("partNumber=%u&uploadId=%s", number, encoded);
    const struct s3_call call = {
        .method = "PUT", .key = key, .query = query, .content_type = BINARY, .file = body};
    if (s3_perform(client, &call, &response, error) < 0)
        return error_wrap(error, "part %u", number);
    char *etag = xstrdup(http_response_header(response, "ETag"));
    http_client_release(client->http, response);
    if (etag == NULL)
        return error_set(error, ERROR_INTERNAL, "S3 PUT %s: no ETag of part %u in the answer", key,
                         number);
    *ret_etag = etag;
    return 0;
}

int s3_multipart_complete(struct s3_client *client, const char *key, const char *id,
                          char *const *etags, size_t count, struct error *error)
{
    const struct http_client_response *response;
    AUTO_FREE char *encoded = http_encode_segment(id);
    AUTO_FREE char *query = xasprintf("uploadId=%s", encoded);
    AUTO_FREE char *parts = s3_xml_write_parts(etags, count);
    const struct s3_call call = {.method = "POST",
                                 .key = key,
                                 .query = query,
                                 .content_type = "application/xml",
                                 .text = parts,
                                 .is_slow = true};
    if (s3_perform(client, &call, &response, error) < 0)
        return -1;
    int result = s3_xml_check_root(response->body, response->body_length,
                                   "CompleteMultipartUploadResult", error);
    http_client_release(client->http, response);
    return result < 0 ? error_wrap(error, "S3 POST %s", key) : 0;
}

int s3_multipart_abort(struct s3_client *client, const char *key, const char *id,
                       struct error *error)
{
    AUTO_FREE char *encoded = http_encode_segment(id);
    AUTO_FREE char *query = xasprintf("uploadId=%s", encoded);
    return s3_perform_only(
        client, &(struct s3_call){.method = "DELETE", .key = key, .query = query}, error);
}

/* --- listing --- */

/* Keys as our callers know them. */
static int strip_prefix(const struct s3_client *client, struct s3_page *page, struct error *error)
{
    size_t length = strlen(client->prefix);
    for (size_t i = 0; i < page->count; i++) {
        char *key = page->objects[i].key;
        if (strncmp(key, client->prefix, length) != 0)
            return error_set(error, ERROR_INTERNAL,
                             "the endpoint lists \"%s\", which was not asked for", key);
        memmove(key, key + length, strlen(key + length) + 1);
    }
    return 0;
}

/* Or who lists would ask for the same page for ever. */
static int check_progress(const char *after, const char *next, struct error *error)
{
    if (after == NULL || next == NULL || strcmp(after, next) != 0)
        return 0;
    return error_set(error, ERROR_INTERNAL, "the endpoint's listing does not go on");
}

int s3_list(struct s3_client *client, const char *start, const char *after,
            struct s3_page *ret_page, struct error *error)
{
    const struct http_client_response *response;
    AUTO_BUFFER struct buffer query = {0};
    AUTO_FREE char *full = xasprintf("%s%s", client->prefix, start);
    AUTO_FREE char *prefix = http_encode_segment(full);
    if (after != NULL) {
        AUTO_FREE char *token = http_encode_segment(after);
        buffer_printf(&query, "continuation-token=%s&", token);
    }
    buffer_printf(&query, "list-type=2&max-keys=1000&prefix=%s", prefix);
    const struct s3_call call = {.method = "GET", .query = buffer_text(&query)};
    if (s3_perform(client, &call, &response, error) < 0)
        return -1;
    struct s3_page page;
    int result = s3_xml_read_page(response->body, response->body_length, &page, error);
    http_client_release(client->http, response);
    if (result == 0 &&
        (strip_prefix(client, &page, error) < 0 || check_progress(after, page.next, error) < 0)) {
        s3_page_release(&page);
        result = -1;
    }
    if (result < 0)
        return error_wrap(error, "S3 list of %s", client->bucket);
    *ret_page = page;
    return 0;
}
