/* What the files of the HTTP server share. Not for anyone else.
 *
 * http_server.c owns the daemon and its loop, http_server_request.c the way of one request,
 * http_server_answer.c what goes out, http_server_target.c paths, patterns and queries,
 * http_server_tls.c certificates, http_server_watch.c the open connections,
 * http_server_wait.c requests that wait for their answer.
 *
 * A request is held from two sides: by libmicrohttpd until it reports the request completed, and
 * by its handler until it has answered (or was told that it is abandoned). It is freed when
 * neither side holds it, so a handler may answer a client that is long gone. */
#pragma once

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <time.h>

#include "lib/buffer.h"
#include "lib/http_server.h"

/* --- paths, patterns, queries: pure functions --- */

struct text_pairs {
    struct text_pair {
        char *name;
        char *value; /* in the name's memory, behind it */
        bool is_own; /* the name's memory; else it is in `first` */
    } * items;
    size_t count;
    size_t capacity;
    char *first; /* memory for the first pairs and their texts */
    size_t used; /* of it */
};

void text_pairs_add(struct text_pairs *pairs, const char *name, const char *value);
const char *text_pairs_get(const struct text_pairs *pairs, const char *name);
/* Names compared without case, as header names are. */
const char *text_pairs_get_caseless(const struct text_pairs *pairs, const char *name);
void text_pairs_finish(struct text_pairs *pairs);

#define TARGET_SEGMENTS_MAX 64
#define TARGET_QUERY_MAX    64

struct http_target {
    char *path;                          /* decoded */
    char *segment_bytes;                 /* in path's memory, behind it */
    char *segments[TARGET_SEGMENTS_MAX]; /* in segment_bytes, where path has them */
    size_t segment_count;
    struct text_pairs query;
};

/* A target without the scheme and host in front of it, if it has them. */
const char *http_target_skip_authority(const char *raw);
/* Reads a request's target ("/v2/a%2Bb/tags?n=3") as it came. */
int http_target_parse(const char *raw, struct http_target *ret_target, struct error *error);
void http_target_finish(struct http_target *target);

#define PATTERN_SEGMENTS_MAX 16

/* A route's pattern, split. */
struct http_pattern {
    struct pattern_segment {
        const char *text; /* in the route's pattern; of a "{name}", the name */
        size_t length;
        bool is_name;
        bool is_many; /* "{name...}" */
    } segments[PATTERN_SEGMENTS_MAX];
    size_t count;
};

/* Points into `pattern`. */
void http_pattern_parse(const char *pattern, struct http_pattern *ret_pattern);
/* Whether the target's path has the pattern's form; if so adds its "{name}"s to ret_parameters. */
bool http_target_matches(const struct http_target *target, const struct http_pattern *pattern,
                         struct text_pairs *ret_parameters);

/* --- connections: http_server_watch.c --- */

/* Who is waiting for whom. */
enum http_phase {
    HTTP_PHASE_HEAD, /* idle, or the first bytes of a request have come and not all of its head */
    HTTP_PHASE_RECEIVING, /* the body */
    HTTP_PHASE_DROPPING,  /* a body that nobody wants: the answer went out */
    HTTP_PHASE_WORKING,   /* the client waits for this side: never slow */
    HTTP_PHASE_SENDING,
    HTTP_PHASE_CUT, /* was too slow; final */
};

struct http_address {
    int family;
    unsigned char bytes[8];
};

/* What the watching thread saw when a connection last did well. */
struct http_progress {
    enum http_phase phase;
    unsigned requests;
    uint64_t moved; /* bytes, in the phase's direction */
    uint64_t waited_ms;
};

/* Certificates as they were read at one time; counted by the server and by each connection that
 * began with them. */
struct http_identity;

/* What is kept of a connection while it is open. */
struct http_connection {
    struct http_identity *identity; /* NULL: plain */
    bool is_checked;                /* whether the client's certificate was looked at */
    bool is_good;
    char name[256];    /* of a verified client certificate; "" when there is none */
    char problem[256]; /* why the certificate is not good */
    int descriptor;
    struct http_address address;
    char peer[INET6_ADDRSTRLEN];   /* numeric; "" on a UNIX socket */
    bool is_refused;               /* its address has too many: every request is answered 503 */
    atomic_int phase;              /* enum http_phase */
    atomic_uint requests;          /* that ended */
    struct http_progress progress; /* the watching thread's alone */
    struct http_request *request;  /* that libmicrohttpd holds */
    bool is_watched;               /* for the client's leaving, since a request waited here */
    bool has_left;                 /* the client says that it sends no more */
    LIST_ENTRY(http_connection) link;
};

struct http_watch {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    bool is_running;
    bool stopping; /* under lock, as the list */
    LIST_HEAD(http_connection_list, http_connection) connections;
    unsigned per_address; /* 0: no limit */
    uint64_t slow_window_ms;
    uint64_t slow_bytes;
    uint64_t look_ms;
    bool speaks_tls;
};

int http_watch_init(struct http_watch *watch, const struct http_server_options *options,
                    struct error *error);
/* Once libmicrohttpd has no connection any more, or never had one. */
void http_watch_finish(struct http_watch *watch);
/* libmicrohttpd's question before it takes a connection. */
enum MHD_Result http_watch_on_accept(void *server, const struct sockaddr *from, socklen_t length);
void http_watch_add(struct http_watch *watch, struct http_connection *connection,
                    struct MHD_Connection *mhd);
void http_watch_remove(struct http_watch *watch, struct http_connection *connection);
/* False: it was cut, and nothing may be sent any more. */
bool http_connection_enter(struct http_connection *connection, enum http_phase phase);
bool http_connection_is_cut(const struct http_connection *connection);

/* --- the server --- */

TAILQ_HEAD(http_request_queue, http_request);

struct http_server {
    struct MHD_Daemon *daemon;
    enum http_server_mode mode;
    struct http_route *routes;
    struct http_pattern *patterns; /* the routes' */
    size_t route_count;
    void *data;
    unsigned protocol;
    void (*respond_error)(struct http_request *request, const struct error *error);
    int (*admit)(struct http_request *request, void *data);
    void (*on_answer)(struct http_request *request, void *data);
    void (*on_finished)(const struct http_summary *summary, void *data);
    unsigned idle_timeout_s;
    uint16_t port;
    char *unix_path; /* removed at the end */
    bool speaks_tls;
    pthread_mutex_t identity_lock;
    struct http_identity *identity; /* NULL: plain; under identity_lock */
    struct http_watch watch;
    int quiesced_socket; /* -1 until the server stops listening */
    atomic_bool stopping;
    atomic_uint active; /* requests that libmicrohttpd holds */
    /* Loop mode only, from here on. */
    uv_loop_t *loop;
    uv_poll_t poll;
    uv_timer_t timer;
    unsigned handles; /* open libuv handles */
    bool
        resumed; /* connections wait for the next run; libmicrohttpd does not say so by its epoll */
    uint64_t stop_deadline;
    LIST_HEAD(http_request_list, http_request) requests; /* those that libmicrohttpd holds */
    int hangups;                        /* an epoll of connections whose clients leave; or -1 */
    uv_poll_t hangup_poll;              /* of it */
    struct http_request_queue *waiting; /* of each route, the first one due in front */
    uv_timer_t deadlines;
    uint64_t next_due_ms; /* when `deadlines` is set; 0: it is not */
    void (*on_closed)(void *data);
    void *closed_data;
};

/* The socket that `options` ask for, listening. ERROR_CONFLICT: somebody else has it. */
int http_server_listen(const struct http_server_options *options, int *ret_descriptor,
                       struct error *error);
/* Of a listening socket; 0 when it has none. */
uint16_t http_server_port_of(int descriptor);

void http_server_handle_closed(struct http_server *server);
/* Lets the loop run libmicrohttpd soon. */
void http_server_wake(struct http_server *server);

/* --- TLS: http_server_tls.c --- */

int http_identity_load(const struct http_server_tls *tls, struct http_identity **ret_identity,
                       struct error *error);
struct http_identity *http_identity_acquire(struct http_identity *identity);
void http_identity_release(struct http_identity *identity);

/* Of a connection that begins: it uses what the server has now. */
void http_connection_begin_tls(struct http_connection *connection, struct http_server *server,
                               struct MHD_Connection *mhd);
/* Whether the client's certificate is what the server wants; else `problem` says what is wrong. */
bool http_connection_check_certificate(struct http_connection *connection,
                                       struct MHD_Connection *mhd);
/* Writes to the client past libmicrohttpd, which does not know how to answer early. */
void http_tls_send(struct MHD_Connection *mhd, const void *bytes, size_t length);

/* --- one request --- */

enum answer_kind {
    ANSWER_NONE,
    ANSWER_BYTES,
    ANSWER_SHARED,
    ANSWER_FILE,
    ANSWER_READER,
    ANSWER_STREAM,
};

struct http_answer {
    enum answer_kind kind;
    int status;
    struct text_pairs headers; /* Content-Type among them */
    char *bytes;
    uint64_t length;
    const void *shared_bytes;       /* ANSWER_SHARED */
    struct http_body_reader reader; /* ANSWER_READER; ANSWER_SHARED: its release and data */
    int descriptor;
    uint64_t offset;
    struct buffer queue; /* ANSWER_STREAM: what was written and not yet sent */
    size_t queue_sent;   /* of the queue's bytes */
    bool ended;
};

struct http_request {
    struct http_server *server;        /* NULL once libmicrohttpd is through with it */
    struct MHD_Connection *connection; /* likewise */
    struct http_connection *client;    /* likewise */
    char peer[INET6_ADDRSTRLEN];
    const struct http_route *route; /* NULL when none matched */
    char *raw_target;
    char *method;
    struct http_target target;
    struct text_pairs parameters;
    struct text_pairs headers;
    bool begun;
    bool has_body;
    bool expects_continue;
    uint64_t declared_length; /* Content-Length; UINT64_MAX when the body is chunked */
    uint64_t received;
    uint64_t streamed; /* of an ANSWER_STREAM */
    struct timespec started;
    char *user;
    uint64_t dropped; /* of a body that nobody wants, after the answer went out */
    struct buffer body;
    void *state;
    void (*destroy_state)(void *state);
    struct http_answer answer;
    bool handled; /* the handler was called */
    bool held;    /* by the handler's side */
    bool queued;  /* the answer is with libmicrohttpd */
    bool corked;  /* the socket, until the answer is sent */
    bool
        sent_at_once; /* the answer was written around libmicrohttpd; what still comes is dropped */
    bool suspended;
    bool gone;     /* the client is, and libmicrohttpd does not know it yet */
    bool is_timed; /* among those that wait at its route */
    uint64_t due_ms;
    TAILQ_ENTRY(http_request) waiting;
    void (*abandoned)(struct http_request *request, void *data);
    void *abandoned_data;
    LIST_ENTRY(http_request) link;
};

/* libmicrohttpd's callbacks. */
void *http_request_on_target(void *server, const char *target, struct MHD_Connection *connection);
enum MHD_Result http_request_on_step(void *server, struct MHD_Connection *connection,
                                     const char *url, const char *method, const char *version,
                                     const char *bytes, size_t *length, void **request);
/* libmicrohttpd is through with it. It does not say so of every request: one whose head does not
 * fit into its memory is dropped with the connection. */
void http_request_end(struct http_request *request, enum MHD_RequestTerminationCode code);
void http_request_on_completed(void *server, struct MHD_Connection *connection, void **request,
                               enum MHD_RequestTerminationCode code);

void http_request_suspend(struct http_request *request, uint64_t deadline_ms);
void http_request_resume(struct http_request *request);
/* For the clock: it is not due any more. */
void http_request_stop_waiting(struct http_request *request);
/* Begins two handles on the loop, closed by http_waiting_close. On failure finish is due alone. */
int http_waiting_init(struct http_server *server, uv_loop_t *loop, struct error *error);
void http_waiting_close(struct http_server *server, uv_close_cb on_closed);
void http_waiting_finish(struct http_server *server);
/* Tells the handler, if it is still at it, that its request ended without it. */
void http_request_abandon(struct http_request *request);
/* The handler's side lets go. */
void http_request_release(struct http_request *request);
/* The server's own error in the form its owner wants; `status` 0: the code's own. Does not let go
 * for the handler. */
void http_request_refuse(struct http_request *request, int status, enum error_code code,
                         const char *message);

/* Hands the answer to libmicrohttpd. */
enum MHD_Result http_answer_queue(struct http_request *request);
/* libmicrohttpd has sent it, or given up. */
void http_answer_sent(struct http_request *request);
/* Writes an answer of bytes to the socket, in the middle of a body that nobody wants to the end:
 * libmicrohttpd takes answers only before or after a body. */
void http_answer_send_at_once(struct http_request *request);
void http_answer_finish(struct http_answer *answer);
