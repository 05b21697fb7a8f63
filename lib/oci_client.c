#include "lib/oci_client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/image_reference.h"
#include "lib/json.h"
#include "lib/oci.h"
#include "lib/oci_client_internal.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define DEFAULT_ATTEMPTS        5
#define DEFAULT_STALL_TIMEOUT_S 30
#define BACKOFF_FIRST_MS        200
#define BACKOFF_MAX_MS          10000
#define RETRY_AFTER_MAX         30 /* seconds that a registry may ask for */
#define PAGE_SIZE               1000
#define NAMES_MAX               100000 /* of all pages together */

/* --- operations --- */

static void on_timer_closed(uv_handle_t *handle)
{
    struct oci_operation *operation = (struct oci_operation *)handle;
    if (operation->release != NULL)
        operation->release(operation);
    free(operation->area);
    free(operation->sent_url);
    free(operation->refused_url);
    free(operation->label);
    free(operation);
}

/* Off the client's list; memory goes when libuv has closed the timer. */
static void detach(struct oci_operation *operation)
{
    LIST_REMOVE(operation, link);
    http_client_cancel(operation->call);
    operation->call = NULL;
}

static void finish(struct oci_operation *operation)
{
    uv_close((uv_handle_t *)&operation->timer, on_timer_closed);
}

static void on_timer(uv_timer_t *timer)
{
    struct oci_operation *operation = (struct oci_operation *)timer;
    operation->attempt(operation);
}

void *oci_operation_create(struct oci_client *client, size_t size, char *label,
                           void (*attempt)(struct oci_operation *),
                           void (*release)(struct oci_operation *), oci_callback *callback,
                           void *data)
{
    struct oci_operation *operation = xcalloc(1, size);
    operation->client = client;
    operation->label = label;
    operation->attempt = attempt;
    operation->release = release;
    operation->callback = callback;
    operation->data = data;
    uv_timer_init(http_client_loop(client->http), &operation->timer);
    uv_timer_start(&operation->timer, on_timer, 0, 0);
    LIST_INSERT_HEAD(&client->operations, operation, link);
    return operation;
}

void oci_operation_go_on(struct oci_operation *operation)
{
    uv_timer_start(&operation->timer, on_timer, 0, 0);
}

char *oci_client_url(const struct oci_client *client, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    AUTO_FREE char *path = xvasprintf(format, arguments);
    va_end(arguments);
    return xasprintf("%s/v2/%s", client->url, path);
}

static void on_answer(const struct http_client_response *response, void *data)
{
    struct oci_operation *operation = data;
    if (!oci_auth_answer(operation, response))
        operation->answered(response, operation);
}

#define HEADERS_MAX 8

void oci_operation_send(struct oci_operation *operation, const struct http_client_request *request,
                        http_client_callback *callback)
{
    struct error error = ERROR_INIT;
    struct http_client_request sent = *request;
    const char *headers[HEADERS_MAX + 2] = {NULL};
    size_t count = 0;
    free(operation->area);
    free(operation->sent_url);
    operation->sent_url = xstrdup(request->url);
    AUTO_FREE char *authorization =
        oci_auth_header(operation->client, request->url, &operation->area);
    for (; request->headers != NULL && request->headers[count] != NULL && count < HEADERS_MAX;
         count++)
        headers[count] = request->headers[count];
    headers[count] = authorization;
    sent.headers = headers;
    operation->answered = callback;
    operation->call =
        http_client_start(operation->client->http, &sent, on_answer, operation, &error);
    if (operation->call == NULL)
        oci_operation_fail_with(operation, &error);
}

void oci_operation_fail_with(struct oci_operation *operation, const struct error *error)
{
    struct error wrapped = *error;
    struct oci_result result = {.error = &wrapped};
    error_wrap(&wrapped, "registry %s: %s", operation->client->url, operation->label);
    detach(operation);
    operation->callback(&result, operation->data);
    finish(operation);
}

void oci_operation_succeed(struct oci_operation *operation, const struct oci_result *result)
{
    detach(operation);
    operation->callback(result, operation->data);
    finish(operation);
}

static bool is_temporary(const struct http_client_response *response)
{
    if (response->failed)
        return response->error.code == ERROR_UNAVAILABLE || response->error.code == ERROR_TIMEOUT;
    return response->status >= 500 || response->status == 429;
}

/* Doubling, a quarter of it at random so that many clients do not come back at once. */
static uint64_t backoff_ms(const struct oci_operation *operation,
                           const struct http_client_response *response)
{
    uint64_t wait = BACKOFF_FIRST_MS, seconds;
    for (unsigned i = 1; i < operation->failures && wait < BACKOFF_MAX_MS; i++)
        wait *= 2;
    unsigned char random;
    random_bytes(&random, sizeof random);
    wait += wait * random / 1024;
    const char *asked = response->failed ? NULL : http_response_header(response, "Retry-After");
    if (asked != NULL && text_parse_u64(asked, RETRY_AFTER_MAX, &seconds) && seconds * 1000 > wait)
        wait = seconds * 1000;
    return wait < BACKOFF_MAX_MS || asked != NULL ? wait : BACKOFF_MAX_MS;
}

void oci_operation_fail(struct oci_operation *operation,
                        const struct http_client_response *response)
{
    operation->call = NULL;
    operation->failures++;
    if (is_temporary(response) && operation->failures < operation->client->attempts) {
        uv_timer_start(&operation->timer, on_timer, backoff_ms(operation, response), 0);
        return;
    }
    struct error error = ERROR_INIT;
    if (!response->failed && response->status == 403 && response->body_length == 0) /* to a HEAD */
        error_set(&error, ERROR_DENIED, "the registry does not allow this to %s",
                  operation->client->basic != NULL ? "the user it was given"
                                                   : "somebody without a login");
    else if (http_response_check(response, &error) == 0)
        error_set(&error, ERROR_INTERNAL, "unexpected status %d", response->status);
    if (operation->failures > 1)
        error_wrap(&error, "%u attempts", operation->failures);
    oci_operation_fail_with(operation, &error);
}

int oci_check_digest(const char *expected, const char *got, struct error *error)
{
    if (strcmp(expected, got) == 0)
        return 0;
    return error_set(error, ERROR_SIGNATURE, "altered bytes: expected %s, got %s", expected, got);
}

/* --- the client --- */

struct oci_client *oci_client_create(const struct oci_client_options *options)
{
    struct oci_client *client = xcalloc(1, sizeof *client);
    client->http = options->http;
    client->url = xstrdup(options->url);
    client->attempts = options->attempts > 0 ? options->attempts : DEFAULT_ATTEMPTS;
    client->stall_timeout_s =
        options->stall_timeout_s > 0 ? options->stall_timeout_s : DEFAULT_STALL_TIMEOUT_S;
    oci_auth_set_login(client, options->username, options->password);
    LIST_INIT(&client->operations);
    LIST_INIT(&client->hooks);
    return client;
}

void oci_client_cancel_all(struct oci_client *client)
{
    if (client == NULL)
        return;
    while (!LIST_EMPTY(&client->hooks)) {
        struct oci_client_hook *hook = LIST_FIRST(&client->hooks);
        LIST_REMOVE(hook, link);
        hook->on_destroy(hook);
    }
    while (!LIST_EMPTY(&client->operations)) {
        struct oci_operation *operation = LIST_FIRST(&client->operations);
        detach(operation);
        finish(operation);
    }
}

void oci_client_destroy(struct oci_client *client)
{
    if (client == NULL)
        return;
    oci_client_cancel_all(client);
    oci_auth_finish(client);
    free(client->url);
    free(client);
}

void oci_client_add_hook(struct oci_client *client, struct oci_client_hook *hook)
{
    LIST_INSERT_HEAD(&client->hooks, hook, link);
}

void oci_client_remove_hook(struct oci_client_hook *hook)
{
    LIST_REMOVE(hook, link);
}

/* --- small things in memory: manifests and blobs --- */

struct fetch {
    struct oci_operation base;
    char *url;
    char digest[DIGEST_TEXT_MAX]; /* expected; "" when a tag was asked for */
    uint64_t limit;
    bool is_manifest;
};

static void fetch_release(struct oci_operation *operation)
{
    free(((struct fetch *)operation)->url);
}

/* A digest that the registry claims is checked as well as one that the caller asked for. */
static int check_fetched(const struct fetch *fetch, const struct http_client_response *response,
                         struct oci_result *result, struct error *error)
{
    const char *claimed = http_response_header(response, "Docker-Content-Digest");
    digest_of_bytes(response->body, response->body_length, result->digest);
    if (fetch->digest[0] != '\0')
        return oci_check_digest(fetch->digest, result->digest, error);
    if (claimed != NULL && digest_is_valid(claimed))
        return oci_check_digest(claimed, result->digest, error);
    return 0;
}

static void on_fetched(const struct http_client_response *response, void *data)
{
    struct fetch *fetch = data;
    struct error error = ERROR_INIT;
    struct oci_result result = {.bytes = response->body, .size = response->body_length};
    char media_type[128] = "";
    if (response->failed || response->status != 200) {
        oci_operation_fail(&fetch->base, response);
        return;
    }
    fetch->base.call = NULL;
    if (check_fetched(fetch, response, &result, &error) < 0) {
        oci_operation_fail_with(&fetch->base, &error);
        return;
    }
    const char *type = http_response_header(response, "Content-Type");
    if (fetch->is_manifest && type != NULL)
        snprintf(media_type, sizeof media_type, "%.*s", (int)strcspn(type, "; "), type);
    result.media_type = media_type;
    oci_operation_succeed(&fetch->base, &result);
}

static void attempt_fetch(struct oci_operation *operation)
{
    struct fetch *fetch = (struct fetch *)operation;
    const char *const headers[] = {
        fetch->is_manifest ? "Accept: " OCI_INDEX_TYPE ", " OCI_MANIFEST_TYPE : "Accept: */*",
        NULL,
    };
    struct http_client_request request = {
        .url = fetch->url,
        .headers = headers,
        .response_limit = fetch->limit,
        .follow_redirects = true,
    };
    oci_operation_send(operation, &request, on_fetched);
}

void oci_operation_refuse(struct oci_operation *operation)
{
    struct error error = ERROR_INIT;
    error_set(&error, ERROR_INVALID, "not a name that a registry takes");
    oci_operation_fail_with(operation, &error);
}

static void start_fetch(struct oci_client *client, const char *kind, const char *repository,
                        const char *reference, uint64_t limit, oci_callback *callback, void *data)
{
    bool digest = digest_is_valid(reference), manifest = strcmp(kind, "manifest") == 0;
    bool valid =
        repository_is_valid(repository) && (digest || (manifest && tag_is_valid(reference)));
    char *label = xasprintf("%s %.*s%s%.*s", kind, REPOSITORY_MAX, repository, digest ? "@" : ":",
                            TAG_MAX, reference);
    struct fetch *fetch = oci_operation_create(client, sizeof *fetch, label,
                                               valid ? attempt_fetch : oci_operation_refuse,
                                               fetch_release, callback, data);
    fetch->url = oci_client_url(client, "%s/%ss/%s", repository, kind, reference);
    fetch->limit = limit;
    fetch->is_manifest = manifest;
    if (digest)
        strcpy(fetch->digest, reference);
}

void oci_client_get_manifest(struct oci_client *client, const char *repository,
                             const char *reference, oci_callback *callback, void *data)
{
    start_fetch(client, "manifest", repository, reference, OCI_MANIFEST_LIMIT, callback, data);
}

void oci_client_get_blob(struct oci_client *client, const char *repository, const char *digest,
                         uint64_t limit, oci_callback *callback, void *data)
{
    start_fetch(client, "blob", repository, digest, limit, callback, data);
}

/* --- lists, all pages joined --- */

struct listing {
    struct oci_operation base;
    char *next; /* URL of the page to fetch */
    const char *key;
    struct json_object *names;
    char *repository; /* NULL: the catalog */
};

static void listing_release(struct oci_operation *operation)
{
    struct listing *listing = (struct listing *)operation;
    free(listing->next);
    free(listing->repository);
    json_object_put(listing->names);
}

char *oci_client_next_page(const struct oci_client *client,
                           const struct http_client_response *response)
{
    const char *link = http_response_header(response, "Link");
    if (link == NULL || link[0] != '<' || strstr(link, "rel=\"next\"") == NULL)
        return NULL;
    size_t length = strcspn(link + 1, ">");
    if (link[1] == '/')
        return xasprintf("%s%.*s", client->url, (int)length, link + 1);
    size_t prefix = strlen(client->url);
    if (length > prefix && strncmp(link + 1, client->url, prefix) == 0 && link[1 + prefix] == '/')
        return xasprintf("%.*s", (int)length, link + 1);
    return NULL;
}

static bool is_listed_name(const struct listing *listing, struct json_object *name)
{
    if (!json_object_is_type(name, json_type_string))
        return false;
    const char *text = json_object_get_string(name);
    return listing->repository != NULL ? tag_is_valid(text) : repository_is_valid(text);
}

static int take_page(struct listing *listing, const struct http_client_response *response,
                     struct error *error)
{
    AUTO_JSON struct json_object *page = NULL;
    struct json_object *names;
    if (json_parse(response->body, response->body_length, &page, error) < 0)
        return -1;
    if (!json_object_object_get_ex(page, listing->key, &names))
        return error_set(error, ERROR_PROTOCOL, "the answer has no \"%s\"", listing->key);
    /* Null is what some registries say for an empty list. */
    size_t count = names != NULL && json_object_is_type(names, json_type_array)
                       ? json_object_array_length(names)
                       : 0;
    if (json_object_array_length(listing->names) + count > NAMES_MAX)
        return error_set(error, ERROR_TOO_LARGE, "more than %d names", NAMES_MAX);
    for (size_t i = 0; i < count; i++) {
        struct json_object *name = json_object_array_get_idx(names, i);
        if (!is_listed_name(listing, name))
            return error_set(error, ERROR_PROTOCOL, "\"%s\" holds something that is no name",
                             listing->key);
        json_object_array_add(listing->names, json_object_get(name));
    }
    free(listing->next);
    /* An empty page ends the list, or a registry could let us ask for ever. */
    listing->next = count > 0 ? oci_client_next_page(listing->base.client, response) : NULL;
    return 0;
}

static void finish_listing(struct listing *listing)
{
    AUTO_JSON struct json_object *object = json_object_new_object();
    if (listing->repository != NULL)
        json_object_object_add(object, "name", json_object_new_string(listing->repository));
    json_object_object_add(object, listing->key, json_object_get(listing->names));
    AUTO_FREE char *text = json_text(object);
    struct oci_result result = {.bytes = text, .size = strlen(text)};
    oci_operation_succeed(&listing->base, &result);
}

static void on_page(const struct http_client_response *response, void *data)
{
    struct listing *listing = data;
    struct error error = ERROR_INIT;
    if (response->failed || response->status != 200) {
        oci_operation_fail(&listing->base, response);
        return;
    }
    listing->base.call = NULL;
    listing->base.failures = 0;
    if (take_page(listing, response, &error) < 0)
        oci_operation_fail_with(&listing->base, &error);
    else if (listing->next != NULL)
        listing->base.attempt(&listing->base);
    else
        finish_listing(listing);
}

static void attempt_page(struct oci_operation *operation)
{
    struct http_client_request request = {.url = ((struct listing *)operation)->next};
    oci_operation_send(operation, &request, on_page);
}

void oci_client_list_tags(struct oci_client *client, const char *repository, oci_callback *callback,
                          void *data)
{
    char *label = xasprintf("tags of %.*s", REPOSITORY_MAX, repository);
    struct listing *listing =
        oci_operation_create(client, sizeof *listing, label,
                             repository_is_valid(repository) ? attempt_page : oci_operation_refuse,
                             listing_release, callback, data);
    listing->next = oci_client_url(client, "%s/tags/list?n=%d", repository, PAGE_SIZE);
    listing->key = "tags";
    listing->names = json_object_new_array();
    listing->repository = xstrdup(repository);
}

void oci_client_list_repositories(struct oci_client *client, oci_callback *callback, void *data)
{
    struct listing *listing =
        oci_operation_create(client, sizeof *listing, xstrdup("list of repositories"), attempt_page,
                             listing_release, callback, data);
    listing->next = oci_client_url(client, "_catalog?n=%d", PAGE_SIZE);
    listing->key = "repositories";
    listing->names = json_object_new_array();
}
