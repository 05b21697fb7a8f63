#include "scheduler/revocation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/image_client.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/affected.h"

#define CAUSE_REVOKED "trust_revoked"
/* Writes that one service takes: its revision and an event; and the key's. */
#define ROOM_OF_ITEM 4

struct revocation {
    LIST_ENTRY(revocation) link;
    struct core *core;
    struct http_request *request; /* NULL once who asked is gone */
    char key[NAME_MAX_TEXT];
    char id[KEY_ID_MAX];
    bool dry_run;
    struct affected affected;
    size_t item;         /* that is being fetched, later: that is marked next */
    size_t architecture; /* of the item */
    bool is_refused;     /* the item, by what was fetched so far */
    bool is_alone;       /* the registry does not answer: nothing more is fetched */
    bool done;
};

static void revocation_free(struct revocation *revocation)
{
    LIST_REMOVE(revocation, link);
    affected_release(&revocation->affected);
    free(revocation);
}

void revocation_cancel_all(struct core *core)
{
    while (!LIST_EMPTY(&core->revocations))
        revocation_free(LIST_FIRST(&core->revocations));
}

const char *revocation_key_at(const struct core *core, size_t index)
{
    const struct revocation *revocation;
    LIST_FOREACH(revocation, &core->revocations, link)
    {
        if (!revocation->dry_run && index-- == 0)
            return revocation->key;
    }
    return NULL;
}

static void end(struct revocation *revocation, const struct error *error)
{
    if (revocation->request != NULL && error != NULL)
        http_request_respond_error(revocation->request, error);
    else if (revocation->request != NULL)
        http_request_respond_json(
            revocation->request, 200,
            affected_answer(&revocation->affected, !revocation->dry_run, revocation->dry_run));
    revocation_free(revocation);
}

static const struct model_key *find_key(const struct revocation *revocation, struct error *error)
{
    const struct model_key *key = sorted_find(&revocation->core->model.keys, revocation->key);
    if (key == NULL)
        error_set(error, ERROR_NOT_FOUND, "there is no trusted key %s", revocation->key);
    return key;
}

/* --- what is done --- */

static bool is_to_stop(const struct api_affected *view)
{
    return !view->is_unknown && view->on_revoke == API_ON_REVOKE_STOP;
}

static void mark(struct revocation *revocation, struct change *change,
                 const struct affected_item *item)
{
    const struct api_affected *view = &item->view;
    const struct model_service *service =
        model_service(&revocation->core->model, view->namespace_name, view->service);
    const struct document_revision *known = service != NULL && service->document != NULL
                                                ? model_revision(service, view->revision)
                                                : NULL;
    if (known == NULL)
        return; /* it went meanwhile */
    bool stops = is_to_stop(view);
    changes_event(revocation->core->changes, change, "service", view->namespace_name, view->service,
                  NULL, stops ? CAUSE_REVOKED : "trust_refused", CAUSE_REVOKED,
                  "key %s was removed; revision %u: %.300s; %s", revocation->key, view->revision,
                  view->reason,
                  stops ? "its instances are stopped"
                        : "what runs goes on, nothing of it boots any more");
    if (!stops)
        return;
    struct document_revision *revision = change_edit(change, DOCUMENT_REVISION, known);
    snprintf(revision->revoked, sizeof revision->revoked, "key %s was removed; %.400s",
             revocation->key, view->reason);
    text_make_printable(revision->revoked);
}

static void remove_key(struct revocation *revocation, struct change *change,
                       const struct model_key *key)
{
    change_remove(change, DOCUMENT_KEY, key->document);
    changes_event(revocation->core->changes, change, "key", "", revocation->key, NULL, "removed",
                  NULL, "key %s", revocation->id);
    revocation->done = true;
}

static int decide(struct change *change, void *data, struct error *error)
{
    struct revocation *revocation = data;
    const struct model_key *key = find_key(revocation, error);
    if (key == NULL)
        return -1;
    if (strcmp(key->document->id, revocation->id) != 0)
        return error_set(error, ERROR_CONFLICT, "key %s was replaced meanwhile: ask again",
                         revocation->key);
    while (revocation->item < revocation->affected.count && change_has_room(change, ROOM_OF_ITEM))
        mark(revocation, change, &revocation->affected.items[revocation->item++]);
    if (revocation->item == revocation->affected.count && change_has_room(change, ROOM_OF_ITEM))
        remove_key(revocation, change, key);
    return 0;
}

static void on_decided(const struct error *error, void *data)
{
    struct revocation *revocation = data;
    if (error == NULL && !revocation->done)
        changes_decide(revocation->core->changes, decide, on_decided, revocation);
    else
        end(revocation, error);
}

static void carry_out(struct revocation *revocation)
{
    for (size_t i = 0; i < revocation->affected.count; i++) {
        const struct api_affected *view = &revocation->affected.items[i].view;
        log_warn(revocation->dry_run ? "removing the key would make an image untrusted"
                                     : "a removed key makes an image untrusted",
                 "key", revocation->key, "service", view->service, "namespace",
                 view->namespace_name, "policy", view->policy, "reason", view->reason);
    }
    if (revocation->dry_run) {
        end(revocation, NULL);
        return;
    }
    revocation->item = 0;
    changes_decide(revocation->core->changes, decide, on_decided, revocation);
}

/* --- what the registry has by now --- */

static void fetch_next(struct revocation *revocation);

static void forget_item(struct revocation *revocation)
{
    struct affected *affected = &revocation->affected;
    affected->count--;
    memmove(&affected->items[revocation->item], &affected->items[revocation->item + 1],
            (affected->count - revocation->item) * sizeof *affected->items);
}

/* Every architecture was looked at, or one is refused. */
static void end_item(struct revocation *revocation)
{
    if (revocation->is_refused)
        revocation->item++;
    else
        forget_item(revocation);
    revocation->architecture = 0;
    revocation->is_refused = false;
    fetch_next(revocation);
}

/* The verdict about what was kept stands; without anything kept, nobody knows. */
static void keep_item(struct revocation *revocation, const struct error *error)
{
    struct affected_item *item = &revocation->affected.items[revocation->item];
    char reason[REASON_MAX];
    if (error->code == ERROR_UNAVAILABLE || error->code == ERROR_TIMEOUT)
        revocation->is_alone = true;
    if (item->is_doubtful) {
        end_item(revocation);
        return;
    }
    snprintf(reason, sizeof reason, "%.250s; newer signatures could not be looked for: %.200s",
             item->view.reason, error->message);
    text_copy(item->view.reason, sizeof item->view.reason, reason);
    revocation->is_refused = true;
    end_item(revocation);
}

/* `without`: the key's name, or NULL. */
static bool may_boot(const struct revocation *revocation, const struct image_chain *chain,
                     const char *without, struct error *error)
{
    const struct affected_item *item = &revocation->affected.items[revocation->item];
    struct image_verified verified;
    struct trust_rules rules;
    trust_rules_init(revocation->core, item->repository, without, &rules);
    rules.rules.ignores_age = true;
    int result = image_chain_verify(
        chain, &rules.rules, item->architectures[revocation->architecture], &verified, error);
    trust_rules_finish(&rules);
    if (result == 0)
        image_verified_release(&verified);
    return result == 0;
}

/* Which policy it is was told by the evidence, unless there was none. */
static void refuse_item(struct revocation *revocation, const struct error *error)
{
    struct affected_item *item = &revocation->affected.items[revocation->item];
    if (item->view.is_unknown || item->is_doubtful)
        affected_note(&item->view, item->view.policy, item->view.on_revoke, error->message);
    item->view.is_unknown = false;
    revocation->is_refused = true;
    end_item(revocation);
}

static void on_chain(const struct error *error, struct image_chain *chain, void *data)
{
    struct revocation *revocation = data;
    const struct affected_item *item = &revocation->affected.items[revocation->item];
    struct error reason = ERROR_INIT;
    if (error != NULL) {
        keep_item(revocation, error);
    } else if (!may_boot(revocation, chain, revocation->key, &reason)) {
        if (item->is_doubtful && !may_boot(revocation, chain, NULL, NULL))
            end_item(revocation); /* not this key's doing */
        else
            refuse_item(revocation, &reason);
    } else if (++revocation->architecture == item->architecture_count) {
        end_item(revocation);
    } else {
        fetch_next(revocation);
    }
}

static void fetch_next(struct revocation *revocation)
{
    struct affected *affected = &revocation->affected;
    /* Doubtful ones stand behind all others. */
    while (revocation->is_alone && affected->count > revocation->item &&
           affected->items[affected->count - 1].is_doubtful)
        affected->count--;
    if (revocation->is_alone)
        revocation->item = affected->count;
    if (revocation->item == revocation->affected.count) {
        carry_out(revocation);
        return;
    }
    const struct affected_item *item = &revocation->affected.items[revocation->item];
    if (item->architecture_count == 0) {
        revocation->is_refused = !item->is_doubtful;
        end_item(revocation);
        return;
    }
    image_client_fetch_chain(revocation->core->registry, item->repository, item->digest,
                             item->architectures[revocation->architecture], on_chain, revocation);
}

/* --- the request --- */

static void on_abandoned(struct http_request *request, void *data)
{
    (void)request;
    ((struct revocation *)data)->request = NULL;
}

void revocation_handle(struct http_request *request, void *data)
{
    struct revocation *revocation = xcalloc(1, sizeof *revocation);
    const char *dry_run = http_request_query(request, "dry_run");
    struct error error = ERROR_INIT;
    revocation->core = data;
    revocation->request = request;
    revocation->dry_run = dry_run != NULL && strcmp(dry_run, "0") != 0;
    LIST_INSERT_HEAD(&revocation->core->revocations, revocation, link);
    text_copy(revocation->key, sizeof revocation->key, http_request_parameter(request, "key"));
    const struct model_key *key = find_key(revocation, &error);
    if (key == NULL) {
        end(revocation, &error);
        return;
    }
    text_copy(revocation->id, sizeof revocation->id, key->document->id);
    http_request_on_abandoned(request, on_abandoned, revocation);
    affected_by_key(revocation->core, revocation->key, &revocation->affected);
    revocation->affected.count += revocation->affected.doubtful;
    fetch_next(revocation);
}
