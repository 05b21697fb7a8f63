#include "scheduler/changes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"

/* Services and revisions hold what users wrote, up to STORE_DOCUMENT_MAX each: so many of them, and
 * the small rest, are sure to stay within STORE_TRANSACTION_MAX. */
#define LARGE_MAX 3

struct decision {
    struct decision *next;
    change_decide *decide;
    change_done *done;
    void *data;
};

struct changes {
    struct changes_options options;
    struct decision *first;
    struct decision **last;
    bool deciding;        /* one was handed to the store, or is being made */
    uint64_t sequence;    /* of the last event */
    uint64_t counters_at; /* revision of the counters' document; 0: not there yet */
    size_t in_flight;     /* commits handed to the store */
    void (*on_idle)(void *data);
    void *idle_data;
};

/* A change on its way to the store and back. */
struct commit {
    struct changes *changes;
    struct change change;
    struct decision *decision; /* NULL: a plain write */
};

/* --- a change in the making --- */

static void write_key(const struct change_write *write, char key[STORE_KEY_MAX])
{
    document_key(write->kind, write->document, key, STORE_KEY_MAX);
}

static struct change_write *find_write(struct change *change, enum document_kind kind,
                                       const void *document)
{
    char wanted[STORE_KEY_MAX], key[STORE_KEY_MAX];
    document_key(kind, document, wanted, sizeof wanted);
    for (size_t i = 0; i < change->count; i++) {
        write_key(&change->writes[i], key);
        if (strcmp(key, wanted) == 0)
            return &change->writes[i];
    }
    return NULL;
}

static void add_write(struct change *change, enum document_kind kind, void *document, bool removed)
{
    struct change_write *write = find_write(change, kind, document);
    if (write == NULL) {
        change->writes = xreallocarray(change->writes, change->count + 1, sizeof *change->writes);
        write = &change->writes[change->count++];
    } else if (write->document != document) {
        document_free(kind, write->document);
    }
    *write = (struct change_write){kind, document, removed};
}

void change_put(struct change *change, enum document_kind kind, void *document)
{
    add_write(change, kind, document, false);
}

void change_remove(struct change *change, enum document_kind kind, const void *document)
{
    add_write(change, kind, document_copy(kind, document), true);
}

bool change_has_room(const struct change *change, size_t more)
{
    size_t large = 0;
    for (size_t i = 0; i < change->count; i++) {
        const struct change_write *write = &change->writes[i];
        large += !write->removed &&
                 (write->kind == DOCUMENT_SERVICE || write->kind == DOCUMENT_REVISION);
    }
    return change->count + more <= STORE_WRITES_MAX && large < LARGE_MAX;
}

void *change_edit(struct change *change, enum document_kind kind, const void *document)
{
    struct change_write *write = find_write(change, kind, document);
    if (write == NULL || write->removed) {
        change_put(change, kind, document_copy(kind, document));
        write = find_write(change, kind, document);
    }
    return write->document;
}

void change_finish(struct change *change)
{
    for (size_t i = 0; i < change->count; i++)
        document_free(change->writes[i].kind, change->writes[i].document);
    free(change->writes);
    *change = (struct change){0};
}

/* --- committing --- */

static void next_decision(struct changes *changes);

static void apply(struct changes *changes, struct change *change, uint64_t revision)
{
    uint64_t now_ms = clock_monotonic_ms(changes->options.clock);
    for (size_t i = 0; i < change->count; i++) {
        struct change_write *write = &change->writes[i];
        if (write->kind == DOCUMENT_COUNTERS)
            changes->counters_at = revision;
        model_apply(changes->options.model, write->kind, write->document, write->removed, now_ms);
    }
    free(change->writes);
    *change = (struct change){0};
}

static void on_committed(const struct error *error, uint64_t revision, void *data)
{
    struct commit *commit = data;
    struct changes *changes = commit->changes;
    struct decision *decision = commit->decision;
    if (error != NULL) {
        log_error("a change could not be written", "error", error->message);
        change_finish(&commit->change);
    } else {
        apply(changes, &commit->change, revision);
        changes->options.on_applied(changes->options.data);
    }
    free(commit);
    changes->in_flight--;
    if (decision != NULL) {
        changes->deciding = false;
        if (decision->done != NULL)
            decision->done(error, decision->data);
        free(decision);
        next_decision(changes);
    }
    if (changes->in_flight == 0 && changes->on_idle != NULL)
        changes->on_idle(changes->idle_data);
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

static void hand_to_store(struct changes *changes, struct change *change, struct decision *decision)
{
    struct commit *commit = xcalloc(1, sizeof *commit);
    *commit = (struct commit){changes, *change, decision};
    struct store_write *writes = xcalloc(change->count, sizeof *writes);
    struct store_comparison comparison = {"counters", changes->counters_at};
    size_t comparisons = 0;
    for (size_t i = 0; i < change->count; i++) {
        struct change_write *write = &change->writes[i];
        char key[STORE_KEY_MAX];
        write_key(write, key);
        writes[i].key = xstrdup(key);
        if (!write->removed)
            writes[i].value = json_record_text(document_record(write->kind), write->document);
        /* No id is handed out twice, whoever else may write to this store. */
        if (write->kind == DOCUMENT_COUNTERS)
            comparisons = 1;
    }
    struct store_transaction transaction = {&comparison, comparisons, writes, change->count, false};
    changes->in_flight++;
    store_commit(changes->options.store, &transaction, on_committed, commit);
    for (size_t i = 0; i < change->count; i++) {
        free((char *)writes[i].key);
        free((char *)writes[i].value);
    }
    free(writes);
    *change = (struct change){0};
}

void changes_write(struct changes *changes, struct change *change)
{
    if (change->count > 0)
        hand_to_store(changes, change, NULL);
    change_finish(change);
}

/* --- one decision at a time --- */

static void run_decision(struct changes *changes, struct decision *decision)
{
    struct change change = {0};
    struct error error = ERROR_INIT;
    changes->deciding = true;
    int result = decision->decide(&change, decision->data, &error);
    if (result == 0 && change.count > 0) {
        hand_to_store(changes, &change, decision);
        return;
    }
    change_finish(&change);
    changes->deciding = false;
    if (decision->done != NULL)
        decision->done(result < 0 ? &error : NULL, decision->data);
    free(decision);
}

static void next_decision(struct changes *changes)
{
    while (!changes->deciding && changes->first != NULL) {
        struct decision *decision = changes->first;
        changes->first = decision->next;
        if (changes->first == NULL)
            changes->last = &changes->first;
        run_decision(changes, decision);
    }
}

void changes_decide(struct changes *changes, change_decide *decide, change_done *done, void *data)
{
    struct decision *decision = xcalloc(1, sizeof *decision);
    *decision = (struct decision){NULL, decide, done, data};
    *changes->last = decision;
    changes->last = &decision->next;
    next_decision(changes);
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

void changes_set_counters_at(struct changes *changes, uint64_t revision)
{
    changes->counters_at = revision;
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
