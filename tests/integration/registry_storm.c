/* Many clients that push to a registry until it is gone, for tests/integration/registry_kill.sh:
 *
 *   registry_storm PORT SEED CLIENTS JOURNAL
 *
 * Each client is a thread and pushes blobs in every way there is, some of them the same ones that
 * others push, then manifests and indexes of them, by tag and digest; some it deletes again, some
 * uploads it leaves. What was acknowledged goes to the journal (storm.h). Ends with 0 once the
 * registry is gone, with 1 when an answer was not what it should be. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "tests/integration/raw_http.h"
#include "tests/integration/storm.h"

#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define INDEX_TYPE    "application/vnd.oci.image.index.v1+json"

enum { REPOSITORIES = 4, COMMON = 24, KEPT = 16 };

struct storm {
    FILE *journal; /* a line is written by one call, under stdio's lock */
    atomic_int wrong_answers;
};

struct kept {
    char digest[DIGEST_TEXT_MAX];
    size_t size;
};

struct client {
    struct storm *storm;
    pthread_t thread;
    struct raw_client http;
    uint64_t random;
    unsigned number, count;
    int repository;
    /* What it has in the repository that it is at. */
    struct kept blobs[KEPT], manifests[KEPT];
    size_t blob_count, manifest_count;
};

/* One blob on its way. */
struct push {
    uint64_t seed;
    char *bytes;
    size_t size;
    char digest[DIGEST_TEXT_MAX];
    char *location;
};

static uint64_t random_below(struct client *client, uint64_t limit)
{
    return storm_next(&client->random) % limit;
}

static void journal(struct client *client, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void journal(struct client *client, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    AUTO_FREE char *line = xvasprintf(format, arguments);
    va_end(arguments);
    fputs(line, client->storm->journal);
}

/* The status, or -1 when the registry is gone. */
static int ask(struct client *client, const char *method, const char *target, const char *headers,
               const void *body, size_t length, struct raw_answer *ret_answer)
{
    struct raw_answer answer = {0};
    if (raw_client_ask(&client->http, method, target, headers, body, length, &answer) < 0)
        return -1;
    int status = answer.status;
    if (ret_answer != NULL)
        *ret_answer = answer;
    else
        raw_answer_finish(&answer);
    return status;
}

/* 0 when the answer is the wanted one; -1 ends the client. */
static int must(struct client *client, int status, int wanted, const char *what)
{
    if (status == wanted)
        return 0;
    if (status >= 0) {
        printf("client %u: status %d instead of %d for %s\n", client->number, status, wanted, what);
        client->storm->wrong_answers++;
    }
    return -1;
}

/* --- one blob --- */

static int start_upload(struct client *client, struct push *push)
{
    struct raw_answer answer = {0};
    AUTO_FREE char *target = xasprintf("/v2/storm/r%d/blobs/uploads/", client->repository);
    int status = ask(client, "POST", target, "", "", 0, &answer);
    if (status == 202)
        push->location = raw_answer_header(&answer, "Location");
    raw_answer_finish(&answer);
    if (must(client, status, 202, "the start of an upload") < 0)
        return -1;
    return must(client, push->location != NULL ? 1 : 2, 1, "a Location");
}

static int end_upload(struct client *client, struct push *push, const void *bytes, size_t size)
{
    AUTO_FREE char *target = xasprintf("%s?digest=%s", push->location, push->digest);
    journal(client, "ended %s\n", push->location);
    return must(client, ask(client, "PUT", target, "", bytes, size, NULL), 201,
                "the end of an upload");
}

static int push_at_once(struct client *client, struct push *push)
{
    AUTO_FREE char *target =
        xasprintf("/v2/storm/r%d/blobs/uploads/?digest=%s", client->repository, push->digest);
    return must(client, ask(client, "POST", target, "", push->bytes, push->size, NULL), 201,
                "a blob in one request");
}

static int push_by_put(struct client *client, struct push *push)
{
    if (start_upload(client, push) < 0)
        return -1;
    return end_upload(client, push, push->bytes, push->size);
}

/* As docker does it: a body of unknown length, then the digest. */
static int push_streamed(struct client *client, struct push *push)
{
    struct buffer body AUTO_BUFFER = {0};
    struct raw_answer answer = {0};
    if (start_upload(client, push) < 0)
        return -1;
    for (size_t at = 0; at < push->size;) {
        size_t piece = 1 + random_below(client, 70000);
        piece = piece < push->size - at ? piece : push->size - at;
        buffer_printf(&body, "%zx\r\n", piece);
        buffer_append(&body, push->bytes + at, piece);
        buffer_append_text(&body, "\r\n");
        at += piece;
    }
    buffer_append_text(&body, "0\r\n\r\n");
    AUTO_FREE char *head =
        xasprintf("PATCH %s HTTP/1.1\r\nHost: registry\r\nTransfer-Encoding: chunked\r\n\r\n",
                  push->location);
    if (raw_client_connect(&client->http) < 0 ||
        raw_client_send(&client->http, head, strlen(head)) < 0 ||
        raw_client_send(&client->http, body.data, body.length) < 0 ||
        raw_client_receive(&client->http, false, &answer) < 0)
        return -1;
    int status = answer.status;
    raw_answer_finish(&answer);
    if (must(client, status, 202, "a streamed PATCH") < 0)
        return -1;
    return end_upload(client, push, "", 0);
}

/* In ordered ranges; up to `limit` bytes. */
static int send_ranges(struct client *client, struct push *push, size_t limit)
{
    size_t piece = push->size / 3 + 1;
    for (size_t at = 0; at < limit;) {
        size_t length = piece < push->size - at ? piece : push->size - at;
        AUTO_FREE char *range = xasprintf("Content-Range: %zu-%zu\r\n", at, at + length - 1);
        if (must(client,
                 ask(client, "PATCH", push->location, range, push->bytes + at, length, NULL), 202,
                 "a PATCH of a range") < 0)
            return -1;
        at += length;
        journal(client, "upload %s %zu %llu\n", push->location, at, (unsigned long long)push->seed);
    }
    return 0;
}

static int push_in_ranges(struct client *client, struct push *push)
{
    if (start_upload(client, push) < 0 || send_ranges(client, push, push->size) < 0)
        return -1;
    return end_upload(client, push, "", 0);
}

/* As clients do that would rather not send it: mounted from elsewhere, if it is there. */
static int push_by_mount(struct client *client, struct push *push)
{
    AUTO_FREE char *target =
        xasprintf("/v2/storm/r%d/blobs/uploads/?mount=%s&from=storm/r%d", client->repository,
                  push->digest, (client->repository + 1) % REPOSITORIES);
    struct raw_answer answer = {0};
    int status = ask(client, "POST", target, "", "", 0, &answer);
    if (status == 202)
        push->location = raw_answer_header(&answer, "Location");
    raw_answer_finish(&answer);
    if (status != 202)
        return must(client, status, 201, "a mount");
    return end_upload(client, push, push->bytes, push->size);
}

/* Or not at all, when it is there already. */
static int push_unless_there(struct client *client, struct push *push)
{
    AUTO_FREE char *target = xasprintf("/v2/storm/r%d/blobs/%s", client->repository, push->digest);
    int status = ask(client, "HEAD", target, "", NULL, 0, NULL);
    if (status == 404)
        return push_at_once(client, push);
    return must(client, status, 200, "HEAD of a blob");
}

static int push_blob(struct client *client, struct push *push)
{
    static int (*const ways[])(struct client *, struct push *) = {
        push_at_once, push_by_put, push_streamed, push_in_ranges, push_by_mount, push_unless_there,
    };
    if (ways[random_below(client, ARRAY_LENGTH(ways))](client, push) < 0)
        return -1;
    journal(client, "blob storm/r%d %s\n", client->repository, push->digest);
    if (client->blob_count < KEPT) {
        struct kept *kept = &client->blobs[client->blob_count++];
        snprintf(kept->digest, sizeof kept->digest, "%s", push->digest);
        kept->size = push->size;
    }
    return 0;
}

/* Starts one and leaves it. */
static int leave_upload(struct client *client, struct push *push)
{
    if (start_upload(client, push) < 0)
        return -1;
    return send_ranges(client, push, push->size / 2);
}

static int push_some_blob(struct client *client)
{
    struct push push = {0};
    push.seed =
        random_below(client, 3) == 0 ? random_below(client, COMMON) : storm_next(&client->random);
    push.bytes = storm_content(push.seed);
    push.size = storm_size(push.seed);
    digest_of_bytes(push.bytes, push.size, push.digest);
    int result =
        random_below(client, 10) == 0 ? leave_upload(client, &push) : push_blob(client, &push);
    free(push.bytes);
    free(push.location);
    return result;
}

/* --- manifests --- */

static int put_manifest(struct client *client, const char *type, const struct buffer *text)
{
    char digest[DIGEST_TEXT_MAX], tag[40] = "";
    digest_of_bytes(text->data, text->length, digest);
    unsigned kind = (unsigned)random_below(client, 3);
    if (kind == 1)
        snprintf(tag, sizeof tag, "moving-%u", client->number);
    else if (kind == 2)
        snprintf(tag, sizeof tag, "t%u-%llx", client->number,
                 (unsigned long long)storm_next(&client->random));
    AUTO_FREE char *target =
        xasprintf("/v2/storm/r%d/manifests/%s", client->repository, kind == 0 ? digest : tag);
    AUTO_FREE char *header = xasprintf("Content-Type: %s\r\n", type);
    if (kind != 0)
        journal(client, "tagging storm/r%d %s %s\n", client->repository, tag, digest);
    if (must(client, ask(client, "PUT", target, header, text->data, text->length, NULL), 201,
             "a manifest") < 0)
        return -1;
    journal(client, "manifest storm/r%d %s\n", client->repository, digest);
    if (kind != 0)
        journal(client, "tagged storm/r%d %s %s\n", client->repository, tag, digest);
    if (client->manifest_count < KEPT) {
        struct kept *kept = &client->manifests[client->manifest_count++];
        snprintf(kept->digest, sizeof kept->digest, "%s", digest);
        kept->size = text->length;
    }
    return 0;
}

static void append_descriptors(struct buffer *text, const char *type, const struct kept *kept,
                               size_t count)
{
    for (size_t i = 0; i < count; i++)
        buffer_printf(text, "%s{\"mediaType\": \"%s\", \"digest\": \"%s\", \"size\": %zu}",
                      i > 0 ? ", " : "", type, kept[i].digest, kept[i].size);
}

/* An image of all the blobs since the last one. No two are the same bytes. */
static int push_image(struct client *client)
{
    struct buffer text AUTO_BUFFER = {0};
    buffer_append_text(&text,
                       "{\"schemaVersion\": 2, \"mediaType\": \"" MANIFEST_TYPE "\", \"config\": ");
    append_descriptors(&text, "application/x", client->blobs, 1);
    buffer_append_text(&text, ", \"layers\": [");
    append_descriptors(&text, "application/y", client->blobs + 1, client->blob_count - 1);
    buffer_printf(&text, "], \"annotations\": {\"made\": \"%u-%llx\"}}", client->number,
                  (unsigned long long)storm_next(&client->random));
    client->blob_count = 0;
    return put_manifest(client, MANIFEST_TYPE, &text);
}

static int push_index(struct client *client)
{
    struct buffer text AUTO_BUFFER = {0};
    buffer_append_text(&text, "{\"schemaVersion\": 2, \"mediaType\": \"" INDEX_TYPE
                              "\", \"manifests\": [");
    append_descriptors(&text, MANIFEST_TYPE, client->manifests, client->manifest_count);
    buffer_printf(&text, "], \"annotations\": {\"made\": \"%u-%llx\"}}", client->number,
                  (unsigned long long)storm_next(&client->random));
    client->manifest_count = 0; /* a listed manifest is not deleted by itself any more */
    int result = put_manifest(client, INDEX_TYPE, &text);
    client->manifest_count = 0;
    return result;
}

static int delete_manifest(struct client *client)
{
    const struct kept *kept = &client->manifests[--client->manifest_count];
    AUTO_FREE char *target =
        xasprintf("/v2/storm/r%d/manifests/%s", client->repository, kept->digest);
    journal(client, "deleting storm/r%d %s\n", client->repository, kept->digest);
    if (must(client, ask(client, "DELETE", target, "", NULL, 0, NULL), 202, "a deletion") < 0)
        return -1;
    journal(client, "deleted storm/r%d %s\n", client->repository, kept->digest);
    return 0;
}

/* --- the storm --- */

static int do_something(struct client *client)
{
    if (client->count++ % 50 == 0) {
        client->repository = (int)random_below(client, REPOSITORIES);
        client->blob_count = client->manifest_count = 0;
    }
    if (client->blob_count > 0 && random_below(client, 4) == 0)
        return push_image(client);
    if (client->manifest_count > 2 && random_below(client, 10) == 0)
        return push_index(client);
    if (client->manifest_count > 0 && random_below(client, 20) == 0)
        return delete_manifest(client);
    return push_some_blob(client);
}

static void *run(void *data)
{
    struct client *client = data;
    while (do_something(client) == 0)
        ;
    /* A registry that still answers had no reason to close the connection. */
    raw_client_close(&client->http, false);
    if (client->storm->wrong_answers == 0 && ask(client, "GET", "/v2/", "", NULL, 0, NULL) >= 0)
        must(client, 0, 200, "something: the connection was closed");
    raw_client_close(&client->http, false);
    return NULL;
}

int main(int count, char **arguments)
{
    enum { CLIENTS_MAX = 64 };
    static struct client clients[CLIENTS_MAX];
    struct storm storm = {0};
    unsigned client_count = count == 5 ? (unsigned)atoi(arguments[3]) : 0;
    if (client_count < 1 || client_count > CLIENTS_MAX ||
        (storm.journal = fopen(arguments[4], "a")) == NULL) {
        fprintf(stderr, "usage: registry_storm PORT SEED CLIENTS JOURNAL\n");
        return 2;
    }
    for (unsigned i = 0; i < client_count; i++) {
        clients[i].storm = &storm;
        clients[i].number = i;
        clients[i].random = strtoull(arguments[2], NULL, 10) * 1000 + i;
        raw_client_init(&clients[i].http, (uint16_t)atoi(arguments[1]));
        if (pthread_create(&clients[i].thread, NULL, run, &clients[i]) != 0)
            abort();
    }
    for (unsigned i = 0; i < client_count; i++)
        pthread_join(clients[i].thread, NULL);
    return fclose(storm.journal) == 0 && storm.wrong_answers == 0 ? 0 : 1;
}
