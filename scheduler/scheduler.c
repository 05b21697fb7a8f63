#include "scheduler/scheduler.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "lib/cleanup.h"
#include "lib/http_server.h"
#include "lib/log.h"
#include "lib/memory.h"
#include "lib/registry_login.h"
#include "lib/xalloc.h"
#include "scheduler/event_log.h"
#include "scheduler/forward.h"
#include "scheduler/leadership.h"
#include "scheduler/publication.h"
#include "scheduler/store_open.h"
#include "scheduler/subnets.h"

#define TICK_MS           1000
#define PRUNE_MS          60000
#define LEADER_WAIT_MS    15000
#define REGISTRY_ATTEMPTS 3
/* Connections: how many, and bytes of each, which are cleared with every request. */
#define CONNECTIONS_LEAST 512
#define CONNECTIONS_MOST  200000
#define CONNECTION_MEMORY ((size_t)8 << 10)
#define FILES_KEPT        256

struct scheduler {
    struct core core;
    struct scheduler_options options;
    struct http_server *server;
    uv_timer_t tick;
    uv_prepare_t each_turn; /* of the loop */
    struct memory_heap heap;
    uint64_t prune_ms;
    bool stopping;
};

/* --- running --- */

static void on_tick(uv_timer_t *timer)
{
    struct scheduler *scheduler = timer->data;
    uint64_t now = core_now(&scheduler->core);
    forward_release(&scheduler->core);
    if (leadership_phase(scheduler->core.leadership) != LEADERSHIP_LEADING)
        return;
    publication_expire(scheduler->core.publication);
    if (now < scheduler->prune_ms)
        return;
    scheduler->prune_ms = now + PRUNE_MS;
    event_log_prune(scheduler->core.events);
}

static void on_each_turn(uv_prepare_t *prepare)
{
    struct scheduler *scheduler = prepare->data;
    memory_follow_heap(&scheduler->heap);
}

static int open_store(struct scheduler *scheduler, struct error *error)
{
    struct core *core = &scheduler->core;
    const struct scheduler_options *options = &scheduler->options;
    AUTO_FREE char *place =
        options->store != NULL ? xstrdup(options->store) : xasprintf("sqlite:%s", options->state);
    if (store_open(core->loop, place, options->restored, &core->store, error) < 0)
        return -1;
    return 0;
}

/* --- who leads --- */

static void on_lost(void *data)
{
    struct scheduler *scheduler = data;
    if (scheduler->server != NULL)
        http_server_abandon(scheduler->server, forward_end_of_leading, &scheduler->core);
}

static void on_leader(void *data)
{
    struct scheduler *scheduler = data;
    forward_cancel_all(&scheduler->core);
}

static void on_seen(void *data)
{
    struct scheduler *scheduler = data;
    forward_release(&scheduler->core);
}

/* Where several may share a store, each has to be reached by the others. */
static int check_advertised(const struct scheduler_options *options, struct error *error)
{
    bool is_shared = options->store != NULL && strncmp(options->store, "etcd:", 5) == 0;
    bool is_any = strcmp(options->address, "0.0.0.0") == 0 || strcmp(options->address, "::") == 0;
    if (!is_shared || !is_any || options->advertise[0] != '\0')
        return 0;
    return error_set(error, ERROR_INVALID,
                     "other schedulers cannot reach this one at %s: say by --advertise "
                     "http://HOST:%u where they do",
                     options->address, options->port);
}

/* Where the others reach this one. */
static void campaign(struct scheduler *scheduler)
{
    const struct scheduler_options *options = &scheduler->options;
    uint16_t port = scheduler->server != NULL ? scheduler_port(scheduler) : options->port;
    bool is_ipv6 = strchr(options->address, ':') != NULL;
    AUTO_FREE char *address =
        options->advertise[0] != '\0'
            ? xstrdup(options->advertise)
            : xasprintf(is_ipv6 ? "http://[%s]:%u" : "http://%s:%u", options->address, port);
    leadership_campaign(scheduler->core.leadership, address);
}

/* Somebody leads, or it takes unusually long. The ticks wake the loop. */
static void wait_for_leader(struct scheduler *scheduler)
{
    const struct core *core = &scheduler->core;
    uint64_t end = core_now(core) + LEADER_WAIT_MS;
    while (leadership_phase(core->leadership) != LEADERSHIP_LEADING &&
           leadership_other(core->leadership) == NULL && core_now(core) < end)
        uv_run(core->loop, UV_RUN_ONCE);
}

static int load(struct scheduler *scheduler, struct error *error)
{
    struct core *core = &scheduler->core;
    struct leadership_options options = {
        .on_lost = on_lost, .on_leader = on_leader, .on_seen = on_seen, .data = scheduler};
    core->leadership = leadership_create(core, &options);
    while (!leadership_can_read(core->leadership) && leadership_failure(core->leadership) == NULL)
        uv_run(core->loop, UV_RUN_ONCE);
    const struct error *failure = leadership_failure(core->leadership);
    return failure != NULL ? error_copy(error, failure) : 0;
}

static int read_login(const struct scheduler_options *options, struct registry_login *ret_login,
                      struct error *error)
{
    struct registry_logins *logins = NULL;
    if (registry_logins_load(options->registry_auth, &logins, error) < 0)
        return -1;
    int result = registry_logins_find(logins, options->registry, ret_login, error);
    registry_logins_destroy(logins);
    return result;
}

static void create_parts(struct scheduler *scheduler, const struct registry_login *login)
{
    struct core *core = &scheduler->core;
    core->events = event_log_create(core);
    LIST_INIT(&core->deployments);
    LIST_INIT(&core->revocations);
    LIST_INIT(&core->inquiries);
    LIST_INIT(&core->forwarded);
    LIST_INIT(&core->forwarded_answers);
    core->http = http_client_create(core->loop);
    core->registry =
        oci_client_create(&(struct oci_client_options){.http = core->http,
                                                       .url = scheduler->options.registry,
                                                       .attempts = REGISTRY_ATTEMPTS,
                                                       .username = login->username,
                                                       .password = login->password});
    core->model.on_event = event_log_publish;
    core->model.data = core->events;
    uv_timer_init(core->loop, &scheduler->tick);
    uv_prepare_init(core->loop, &scheduler->each_turn);
    scheduler->tick.data = scheduler->each_turn.data = scheduler;
    uv_prepare_start(&scheduler->each_turn, on_each_turn);
}

/* Each agent holds some connections for as long as it lives: as many as the process may open, but
 * for what the store, the registry and the process itself need. */
static unsigned connection_limit(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) < 0)
        return CONNECTIONS_LEAST;
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        getrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < CONNECTIONS_LEAST + FILES_KEPT)
        return CONNECTIONS_LEAST;
    return files.rlim_cur - FILES_KEPT < CONNECTIONS_MOST ? (unsigned)files.rlim_cur - FILES_KEPT
                                                          : CONNECTIONS_MOST;
}

static int listen_for_requests(struct scheduler *scheduler, struct error *error)
{
    size_t count;
    AUTO_FREE struct http_route *routes = forward_routes(&count);
    struct http_server_options options = {
        .mode = HTTP_SERVER_LOOP,
        .loop = scheduler->core.loop,
        .address = scheduler->options.address,
        .port = scheduler->options.port,
        .routes = routes,
        .route_count = count,
        .data = &scheduler->core,
        .on_answer = forward_mark_answer,
        .max_connections = connection_limit(),
        .connection_memory = CONNECTION_MEMORY,
        .protocol = SHOAL_PROTOCOL,
    };
    return http_server_create(&options, &scheduler->server, error);
}

/* It listens once somebody leads, so that nobody who comes then is sent away. */
static int begin(struct scheduler *scheduler, struct error *error)
{
    if (load(scheduler, error) < 0)
        return -1;
    uv_timer_start(&scheduler->tick, on_tick, TICK_MS, TICK_MS);
    if (scheduler->options.port == 0 && scheduler->options.advertise[0] == '\0') {
        /* Its address is known only then. */
        if (listen_for_requests(scheduler, error) < 0)
            return -1;
        campaign(scheduler);
        wait_for_leader(scheduler);
        return 0;
    }
    campaign(scheduler);
    wait_for_leader(scheduler);
    return listen_for_requests(scheduler, error);
}

int scheduler_create(uv_loop_t *loop, const struct scheduler_options *options,
                     struct scheduler **ret_scheduler, struct error *error)
{
    struct registry_login login = {0};
    if (subnets_check_network(options->network, error) < 0 ||
        check_advertised(options, error) < 0 || read_login(options, &login, error) < 0)
        return -1;
    struct scheduler *scheduler = xcalloc(1, sizeof *scheduler);
    scheduler->options = *options;
    scheduler->core.options = &scheduler->options;
    scheduler->core.loop = loop;
    scheduler->core.clock = clock_system();
    scheduler->core.wakeups = wakeup_source_loop(loop);
    model_init(&scheduler->core.model);
    if (open_store(scheduler, error) < 0) {
        registry_login_release(&login);
        scheduler_destroy(scheduler);
        return -1;
    }
    create_parts(scheduler, &login);
    registry_login_release(&login);
    if (begin(scheduler, error) < 0) {
        scheduler_stop(scheduler);
        uv_run(loop, UV_RUN_DEFAULT);
        scheduler_destroy(scheduler);
        return -1;
    }
    *ret_scheduler = scheduler;
    return 0;
}

uint16_t scheduler_port(const struct scheduler *scheduler)
{
    return http_server_port(scheduler->server);
}

/* --- ending: first who asks, then what is written, then the rest --- */

static void on_idle(void *data)
{
    struct scheduler *scheduler = data;
    struct core *core = &scheduler->core;
    oci_client_destroy(core->registry);
    core->registry = NULL;
    if (core->leadership != NULL)
        leadership_close(core->leadership);
    http_client_destroy(core->http);
    event_log_destroy(core->events);
    core->model.on_event = NULL;
    store_destroy(core->store);
}

static void on_server_closed(void *data)
{
    struct scheduler *scheduler = data;
    if (scheduler->core.changes != NULL)
        changes_when_idle(scheduler->core.changes, on_idle, scheduler);
    else
        on_idle(scheduler);
}

void scheduler_stop(struct scheduler *scheduler)
{
    if (scheduler->stopping)
        return;
    scheduler->stopping = true;
    if (scheduler->core.leadership != NULL)
        leadership_stop(scheduler->core.leadership);
    uv_close((uv_handle_t *)&scheduler->tick, NULL);
    uv_close((uv_handle_t *)&scheduler->each_turn, NULL);
    if (scheduler->server == NULL) {
        on_server_closed(scheduler);
        return;
    }
    http_server_abandon(scheduler->server, forward_end_of_all, &scheduler->core);
    http_server_destroy(scheduler->server, on_server_closed, scheduler);
}

void scheduler_destroy(struct scheduler *scheduler)
{
    if (scheduler == NULL)
        return;
    leadership_destroy(scheduler->core.leadership);
    model_finish(&scheduler->core.model);
    free(scheduler);
}
