#include "agent/image_contents.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/xalloc.h"

#define ENTRIES_MAX 256 /* in memory */
#define RECORD_MAX  65536
/* Raised when the same archives would give other parts, or be refused: old records do not count. */
#define RECORD_FORMAT 1

struct contents_entry {
    char manifest_digest[DIGEST_TEXT_MAX];
    char metadata_digest[DIGEST_TEXT_MAX]; /* of what told which parts; found in the archives */
    struct image_part parts[IMAGE_PARTS_MAX];
    size_t part_count;
    TAILQ_ENTRY(contents_entry) link;
};

struct image_contents {
    bool reads_records;
    TAILQ_HEAD(entry_list, contents_entry) entries;
    size_t count;
};

/* --- the record --- */

struct stored_contents {
    uint64_t format;
    char manifest_digest[DIGEST_TEXT_MAX];
    char metadata_digest[DIGEST_TEXT_MAX];
    struct image_part *parts;
    size_t part_count;
};

/* A part without digest and size is optional and was not there. */
static const struct json_field part_fields[] = {
    JSON_FIELD(struct image_part, path, "path", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct image_part, digest, "digest", JSON_STRING, .flags = JSON_OMIT_EMPTY,
               .check = api_check_digest),
    JSON_FIELD(struct image_part, size, "size", JSON_UINT, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
static const struct json_record part_record = {sizeof(struct image_part), part_fields};
static const struct json_field contents_fields[] = {
    JSON_FIELD(struct stored_contents, format, "format", JSON_UINT, .flags = JSON_REQUIRED),
    JSON_FIELD(struct stored_contents, manifest_digest, "manifest", JSON_STRING,
               .flags = JSON_REQUIRED, .check = api_check_digest),
    JSON_FIELD(struct stored_contents, metadata_digest, "metadata", JSON_STRING,
               .flags = JSON_REQUIRED, .check = api_check_digest),
    JSON_FIELD_LIST(struct stored_contents, parts, part_count, "parts", &part_record,
                    .max = IMAGE_PARTS_MAX),
    JSON_FIELD_END,
};
static const struct json_record contents_record = {sizeof(struct stored_contents), contents_fields};

static char *record_path(const char *folder)
{
    return xasprintf("%s/unpacked.json", folder);
}

static void write_record(const struct contents_entry *entry, const char *folder)
{
    struct contents_entry copy = *entry;
    struct stored_contents stored = {
        .format = RECORD_FORMAT, .parts = copy.parts, .part_count = copy.part_count};
    struct error error = ERROR_INIT;
    AUTO_FREE char *path = record_path(folder);
    memcpy(stored.manifest_digest, entry->manifest_digest, sizeof stored.manifest_digest);
    memcpy(stored.metadata_digest, entry->metadata_digest, sizeof stored.metadata_digest);
    AUTO_FREE char *text = json_record_text(&contents_record, &stored);
    if (file_write(path, text, strlen(text), 0600, &error) < 0)
        log_warn("what was unpacked of an image is known until the agent ends", "manifest",
                 entry->manifest_digest, "reason", error.message);
}

static int read_record(const char *folder, struct contents_entry *ret_entry)
{
    struct stored_contents stored = {0};
    AUTO_FREE char *path = record_path(folder);
    AUTO_FREE char *text = NULL;
    size_t length;
    if (file_read(path, RECORD_MAX, &text, &length, NULL) < 0 ||
        json_parse_record(&contents_record, text, length, JSON_LENIENT, &stored, NULL) < 0)
        return -1;
    bool is_ours = stored.format == RECORD_FORMAT;
    if (is_ours) {
        *ret_entry = (struct contents_entry){.part_count = stored.part_count};
        memcpy(ret_entry->manifest_digest, stored.manifest_digest, sizeof stored.manifest_digest);
        memcpy(ret_entry->metadata_digest, stored.metadata_digest, sizeof stored.metadata_digest);
        memcpy(ret_entry->parts, stored.parts, stored.part_count * sizeof *stored.parts);
    }
    json_record_release(&contents_record, &stored);
    return is_ours ? 0 : -1;
}

/* --- what is known --- */

static void digest_metadata(const char *metadata, size_t length, char ret_digest[DIGEST_TEXT_MAX])
{
    digest_of_bytes(metadata != NULL ? metadata : "", metadata != NULL ? length : 0, ret_digest);
}

static void drop(struct image_contents *contents, struct contents_entry *entry)
{
    TAILQ_REMOVE(&contents->entries, entry, link);
    contents->count--;
    free(entry);
}

static void add(struct image_contents *contents, const struct contents_entry *entry)
{
    struct contents_entry *added = xmemdup(entry, sizeof *entry);
    TAILQ_INSERT_HEAD(&contents->entries, added, link);
    if (++contents->count > ENTRIES_MAX)
        drop(contents, TAILQ_LAST(&contents->entries, entry_list));
}

void image_contents_keep(struct image_contents *contents, const char *folder,
                         const struct image_verified *image, const char *metadata,
                         size_t metadata_length, const struct image_part *parts)
{
    struct contents_entry entry = {.part_count = image->part_count};
    memcpy(entry.manifest_digest, image->manifest_digest, sizeof entry.manifest_digest);
    digest_metadata(metadata, metadata_length, entry.metadata_digest);
    memcpy(entry.parts, parts, entry.part_count * sizeof *parts);
    add(contents, &entry);
    write_record(&entry, folder);
}

/* Whether it is about this image as it was judged. */
static bool fits(const struct contents_entry *entry, const struct image_verified *verified,
                 const char *metadata_digest)
{
    if (strcmp(entry->manifest_digest, verified->manifest_digest) != 0 ||
        strcmp(entry->metadata_digest, metadata_digest) != 0 ||
        entry->part_count != verified->part_count)
        return false;
    for (size_t i = 0; i < entry->part_count; i++) {
        const struct image_part *found = &entry->parts[i], *asked = &verified->parts[i];
        bool is_there = found->size > 0 && found->digest[0] != '\0';
        if (strcmp(found->path, asked->path) != 0 || (!is_there && !asked->is_optional))
            return false;
    }
    return true;
}

static const struct contents_entry *find(struct image_contents *contents, const char *folder,
                                         const struct image_verified *verified,
                                         const char *metadata_digest)
{
    const struct contents_entry *entry;
    struct contents_entry stored;
    TAILQ_FOREACH(entry, &contents->entries, link)
    {
        if (fits(entry, verified, metadata_digest))
            return entry;
    }
    if (!contents->reads_records || read_record(folder, &stored) < 0 ||
        !fits(&stored, verified, metadata_digest))
        return NULL;
    add(contents, &stored);
    return TAILQ_FIRST(&contents->entries);
}

bool image_contents_recall(struct image_contents *contents, const char *folder,
                           const struct image_chain *chain, struct image_verified *verified)
{
    char metadata_digest[DIGEST_TEXT_MAX];
    bool known = true;
    for (size_t i = 0; i < verified->part_count; i++)
        known = known && verified->parts[i].digest[0] != '\0';
    if (known)
        return true;
    digest_metadata(chain->metadata, chain->metadata_length, metadata_digest);
    const struct contents_entry *entry = find(contents, folder, verified, metadata_digest);
    if (entry == NULL)
        return false;
    /* From the last: one that is not there goes. What the manifest names is not for us to say. */
    for (size_t i = entry->part_count; i-- > 0;) {
        if (verified->parts[i].digest[0] == '\0')
            image_verified_learn(verified, i, entry->parts[i].digest, entry->parts[i].size);
    }
    return true;
}

/* --- life --- */

struct image_contents *image_contents_create(bool reads_records)
{
    struct image_contents *contents = xcalloc(1, sizeof *contents);
    contents->reads_records = reads_records;
    TAILQ_INIT(&contents->entries);
    return contents;
}

void image_contents_destroy(struct image_contents *contents)
{
    if (contents == NULL)
        return;
    while (!TAILQ_EMPTY(&contents->entries))
        drop(contents, TAILQ_FIRST(&contents->entries));
    free(contents);
}
