#include "scheduler/changes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* Writes of a decision that shares its change. */
#define ROOM_SHARED 8

struct decision {
    struct decision *next;
    change_decide *decide;
    change_done *done;
    void *data;
    bool shares; /* a change with others like it, which follow as `next` once it is decided */
};

struct changes {
    struct changes_options options;
    struct decision *first;
    struct decision **last;
    bool deciding;        /* one was handed to the store, or is being made */
    uint64_t sequence;    /* of the last event */
    uint64_t revision;    /* of the last change that was applied */
    uint64_t counters_at; /* revision of the counters' document; 0: not there yet */
    size_t in_flight;     /* commits handed to the store */
    bool applied;         /* pieces, and it was not told yet */
    struct error closed;  /* why nothing is decided; no code: it is */
    void (*on_idle)(void *data);
    void *idle_data;
};

/* A piece of a change on its way to the store and back. */
struct commit {
    struct changes *changes;
    struct change_write *writes;
    size_t count;
    bool last;                 /* of its change */
    struct decision *decision; /* of the last piece; NULL: a plain write */
};

/* --- committing --- */

static void next_decision(struct changes *changes);

static void apply(struct commit *commit, uint64_t revision)
{
    struct changes *changes = commit->changes;
    uint64_t now_ms = clock_monotonic_ms(changes->options.clock);
    for (size_t i = 0; i < commit->count; i++) {
        struct change_write *write = &commit->writes[i];
        if (write->kind == DOCUMENT_COUNTERS)
            changes->counters_at = revision;
        /* What was observed is in the model since it was told; this may be older. */
        if (write->kind == DOCUMENT_OBSERVED && !write->removed)
            document_free(write->kind, write->document);
        else
            model_apply(changes->options.model, write->kind, write->document, write->removed,
                        now_ms);
    }
    model_settle(changes->options.model);
    changes->applied = true;
    changes->revision = revision;
}

static void forget(struct commit *commit)
{
    for (size_t i = 0; i < commit->count; i++)
        document_free(commit->writes[i].kind, commit->writes[i].document);
}

static void tell(struct decision *decision, const struct error *error)
{
    for (struct decision *next; decision != NULL; decision = next) {
        next = decision->next;
        if (decision->done != NULL)
            decision->done(error, decision->data);
        free(decision);
    }
}

/* A piece that failed took those behind it with it: the last one tells. */
static void on_committed(const struct error *error, uint64_t revision, void *data)
{
    struct commit *commit = data;
    struct changes *changes = commit->changes;
    struct decision *decision = commit->decision;
    bool last = commit->last;
    if (error != NULL) {
        log_error("a change could not be written", "error", error->message);
        forget(commit);
    } else {
        apply(commit, revision);
    }
    free(commit->writes);
    free(commit);
    changes->in_flight--;
    if (last && changes->applied) {
        changes->applied = false;
        changes->options.on_applied(changes->options.data);
    }
    if (decision != NULL) {
        changes->deciding = false;
        tell(decision, error);
        next_decision(changes);
    }
    void (*on_idle)(void *data) = changes->on_idle;
    if (changes->in_flight > 0 || on_idle == NULL)
        return;
    changes->on_idle = NULL;
    on_idle(changes->idle_data);
}

void changes_when_idle(struct changes *changes, void (*on_idle)(void *data), void *data)
{
    if (changes->in_flight == 0) {
        on_idle(data);
        return;
    }
    changes->on_idle = on_idle;
    changes->idle_data = data;
}

/* A change as the store takes it; its texts lie one behind the other. */
struct texts {
    struct buffer bytes;
    struct store_write *writes;
};

static void append_key(struct buffer *bytes, const struct change_write *write)
{
    char key[STORE_KEY_MAX];
    document_key(write->kind, write->document, key, sizeof key);
    buffer_append(bytes, key, strlen(key) + 1);
}

static struct texts write_texts(const struct change *change)
{
    struct texts texts = {.writes = xcalloc(change->count, sizeof *texts.writes)};
    for (size_t i = 0; i < change->count; i++) {
        const struct change_write *write = &change->writes[i];
        append_key(&texts.bytes, write);
        if (!write->removed) {
            json_record_append(&texts.bytes, document_record(write->kind), write->document);
            buffer_append(&texts.bytes, "", 1);
        }
    }
    const char *at = texts.bytes.data;
    for (size_t i = 0; i < change->count; i++) {
        texts.writes[i].key = at;
        at += strlen(at) + 1;
        if (change->writes[i].removed)
            continue;
        texts.writes[i].value = at;
        at += strlen(at) + 1;
    }
    return texts;
}

static void texts_finish(struct texts *texts)
{
    buffer_finish(&texts->bytes);
    free(texts->writes);
}

/* The end of the piece that begins at `first`: as many whole parts between two cuts as one
 * transaction takes, and at least one. */
static size_t piece_end(const struct change *change, const struct texts *texts, size_t first)
{
    size_t end = first, bytes = 0, at = first;
    for (size_t i = 0; i <= change->cut_count; i++) {
        size_t cut = i < change->cut_count ? change->cuts[i] : change->count;
        if (cut <= first)
            continue;
        for (; at < cut; at++)
            bytes += strlen(texts->writes[at].key) +
                     (texts->writes[at].value != NULL ? strlen(texts->writes[at].value) : 0);
        if (end > first && (cut - first > STORE_WRITES_MAX || bytes > STORE_TRANSACTION_MAX))
            break;
        end = cut;
    }
    return end;
}

static void hand_in_piece(struct changes *changes, const struct change *change,
                          const struct texts *texts, size_t first, size_t end,
                          struct decision *decision)
{
    struct commit *commit = xcalloc(1, sizeof *commit);
    size_t count = end - first;
    *commit = (struct commit){
        .changes = changes,
        .writes = xmemdup(&change->writes[first], count * sizeof *change->writes),
        .count = count,
        .last = end == change->count,
        .decision = end == change->count ? decision : NULL,
    };
    /* No id is handed out twice, whoever else may write to this store. */
    struct store_comparison comparison = {"counters", changes->counters_at};
    size_t comparisons = 0;
    for (size_t i = first; i < end && comparisons == 0; i++)
        comparisons = change->writes[i].kind == DOCUMENT_COUNTERS;
    struct store_transaction transaction = {.comparisons = &comparison,
                                            .comparison_count = comparisons,
                                            .writes = &texts->writes[first],
                                            .write_count = count,
                                            .chained = first > 0};
    changes->in_flight++;
    store_commit(changes->options.store, &transaction, on_committed, commit);
}

/* Takes the writes. */
static void hand_to_store(struct changes *changes, struct change *change, struct decision *decision)
{
    struct texts texts = write_texts(change);
    for (size_t end, first = 0; first < change->count; first = end) {
        end = piece_end(change, &texts, first);
        hand_in_piece(changes, change, &texts, first, end, decision);
    }
    texts_finish(&texts);
    change->count = 0;
    change_finish(change);
}

void changes_write(struct changes *changes, struct change *change)
{
    if (change->count > 0 && changes->closed.code == ERROR_NONE)
        hand_to_store(changes, change, NULL);
    else
        change_finish(change);
}

/* --- one decision at a time --- */

static struct decision *take_decision(struct changes *changes)
{
    struct decision *decision = changes->first;
    changes->first = decision->next;
    if (changes->first == NULL)
        changes->last = &changes->first;
    decision->next = NULL;
    return decision;
}

/* Adds what waits behind it and may share its change; the last of them. */
static void decide_followers(struct changes *changes, struct change *change, struct decision *last)
{
    while (changes->first != NULL && changes->first->shares) {
        struct error error = ERROR_INIT;
        change_may_split(change);
        if (!change_has_room(change, ROOM_SHARED))
            return;
        struct decision *decision = take_decision(changes);
        if (decision->decide(change, decision->data, &error) < 0)
            tell(decision, &error);
        else
            last = last->next = decision;
    }
}

static void run_decision(struct changes *changes, struct decision *decision)
{
    struct change change = {0};
    struct error error = ERROR_INIT;
    changes->deciding = true;
    int result = changes->closed.code != ERROR_NONE
                     ? error_copy(&error, &changes->closed)
                     : decision->decide(&change, decision->data, &error);
    if (result == 0 && decision->shares)
        decide_followers(changes, &change, decision);
    if (result == 0 && change.count > 0) {
        hand_to_store(changes, &change, decision);
        return;
    }
    change_finish(&change);
    changes->deciding = false;
    tell(decision, result < 0 ? &error : NULL);
}

static void next_decision(struct changes *changes)
{
    while (!changes->deciding && changes->first != NULL)
        run_decision(changes, take_decision(changes));
}

static void queue_decision(struct changes *changes, struct decision made)
{
    struct decision *decision = xmemdup(&made, sizeof made);
    *changes->last = decision;
    changes->last = &decision->next;
    next_decision(changes);
}

void changes_decide(struct changes *changes, change_decide *decide, change_done *done, void *data)
{
    queue_decision(changes, (struct decision){.decide = decide, .done = done, .data = data});
}

void changes_decide_together(struct changes *changes, change_decide *decide, change_done *done,
                             void *data)
{
    queue_decision(changes,
                   (struct decision){.decide = decide, .done = done, .data = data, .shares = true});
}

struct changes *changes_create(const struct changes_options *options)
{
    struct changes *changes = xcalloc(1, sizeof *changes);
    changes->options = *options;
    changes->last = &changes->first;
    return changes;
}

void changes_destroy(struct changes *changes)
{
    if (changes == NULL)
        return;
    for (struct decision *next, *decision = changes->first; decision != NULL; decision = next) {
        next = decision->next;
        free(decision);
    }
    free(changes);
}

void changes_close(struct changes *changes, const struct error *error)
{
    changes->closed = *error;
    /* The one that is being written tells when it comes back; the others do not wait for it. */
    bool deciding = changes->deciding;
    changes->deciding = false;
    next_decision(changes);
    changes->deciding = deciding;
}

void changes_set_counters_at(struct changes *changes, uint64_t revision)
{
    changes->counters_at = revision;
}

void changes_open(struct changes *changes, uint64_t counters_at)
{
    changes->closed = (struct error){0};
    changes_set_counters_at(changes, counters_at);
}

uint64_t changes_revision(const struct changes *changes)
{
    return changes->revision;
}

void changes_set_sequence(struct changes *changes, uint64_t sequence)
{
    changes->sequence = sequence;
}

void changes_event(struct changes *changes, struct change *change, const char *kind,
                   const char *namespace_name, const char *name, const char *id, const char *what,
                   const char *cause, const char *format, ...)
{
    struct api_event *event = document_create(DOCUMENT_EVENT);
    va_list arguments;
    event->sequence = ++changes->sequence;
    event->time_ms = clock_wall_ms(changes->options.clock);
    snprintf(event->kind, sizeof event->kind, "%s", kind);
    snprintf(event->namespace_name, sizeof event->namespace_name, "%s", namespace_name);
    snprintf(event->name, sizeof event->name, "%s", name);
    snprintf(event->id, sizeof event->id, "%s", id != NULL ? id : "");
    snprintf(event->what, sizeof event->what, "%s", what);
    snprintf(event->cause, sizeof event->cause, "%s", cause != NULL ? cause : "");
    va_start(arguments, format);
    vsnprintf(event->message, sizeof event->message, format, arguments);
    va_end(arguments);
    change_put(change, DOCUMENT_EVENT, event);
}
