/* How the model changes: a decision is made from the model as it is, its writes are committed to
 * the store, then applied to the model, and then answered. One decision at a time, in order.
 *
 * Loop thread only. */
#pragma once

#include "lib/clock.h"
#include "scheduler/model.h"
#include "scheduler/store.h"

struct changes;

/* Writes that one decision may make, whole or in pieces. */
#define CHANGE_WRITES_MAX 1024

/* Writes in the making. All of it is one transaction of the store, at most STORE_WRITES_MAX writes,
 * unless its maker says where it may be cut: then the pieces are committed in order, each applied
 * once it is written, and the first that fails is the last. */
struct change {
    struct change_write {
        enum document_kind kind;
        void *document;
        bool removed;
        uint32_t hash; /* of the key */
    } * writes;
    size_t count;
    size_t capacity;
    uint32_t *places; /* a table of open addresses: index of the write and 1; 0: free */
    size_t place_count;
    size_t *cuts; /* writes before which it may be cut, ascending */
    size_t cut_count;
    size_t large; /* large writes since the last cut */
    bool may_split;
};

/* Takes the document. A later write of the same key replaces an earlier one, in its place. */
void change_put(struct change *change, enum document_kind kind, void *document);
/* `document` says which one, and stays the caller's. */
void change_remove(struct change *change, enum document_kind kind, const void *document);
/* Here the change may be cut: what was put so far is consistent without what follows. Once before
 * the first write makes a change that may be large. */
void change_may_split(struct change *change);
/* Whether `more` further writes, at most one of them large, are sure to fit without a cut. */
bool change_has_room(const struct change *change, size_t more);
/* The copy that an earlier write of this change put for the same key, to be changed further; else
 * a new copy of `document`, put. */
void *change_edit(struct change *change, enum document_kind kind, const void *document);

/* Forgets what was put, as if it had never been. */
void change_finish(struct change *change);

/* Fills the change from the model as it is now. -1: refused, nothing is written. */
typedef int change_decide(struct change *change, void *data, struct error *error);
/* `error` NULL: committed and applied, or nothing had to be written. */
typedef void change_done(const struct error *error, void *data);

struct changes_options {
    struct store *store;
    struct model *model;
    const struct clock *clock;
    /* After every change that was applied, before its done. */
    void (*on_applied)(void *data);
    void *data;
};

struct changes *changes_create(const struct changes_options *options);
/* From now on every decision fails with `error`, those that wait for their turn too, and plain
 * writes are dropped. What is on its way to the store goes on. */
void changes_close(struct changes *changes, const struct error *error);
/* Decisions are made again; `counters_at`: the store's revision of the counters that the model was
 * loaded with. Only when idle. */
void changes_open(struct changes *changes, uint64_t counters_at);
/* Decisions that have not been made are dropped without a callback. */
void changes_destroy(struct changes *changes);
/* `decide` runs in its turn, at once when nothing else is being decided; `done` (may be NULL) runs
 * after it. */
void changes_decide(struct changes *changes, change_decide *decide, change_done *done, void *data);
/* The same for small decisions that come in crowds, like the joins of a fleet: those that wait one
 * behind the other share a change, cut between them. `decide` sees what the others have put. */
void changes_decide_together(struct changes *changes, change_decide *decide, change_done *done,
                             void *data);
/* Writes at once, beside the decisions: events, and what was observed. Takes the writes. */
void changes_write(struct changes *changes, struct change *change);

/* Calls back, perhaps at once, when nothing is on its way to the store: before an end. */
void changes_when_idle(struct changes *changes, void (*on_idle)(void *data), void *data);

/* Adds an event; `id`, `cause` may be NULL. */
void changes_event(struct changes *changes, struct change *change, const char *kind,
                   const char *namespace_name, const char *name, const char *id, const char *what,
                   const char *cause, const char *format, ...)
    __attribute__((format(printf, 9, 10)));
/* The store's revision of the counters that the model was loaded with. */
void changes_set_counters_at(struct changes *changes, uint64_t revision);
/* The store's revision of the last change that was applied; 0: none was. */
uint64_t changes_revision(const struct changes *changes);
/* Event sequences begin behind `sequence`. */
void changes_set_sequence(struct changes *changes, uint64_t sequence);
