#include "agent/host/libvirt_known.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/json.h"
#include "lib/xalloc.h"

struct entry {
    LIST_ENTRY(entry) link;
    char id[INSTANCE_ID_MAX];
    bool is_made;
    bool has_reason;
    enum hypervisor_end end;
};

struct libvirt_known {
    pthread_mutex_t lock;
    LIST_HEAD(, entry) entries;
};

struct libvirt_known *libvirt_known_create(void)
{
    struct libvirt_known *known = xcalloc(1, sizeof *known);
    pthread_mutex_init(&known->lock, NULL);
    LIST_INIT(&known->entries);
    return known;
}

void libvirt_known_destroy(struct libvirt_known *known)
{
    struct entry *entry;
    while ((entry = LIST_FIRST(&known->entries)) != NULL) {
        LIST_REMOVE(entry, link);
        free(entry);
    }
    pthread_mutex_destroy(&known->lock);
    free(known);
}

static struct entry *find(struct libvirt_known *known, const char *id)
{
    struct entry *entry;
    LIST_FOREACH(entry, &known->entries, link)
    {
        if (strcmp(entry->id, id) == 0)
            return entry;
    }
    return NULL;
}

void libvirt_known_begin(struct libvirt_known *known, const char *id, bool is_made)
{
    pthread_mutex_lock(&known->lock);
    struct entry *entry = find(known, id);
    if (entry == NULL) {
        entry = xcalloc(1, sizeof *entry);
        LIST_INSERT_HEAD(&known->entries, entry, link);
        snprintf(entry->id, sizeof entry->id, "%s", id);
    }
    entry->is_made = is_made;
    entry->has_reason = false;
    pthread_mutex_unlock(&known->lock);
}

void libvirt_known_finish_making(struct libvirt_known *known, const char *id)
{
    pthread_mutex_lock(&known->lock);
    struct entry *entry = find(known, id);
    if (entry != NULL)
        entry->is_made = true;
    pthread_mutex_unlock(&known->lock);
}

/* Any other reason came from outside, and not from a guest. */
static enum hypervisor_end end_of(const char *reason)
{
    if (strcmp(reason, "guest-shutdown") == 0)
        return HYPERVISOR_END_EXIT;
    if (strcmp(reason, "guest-reset") == 0)
        return HYPERVISOR_END_RESET;
    if (strcmp(reason, "guest-panic") == 0)
        return HYPERVISOR_END_PANIC;
    return HYPERVISOR_END_DEATH;
}

struct shutdown {
    char reason[64];
};

static const struct json_field fields[] = {
    JSON_FIELD(struct shutdown, reason, "reason", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD_END,
};
static const struct json_record record = {.fields = fields, .size = sizeof(struct shutdown)};

void libvirt_known_shut_down(struct libvirt_known *known, const char *id, const char *details)
{
    struct shutdown shutdown = {0};
    if (json_parse_record(&record, details, strlen(details), JSON_LENIENT, &shutdown, NULL) < 0)
        return;
    pthread_mutex_lock(&known->lock);
    struct entry *entry = find(known, id);
    if (entry != NULL && !entry->has_reason) {
        entry->has_reason = true;
        entry->end = end_of(shutdown.reason);
    }
    pthread_mutex_unlock(&known->lock);
}

enum hypervisor_end libvirt_known_end(struct libvirt_known *known, const char *id,
                                      enum hypervisor_end otherwise)
{
    pthread_mutex_lock(&known->lock);
    struct entry *entry = find(known, id);
    enum hypervisor_end end = entry != NULL && entry->has_reason ? entry->end : otherwise;
    if (entry != NULL) {
        LIST_REMOVE(entry, link);
        free(entry);
    }
    pthread_mutex_unlock(&known->lock);
    return end;
}

bool libvirt_known_has(struct libvirt_known *known, const char *id)
{
    pthread_mutex_lock(&known->lock);
    bool has = find(known, id) != NULL;
    pthread_mutex_unlock(&known->lock);
    return has;
}

bool libvirt_known_next(struct libvirt_known *known, char at[INSTANCE_ID_MAX])
{
    const struct entry *entry, *next = NULL;
    pthread_mutex_lock(&known->lock);
    LIST_FOREACH(entry, &known->entries, link)
    {
        if (entry->is_made && strcmp(entry->id, at) > 0 &&
            (next == NULL || strcmp(entry->id, next->id) < 0))
            next = entry;
    }
    if (next != NULL)
        memcpy(at, next->id, sizeof next->id);
    pthread_mutex_unlock(&known->lock);
    return next != NULL;
}
