/* Plays requests to a registry and cuts each of them off behind every byte by FIN, and by
 * RST, for tests/integration/registry_cut.sh:
 *
 *   registry_cut PORT [EXCHANGE...]      all of them when none is named
 *
 * After each cut the store must be as if the request had never come, or as if all of it had: no
 * half of a blob is served, an upload goes on where it says it is, what was to be deleted is there
 * or gone. At last each exchange is sent one byte at a time, which must change nothing. Prints "ok
 * EXCHANGE" or "FAIL EXCHANGE: why". */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/xalloc.h"
#include "tests/integration/raw_http.h"

#define MANIFEST_TYPE "application/vnd.oci.image.manifest.v1+json"
#define BLOB_SIZE     120

/* One request, in a repository and with bytes of its own. */
struct play {
    struct raw_client control; /* prepares and checks */
    char repository[64];
    char blob[BLOB_SIZE];
    char digest[DIGEST_TEXT_MAX];
    char *location; /* of an upload */
    char *manifest;
    char manifest_digest[DIGEST_TEXT_MAX];
    struct buffer request;
    const char *why; /* a check failed */
};

struct exchange {
    const char *name;
    /* Makes what the request needs, and the request. */
    void (*prepare)(struct play *play);
    /* The request did not come to its end. */
    void (*check_cut)(struct play *play);
    /* It did, and was answered. */
    void (*check_whole)(struct play *play);
};

/* --- asking and looking --- */

static void fail(struct play *play, const char *why)
{
    if (play->why == NULL)
        play->why = why;
}

/* Asks for "/v2/<repository><path>"; the status, or -1. */
static int ask(struct play *play, const char *method, const char *path, const char *headers,
               const void *body, size_t length, struct raw_answer *ret_answer)
{
    AUTO_FREE char *target = path[0] == '/' && strncmp(path, "/v2/", 4) == 0
                                 ? xstrdup(path)
                                 : xasprintf("/v2/%s%s", play->repository, path);
    struct raw_answer answer = {0};
    if (raw_client_ask(&play->control, method, target, headers, body, length, &answer) < 0)
        return -1;
    int status = answer.status;
    if (ret_answer != NULL)
        *ret_answer = answer;
    else
        raw_answer_finish(&answer);
    return status;
}

static void must(struct play *play, int status, int wanted, const char *why)
{
    if (status != wanted)
        fail(play, why);
}

static void look_for(struct play *play, const char *path, const void *bytes, size_t length,
                     const char *why)
{
    struct raw_answer answer = {0};
    int status = ask(play, "GET", path, "", NULL, 0, &answer);
    if (status != 200 || answer.length != length || memcmp(answer.body, bytes, length) != 0)
        fail(play, why);
    raw_answer_finish(&answer);
}

static void blob_is_there(struct play *play)
{
    AUTO_FREE char *path = xasprintf("/blobs/%s", play->digest);
    look_for(play, path, play->blob, BLOB_SIZE, "the blob is not there, or is other bytes");
}

static void blob_is_absent(struct play *play)
{
    AUTO_FREE char *path = xasprintf("/blobs/%s", play->digest);
    must(play, ask(play, "GET", path, "", NULL, 0, NULL), 404, "there is a blob of half a request");
}

static void manifest_is_there(struct play *play)
{
    look_for(play, "/manifests/v1", play->manifest, strlen(play->manifest),
             "the manifest is not there, or is other bytes");
}

static void manifest_is_absent(struct play *play)
{
    must(play, ask(play, "GET", "/manifests/v1", "", NULL, 0, NULL), 404,
         "there is a manifest of half a request, or one that was deleted");
}

/* How many bytes the upload says it has; -1 after failing. */
static long upload_size(struct play *play)
{
    struct raw_answer answer = {0};
    long size = -1;
    if (ask(play, "GET", play->location, "", NULL, 0, &answer) == 204) {
        AUTO_FREE char *range = raw_answer_header(&answer, "Range");
        if (range != NULL && sscanf(range, "0-%ld", &size) == 1)
            size++;
    }
    raw_answer_finish(&answer);
    if (size < 0 || size > BLOB_SIZE)
        fail(play, "the upload does not say where it is");
    return size;
}

/* Sends the bytes from `start` on; the status. */
static int append(struct play *play, long start)
{
    AUTO_FREE char *range = xasprintf("Content-Range: %ld-%d\r\n", start, BLOB_SIZE - 1);
    if (start == BLOB_SIZE)
        return 202;
    return ask(play, "PATCH", play->location, range, play->blob + start,
               (size_t)(BLOB_SIZE - start), NULL);
}

/* The upload goes on where it says it is, and becomes the blob. */
static void upload_goes_on(struct play *play)
{
    int status = 416;
    /* After an RST the server may still be at the bytes that came before it. */
    for (int attempt = 0; attempt < 100 && (status == 416 || status == 409); attempt++) {
        long size = upload_size(play);
        if (play->why != NULL)
            return;
        status = append(play, size);
        if (status == 416 && size == 1) /* of no byte and of one it says the same, "0-0" */
            status = append(play, 0);
        if (status != 202)
            usleep(20000);
    }
    must(play, status, 202, "the upload does not go on where it says it is");
    AUTO_FREE char *put = xasprintf("%s?digest=%s", play->location, play->digest);
    must(play, ask(play, "PUT", put, "", "", 0, NULL), 201, "the upload does not become the blob");
    blob_is_there(play);
}

/* --- what exchanges begin with --- */

static void start_upload(struct play *play)
{
    struct raw_answer answer = {0};
    must(play, ask(play, "POST", "/blobs/uploads/", "", "", 0, &answer), 202, "no upload starts");
    play->location = answer.head != NULL ? raw_answer_header(&answer, "Location") : NULL;
    if (play->location == NULL)
        play->location = xstrdup("/v2/none");
    raw_answer_finish(&answer);
}

static void push_blob(struct play *play)
{
    AUTO_FREE char *path = xasprintf("/blobs/uploads/?digest=%s", play->digest);
    must(play, ask(play, "POST", path, "", play->blob, BLOB_SIZE, NULL), 201, "no blob is pushed");
}

static void write_manifest(struct play *play)
{
    push_blob(play);
    play->manifest =
        xasprintf("{\"schemaVersion\": 2, \"mediaType\": \"" MANIFEST_TYPE
                  "\",\n\"config\": {\"mediaType\": \"application/x\", \"digest\": \"%s\", "
                  "\"size\": %d}, \"layers\": []}\n",
                  play->digest, BLOB_SIZE);
    digest_of_bytes(play->manifest, strlen(play->manifest), play->manifest_digest);
}

static void push_manifest(struct play *play)
{
    write_manifest(play);
    must(play,
         ask(play, "PUT", "/manifests/v1", "Content-Type: " MANIFEST_TYPE "\r\n", play->manifest,
             strlen(play->manifest), NULL),
         201, "no manifest is pushed");
}

/* "METHOD /v2/<repository><path> HTTP/1.1", and what stands in `rest`. */
static void request(struct play *play, const char *method, const char *path, const char *rest)
{
    bool is_whole = strncmp(path, "/v2/", 4) == 0;
    buffer_printf(&play->request, "%s %s%s%s HTTP/1.1\r\nHost: registry\r\n%s", method,
                  is_whole ? "" : "/v2/", is_whole ? "" : play->repository, path, rest);
}

static void request_body(struct play *play, const void *bytes, size_t length)
{
    buffer_printf(&play->request, "Content-Length: %zu\r\n\r\n", length);
    buffer_append(&play->request, bytes, length);
}

/* --- the exchanges --- */

static void prepare_post(struct play *play)
{
    AUTO_FREE char *path = xasprintf("/blobs/uploads/?digest=%s", play->digest);
    request(play, "POST", path, "Content-Type: application/octet-stream\r\n");
    request_body(play, play->blob, BLOB_SIZE);
}

static void prepare_start(struct play *play)
{
    request(play, "POST", "/blobs/uploads/", "");
    request_body(play, "", 0);
}

static void prepare_patch(struct play *play)
{
    start_upload(play);
    request(play, "PATCH", play->location, "Content-Type: application/octet-stream\r\n");
    request_body(play, play->blob, BLOB_SIZE);
}

static void prepare_patch_expecting(struct play *play)
{
    start_upload(play);
    request(play, "PATCH", play->location, "Expect: 100-continue\r\n");
    request_body(play, play->blob, BLOB_SIZE);
}

static void prepare_patch_chunked(struct play *play)
{
    start_upload(play);
    request(play, "PATCH", play->location, "Transfer-Encoding: chunked\r\n\r\n");
    for (int at = 0; at < BLOB_SIZE; at += BLOB_SIZE / 3) {
        buffer_printf(&play->request, "%x\r\n", BLOB_SIZE / 3);
        buffer_append(&play->request, play->blob + at, BLOB_SIZE / 3);
        buffer_append_text(&play->request, "\r\n");
    }
    buffer_append_text(&play->request, "0\r\n\r\n");
}

static void prepare_patch_ranged(struct play *play)
{
    start_upload(play);
    AUTO_FREE char *range = xasprintf("Content-Range: 0-%d\r\n", BLOB_SIZE - 1);
    request(play, "PATCH", play->location, range);
    request_body(play, play->blob, BLOB_SIZE);
}

static void prepare_put(struct play *play)
{
    start_upload(play);
    AUTO_FREE char *path = xasprintf("%s?digest=%s", play->location, play->digest);
    request(play, "PUT", path, "");
    request_body(play, play->blob, BLOB_SIZE);
}

static void prepare_put_at_the_end(struct play *play)
{
    start_upload(play);
    must(play, ask(play, "PATCH", play->location, "", play->blob, BLOB_SIZE, NULL), 202,
         "no bytes are taken");
    AUTO_FREE char *path = xasprintf("%s?digest=%s", play->location, play->digest);
    request(play, "PUT", path, "");
    request_body(play, "", 0);
}

static void cut_put(struct play *play)
{
    blob_is_absent(play);
    upload_goes_on(play);
}

static void prepare_manifest(struct play *play)
{
    write_manifest(play);
    request(play, "PUT", "/manifests/v1", "Content-Type: " MANIFEST_TYPE "\r\n");
    request_body(play, play->manifest, strlen(play->manifest));
}

static void prepare_mount(struct play *play)
{
    AUTO_FREE char *there = xstrdup(play->repository);
    push_blob(play);
    snprintf(play->repository, sizeof play->repository, "to-%.60s", there);
    AUTO_FREE char *path = xasprintf("/blobs/uploads/?mount=%s&from=%s", play->digest, there);
    request(play, "POST", path, "");
    request_body(play, "", 0);
}

static void prepare_range(struct play *play)
{
    push_blob(play);
    AUTO_FREE char *path = xasprintf("/blobs/%s", play->digest);
    request(play, "GET", path, "Range: bytes=7-99\r\n\r\n");
}

/* Several requests at once on one connection. */
static void prepare_reads(struct play *play)
{
    push_manifest(play);
    request(play, "GET", "/manifests/v1", "\r\n");
    request(play, "HEAD", "/manifests/v1", "Accept: */*\r\n\r\n");
    request(play, "GET", "/tags/list?n=1&last=a", "\r\n");
    request(play, "GET", "/v2/_catalog?n=1", "\r\n");
}

static void prepare_manifest_delete(struct play *play)
{
    push_manifest(play);
    AUTO_FREE char *path = xasprintf("/manifests/%s", play->manifest_digest);
    request(play, "DELETE", path, "\r\n");
}

static void prepare_blob_delete(struct play *play)
{
    push_blob(play);
    AUTO_FREE char *path = xasprintf("/blobs/%s", play->digest);
    request(play, "DELETE", path, "\r\n");
}

static void prepare_upload_delete(struct play *play)
{
    start_upload(play);
    request(play, "DELETE", play->location, "\r\n");
}

static void upload_is_gone(struct play *play)
{
    must(play, ask(play, "GET", play->location, "", NULL, 0, NULL), 404,
         "the upload is still there");
}

static void nothing_to_check(struct play *play)
{
    (void)play;
}

static const struct exchange exchanges[] = {
    {"whole_blob", prepare_post, blob_is_absent, blob_is_there},
    {"patch", prepare_patch, upload_goes_on, upload_goes_on},
    {"patch_expecting", prepare_patch_expecting, upload_goes_on, upload_goes_on},
    {"patch_chunked", prepare_patch_chunked, upload_goes_on, upload_goes_on},
    {"patch_ranged", prepare_patch_ranged, upload_goes_on, upload_goes_on},
    {"put_with_bytes", prepare_put, cut_put, blob_is_there},
    {"put_at_the_end", prepare_put_at_the_end, cut_put, blob_is_there},
    {"manifest", prepare_manifest, manifest_is_absent, manifest_is_there},
    {"mount", prepare_mount, blob_is_absent, blob_is_there},
    {"range", prepare_range, blob_is_there, blob_is_there},
    {"reads", prepare_reads, manifest_is_there, manifest_is_there},
    {"manifest_delete", prepare_manifest_delete, manifest_is_there, manifest_is_absent},
    {"blob_delete", prepare_blob_delete, blob_is_there, blob_is_absent},
    {"upload_delete", prepare_upload_delete, upload_goes_on, upload_is_gone},
    {"upload_start", prepare_start, nothing_to_check, nothing_to_check},
};

/* --- playing them --- */

/* `place` makes the repository and the bytes this play's own. */
static void play_init(struct play *play, uint16_t port, const char *place, const char *name,
                      size_t number)
{
    *play = (struct play){0};
    raw_client_init(&play->control, port);
    snprintf(play->repository, sizeof play->repository, "%s/%s-%04zu", place, name, number);
    for (char *at = play->repository; *at != '\0'; at++) {
        if (*at == '_')
            *at = '-';
    }
    memset(play->blob, '.', sizeof play->blob);
    memcpy(play->blob, play->repository, strlen(play->repository));
    digest_of_bytes(play->blob, sizeof play->blob, play->digest);
}

static void play_finish(struct play *play)
{
    raw_client_close(&play->control, false);
    free(play->location);
    free(play->manifest);
    buffer_finish(&play->request);
}

/* Whatever still comes, to the end: the server is then through with the connection. */
static void drain(struct raw_client *client, struct buffer *answer)
{
    char chunk[4096];
    ssize_t got;
    shutdown(client->socket, SHUT_WR);
    while ((got = recv(client->socket, chunk, sizeof chunk, 0)) > 0)
        buffer_append(answer, chunk, (size_t)got);
}

/* Sends the request's first `length` bytes (no more than it has) and goes; -1 when nobody listens.
 */
static int send_part(struct play *play, size_t length, bool is_reset, bool one_by_one,
                     struct buffer *answer)
{
    struct raw_client client;
    raw_client_init(&client, play->control.port);
    if (raw_client_connect(&client) < 0)
        return -1;
    const char *bytes = buffer_text(&play->request);
    length = length < play->request.length ? length : play->request.length;
    for (size_t i = 0; one_by_one && i < length; i++) {
        if (raw_client_send(&client, bytes + i, 1) < 0)
            return 0;
        usleep(100);
    }
    if (!one_by_one && raw_client_send(&client, bytes, length) < 0)
        return 0;
    if (!is_reset)
        drain(&client, answer);
    raw_client_close(&client, is_reset);
    return 0;
}

/* Sends the first `length` bytes, and checks; true when all is well. `ret_is_last`: there is no
 * more to send. An RST behind the whole
 * request would leave open whether it counts: that one is ended. */
static bool cut_once(const struct exchange *exchange, uint16_t port, size_t length, bool is_reset,
                     bool *ret_is_last)
{
    struct play play;
    struct buffer answer AUTO_BUFFER = {0};
    play_init(&play, port, is_reset ? "reset" : "ended", exchange->name, length);
    exchange->prepare(&play);
    bool is_whole = length >= play.request.length;
    *ret_is_last = is_whole;
    if (play.why == NULL && send_part(&play, length, is_reset && !is_whole, false, &answer) < 0)
        fail(&play, "nobody listens");
    if (play.why == NULL && is_whole)
        exchange->check_whole(&play);
    else if (play.why == NULL)
        exchange->check_cut(&play);
    bool is_good = play.why == NULL;
    if (!is_good)
        printf("FAIL %s: %s behind byte %zu of %zu: %s\n", exchange->name,
               is_reset ? "reset" : "ended", length, play.request.length, play.why);
    play_finish(&play);
    return is_good;
}

/* What answers may differ in: digests and ids, the date, the name of the place. */
static void make_comparable(struct buffer *answer)
{
    char *to = answer->data, *line = answer->data;
    if (line == NULL)
        return;
    for (char *date = strstr(line, "\r\nDate: "); date != NULL;
         date = strstr(date + 2, "\r\nDate: "))
        memset(date + 8, '#', strcspn(date + 8, "\r"));
    for (char *place = strstr(line, "slow/"); place != NULL; place = strstr(place, "slow/"))
        memcpy(place, "fast", 4);
    for (const char *from = line; *from != '\0';) {
        size_t hex = strspn(from, "0123456789abcdef");
        if (hex >= 32) {
            *to++ = '#';
            from += hex;
        } else {
            size_t length = hex > 0 ? hex : 1;
            memmove(to, from, length);
            to += length;
            from += length;
        }
    }
    *to = '\0';
}

static bool slowly_is_the_same(const struct exchange *exchange, uint16_t port)
{
    struct play fast, slow;
    struct buffer fast_answer AUTO_BUFFER = {0}, slow_answer AUTO_BUFFER = {0};
    play_init(&fast, port, "fast", exchange->name, 0);
    play_init(&slow, port, "slow", exchange->name, 0);
    exchange->prepare(&fast);
    exchange->prepare(&slow);
    send_part(&fast, fast.request.length, false, false, &fast_answer);
    send_part(&slow, slow.request.length, false, true, &slow_answer);
    exchange->check_whole(&fast);
    exchange->check_whole(&slow);
    make_comparable(&fast_answer);
    make_comparable(&slow_answer);
    bool is_good = slow.why == NULL && fast.why == NULL && fast_answer.length > 0 &&
                   strcmp(buffer_text(&fast_answer), buffer_text(&slow_answer)) == 0;
    if (!is_good)
        printf("FAIL %s: one byte at a time: %s\n%s\n--- instead of ---\n%s\n", exchange->name,
               slow.why != NULL ? slow.why : "another answer", buffer_text(&slow_answer),
               buffer_text(&fast_answer));
    play_finish(&fast);
    play_finish(&slow);
    return is_good;
}

static bool play_exchange(const struct exchange *exchange, uint16_t port)
{
    int failures = 0;
    for (int is_reset = 0; is_reset <= 1; is_reset++) {
        bool is_last = false;
        /* By RST behind every third byte: it is the same code that hears of it. */
        for (size_t length = 0; !is_last && failures < 3; length += is_reset ? 3 : 1)
            failures += !cut_once(exchange, port, length, is_reset, &is_last);
    }
    failures += !slowly_is_the_same(exchange, port);
    if (failures == 0)
        printf("ok %s\n", exchange->name);
    fflush(stdout);
    return failures == 0;
}

static bool is_named(const char *name, char **names, int count)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return count == 0;
}

int main(int count, char **arguments)
{
    bool is_good = true, is_any = false;
    if (count < 2) {
        fprintf(stderr, "usage: registry_cut PORT [EXCHANGE...]\n");
        return 2;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(exchanges); i++) {
        if (!is_named(exchanges[i].name, arguments + 2, count - 2))
            continue;
        is_any = true;
        is_good = play_exchange(&exchanges[i], (uint16_t)atoi(arguments[1])) && is_good;
    }
    return is_good && is_any ? 0 : 1;
}
