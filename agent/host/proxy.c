#include "agent/host/proxy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/host/channel.h"
#include "agent/host/proxy_process.h"
#include "agent/host/proxy_runtime.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define RETRY_MS     3000 /* a port that cannot be bound, a HAProxy that does not start */
#define LEAVING_MS   50   /* the same while the HAProxy before still closes the port */
#define PENDING_MS   1000 /* servers that still have connections */
#define RESTART_MS   1000 /* between two starts of one HAProxy */
#define LISTEN_QUEUE 1024
#define NEVER        UINT64_MAX
#define FIRST_PORT   1 /* poll's entries: the wake-up, then the ports */

enum request_kind { REQUEST_APPLY, REQUEST_COUNT };

struct request {
    struct request *next;
    enum request_kind kind;
    uint64_t sequence;
    struct proxy_model *model;
    char id[INSTANCE_ID_MAX];
};

/* A published port, or the rest of one: `leaving` HAProxys finish their connections. */
struct port {
    struct port *next;
    uint32_t publish;
    bool http; /* of the process */
    bool leaving;
    int listener;
    struct daemon_process process;
    const struct proxy_frontend *wanted; /* in proxy->model; NULL: adopted, nothing asked yet */
    uint64_t started_at;
    uint64_t again_at; /* when to settle it without being asked */
    bool reported, bound;
    char message[HOST_MESSAGE_TEXT_MAX];
};

struct proxy {
    struct proxy_options options;
    struct proxy_place place;
    pthread_t thread;
    int wake;
    pthread_mutex_t lock;
    struct request *first; /* under the lock, as is stopping */
    struct request **last;
    bool stopping;
    /* the thread's own */
    struct proxy_model *model;
    struct port *ports;
};

/* ---- what goes to the loop ---- */

struct event {
    struct loop_queue_item item;
    struct proxy_options options;
    bool is_report;
    struct host_frontend frontend;
    uint64_t sequence;
    bool failed;
    struct error error;
    uint32_t number;
};

static void run_event(struct loop_queue_item *item)
{
    struct event *event = (struct event *)item;
    const struct proxy_options *options = &event->options;
    if (event->is_report)
        options->report(options->context, &event->frontend);
    else
        options->answer(options->context, event->sequence, event->failed ? &event->error : NULL,
                        event->number);
    free(event);
}

static struct event *event_create(const struct proxy *proxy)
{
    struct event *event = xcalloc(1, sizeof *event);
    event->item.run = run_event;
    event->options = proxy->options;
    return event;
}

static void answer(const struct proxy *proxy, uint64_t sequence, const struct error *error,
                   uint32_t number)
{
    struct event *event = event_create(proxy);
    event->sequence = sequence;
    event->number = number;
    event->failed = error != NULL;
    if (error != NULL)
        event->error = *error;
    loop_queue_post(proxy->options.queue, &event->item);
}

/* Tells of a port when it changed, or when asked. */
static void report(const struct proxy *proxy, struct port *port, bool bound, const char *message,
                   bool always)
{
    if (!always && port->reported && port->bound == bound && strcmp(port->message, message) == 0)
        return;
    if (!bound)
        log_warn("a published port does not answer", "port", LOG_NUMBER(port->publish), "reason",
                 message);
    else if (!port->reported || !port->bound)
        log_info("published", "port", LOG_NUMBER(port->publish));
    port->reported = true;
    port->bound = bound;
    channel_copy_text(port->message, sizeof port->message, message);
    struct event *event = event_create(proxy);
    event->is_report = true;
    event->frontend.publish = port->publish;
    event->frontend.bound = bound;
    memcpy(event->frontend.message, port->message, sizeof port->message);
    loop_queue_post(proxy->options.queue, &event->item);
}

/* ---- one port ---- */

static uint64_t now_ms(void)
{
    return clock_monotonic_ms(clock_system());
}

static int explain_bind(const struct proxy *proxy, uint32_t publish, int number,
                        struct error *error)
{
    if (number == EADDRINUSE)
        return error_set(error, ERROR_CONFLICT,
                         "port %" PRIu32 " of %s is taken by another program: end it, or publish "
                         "another port",
                         publish, proxy->options.publish_address);
    return error_set_errno(error, number, "bind port %" PRIu32 " of %s", publish,
                           proxy->options.publish_address);
}

static int open_listener(const struct proxy *proxy, uint32_t publish, struct error *error)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)publish)};
    int on = 1;
    if (inet_pton(AF_INET, proxy->options.publish_address, &address.sin_addr) != 1)
        return error_set(error, ERROR_INVALID, "publish address %s is not an IPv4 address",
                         proxy->options.publish_address);
    AUTO_CLOSE int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0)
        return error_set_errno(error, errno, "open a listening socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (const struct sockaddr *)&address, sizeof address) < 0 ||
        listen(listener, LISTEN_QUEUE) < 0)
        return explain_bind(proxy, publish, errno, error);
    return TAKE_DESCRIPTOR(listener);
}

static struct port *add_port(struct proxy *proxy, uint32_t publish)
{
    struct port *port = xcalloc(1, sizeof *port);
    port->publish = publish;
    port->listener = -1;
    port->process = DAEMON_PROCESS_NONE;
    port->again_at = NEVER;
    port->next = proxy->ports;
    proxy->ports = port;
    return port;
}

static struct port *find_port(const struct proxy *proxy, uint32_t publish)
{
    for (struct port *port = proxy->ports; port != NULL; port = port->next) {
        if (port->publish == publish && !port->leaving)
            return port;
    }
    return NULL;
}

/* Its HAProxy goes on as a port of its own that only leaves. */
static void let_leave(struct proxy *proxy, struct port *port)
{
    if (port->process.pid < 0)
        return;
    proxy_process_leave(&proxy->place, port->publish, port->http, &port->process);
    struct port *rest = add_port(proxy, port->publish);
    rest->http = port->http;
    rest->leaving = true;
    rest->process = port->process;
    port->process = DAEMON_PROCESS_NONE;
}

static int ensure_process(struct proxy *proxy, struct port *port, struct error *error)
{
    if (daemon_process_has_ended(&port->process))
        proxy_process_reap(&proxy->place, port->publish, port->http, &port->process);
    if (port->process.pid > 0 && port->http != port->wanted->http)
        let_leave(proxy, port);
    if (port->process.pid > 0)
        return 0;
    if (proxy_process_start(&proxy->place, port->wanted, port->listener, proxy->options.namespace,
                            &port->process, error) < 0)
        return -1;
    port->http = port->wanted->http;
    port->started_at = now_ms();
    log_info("HAProxy started", "port", LOG_NUMBER(port->publish), "pid",
             LOG_NUMBER(port->process.pid));
    return 0;
}

static bool is_being_left(const struct proxy *proxy, uint32_t publish)
{
    for (const struct port *port = proxy->ports; port != NULL; port = port->next) {
        if (port->publish == publish && port->leaving)
            return true;
    }
    return false;
}

/* Makes a port what is wanted of it. -1 when HAProxy runs but did not take the servers over. */
static int settle(struct proxy *proxy, struct port *port, bool always, struct error *error)
{
    struct error why = ERROR_INIT;
    bool pending = false;
    port->again_at = NEVER;
    if (port->listener < 0)
        port->listener = open_listener(proxy, port->publish, &why);
    if (port->listener < 0 || ensure_process(proxy, port, &why) < 0) {
        port->again_at = now_ms() + (is_being_left(proxy, port->publish) ? LEAVING_MS : RETRY_MS);
        report(proxy, port, false, why.message, always);
        return 0;
    }
    AUTO_FREE char *path = proxy_place_socket(&proxy->place, port->publish, port->http);
    report(proxy, port, true, "", always);
    int result = proxy_runtime_apply(path, port->wanted, &pending, error);
    if (result < 0 || pending)
        port->again_at = now_ms() + PENDING_MS;
    return result;
}

/* ---- what the loop asks ---- */

/* Closes the port; what HAProxy still serves it may finish. */
static void begin_leaving(struct proxy *proxy, struct port *port)
{
    if (port->listener >= 0)
        close(port->listener);
    port->listener = -1;
    port->leaving = true;
    port->wanted = NULL;
    port->again_at = NEVER;
    if (port->process.pid > 0)
        proxy_process_leave(&proxy->place, port->publish, port->http, &port->process);
}

static void drop_unwanted(struct proxy *proxy)
{
    for (struct port *port = proxy->ports; port != NULL; port = port->next) {
        if (port->leaving || proxy_model_find(proxy->model, port->publish) != NULL)
            continue;
        log_info("no longer published", "port", LOG_NUMBER(port->publish));
        begin_leaving(proxy, port);
    }
}

static void apply(struct proxy *proxy, struct request *request)
{
    struct error error = ERROR_INIT;
    int result = 0;
    struct proxy_model *before = proxy->model;
    proxy->model = TAKE_POINTER(request->model);
    drop_unwanted(proxy);
    for (size_t i = 0; i < proxy->model->frontend_count; i++) {
        const struct proxy_frontend *wanted = &proxy->model->frontends[i];
        struct port *port = find_port(proxy, wanted->publish);
        if (port == NULL)
            port = add_port(proxy, wanted->publish);
        port->wanted = wanted;
        if (settle(proxy, port, true, &error) < 0)
            result = -1;
    }
    proxy_model_destroy(before);
    answer(proxy, request->sequence, result < 0 ? &error : NULL, 0);
}

static void count(struct proxy *proxy, const struct request *request)
{
    struct error error = ERROR_INIT;
    uint32_t total = 0;
    int result = 0;
    for (struct port *port = proxy->ports; port != NULL; port = port->next) {
        if (port->leaving || port->process.pid < 0)
            continue;
        AUTO_FREE char *path = proxy_place_socket(&proxy->place, port->publish, port->http);
        if (proxy_runtime_count(path, request->id, &total, &error) < 0)
            result = -1;
    }
    answer(proxy, request->sequence, result < 0 ? &error : NULL, total);
}

static struct request *take_request(struct proxy *proxy, bool *ret_stopping)
{
    pthread_mutex_lock(&proxy->lock);
    struct request *request = proxy->first;
    if (request != NULL) {
        proxy->first = request->next;
        if (proxy->first == NULL)
            proxy->last = &proxy->first;
    }
    *ret_stopping = proxy->stopping;
    pthread_mutex_unlock(&proxy->lock);
    return request;
}

static void free_request(struct request *request)
{
    proxy_model_destroy(request->model);
    free(request);
}

static bool run_requests(struct proxy *proxy)
{
    uint64_t ignored;
    bool stopping;
    ssize_t got = read(proxy->wake, &ignored, sizeof ignored);
    (void)got;
    struct request *request;
    while ((request = take_request(proxy, &stopping)) != NULL && !stopping) {
        if (request->kind == REQUEST_APPLY)
            apply(proxy, request);
        else
            count(proxy, request);
        free_request(request);
    }
    if (request != NULL)
        free_request(request);
    return !stopping;
}

/* ---- the thread ---- */

static void on_process_ended(struct proxy *proxy, struct port *port)
{
    if (!port->leaving)
        log_warn("HAProxy ended and is started again", "port", LOG_NUMBER(port->publish));
    proxy_process_reap(&proxy->place, port->publish, port->http, &port->process);
    if (!port->leaving && port->wanted != NULL) {
        uint64_t soonest = port->started_at + RESTART_MS;
        port->again_at = now_ms() > soonest ? now_ms() : soonest;
    }
}

static void free_port(struct port *port)
{
    if (port->listener >= 0)
        close(port->listener);
    if (port->process.watch >= 0)
        close(port->process.watch);
    free(port);
}

/* Ports that left and whose HAProxy has ended. */
static void sweep(struct proxy *proxy)
{
    for (struct port **link = &proxy->ports; *link != NULL;) {
        struct port *port = *link;
        if (!port->leaving || port->process.pid > 0) {
            link = &port->next;
            continue;
        }
        *link = port->next;
        if (find_port(proxy, port->publish) == NULL)
            proxy_place_forget(&proxy->place, port->publish, port->http);
        free_port(port);
    }
}

/* Whether a HAProxy has ended, or a port is due, is looked at for all of them each time: there are
 * few, and waking is rare. */
static int wait_for_work(const struct proxy *proxy)
{
    size_t ports = 0, used = FIRST_PORT;
    uint64_t due = NEVER;
    for (const struct port *port = proxy->ports; port != NULL; port = port->next) {
        ports++;
        if (port->again_at < due)
            due = port->again_at;
    }
    AUTO_FREE struct pollfd *entries = xcalloc(ports + FIRST_PORT, sizeof *entries);
    entries[0] = (struct pollfd){.fd = proxy->wake, .events = POLLIN};
    for (const struct port *port = proxy->ports; port != NULL; port = port->next) {
        if (port->process.pid > 0)
            entries[used++] = (struct pollfd){.fd = port->process.watch, .events = POLLIN};
    }
    uint64_t now = now_ms();
    int timeout = due == NEVER ? -1 : due <= now ? 0 : (int)(due - now);
    return poll(entries, (nfds_t)used, timeout);
}

static void *run(void *context)
{
    struct proxy *proxy = context;
    do {
        wait_for_work(proxy);
        for (struct port *port = proxy->ports; port != NULL; port = port->next) {
            if (daemon_process_has_ended(&port->process))
                on_process_ended(proxy, port);
        }
        for (struct port *port = proxy->ports; port != NULL; port = port->next) {
            struct error error = ERROR_INIT;
            if (port->wanted != NULL && port->again_at <= now_ms() &&
                settle(proxy, port, false, &error) < 0)
                log_warn("HAProxy cannot be changed", "error", error.message);
        }
        sweep(proxy);
    } while (run_requests(proxy));
    return NULL;
}

/* ---- life ---- */

/* Those that were told to leave are seen off. */
static void adopt_left(struct proxy *proxy, const struct proxy_found *found)
{
    struct daemon_process process;
    if (proxy_process_adopt_left(&proxy->place, found, &process) < 0)
        return;
    struct port *port = add_port(proxy, found->publish);
    port->http = found->http;
    port->leaving = true;
    port->process = process;
}

static void adopt_port(struct proxy *proxy, const struct proxy_found *found)
{
    struct daemon_process process;
    int listener;
    if (proxy_process_adopt(&proxy->place, found->publish, found->http, &process, &listener) < 0) {
        proxy_place_forget(&proxy->place, found->publish, found->http);
        return;
    }
    bool second = find_port(proxy, found->publish) != NULL; /* in the other mode */
    struct port *port = add_port(proxy, found->publish);
    port->http = found->http;
    port->process = process;
    port->listener = listener;
    log_info("HAProxy adopted", "port", LOG_NUMBER(port->publish), "pid", LOG_NUMBER(process.pid));
    if (second)
        begin_leaving(proxy, port);
}

static void adopt(struct proxy *proxy)
{
    struct proxy_found *found;
    size_t count;
    proxy_place_list(&proxy->place, &found, &count);
    for (size_t i = 0; i < count; i++) {
        if (found[i].left != 0)
            adopt_left(proxy, &found[i]);
        else
            adopt_port(proxy, &found[i]);
    }
    free(found);
}

struct proxy *proxy_create(const struct proxy_options *options, struct error *error)
{
    struct proxy_place place;
    if (proxy_place_init(&place, options->run_directory, error) < 0)
        return NULL;
    struct proxy *proxy = xcalloc(1, sizeof *proxy);
    proxy->options = *options;
    proxy->place = place;
    proxy->last = &proxy->first;
    proxy->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&proxy->lock, NULL);
    adopt(proxy);
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (proxy->wake < 0 || pthread_create(&proxy->thread, NULL, run, proxy) != 0)
        abort();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return proxy;
}

static void submit(struct proxy *proxy, struct request *request)
{
    pthread_mutex_lock(&proxy->lock);
    *proxy->last = request;
    proxy->last = &request->next;
    pthread_mutex_unlock(&proxy->lock);
    eventfd_write(proxy->wake, 1);
}

void proxy_apply(struct proxy *proxy, uint64_t sequence, struct proxy_model *model)
{
    struct request *request = xcalloc(1, sizeof *request);
    request->kind = REQUEST_APPLY;
    request->sequence = sequence;
    request->model = model;
    submit(proxy, request);
}

void proxy_count(struct proxy *proxy, uint64_t sequence, const char *id)
{
    struct request *request = xcalloc(1, sizeof *request);
    request->kind = REQUEST_COUNT;
    request->sequence = sequence;
    snprintf(request->id, sizeof request->id, "%s", id);
    submit(proxy, request);
}

void proxy_destroy(struct proxy *proxy)
{
    if (proxy == NULL)
        return;
    pthread_mutex_lock(&proxy->lock);
    proxy->stopping = true;
    pthread_mutex_unlock(&proxy->lock);
    eventfd_write(proxy->wake, 1);
    pthread_join(proxy->thread, NULL);
    for (struct request *request = proxy->first, *next; request != NULL; request = next) {
        next = request->next;
        free_request(request);
    }
    for (struct port *port = proxy->ports, *next; port != NULL; port = next) {
        next = port->next;
        free_port(port);
    }
    proxy_model_destroy(proxy->model);
    proxy_place_finish(&proxy->place);
    pthread_mutex_destroy(&proxy->lock);
    close(proxy->wake);
    free(proxy);
}

int proxy_clean(const char *run_directory, struct error *error)
{
    struct proxy_place place;
    if (proxy_place_init(&place, run_directory, error) < 0)
        return -1;
    int result = proxy_place_end_all(&place, error);
    proxy_place_finish(&place);
    return result;
}
