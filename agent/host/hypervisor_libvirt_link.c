#include "agent/host/hypervisor_libvirt_link.h"

#include <errno.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/xalloc.h"

/* A daemon that is silent for all of them is taken for gone. */
#define KEEPALIVE_SECONDS 5
#define KEEPALIVE_COUNT   3
#define OPEN_SECONDS      10
#define CLOSE_SECONDS     2
#define AGAIN_SECONDS     1

struct libvirt_link {
    enum libvirt_driver driver;
    char *uri;
    struct libvirt_link_listener listener;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    virConnectPtr connection; /* NULL: none */
    int lifecycle, monitor;   /* callbacks; -1: none */
    bool lost;                /* its other end is gone */
    bool opened;              /* once */
    struct error why;         /* there is no connection */
    pthread_t events, again;
    bool has_again, again_ended;
    atomic_bool closing;  /* nobody is told any more */
    atomic_bool stopping; /* the events' thread ends */
};

int libvirt_refuse(struct error *error, const char *what)
{
    virErrorPtr last = virGetLastError();
    const char *message = virGetLastErrorMessage();
    enum error_code code = ERROR_IO;
    if (last != NULL && last->code == VIR_ERR_NO_DOMAIN)
        code = ERROR_NOT_FOUND;
    else if (last != NULL && (last->domain == VIR_FROM_RPC || last->domain == VIR_FROM_REMOTE))
        code = ERROR_UNAVAILABLE;
    return error_set(error, code, "%s: %s", what, message);
}

/* ---- events ---- */

static int on_lifecycle(virConnectPtr connection, virDomainPtr domain, int event, int detail,
                        void *context)
{
    (void)connection;
    struct libvirt_link *link = context;
    if (!atomic_load(&link->closing))
        link->listener.changed(link->listener.context, virDomainGetName(domain), event, detail);
    return 0;
}

static void on_monitor(virConnectPtr connection, virDomainPtr domain, const char *event,
                       long long seconds, unsigned int microseconds, const char *details,
                       void *context)
{
    (void)connection, (void)event, (void)seconds, (void)microseconds;
    struct libvirt_link *link = context;
    if (details != NULL && !atomic_load(&link->closing))
        link->listener.shut_down(link->listener.context, virDomainGetName(domain), details);
}

/* On the events' thread, which must not wait for the connection's end. */
static void on_close(virConnectPtr connection, int reason, void *context)
{
    static const char *const reasons[] = {
        [VIR_CONNECT_CLOSE_REASON_ERROR] = "an error",
        [VIR_CONNECT_CLOSE_REASON_EOF] = "it ended",
        [VIR_CONNECT_CLOSE_REASON_KEEPALIVE] = "it does not answer",
        [VIR_CONNECT_CLOSE_REASON_CLIENT] = "we closed it",
    };
    (void)connection;
    struct libvirt_link *link = context;
    bool known = reason >= 0 && (size_t)reason < ARRAY_LENGTH(reasons);
    log_warn("libvirt's daemon is gone; its microVMs go on, and it is tried again", "uri",
             link->uri, "reason", known ? reasons[reason] : "unknown");
    pthread_mutex_lock(&link->lock);
    link->lost = true;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
}

static void *run_events(void *context)
{
    struct libvirt_link *link = context;
    while (!atomic_load(&link->stopping))
        virEventRunDefaultImpl();
    return NULL;
}

static void on_wake(int timer, void *context)
{
    struct libvirt_link *link = context;
    atomic_store(&link->stopping, true);
    virEventRemoveTimeout(timer);
}

/* ---- one connection ---- */

static void deregister(struct libvirt_link *link, virConnectPtr connection)
{
    if (link->lifecycle >= 0)
        virConnectDomainEventDeregisterAny(connection, link->lifecycle);
    if (link->monitor >= 0)
        virConnectDomainQemuMonitorEventDeregister(connection, link->monitor);
    if (libvirt_driver_is_outside(link->driver))
        virConnectUnregisterCloseCallback(connection, on_close);
    link->lifecycle = link->monitor = -1;
}

static int listen_to(struct libvirt_link *link, virConnectPtr connection, struct error *error)
{
    bool is_qemu = link->driver == LIBVIRT_EMBED || link->driver == LIBVIRT_SYSTEM;
    link->lifecycle =
        virConnectDomainEventRegisterAny(connection, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                         VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), link, NULL);
    if (link->lifecycle < 0)
        return libvirt_refuse(error, "listen to libvirt's events");
    if (is_qemu)
        link->monitor = virConnectDomainQemuMonitorEventRegister(connection, NULL, "SHUTDOWN",
                                                                 on_monitor, link, NULL, 0);
    if (is_qemu && link->monitor < 0)
        return libvirt_refuse(error, "listen to QEMU's events");
    if (!libvirt_driver_is_outside(link->driver))
        return 0;
    if (virConnectSetKeepAlive(connection, KEEPALIVE_SECONDS, KEEPALIVE_COUNT) < 0 ||
        virConnectRegisterCloseCallback(connection, on_close, link, NULL) < 0)
        return libvirt_refuse(error, "watch libvirt's daemon");
    return 0;
}

static int refuse_open(const struct libvirt_link *link, struct error *error)
{
    AUTO_FREE char *what = xasprintf("open %s", link->uri);
    libvirt_refuse(error, what);
    if (libvirt_driver_is_outside(link->driver))
        error_wrap(error, "libvirt's daemon cannot be reached (is libvirtd running?)");
    else if (strstr(error->message, "libvirt-qemu") != NULL)
        error_wrap(error, "libvirt needs the system user libvirt-qemu (make deps, or the package "
                          "libvirt-daemon-system, creates it)");
    return -1;
}

/* May wait for as long as a daemon takes. */
static int connect_once(struct libvirt_link *link, virConnectPtr *ret_connection,
                        struct error *error)
{
    virConnectPtr connection = virConnectOpen(link->uri);
    if (connection == NULL)
        return refuse_open(link, error);
    if (listen_to(link, connection, error) < 0) {
        deregister(link, connection);
        virConnectClose(connection);
        return -1;
    }
    *ret_connection = connection;
    return 0;
}

/* ---- a daemon's ---- */

static struct timespec in_seconds(unsigned seconds)
{
    struct timespec deadline;
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += seconds;
    return deadline;
}

/* With the lock held; at most `seconds`, or until something changed. */
static void wait_for_change(struct libvirt_link *link, unsigned seconds)
{
    struct timespec deadline = in_seconds(seconds);
    pthread_cond_timedwait(&link->changed, &link->lock, &deadline);
}

static void drop_lost(struct libvirt_link *link)
{
    virConnectPtr lost = link->connection;
    link->connection = NULL;
    link->lost = false;
    error_set(&link->why, ERROR_UNAVAILABLE,
              "libvirt's daemon at %s is gone and is tried again every second (is libvirtd "
              "running?)",
              link->uri);
    if (lost == NULL)
        return;
    pthread_mutex_unlock(&link->lock);
    deregister(link, lost);
    virConnectClose(lost);
    pthread_mutex_lock(&link->lock);
}

static void try_again(struct libvirt_link *link)
{
    virConnectPtr connection = NULL;
    struct error error = ERROR_INIT;
    bool first = !link->opened;
    pthread_mutex_unlock(&link->lock);
    int result = connect_once(link, &connection, &error);
    pthread_mutex_lock(&link->lock);
    if (result < 0) {
        link->why = error;
        pthread_cond_broadcast(&link->changed);
        wait_for_change(link, AGAIN_SECONDS);
        return;
    }
    link->connection = connection;
    link->opened = true;
    pthread_cond_broadcast(&link->changed);
    if (first || atomic_load(&link->closing))
        return;
    pthread_mutex_unlock(&link->lock);
    log_info("libvirt's daemon is back", "uri", link->uri);
    link->listener.back(link->listener.context);
    pthread_mutex_lock(&link->lock);
}

static void *run_again(void *context)
{
    struct libvirt_link *link = context;
    pthread_mutex_lock(&link->lock);
    while (!atomic_load(&link->closing)) {
        if (link->lost)
            drop_lost(link);
        if (link->connection == NULL)
            try_again(link);
        else
            wait_for_change(link, 3600);
    }
    link->again_ended = true;
    pthread_cond_broadcast(&link->changed);
    pthread_mutex_unlock(&link->lock);
    return NULL;
}

/* ---- opening and closing ---- */

static void start_thread(pthread_t *thread, void *(*run)(void *context), struct libvirt_link *link)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the loop thread's */
    if (pthread_create(thread, NULL, run, link) != 0)
        abort();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static int open_outside(struct libvirt_link *link, struct error *error)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    time_t deadline = now.tv_sec + OPEN_SECONDS;
    link->has_again = true;
    start_thread(&link->again, run_again, link);
    pthread_mutex_lock(&link->lock);
    while (!link->opened && link->why.code == ERROR_NONE && now.tv_sec < deadline) {
        wait_for_change(link, 1);
        clock_gettime(CLOCK_MONOTONIC, &now);
    }
    bool opened = link->opened;
    struct error why = link->why;
    pthread_mutex_unlock(&link->lock);
    if (opened)
        return 0;
    if (why.code == ERROR_NONE)
        return error_set(error, ERROR_TIMEOUT, "libvirt's daemon at %s does not answer within %d s",
                         link->uri, OPEN_SECONDS);
    return error_set(error, why.code, "%s", why.message);
}

static struct libvirt_link *create_link(enum libvirt_driver driver, const char *uri,
                                        const struct libvirt_link_listener *listener)
{
    struct libvirt_link *link = xcalloc(1, sizeof *link);
    pthread_condattr_t monotonic;
    link->driver = driver;
    link->uri = xstrdup(uri);
    link->listener = *listener;
    link->lifecycle = link->monitor = -1;
    pthread_mutex_init(&link->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&link->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    start_thread(&link->events, run_events, link);
    return link;
}

static void ignore_error(void *context, virErrorPtr error)
{
    (void)context;
    (void)error;
}

/* The driver inside this process starts QEMU from the thread that calls it, in whose network
 * namespace that is: so it is opened there, too. */
int libvirt_link_open(enum libvirt_driver driver, const char *uri,
                      const struct libvirt_link_listener *listener, struct libvirt_link **ret_link,
                      struct error *error)
{
    /* Its messages come back in errors; LIBVIRT_LOG_OUTPUTS from outside still shows them all. */
    setenv("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null", 0);
    virSetErrorFunc(NULL, ignore_error);
    if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0)
        return libvirt_refuse(error, "initialize libvirt");
    struct libvirt_link *link = create_link(driver, uri, listener);
    int result = libvirt_driver_is_outside(driver) ? open_outside(link, error)
                                                   : connect_once(link, &link->connection, error);
    if (result < 0) {
        libvirt_link_close(link);
        return -1;
    }
    *ret_link = link;
    return 0;
}

/* False when it still waits for a daemon: it is left with what it uses, and the process ends. */
static bool stop_again(struct libvirt_link *link)
{
    struct timespec deadline = in_seconds(CLOSE_SECONDS);
    int waited = 0;
    pthread_mutex_lock(&link->lock);
    pthread_cond_broadcast(&link->changed);
    while (!link->again_ended && waited == 0)
        waited = pthread_cond_timedwait(&link->changed, &link->lock, &deadline);
    bool ended = link->again_ended;
    pthread_mutex_unlock(&link->lock);
    if (ended)
        pthread_join(link->again, NULL);
    return ended;
}

void libvirt_link_close(struct libvirt_link *link)
{
    if (link == NULL)
        return;
    atomic_store(&link->closing, true);
    if (link->has_again && !stop_again(link))
        return;
    if (link->connection != NULL) {
        deregister(link, link->connection);
        virConnectClose(link->connection);
    }
    virEventAddTimeout(0, on_wake, link, NULL);
    pthread_join(link->events, NULL);
    pthread_cond_destroy(&link->changed);
    pthread_mutex_destroy(&link->lock);
    free(link->uri);
    free(link);
}

virConnectPtr libvirt_link_take(struct libvirt_link *link, struct error *error)
{
    pthread_mutex_lock(&link->lock);
    virConnectPtr connection = link->lost ? NULL : link->connection;
    if (connection != NULL)
        virConnectRef(connection);
    else
        error_set(error, ERROR_UNAVAILABLE, "%s",
                  link->why.code != ERROR_NONE ? link->why.message : "libvirt's daemon is gone");
    pthread_mutex_unlock(&link->lock);
    return connection;
}
