#include "scheduler/leadership.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addresses.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/oci_client.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/controller.h"
#include "scheduler/counters.h"
#include "scheduler/deployment.h"
#include "scheduler/event_log.h"
#include "scheduler/loading.h"
#include "scheduler/publication.h"
#include "scheduler/revocation.h"
#include "scheduler/verdicts.h"

#define RETRY_MS 1000

const char *const leadership_phase_names[] = {"loading", "standing_by", "taking_over", "leading",
                                              "stepping_down"};

struct leadership {
    struct core *core;
    struct leadership_options options;
    enum leadership_phase phase;
    struct loading *loading;   /* while it runs */
    struct store_watch *watch; /* while standing by */
    struct wakeup *retry;
    uint64_t seen; /* revision of what the model holds */
    uint64_t counters_at;
    bool can_read;
    bool asked; /* for the lease, and did not lose it since */
    bool has_lease;
    bool had_lease_to_read; /* when reading the store began */
    bool stopped;
    char address[ADDRESS_TEXT_MAX]; /* our own; "": not known yet */
    char leader[ADDRESS_TEXT_MAX];  /* "": nobody leads, as far as is known */
    struct error failure;
};

/* What a leader's document says: {"address": "http://10.0.0.1:7000"}. */
struct leader_document {
    char address[ADDRESS_TEXT_MAX];
};
static const struct json_field leader_fields[] = {
    JSON_FIELD(struct leader_document, address, "address", JSON_STRING, .flags = 0),
    JSON_FIELD_END,
};
static const struct json_record leader_record = {sizeof(struct leader_document), leader_fields};

static void read_store(struct leadership *leadership);

/* --- allowed moves --- */

static bool may_move(enum leadership_phase from, enum leadership_phase to)
{
    static const unsigned moves[] = {
        [LEADERSHIP_LOADING] = 1u << LEADERSHIP_STANDING_BY,
        [LEADERSHIP_STANDING_BY] = 1u << LEADERSHIP_LOADING | 1u << LEADERSHIP_TAKING_OVER,
        [LEADERSHIP_TAKING_OVER] =
            1u << LEADERSHIP_LEADING | 1u << LEADERSHIP_STEPPING_DOWN | 1u << LEADERSHIP_LOADING,
        [LEADERSHIP_LEADING] = 1u << LEADERSHIP_STEPPING_DOWN,
        [LEADERSHIP_STEPPING_DOWN] = 1u << LEADERSHIP_LOADING,
    };
    return (moves[from] >> to & 1) != 0;
}

static void move_to(struct leadership *leadership, enum leadership_phase phase)
{
    if (leadership->phase == phase)
        return;
    if (!may_move(leadership->phase, phase))
        log_error("a move of the scheduler's life that is none", "from",
                  leadership_phase_names[leadership->phase], "to", leadership_phase_names[phase]);
    log_debug("the scheduler's life goes on", "from", leadership_phase_names[leadership->phase],
              "to", leadership_phase_names[phase]);
    leadership->phase = phase;
}

static void note_failure(struct leadership *leadership, const char *what, const struct error *error)
{
    struct error *failure = &leadership->failure;
    bool again = strcmp(failure->message, error->message) == 0;
    *failure = *error;
    if (!again)
        log_error(what, "error", error->message);
}

/* --- leading --- */

static int decide_start(struct change *change, void *data, struct error *error)
{
    (void)error;
    const struct core *core = ((const struct leadership *)data)->core;
    counters_begin(change_edit(change, DOCUMENT_COUNTERS, &core->model.counters),
                   store_identity(core->store)->term);
    return 0;
}

/* Nodes told another scheduler how they are, if anybody: each has a whole lease to tell us. */
static void renew_leases(struct core *core)
{
    for (size_t i = 0; i < core->model.nodes.count; i++)
        ((struct model_node *)core->model.nodes.items[i])->heard_ms = core_now(core);
}

/* Where there may be several, people ask which one decided what. */
static void tell_who_leads(const struct leadership *leadership)
{
    const struct core *core = leadership->core;
    struct change change = {0};
    if (core->options->store == NULL || strncmp(core->options->store, "etcd:", 5) != 0)
        return;
    changes_event(core->changes, &change, "cluster", "", "scheduler", NULL, "leads", NULL,
                  "the scheduler at %s decides from now on", leadership->address);
    changes_write(core->changes, &change);
}

static void begin_to_lead(struct leadership *leadership)
{
    struct core *core = leadership->core;
    core->revision_base = core->model.counters.starts << 32;
    changes_set_sequence(core->changes, core->revision_base);
    tell_who_leads(leadership);
    renew_leases(core);
    core->publication = publication_create(core);
    core->controller = controller_create(core);
    move_to(leadership, LEADERSHIP_LEADING);
    log_info("this scheduler leads", "address", leadership->address, "start",
             LOG_NUMBER(core->model.counters.starts));
    publication_update(core->publication);
    controller_wake(core->controller);
}

static void count_start(struct leadership *leadership);

static void on_start_counted(const struct error *error, void *data)
{
    struct leadership *leadership = data;
    if (leadership->stopped || leadership->phase != LEADERSHIP_TAKING_OVER)
        return;
    if (error != NULL) {
        note_failure(leadership, "cannot take over, trying again", error);
        /* The counters are not what the model says: whatever else may be wrong, it is read anew. */
        if (error->code == ERROR_CONFLICT)
            changes_close(leadership->core->changes, error);
        wakeup_set(leadership->retry, RETRY_MS);
        return;
    }
    leadership->failure = (struct error){0};
    begin_to_lead(leadership);
}

static void count_start(struct leadership *leadership)
{
    changes_decide(leadership->core->changes, decide_start, on_start_counted, leadership);
}

static void take_over(struct leadership *leadership)
{
    /* It was told of all that others wrote, and what is written from now on is ours. */
    store_watch_stop(leadership->watch);
    leadership->watch = NULL;
    move_to(leadership, LEADERSHIP_TAKING_OVER);
    changes_open(leadership->core->changes, leadership->counters_at);
    count_start(leadership);
}

static void on_applied(void *data)
{
    const struct leadership *leadership = data;
    if (leadership->stopped || leadership->phase != LEADERSHIP_LEADING)
        return;
    publication_update(leadership->core->publication);
    controller_wake(leadership->core->controller);
}

/* --- stepping down --- */

static void drop_what_leads(struct leadership *leadership)
{
    struct core *core = leadership->core;
    /* Whoever waits for the registry is gone behind this. */
    oci_client_cancel_all(core->registry);
    deployment_cancel_all(core);
    revocation_cancel_all(core);
    verdicts_cancel_all(core);
    controller_destroy(core->controller);
    publication_destroy(core->publication);
    core->controller = NULL;
    core->publication = NULL;
}

static void on_idle(void *data)
{
    struct leadership *leadership = data;
    drop_what_leads(leadership);
    read_store(leadership);
}

static void step_down(struct leadership *leadership)
{
    struct core *core = leadership->core;
    struct error error;
    error_set(&error, ERROR_UNKNOWN,
              "this scheduler no longer leads: what was asked may have been done or not");
    move_to(leadership, LEADERSHIP_STEPPING_DOWN);
    log_error("the store's lease was lost: nothing is decided here any more");
    wakeup_clear(leadership->retry);
    leadership->options.on_lost(leadership->options.data);
    if (core->controller != NULL)
        controller_stop(core->controller);
    changes_close(core->changes, &error);
    changes_when_idle(core->changes, on_idle, leadership);
}

/* --- the lease --- */

static void on_lead(bool leading, void *data);

static void ask_for_lease(struct leadership *leadership)
{
    struct leader_document document = {0};
    if (leadership->asked || leadership->stopped || leadership->address[0] == '\0')
        return;
    leadership->asked = true;
    strcpy(document.address, leadership->address);
    char *text = json_record_text(&leader_record, &document);
    store_lead(leadership->core->store, text, on_lead, leadership);
    free(text);
}

static void on_lead(bool leading, void *data)
{
    struct leadership *leadership = data;
    leadership->has_lease = leading;
    leadership->asked = leading;
    if (leadership->stopped)
        return;
    if (leading && leadership->phase == LEADERSHIP_STANDING_BY)
        take_over(leadership);
    else if (!leading && (leadership->phase == LEADERSHIP_TAKING_OVER ||
                          leadership->phase == LEADERSHIP_LEADING))
        step_down(leadership);
    else if (!leading && leadership->phase == LEADERSHIP_STANDING_BY)
        ask_for_lease(leadership);
}

static void on_leader(const char *text, void *data)
{
    struct leadership *leadership = data;
    struct leader_document document = {0};
    if (text != NULL)
        json_parse_record(&leader_record, text, strlen(text), JSON_LENIENT, &document, NULL);
    if (strcmp(leadership->leader, document.address) == 0)
        return;
    strcpy(leadership->leader, document.address);
    if (document.address[0] == '\0')
        log_info("no scheduler leads, as far as is known here");
    else if (strcmp(document.address, leadership->address) != 0)
        log_info("another scheduler leads", "address", document.address);
    if (!leadership->stopped)
        leadership->options.on_leader(leadership->options.data);
}

/* --- standing by --- */

static int apply_change(struct leadership *leadership, const struct store_document *change,
                        struct error *error)
{
    struct core *core = leadership->core;
    void *document;
    enum document_kind kind = document_kind_of_key(change->key);
    if (kind == DOCUMENT_KINDS)
        return 0; /* a newer version's */
    if (kind == DOCUMENT_COUNTERS)
        leadership->counters_at = change->value != NULL ? change->revision : 0;
    if (change->value != NULL)
        return loading_apply(&core->model, kind, change, core_now(core), error);
    document = document_of_key(kind, change->key);
    if (document != NULL)
        model_apply(&core->model, kind, document, true, core_now(core));
    return 0;
}

static void on_changes(const struct error *error, const struct store_document *changes,
                       size_t count, uint64_t revision, void *data)
{
    struct leadership *leadership = data;
    struct error failure = ERROR_INIT;
    if (error != NULL) {
        leadership->watch = NULL;
        failure = *error;
    }
    for (size_t i = 0; i < count && failure.code == ERROR_NONE; i++)
        apply_change(leadership, &changes[i], &failure);
    model_settle(&leadership->core->model);
    if (failure.code == ERROR_NONE) {
        leadership->seen = revision;
        leadership->options.on_seen(leadership->options.data);
        return;
    }
    log_warn("what others write cannot be followed: all is read anew", "error", failure.message);
    store_watch_stop(leadership->watch);
    leadership->watch = NULL;
    read_store(leadership);
}

static void stand_by(struct leadership *leadership, const struct loading_result *result)
{
    struct core *core = leadership->core;
    leadership->failure = (struct error){0};
    leadership->can_read = true;
    leadership->seen = result->revision;
    leadership->counters_at = result->counters_at;
    leadership->watch =
        store_watch_start(core->store, "", result->revision, on_changes, leadership);
    move_to(leadership, LEADERSHIP_STANDING_BY);
    if (core->events != NULL)
        event_log_catch_up(core->events);
    if (leadership->has_lease)
        take_over(leadership);
    else
        ask_for_lease(leadership);
}

/* --- loading --- */

/* Until now the model was that of before, for those who read. */
static void on_load_begins(void *data)
{
    struct leadership *leadership = data;
    struct model *model = &leadership->core->model;
    void (*on_event)(const struct api_event *event, void *data) = model->on_event;
    void *event_data = model->data;
    leadership->can_read = false;
    model_finish(model);
    model_init(model);
    model->on_event = on_event;
    model->data = event_data;
}

static void on_loaded(const struct loading_result *result, void *data)
{
    struct leadership *leadership = data;
    leadership->loading = NULL;
    if (leadership->stopped)
        return;
    /* The lease came while it was read, and no watch told what others wrote behind the first pages
     * before that: now that nobody else writes all is read once more. */
    if (result->error == NULL && leadership->has_lease && !leadership->had_lease_to_read) {
        read_store(leadership);
        return;
    }
    if (result->error == NULL) {
        stand_by(leadership, result);
        return;
    }
    note_failure(leadership, "cannot read the store, trying again", result->error);
    wakeup_set(leadership->retry, RETRY_MS);
}

static void read_store(struct leadership *leadership)
{
    struct core *core = leadership->core;
    struct loading_options options = {
        .store = core->store,
        .model = &core->model,
        .clock = core->clock,
        .on_begin = on_load_begins,
        .on_end = on_loaded,
        .data = leadership,
    };
    move_to(leadership, LEADERSHIP_LOADING);
    leadership->had_lease_to_read = leadership->has_lease;
    leadership->loading = loading_start(&options);
}

static void on_retry(void *data)
{
    struct leadership *leadership = data;
    if (leadership->phase == LEADERSHIP_TAKING_OVER && leadership->failure.code == ERROR_CONFLICT)
        read_store(leadership);
    else if (leadership->phase == LEADERSHIP_TAKING_OVER)
        count_start(leadership);
    else if (leadership->phase == LEADERSHIP_LOADING && leadership->loading == NULL)
        read_store(leadership);
}

/* --- life --- */

struct leadership *leadership_create(struct core *core, const struct leadership_options *options)
{
    struct leadership *leadership = xcalloc(1, sizeof *leadership);
    leadership->core = core;
    leadership->options = *options;
    leadership->retry = wakeup_create(&core->wakeups, on_retry, leadership);
    struct changes_options changes = {core->store, &core->model, core->clock, on_applied,
                                      leadership};
    core->changes = changes_create(&changes);
    struct error error;
    error_set(&error, ERROR_NO_LEADER, "this scheduler does not lead");
    changes_close(core->changes, &error);
    store_follow_leader(core->store, on_leader, leadership);
    on_leader(store_leader(core->store), leadership);
    read_store(leadership);
    return leadership;
}

void leadership_campaign(struct leadership *leadership, const char *address)
{
    text_copy(leadership->address, sizeof leadership->address, address);
    if (leadership->phase == LEADERSHIP_STANDING_BY)
        ask_for_lease(leadership);
}

void leadership_stop(struct leadership *leadership)
{
    leadership->stopped = true;
    wakeup_clear(leadership->retry);
    if (leadership->core->controller != NULL)
        controller_stop(leadership->core->controller);
}

void leadership_close(struct leadership *leadership)
{
    store_watch_stop(leadership->watch);
    leadership->watch = NULL;
    wakeup_destroy(leadership->retry);
    leadership->retry = NULL;
    store_follow_leader(leadership->core->store, NULL, NULL);
    drop_what_leads(leadership);
}

void leadership_destroy(struct leadership *leadership)
{
    if (leadership == NULL)
        return;
    loading_free(leadership->loading);
    changes_destroy(leadership->core->changes);
    leadership->core->changes = NULL;
    free(leadership);
}

enum leadership_phase leadership_phase(const struct leadership *leadership)
{
    return leadership->phase;
}

bool leadership_can_read(const struct leadership *leadership)
{
    return leadership->can_read;
}

uint64_t leadership_seen(const struct leadership *leadership)
{
    return leadership->seen;
}

const char *leadership_leader(const struct leadership *leadership)
{
    return leadership->leader[0] != '\0' ? leadership->leader : NULL;
}

const char *leadership_other(const struct leadership *leadership)
{
    /* Our own document may be left from an earlier life of this process. */
    if (strcmp(leadership->leader, leadership->address) == 0)
        return NULL;
    return leadership_leader(leadership);
}

const struct error *leadership_failure(const struct leadership *leadership)
{
    return leadership->failure.code != ERROR_NONE ? &leadership->failure : NULL;
}
