#include "agent/scheduler_link.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/long_poll.h"
#include "agent/status_changes.h"
#include "lib/api/protocol.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define JOIN_BACKOFF_FIRST_MS 100
#define JOIN_BACKOFF_MOST_MS  3000
#define CALL_TIMEOUT_MS       10000
#define MOVE_TIMEOUT_MS       4000 /* the same where there is another scheduler to ask */
#define HEARTBEAT_LEAST_MS    10   /* as of a join */
#define STATUS_GAP_MS         50   /* least time between two statuses */

struct document {
    struct scheduler_link *link;
    enum scheduler_document kind;
    struct long_poll *poll;
    struct freshness applied;
    char refusal[ERROR_MESSAGE_MAX]; /* what the log was told last */
};

struct scheduler_link {
    struct scheduler_link_options options;
    struct addresses schedulers;
    size_t join_asked, status_asked; /* which of them the call under way went to */
    size_t moves;                    /* since one took a status */
    char epoch[17];
    uint64_t sequence;
    bool is_joined;
    bool has_begun;
    struct api_join_answer joined;
    struct document documents[SCHEDULER_DOCUMENTS];
    struct http_call *join_call;
    struct http_call *status_call;
    bool is_changed;        /* since the last status went out */
    struct api_status sent; /* as a whole, while it is under way */
    struct api_status base; /* the last that the scheduler took; sequence 0: none */
    uint64_t last_status_ms;
    uint64_t join_backoff_ms;
    char join_refusal[ERROR_MESSAGE_MAX]; /* what the log was told last */
    bool is_silent;                       /* told the log that statuses do not arrive */
    uv_timer_t join_timer;
    uv_timer_t status_timer;
    unsigned open_handles;
};

static const char *const document_names[] = {"assignment", "endpoints", "trust"};
static const char *const headers[] = {SHOAL_PROTOCOL_HEADER, "Content-Type: application/json",
                                      NULL};

static void on_join_timer(uv_timer_t *timer);
static void on_status_timer(uv_timer_t *timer);

static char *node_url(const struct scheduler_link *link, const char *what)
{
    return xasprintf("%s/v1/nodes/%s/%s", addresses_current(&link->schedulers), link->options.node,
                     what);
}

/* What failed is repeated after its own pause, then at the next scheduler. */
static void move_on(struct scheduler_link *link)
{
    const char *before = addresses_current(&link->schedulers);
    if (link->schedulers.count == 1)
        return;
    addresses_move(&link->schedulers);
    if (link->moves++ < link->schedulers.count)
        log_info("asking another scheduler", "scheduler", addresses_current(&link->schedulers),
                 "instead_of", before);
    for (int i = 0; i < SCHEDULER_DOCUMENTS; i++) {
        AUTO_FREE char *url = node_url(link, document_names[i]);
        long_poll_move(link->documents[i].poll, url);
    }
}

/* After a join or a status that failed: whether the next scheduler is asked from now on. Perhaps
 * it is already, because a poll failed before. */
static void move_on_from(struct scheduler_link *link, size_t asked,
                         const struct http_client_response *response)
{
    if (http_response_is_absence(response) && asked == link->schedulers.current)
        move_on(link);
}

static struct http_call *post(struct scheduler_link *link, const char *verb, char *body,
                              http_client_callback *callback)
{
    AUTO_FREE char *url = node_url(link, verb);
    struct http_client_request request = {
        .method = "POST",
        .url = url,
        .headers = headers,
        .body = body,
        .body_length = strlen(body),
        .timeout_ms = link->schedulers.count > 1 ? MOVE_TIMEOUT_MS : CALL_TIMEOUT_MS,
    };
    struct error error = ERROR_INIT;
    struct http_call *call =
        http_client_start(link->options.http, &request, callback, link, &error);
    if (call == NULL)
        log_error("the scheduler cannot be called", "url", url, "reason", error.message);
    return call;
}

/* --- joining --- */

static void join_later(struct scheduler_link *link)
{
    uint64_t delay = link->join_backoff_ms * 2;
    if (delay < JOIN_BACKOFF_FIRST_MS)
        delay = JOIN_BACKOFF_FIRST_MS;
    link->join_backoff_ms = delay > JOIN_BACKOFF_MOST_MS ? JOIN_BACKOFF_MOST_MS : delay;
    uv_timer_start(&link->join_timer, on_join_timer, link->join_backoff_ms, 0);
}

/* An older term is a scheduler whose store was put back without starting a new one. */
static int check_joined(const struct scheduler_link *link, const struct api_join_answer *answer,
                        struct error *error)
{
    for (int i = 0; i < SCHEDULER_DOCUMENTS; i++) {
        const struct freshness *applied = &link->documents[i].applied;
        struct freshness offered = {.term = answer->term, .revision = UINT64_MAX};
        memcpy(offered.cluster, answer->cluster, sizeof offered.cluster);
        if (freshness_judge(applied, &offered, "join", error) < 0)
            return -1;
    }
    return 0;
}

/* The next status is a whole one. */
static void forget_base(struct scheduler_link *link)
{
    json_record_release(&api_status_record, &link->base);
    link->base = (struct api_status){0};
}

static void accept_join(struct scheduler_link *link, const struct api_join_answer *answer)
{
    link->joined = *answer;
    link->is_joined = true;
    link->join_backoff_ms = 0;
    link->join_refusal[0] = '\0';
    for (int i = 0; i < SCHEDULER_DOCUMENTS; i++) {
        struct freshness *applied = &link->documents[i].applied;
        memcpy(applied->cluster, answer->cluster, sizeof applied->cluster);
    }
    forget_base(link);
    log_info("joined", "cluster", answer->cluster, "term", LOG_NUMBER(answer->term), "subnet",
             answer->subnet);
    long_poll_restart(link->documents[SCHEDULER_TRUST].poll);
    if (link->has_begun)
        scheduler_link_begin(link);
    scheduler_link_changed(link);
    link->options.on_joined(answer, link->options.data);
}

static void on_join_answer(const struct http_client_response *response, void *data)
{
    struct scheduler_link *link = data;
    link->join_call = NULL;
    struct error error = ERROR_INIT;
    struct api_join_answer answer = {0};
    if (http_response_check(response, &error) < 0 ||
        json_parse_record(&api_join_answer_record, response->body, response->body_length,
                          JSON_LENIENT, &answer, &error) < 0 ||
        check_joined(link, &answer, &error) < 0) {
        if (error.code == ERROR_DENIED) {
            log_error("this node is no part of the cluster any more: guests go on, nothing is "
                      "asked for until the agent is started anew",
                      "reason", error.message);
            return;
        }
        if (strcmp(link->join_refusal, error.message) != 0)
            log_warn("cannot join, trying again", "scheduler",
                     link->schedulers.urls[link->join_asked], "reason", error.message);
        snprintf(link->join_refusal, sizeof link->join_refusal, "%s", error.message);
        move_on_from(link, link->join_asked, response);
        join_later(link);
        return;
    }
    accept_join(link, &answer);
}

static void on_join_timer(uv_timer_t *timer)
{
    struct scheduler_link *link = timer->data;
    if (link->join_call != NULL)
        return;
    struct api_join join = {0};
    link->options.fill_join(&join, link->options.data);
    snprintf(join.node, sizeof join.node, "%s", link->options.node);
    memcpy(join.epoch, link->epoch, sizeof join.epoch);
    memcpy(join.cluster, link->documents[0].applied.cluster, sizeof join.cluster);
    AUTO_FREE char *body = json_record_text(&api_join_record, &join);
    json_record_release(&api_join_record, &join);
    link->join_asked = link->schedulers.current;
    link->join_call = post(link, "join", body, on_join_answer);
    if (link->join_call == NULL)
        join_later(link);
}

static void join_again(struct scheduler_link *link, const struct error *error)
{
    if (!link->is_joined)
        return;
    log_warn("the scheduler wants a new join", "reason", error->message);
    link->is_joined = false;
    join_later(link);
}

/* --- documents --- */

static bool is_full(enum scheduler_document kind, const void *document)
{
    if (kind == SCHEDULER_ASSIGNMENT)
        return ((const struct api_assignment *)document)->full;
    if (kind == SCHEDULER_ENDPOINTS)
        return ((const struct api_endpoints *)document)->full;
    return true;
}

static struct freshness freshness_of(enum scheduler_document kind, const void *document)
{
    struct freshness freshness = {0};
    const char *cluster;
    if (kind == SCHEDULER_ASSIGNMENT) {
        const struct api_assignment *assignment = document;
        cluster = assignment->cluster;
        freshness.term = assignment->term;
        freshness.revision = assignment->revision;
    } else if (kind == SCHEDULER_ENDPOINTS) {
        const struct api_endpoints *endpoints = document;
        cluster = endpoints->cluster;
        freshness.term = endpoints->term;
        freshness.revision = endpoints->revision;
    } else {
        const struct api_trust *trust = document;
        cluster = trust->cluster;
        freshness.term = trust->term;
        freshness.revision = trust->revision;
    }
    snprintf(freshness.cluster, sizeof freshness.cluster, "%s", cluster);
    return freshness;
}

static void hand_on(struct scheduler_link *link, enum scheduler_document kind, const void *document)
{
    if (kind == SCHEDULER_ASSIGNMENT)
        link->options.on_assignment(document, link->options.data);
    else if (kind == SCHEDULER_ENDPOINTS)
        link->options.on_endpoints(document, link->options.data);
    else
        link->options.on_trust(document, link->options.data);
}

/* A scheduler that is refused is asked again and again: the log is told once. */
static enum long_poll_verdict refuse(struct document *to, const struct error *error)
{
    if (strcmp(to->refusal, error->message) != 0)
        log_error("what the scheduler says is not applied", "document", document_names[to->kind],
                  "reason", error->message);
    memcpy(to->refusal, error->message, sizeof to->refusal);
    return LONG_POLL_REFUSED;
}

static enum long_poll_verdict judge(struct document *to, const void *offered_document,
                                    uint64_t *ret_revision)
{
    struct freshness offered = freshness_of(to->kind, offered_document);
    struct error error = ERROR_INIT;
    int verdict = freshness_judge(&to->applied, &offered, document_names[to->kind], &error);
    if (verdict < 0)
        return refuse(to, &error);
    to->refusal[0] = '\0';
    bool full = is_full(to->kind, offered_document);
    /* A delta of another term has nothing to stand on. */
    if (!full && offered.term != to->applied.term)
        return LONG_POLL_WHOLE;
    if (verdict > 0 || full) {
        to->applied = offered;
        hand_on(to->link, to->kind, offered_document);
        scheduler_link_changed(to->link);
    }
    *ret_revision = offered.revision;
    return LONG_POLL_TAKEN;
}

static enum long_poll_verdict on_document(const char *body, size_t length, uint64_t *ret_revision,
                                          void *data)
{
    static const struct json_record *const records[] = {&api_assignment_record,
                                                        &api_endpoints_record, &api_trust_record};
    struct document *to = data;
    union {
        struct api_assignment assignment;
        struct api_endpoints endpoints;
        struct api_trust trust;
    } document = {0};
    struct error error = ERROR_INIT;
    if (json_parse_record(records[to->kind], body, length, JSON_LENIENT, &document, &error) < 0)
        return refuse(to, &error);
    enum long_poll_verdict verdict = judge(to, &document, ret_revision);
    json_record_release(records[to->kind], &document);
    return verdict;
}

static void on_poll_failed(void *data)
{
    struct document *document = data;
    move_on(document->link);
}

static void on_unknown(const struct error *error, void *data)
{
    struct document *document = data;
    join_again(document->link, error);
}

void scheduler_link_begin(struct scheduler_link *link)
{
    link->has_begun = true;
    if (!link->is_joined)
        return;
    long_poll_restart(link->documents[SCHEDULER_ASSIGNMENT].poll);
    long_poll_restart(link->documents[SCHEDULER_ENDPOINTS].poll);
}

/* --- status --- */

/* After `delay_ms` at the latest, but never sooner than the gap allows. */
static void status_within(struct scheduler_link *link, uint64_t delay_ms)
{
    uint64_t now = uv_now(link->options.loop);
    uint64_t earliest = link->last_status_ms + STATUS_GAP_MS;
    if (now + delay_ms < earliest)
        delay_ms = earliest - now;
    if (uv_is_active((uv_handle_t *)&link->status_timer) &&
        uv_timer_get_due_in(&link->status_timer) <= delay_ms)
        return;
    uv_timer_start(&link->status_timer, on_status_timer, delay_ms, 0);
}

static void take_answer(struct scheduler_link *link, const struct http_client_response *response)
{
    struct api_status_answer answer = {0};
    json_parse_record(&api_status_answer_record, response->body, response->body_length,
                      JSON_LENIENT, &answer, NULL);
    if (answer.heartbeat_ms >= HEARTBEAT_LEAST_MS)
        link->joined.heartbeat_ms = answer.heartbeat_ms;
    forget_base(link);
    if (answer.whole) {
        link->is_changed = true;
        return;
    }
    link->base = link->sent;
    link->sent = (struct api_status){0};
}

static void hear_again(struct scheduler_link *link)
{
    log_info("statuses reach the scheduler again");
    link->is_silent = false;
    for (int i = 0; i < SCHEDULER_DOCUMENTS; i++)
        long_poll_hurry(link->documents[i].poll);
}

static void on_status_answer(const struct http_client_response *response, void *data)
{
    struct scheduler_link *link = data;
    link->status_call = NULL;
    struct error error = ERROR_INIT;
    if (http_response_check(response, &error) == 0) {
        if (link->is_silent)
            hear_again(link);
        link->moves = 0;
        take_answer(link, response);
        status_within(link, link->is_changed ? 0 : link->joined.heartbeat_ms);
        return;
    }
    if (!link->is_silent)
        log_warn("a status did not reach the scheduler, trying again", "reason", error.message);
    link->is_silent = true;
    link->is_changed = true;
    move_on_from(link, link->status_asked, response);
    status_within(link, link->joined.heartbeat_ms < 500 ? link->joined.heartbeat_ms : 500);
    if (response->status == 404 || response->status == 409 || response->status == 410 ||
        response->status == 412)
        join_again(link, &error);
}

static void on_status_timer(uv_timer_t *timer)
{
    struct scheduler_link *link = timer->data;
    if (!link->is_joined || link->status_call != NULL)
        return;
    struct api_status status = {0};
    const struct freshness *assignment = &link->documents[SCHEDULER_ASSIGNMENT].applied;
    const struct freshness *endpoints = &link->documents[SCHEDULER_ENDPOINTS].applied;
    link->options.fill_status(&status, link->options.data);
    memcpy(status.cluster, link->joined.cluster, sizeof status.cluster);
    snprintf(status.node, sizeof status.node, "%s", link->options.node);
    memcpy(status.epoch, link->epoch, sizeof status.epoch);
    status.sequence = ++link->sequence;
    status.term = assignment->term;
    status.assignment_revision = assignment->revision;
    /* The status names one term: what is of another one is not confirmed in it. */
    if (endpoints->term != assignment->term)
        status.endpoints_revision = 0;
    json_record_release(&api_status_record, &link->sent);
    if (link->joined.takes_changes) {
        status_changes_keep(&status, &link->sent);
        status_changes_reduce(&status, &link->base);
    }
    AUTO_FREE char *body = json_record_text(&api_status_record, &status);
    json_record_release(&api_status_record, &status);
    link->is_changed = false;
    link->last_status_ms = uv_now(link->options.loop);
    link->status_asked = link->schedulers.current;
    link->status_call = post(link, "status", body, on_status_answer);
    if (link->status_call == NULL)
        status_within(link, link->joined.heartbeat_ms);
}

void scheduler_link_changed(struct scheduler_link *link)
{
    link->is_changed = true;
    if (link->is_joined && link->status_call == NULL)
        status_within(link, 0);
}

bool scheduler_link_is_joined(const struct scheduler_link *link)
{
    return link->is_joined;
}

/* --- life --- */

struct scheduler_link *scheduler_link_create(const struct scheduler_link_options *options)
{
    struct scheduler_link *link = xcalloc(1, sizeof *link);
    link->options = *options;
    link->schedulers = *options->schedulers;
    unsigned char random[8];
    random_bytes(random, sizeof random);
    text_format_hex(random, sizeof random, link->epoch);
    uv_timer_init(options->loop, &link->join_timer);
    uv_timer_init(options->loop, &link->status_timer);
    link->join_timer.data = link;
    link->status_timer.data = link;
    link->open_handles = 2;
    for (int i = 0; i < SCHEDULER_DOCUMENTS; i++) {
        struct document *document = &link->documents[i];
        AUTO_FREE char *url = node_url(link, document_names[i]);
        *document = (struct document){
            .link = link,
            .kind = (enum scheduler_document)i,
            .applied = options->applied[i],
        };
        struct long_poll_options poll = {
            .loop = options->loop,
            .http = options->http,
            .url = url,
            .on_failed = on_poll_failed,
            .on_answer = on_document,
            .on_unknown = on_unknown,
            .data = document,
        };
        document->poll = long_poll_create(&poll);
    }
    uv_timer_start(&link->join_timer, on_join_timer, 0, 0);
    return link;
}

static void on_closed(uv_handle_t *handle)
{
    struct scheduler_link *link = handle->data;
    if (--link->open_handles == 0)
        free(link);
}

void scheduler_link_destroy(struct scheduler_link *link)
{
    if (link == NULL)
        return;
    for (int i = 0; i < SCHEDULER_DOCUMENTS; i++)
        long_poll_destroy(link->documents[i].poll);
    if (link->join_call != NULL)
        http_client_cancel(link->join_call);
    if (link->status_call != NULL)
        http_client_cancel(link->status_call);
    json_record_release(&api_status_record, &link->sent);
    json_record_release(&api_status_record, &link->base);
    uv_close((uv_handle_t *)&link->join_timer, on_closed);
    uv_close((uv_handle_t *)&link->status_timer, on_closed);
}
