/* Load for a registry or a plain web server on loopback. It shares the processors with what it
 * measures, so it does as little as it can: requests are made before the clock starts, bodies of
 * answers are dropped in the kernel (MSG_TRUNC of tcp(7)), all pushes share one block of random
 * bytes of which only the first few differ. Every answer's status and length is checked; a wrong
 * one ends the run with a message.
 *
 *   registry_load get PORT PATH LENGTH CONNECTIONS SECONDS
 *   registry_load push PORT REPOSITORY LENGTH AT-A-TIME COUNT
 *   registry_load image PORT REPOSITORY LENGTH AT-A-TIME COUNT
 *
 * `push` sends blobs as docker and skopeo do: POST, PATCH with the bytes, PUT with the digest.
 * `image` pushes whole images of a layer of LENGTH bytes and a small config, each blob asked for
 * by HEAD before, and the manifest under a tag of its own.
 *
 * Prints one line: how many a second, and the median and 99th percentile of one's time in
 * microseconds. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "lib/crypto.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define HEAD_MAX        8192
#define CONNECTIONS_MAX 256
#define CONFIG_LENGTH   512
#define STAMP_LENGTH    16
/* From here on an answer keeps a thread busy for long, and each connection gets its own. */
#define LARGE_LENGTH ((uint64_t)1 << 20)
#define MEDIA_TYPE   "application/vnd.oci.image."

struct blob {
    char stamp[STAMP_LENGTH]; /* its first bytes; the rest is everybody's */
    size_t length;
    char digest[DIGEST_TEXT_MAX];
};

/* One push: a blob, or an image's layer, config and manifest. */
struct job {
    struct blob layer;
    struct blob config;
    char *manifest;
};

struct load {
    struct sockaddr_in address;
    char *request; /* get: the whole of it */
    size_t request_length;
    uint64_t length; /* of an answer's body, or of a pushed blob */
    double seconds;
    const char *repository;
    char *bytes; /* what all blobs share */
    struct job *jobs;
    unsigned job_count;
    atomic_uint next_job;
    bool whole_image;
    int64_t deadline; /* microseconds; written before the start */
    pthread_barrier_t start;
};

struct answer {
    int status;
    uint64_t length;
    char location[1024]; /* path and query; "" when there is none */
};

struct connection {
    int descriptor;
    char head[HEAD_MAX];
    size_t head_length;
    uint64_t body_left;
    bool in_body;
    int64_t began;
    struct answer answer;
};

struct worker {
    pthread_t thread;
    struct load *load;
    unsigned connections;
    uint32_t *times; /* microseconds each */
    size_t count;
    size_t capacity;
    int64_t ended;
};

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fputs("registry_load: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* --- one exchange --- */

static void connection_open(struct connection *connection, const struct load *load)
{
    int on = 1;
    *connection = (struct connection){.descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    if (connection->descriptor < 0 ||
        connect(connection->descriptor, (const struct sockaddr *)&load->address,
                sizeof load->address) < 0)
        fail("connect to port %u: %s", ntohs(load->address.sin_port), strerror(errno));
    setsockopt(connection->descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void connection_send(struct connection *connection, struct iovec *parts, int count)
{
    connection->began = now_us();
    connection->head_length = 0;
    connection->in_body = false;
    while (count > 0) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
        ssize_t sent = sendmsg(connection->descriptor, &message, MSG_NOSIGNAL);
        if (sent < 0)
            fail("send: %s", strerror(errno));
        for (; count > 0 && (size_t)sent >= parts->iov_len; parts++, count--)
            sent -= (ssize_t)parts->iov_len;
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + sent;
            parts->iov_len -= (size_t)sent;
        }
    }
}

static const char *find_header(const char *head, const char *name)
{
    size_t length = strlen(name);
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, length) == 0 && line[length] == ':')
            return line + length + 1 + strspn(line + length + 1, " ");
    }
    return NULL;
}

/* Of "http://host/path" too: the path. */
static void read_location(const char *value, struct answer *answer)
{
    const char *scheme = strstr(value, "://");
    size_t length = strcspn(value, "\r\n");
    if (scheme != NULL && scheme < value + length) {
        const char *path = strchr(scheme + 3, '/');
        if (path == NULL || path > value + length)
            fail("a location without a path: %.200s", value);
        length -= (size_t)(path - value);
        value = path;
    }
    if (length >= sizeof answer->location)
        fail("a location of %zu bytes", length);
    memcpy(answer->location, value, length);
    answer->location[length] = '\0';
}

/* Reads the head that ends at `end`; what came behind it is of the body. */
static void read_head(struct connection *connection, const char *end, bool has_no_body)
{
    struct answer *answer = &connection->answer;
    if (sscanf(connection->head, "HTTP/1.1 %d ", &answer->status) != 1)
        fail("this is no HTTP answer: %.200s", connection->head);
    const char *length = find_header(connection->head, "Content-Length");
    const char *location = find_header(connection->head, "Location");
    answer->length = length != NULL ? strtoull(length, NULL, 10) : 0;
    answer->location[0] = '\0';
    if (length == NULL && find_header(connection->head, "Transfer-Encoding") != NULL)
        fail("an answer of unknown length: %.400s", connection->head);
    if (location != NULL)
        read_location(location, answer);
    uint64_t expected = has_no_body ? 0 : answer->length;
    size_t have = connection->head_length - (size_t)(end - connection->head);
    if (have > expected)
        fail("%zu bytes of a body of %llu: %.400s", have, (unsigned long long)expected,
             connection->head);
    connection->body_left = expected - have;
    connection->in_body = true;
}

/* The system call itself: a sanitizer's recv takes the bytes for written, to nowhere. */
static ssize_t drop(int descriptor, uint64_t length, bool wait)
{
    return syscall(SYS_recvfrom, descriptor, NULL, length,
                   MSG_TRUNC | (wait ? MSG_WAITALL : MSG_DONTWAIT), NULL, NULL);
}

/* Takes what is there of the answer; `wait`: all of it. Whether it is complete. */
static bool connection_receive(struct connection *connection, bool wait, bool has_no_body)
{
    while (!connection->in_body || connection->body_left > 0) {
        ssize_t got;
        if (connection->in_body)
            got = drop(connection->descriptor, connection->body_left, wait);
        else
            got = recv(connection->descriptor, connection->head + connection->head_length,
                       HEAD_MAX - 1 - connection->head_length, wait ? 0 : MSG_DONTWAIT);
        if (got < 0 && errno == EAGAIN)
            return false;
        if (got <= 0)
            fail("the connection ended within an answer: %s",
                 got < 0 ? strerror(errno) : "closed by the server");
        if (connection->in_body) {
            connection->body_left -= (uint64_t)got;
            continue;
        }
        connection->head_length += (size_t)got;
        connection->head[connection->head_length] = '\0';
        const char *end = strstr(connection->head, "\r\n\r\n");
        if (end != NULL)
            read_head(connection, end + 4, has_no_body);
        else if (connection->head_length == HEAD_MAX - 1)
            fail("an answer's head of more than %d bytes", HEAD_MAX);
    }
    return true;
}

static void check_answer(const struct connection *connection, int status)
{
    if (connection->answer.status != status)
        fail("status %d instead of %d: %.600s", connection->answer.status, status,
             connection->head);
}

static void record(struct worker *worker, int64_t began, int64_t ended)
{
    if (worker->count == worker->capacity) {
        worker->capacity = worker->capacity > 0 ? worker->capacity * 2 : 65536;
        worker->times = xreallocarray(worker->times, worker->capacity, sizeof *worker->times);
    }
    worker->times[worker->count++] = (uint32_t)(ended - began);
    worker->ended = ended;
}

/* --- get --- */

static void request_get(struct connection *connection, const struct load *load)
{
    struct iovec part = {load->request, load->request_length};
    connection_send(connection, &part, 1);
}

/* The answer is complete. Whether there is time for another one, which is then asked for. */
static bool go_on(struct worker *worker, struct connection *connection)
{
    const struct load *load = worker->load;
    check_answer(connection, 200);
    if (connection->answer.length != load->length)
        fail("a body of %llu bytes instead of %llu", (unsigned long long)connection->answer.length,
             (unsigned long long)load->length);
    int64_t now = now_us();
    record(worker, connection->began, now);
    if (now >= load->deadline)
        return false;
    request_get(connection, load);
    return true;
}

static void get_on_many(struct worker *worker, struct connection *connections)
{
    struct epoll_event events[CONNECTIONS_MAX];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    for (unsigned i = 0; i < worker->connections; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &connections[i]};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[i].descriptor, &event) < 0)
            fail("epoll: %s", strerror(errno));
        request_get(&connections[i], worker->load);
    }
    for (unsigned open = worker->connections; open > 0;) {
        int count = epoll_wait(epoll, events, CONNECTIONS_MAX, -1);
        for (int i = 0; i < count; i++) {
            struct connection *connection = events[i].data.ptr;
            if (!connection_receive(connection, false, false) || go_on(worker, connection))
                continue;
            epoll_ctl(epoll, EPOLL_CTL_DEL, connection->descriptor, NULL);
            open--;
        }
    }
    close(epoll);
}

static void *run_gets(void *data)
{
    struct worker *worker = data;
    struct connection *connections = xcalloc(worker->connections, sizeof *connections);
    for (unsigned i = 0; i < worker->connections; i++)
        connection_open(&connections[i], worker->load);
    pthread_barrier_wait(&worker->load->start);
    pthread_barrier_wait(&worker->load->start); /* the deadline is set between the two */
    if (worker->connections > 1) {
        get_on_many(worker, connections);
    } else {
        request_get(connections, worker->load);
        do
            connection_receive(connections, true, false);
        while (go_on(worker, connections));
    }
    for (unsigned i = 0; i < worker->connections; i++)
        close(connections[i].descriptor);
    free(connections);
    return NULL;
}

/* --- push --- */

__attribute__((format(printf, 5, 6))) static void exchange(struct connection *connection,
                                                           struct iovec *body, int body_parts,
                                                           int status, const char *format, ...)
{
    va_list arguments;
    struct iovec parts[3];
    uint64_t length = 0;
    for (int i = 0; i < body_parts; i++) {
        parts[i + 1] = body[i];
        length += body[i].iov_len;
    }
    va_start(arguments, format);
    char *line = xvasprintf(format, arguments);
    va_end(arguments);
    const char *type = strstr(line, "/manifests/") != NULL ? MEDIA_TYPE "manifest.v1+json"
                                                           : "application/octet-stream";
    char *head = xasprintf("%s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: %s\r\n"
                           "Content-Length: %llu\r\n\r\n",
                           line, type, (unsigned long long)length);
    bool is_head = strncmp(line, "HEAD ", 5) == 0;
    parts[0] = (struct iovec){head, strlen(head)};
    connection_send(connection, parts, 1 + body_parts);
    connection_receive(connection, true, is_head);
    check_answer(connection, status);
    free(head);
    free(line);
}

static void push_blob(struct connection *connection, const struct load *load, struct blob *blob)
{
    const char *location = connection->answer.location;
    struct iovec body[2] = {{blob->stamp, STAMP_LENGTH},
                            {load->bytes + STAMP_LENGTH, blob->length - STAMP_LENGTH}};
    exchange(connection, NULL, 0, 202, "POST /v2/%s/blobs/uploads/", load->repository);
    exchange(connection, body, 2, 202, "PATCH %s", location);
    exchange(connection, NULL, 0, 201, "PUT %s%cdigest=%s", location,
             strchr(location, '?') != NULL ? '&' : '?', blob->digest);
}

static void push_image(struct connection *connection, const struct load *load, struct job *job)
{
    struct blob *blobs[] = {&job->layer, &job->config};
    struct iovec manifest = {job->manifest, strlen(job->manifest)};
    for (int i = 0; i < 2; i++) {
        exchange(connection, NULL, 0, 404, "HEAD /v2/%s/blobs/%s", load->repository,
                 blobs[i]->digest);
        push_blob(connection, load, blobs[i]);
    }
    exchange(connection, &manifest, 1, 201, "PUT /v2/%s/manifests/t%.12s", load->repository,
             digest_hex(job->layer.digest));
}

static void *run_pushes(void *data)
{
    struct worker *worker = data;
    struct load *load = worker->load;
    struct connection *connection = xcalloc(1, sizeof *connection);
    connection_open(connection, load);
    pthread_barrier_wait(&load->start);
    pthread_barrier_wait(&load->start);
    for (unsigned i; (i = atomic_fetch_add(&load->next_job, 1)) < load->job_count;) {
        int64_t began = now_us();
        if (load->whole_image)
            push_image(connection, load, &load->jobs[i]);
        else
            push_blob(connection, load, &load->jobs[i].layer);
        record(worker, began, now_us());
    }
    close(connection->descriptor);
    free(connection);
    return NULL;
}

/* --- the run --- */

static void make_blob(struct load *load, struct blob *blob, size_t length)
{
    blob->length = length;
    random_bytes(blob->stamp, STAMP_LENGTH);
    memcpy(load->bytes, blob->stamp, STAMP_LENGTH);
    digest_of_bytes(load->bytes, length, blob->digest);
}

static void make_jobs(struct load *load)
{
    size_t length = load->length > CONFIG_LENGTH ? load->length : CONFIG_LENGTH;
    load->bytes = xcalloc(1, length);
    random_bytes(load->bytes, length);
    load->jobs = xcalloc(load->job_count, sizeof *load->jobs);
    for (unsigned i = 0; i < load->job_count; i++) {
        struct job *job = &load->jobs[i];
        make_blob(load, &job->layer, load->length);
        make_blob(load, &job->config, CONFIG_LENGTH);
        job->manifest = xasprintf(
            "{\"schemaVersion\": 2, \"mediaType\": \"" MEDIA_TYPE "manifest.v1+json\", "
            "\"config\": {\"mediaType\": \"" MEDIA_TYPE "config.v1+json\", "
            "\"digest\": \"%s\", \"size\": %zu}, \"layers\": [{\"mediaType\": \"" MEDIA_TYPE
            "layer.v1.tar\", \"digest\": \"%s\", \"size\": %zu}]}",
            job->config.digest, job->config.length, job->layer.digest, job->layer.length);
    }
}

static int compare_times(const void *left, const void *right)
{
    uint32_t one = *(const uint32_t *)left, other = *(const uint32_t *)right;
    return one < other ? -1 : one > other;
}

static void report(const struct worker *workers, unsigned count, int64_t began)
{
    size_t total = 0, filled = 0;
    int64_t ended = began;
    for (unsigned i = 0; i < count; i++) {
        total += workers[i].count;
        ended = workers[i].ended > ended ? workers[i].ended : ended;
    }
    if (total == 0 || ended == began)
        fail("nothing was measured");
    uint32_t *times = xcalloc(total, sizeof *times);
    for (unsigned i = 0; i < count; filled += workers[i++].count)
        if (workers[i].count > 0)
            memcpy(times + filled, workers[i].times, workers[i].count * sizeof *times);
    qsort(times, total, sizeof *times, compare_times);
    printf("%.3f %u %u\n", (double)total * 1e6 / (double)(ended - began), times[total / 2],
           times[total - 1 - total / 100]);
    free(times);
}

static void run(struct load *load, unsigned connections, bool is_get)
{
    unsigned count = connections;
    if (is_get && load->length < LARGE_LENGTH && connections > 2)
        count = 2;
    struct worker *workers = xcalloc(count, sizeof *workers);
    pthread_barrier_init(&load->start, NULL, count + 1);
    for (unsigned i = 0; i < count; i++) {
        workers[i].load = load;
        workers[i].connections = connections / count + (i < connections % count);
        if (pthread_create(&workers[i].thread, NULL, is_get ? run_gets : run_pushes, &workers[i]) !=
            0)
            fail("no thread");
    }
    pthread_barrier_wait(&load->start);
    int64_t began = now_us();
    load->deadline = began + (int64_t)(load->seconds * 1e6);
    pthread_barrier_wait(&load->start);
    for (unsigned i = 0; i < count; i++)
        pthread_join(workers[i].thread, NULL);
    report(workers, count, began);
    for (unsigned i = 0; i < count; i++)
        free(workers[i].times);
    free(workers);
    pthread_barrier_destroy(&load->start);
}

static uint64_t read_number(const char *text, uint64_t least, uint64_t most)
{
    uint64_t number;
    if (!text_parse_u64(text, most, &number) || number < least)
        fail("\"%s\" is no number from %llu to %llu", text, (unsigned long long)least,
             (unsigned long long)most);
    return number;
}

static void load_finish(struct load *load)
{
    for (unsigned i = 0; load->jobs != NULL && i < load->job_count; i++)
        free(load->jobs[i].manifest);
    free(load->jobs);
    free(load->bytes);
    free(load->request);
}

int main(int argc, char **argv)
{
    if (argc != 7)
        fail("usage: registry_load get PORT PATH LENGTH CONNECTIONS SECONDS\n"
             "       registry_load push|image PORT REPOSITORY LENGTH AT-A-TIME COUNT");
    bool is_get = strcmp(argv[1], "get") == 0;
    struct load load = {.address = {.sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                    .sin_port = htons((uint16_t)read_number(argv[2], 1, 65535))}};
    unsigned connections = (unsigned)read_number(argv[5], 1, CONNECTIONS_MAX);
    load.length = read_number(argv[4], is_get ? 0 : STAMP_LENGTH, (uint64_t)1 << 32);
    if (is_get) {
        load.seconds = strtod(argv[6], NULL);
        load.request = xasprintf("GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                                 "Accept: " MEDIA_TYPE "manifest.v1+json\r\n\r\n",
                                 argv[3]);
        load.request_length = strlen(load.request);
    } else {
        load.whole_image = strcmp(argv[1], "image") == 0;
        if (!load.whole_image && strcmp(argv[1], "push") != 0)
            fail("there is no \"%s\"", argv[1]);
        load.repository = argv[3];
        load.job_count = (unsigned)read_number(argv[6], 1, 1000000);
        make_jobs(&load);
    }
    run(&load, connections, is_get);
    load_finish(&load);
    return 0;
}
