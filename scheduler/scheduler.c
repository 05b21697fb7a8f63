#include "scheduler/scheduler.h"

#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/http_server.h"
#include "lib/log.h"
#include "lib/registry_login.h"
#include "lib/xalloc.h"
#include "scheduler/controller.h"
#include "scheduler/deployment.h"
#include "scheduler/event_log.h"
#include "scheduler/publication.h"
#include "scheduler/revocation.h"
#include "scheduler/routes.h"
#include "scheduler/store_open.h"
#include "scheduler/subnets.h"
#include "scheduler/verdicts.h"

#define TICK_MS           1000
#define PRUNE_MS          60000
#define PAGE              500
#define REGISTRY_ATTEMPTS 3
/* More starts than there can be between a backup and its restore: revisions and sequences of the
 * future that was lost are not given out again. */
#define STARTS_OF_LOST_FUTURE 4096

struct scheduler {
    struct core core;
    struct scheduler_options options;
    struct http_server *server;
    uv_timer_t tick;
    uint64_t prune_ms;
    bool leading;
    bool stopping;
};

/* --- reading the store --- */

struct loading {
    struct scheduler *scheduler;
    enum document_kind kind;
    bool done;
    struct error error;
};

static void load_page(struct loading *loading, const char *after);

static int load_document(struct loading *loading, const struct store_document *stored,
                         struct error *error)
{
    struct core *core = &loading->scheduler->core;
    void *document = document_create(loading->kind);
    if (json_parse_record(document_record(loading->kind), stored->value, strlen(stored->value),
                          JSON_LENIENT, document, error) < 0) {
        free(document);
        return error_wrap(error, "document %s of the store", stored->key);
    }
    if (loading->kind == DOCUMENT_COUNTERS)
        changes_set_counters_at(core->changes, stored->revision);
    model_apply(&core->model, loading->kind, document, false, core_now(core));
    return 0;
}

static void load_next_kind(struct loading *loading)
{
    loading->kind++;
    if (loading->kind == DOCUMENT_EVENT)
        loading->done = true; /* events are read when they are asked for */
    else
        load_page(loading, NULL);
}

static void on_page(const struct error *error, const struct store_document *documents, size_t count,
                    bool more, uint64_t revision, void *data)
{
    (void)revision;
    struct loading *loading = data;
    if (error != NULL)
        loading->error = *error;
    for (size_t i = 0; i < count && loading->error.code == ERROR_NONE; i++)
        load_document(loading, &documents[i], &loading->error);
    if (loading->error.code != ERROR_NONE)
        loading->done = true;
    else if (more && count > 0)
        load_page(loading, documents[count - 1].key);
    else
        load_next_kind(loading);
}

static void load_page(struct loading *loading, const char *after)
{
    store_list(loading->scheduler->core.store, document_prefix(loading->kind), after, PAGE, on_page,
               loading);
}

/* --- leading --- */

static void on_lead(bool leading, void *data)
{
    struct scheduler *scheduler = data;
    scheduler->leading = leading;
    if (leading)
        return;
    /* Another one leads, or is about to. */
    log_error("the store's lease was lost: nothing is decided here any more");
    if (scheduler->core.controller != NULL && !scheduler->stopping)
        controller_stop(scheduler->core.controller);
}

static void take_lease(struct scheduler *scheduler)
{
    store_lead(scheduler->core.store, NULL, on_lead, scheduler);
    while (!scheduler->leading)
        uv_run(scheduler->core.loop, UV_RUN_ONCE);
}

/* --- counting this start --- */

static int decide_start(struct change *change, void *data, struct error *error)
{
    (void)error;
    struct loading *loading = data;
    struct core *core = &loading->scheduler->core;
    struct document_counters *counters =
        change_edit(change, DOCUMENT_COUNTERS, &core->model.counters);
    uint64_t term = store_identity(core->store)->term;
    counters->starts++;
    /* The time between backup and restore handed out ids that this store knows nothing of. */
    if (counters->term != 0 && counters->term != term &&
        (counters->known_instances == 0 || counters->instances < counters->known_instances))
        counters->known_instances = counters->instances;
    if (counters->term != 0 && counters->term != term)
        counters->starts += STARTS_OF_LOST_FUTURE;
    counters->term = term;
    return 0;
}

static void on_started(const struct error *error, void *data)
{
    struct loading *loading = data;
    if (error != NULL)
        loading->error = *error;
    loading->done = true;
}

static void run_until_done(struct loading *loading)
{
    while (!loading->done)
        uv_run(loading->scheduler->core.loop, UV_RUN_ONCE);
}

static int load(struct scheduler *scheduler, struct error *error)
{
    struct core *core = &scheduler->core;
    struct loading loading = {.scheduler = scheduler, .kind = DOCUMENT_COUNTERS};
    load_page(&loading, NULL);
    run_until_done(&loading);
    if (loading.error.code != ERROR_NONE)
        return error_copy(error, &loading.error);
    loading.done = false;
    changes_decide(core->changes, decide_start, on_started, &loading);
    run_until_done(&loading);
    if (loading.error.code != ERROR_NONE)
        return error_copy(error, &loading.error);
    core->revision_base = core->model.counters.starts << 32;
    changes_set_sequence(core->changes, core->revision_base);
    return 0;
}

/* --- running --- */

static void on_applied(void *data)
{
    struct scheduler *scheduler = data;
    if (scheduler->server == NULL || scheduler->stopping)
        return;
    publication_update(scheduler->core.publication);
    controller_wake(scheduler->core.controller);
}

static void on_tick(uv_timer_t *timer)
{
    struct scheduler *scheduler = timer->data;
    uint64_t now = core_now(&scheduler->core);
    publication_expire(scheduler->core.publication);
    if (now < scheduler->prune_ms)
        return;
    scheduler->prune_ms = now + PRUNE_MS;
    event_log_prune(scheduler->core.events);
}

static int open_store(struct scheduler *scheduler, struct error *error)
{
    struct core *core = &scheduler->core;
    const struct scheduler_options *options = &scheduler->options;
    AUTO_FREE char *place =
        options->store != NULL ? xstrdup(options->store) : xasprintf("sqlite:%s", options->state);
    if (store_open(core->loop, place, options->restored, &core->store, error) < 0)
        return -1;
    struct changes_options changes = {core->store, &core->model, core->clock, on_applied,
                                      scheduler};
    core->changes = changes_create(&changes);
    take_lease(scheduler);
    return load(scheduler, error);
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
    core->publication = publication_create(core);
    core->events = event_log_create(core);
    LIST_INIT(&core->deployments);
    LIST_INIT(&core->revocations);
    LIST_INIT(&core->inquiries);
    core->controller = controller_create(core);
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
    scheduler->tick.data = scheduler;
}

static int listen_for_requests(struct scheduler *scheduler, struct error *error)
{
    struct http_server_options options = {
        .mode = HTTP_SERVER_LOOP,
        .loop = scheduler->core.loop,
        .address = scheduler->options.address,
        .port = scheduler->options.port,
        .routes = scheduler_routes,
        .route_count = scheduler_route_count,
        .data = &scheduler->core,
        .max_connections = 4096,
        .protocol = SHOAL_PROTOCOL,
    };
    return http_server_create(&options, &scheduler->server, error);
}

int scheduler_create(uv_loop_t *loop, const struct scheduler_options *options,
                     struct scheduler **ret_scheduler, struct error *error)
{
    struct registry_login login = {0};
    if (subnets_check_network(options->network, error) < 0 ||
        read_login(options, &login, error) < 0)
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
        store_destroy(scheduler->core.store);
        scheduler_destroy(scheduler);
        return -1;
    }
    create_parts(scheduler, &login);
    registry_login_release(&login);
    if (listen_for_requests(scheduler, error) < 0) {
        scheduler_stop(scheduler);
        uv_run(loop, UV_RUN_DEFAULT);
        scheduler_destroy(scheduler);
        return -1;
    }
    uv_timer_start(&scheduler->tick, on_tick, TICK_MS, TICK_MS);
    publication_update(scheduler->core.publication);
    controller_wake(scheduler->core.controller);
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
    deployment_cancel_all(core);
    revocation_cancel_all(core);
    verdicts_cancel_all(core);
    http_client_destroy(core->http);
    controller_destroy(core->controller);
    publication_stop(core->publication);
    event_log_destroy(core->events);
    core->model.on_event = NULL;
    store_destroy(core->store);
}

static void on_server_closed(void *data)
{
    struct scheduler *scheduler = data;
    changes_when_idle(scheduler->core.changes, on_idle, scheduler);
}

void scheduler_stop(struct scheduler *scheduler)
{
    if (scheduler->stopping)
        return;
    scheduler->stopping = true;
    controller_stop(scheduler->core.controller);
    uv_close((uv_handle_t *)&scheduler->tick, NULL);
    if (scheduler->server != NULL)
        http_server_destroy(scheduler->server, on_server_closed, scheduler);
    else
        on_server_closed(scheduler);
}

void scheduler_destroy(struct scheduler *scheduler)
{
    if (scheduler == NULL)
        return;
    publication_destroy(scheduler->core.publication);
    changes_destroy(scheduler->core.changes);
    model_finish(&scheduler->core.model);
    free(scheduler);
}
