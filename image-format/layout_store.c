#include "image-format/layout_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "image-format/platforms.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

#define WALK_DEPTH 3 /* indexes in indexes */

/* What an entry leads to. */
struct reach {
    const char *folder;
    struct reached {
        char digest[DIGEST_TEXT_MAX];
        uint64_t size;
    } * items;
    size_t count;
    bool complete; /* false: a document could not be read */
};

int layout_create(const char *folder, struct error *error)
{
    AUTO_FREE char *blobs = xasprintf("%s/blobs/sha256", folder);
    AUTO_FREE char *marker = xasprintf("%s/oci-layout", folder);
    if (file_make_directory(blobs, 0755, error) < 0)
        return -1;
    if (access(marker, F_OK) == 0)
        return 0;
    return file_write(marker, LAYOUT_TEXT, strlen(LAYOUT_TEXT), 0644, error);
}

int layout_lock(const char *folder, int *ret_descriptor, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/.lock", folder);
    AUTO_CLOSE int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (descriptor < 0)
        return error_set_errno(error, errno, "open %s", path);
    while (flock(descriptor, LOCK_EX) < 0) {
        if (errno != EINTR)
            return error_set_errno(error, errno, "lock %s", path);
    }
    *ret_descriptor = TAKE_DESCRIPTOR(descriptor);
    return 0;
}

int layout_read_index(const char *folder, struct oci_index *ret_index, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/index.json", folder);
    AUTO_FREE char *text = NULL;
    size_t length = 0;
    struct oci_index index = {.schema_version = 2};
    struct error failure = ERROR_INIT;
    if (file_read(path, OCI_MANIFEST_LIMIT, &text, &length, &failure) < 0) {
        if (failure.code != ERROR_NOT_FOUND)
            return error_copy(error, &failure);
    } else if (json_parse_record(&oci_index_record, text, length, JSON_LENIENT, &index, error) <
               0) {
        return error_wrap(error, "%s", path);
    }
    *ret_index = index;
    return 0;
}

int layout_write_index(const char *folder, const struct oci_index *index, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/index.json", folder);
    AUTO_FREE char *text = json_record_text(&oci_index_record, index);
    return file_write(path, text, strlen(text), 0644, error);
}

char *layout_blob_path(const char *folder, const char *digest)
{
    return xasprintf("%s/blobs/sha256/%s", folder, digest_hex(digest));
}

bool layout_has_blob(const char *folder, const char *digest)
{
    AUTO_FREE char *path = layout_blob_path(folder, digest);
    char found[DIGEST_TEXT_MAX];
    AUTO_CLOSE int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    return descriptor >= 0 && digest_of_descriptor(descriptor, found, NULL, NULL) == 0 &&
           strcmp(found, digest) == 0;
}

int layout_write_blob(const char *folder, const char *digest, const void *bytes, size_t length,
                      struct error *error)
{
    AUTO_FREE char *path = layout_blob_path(folder, digest);
    char found[DIGEST_TEXT_MAX];
    digest_of_bytes(bytes, length, found);
    if (strcmp(found, digest) != 0)
        return error_set(error, ERROR_SIGNATURE, "a blob was altered: expected %s, got %s", digest,
                         found);
    if (layout_has_blob(folder, digest))
        return 0;
    return file_write(path, bytes, length, 0644, error);
}

int layout_read_blob(const char *folder, const char *digest, size_t limit, char **ret_bytes,
                     size_t *ret_length, struct error *error)
{
    AUTO_FREE char *path = layout_blob_path(folder, digest);
    AUTO_FREE char *bytes = NULL;
    size_t length = 0;
    char found[DIGEST_TEXT_MAX];
    if (file_read(path, limit, &bytes, &length, error) < 0)
        return -1;
    digest_of_bytes(bytes, length, found);
    if (strcmp(found, digest) != 0)
        return error_set(error, ERROR_SIGNATURE, "%s was altered: expected %s, got %s", path,
                         digest, found);
    *ret_bytes = TAKE_POINTER(bytes);
    *ret_length = length;
    return 0;
}

int layout_check_size(const struct packed_blob *blob, struct error *error)
{
    struct stat status;
    if (stat(blob->path, &status) < 0)
        return error_set_errno(error, errno, "%s", blob->path);
    if ((uint64_t)status.st_size != blob->size)
        return error_set(error, ERROR_SIGNATURE, "%s was altered: expected %llu bytes, got %llu",
                         blob->path, (unsigned long long)blob->size,
                         (unsigned long long)status.st_size);
    return 0;
}

static bool reach_add(struct reach *reach, const struct oci_descriptor *descriptor)
{
    for (size_t i = 0; i < reach->count; i++) {
        if (strcmp(reach->items[i].digest, descriptor->digest) == 0)
            return false;
    }
    reach->items = xreallocarray(reach->items, reach->count + 1, sizeof *reach->items);
    struct reached *item = &reach->items[reach->count++];
    memcpy(item->digest, descriptor->digest, sizeof item->digest);
    item->size = descriptor->size;
    return true;
}

static void walk(struct reach *reach, const struct oci_descriptor *descriptor, int depth);

/* A manifest and an index have different keys, so one text is read as both. */
static void walk_document(struct reach *reach, const struct oci_descriptor *descriptor, int depth)
{
    AUTO_FREE char *text = NULL;
    size_t length = 0;
    struct oci_manifest manifest = {0};
    struct oci_index index = {0};
    if (depth == 0 ||
        layout_read_blob(reach->folder, descriptor->digest, OCI_MANIFEST_LIMIT, &text, &length,
                         NULL) < 0 ||
        json_parse_record(&oci_manifest_record, text, length, JSON_LENIENT, &manifest, NULL) < 0 ||
        json_parse_record(&oci_index_record, text, length, JSON_LENIENT, &index, NULL) < 0) {
        reach->complete = false;
    } else {
        if (manifest.has_config)
            walk(reach, &manifest.config, depth - 1);
        for (size_t i = 0; i < manifest.layer_count; i++)
            walk(reach, &manifest.layers[i], depth - 1);
        for (size_t i = 0; i < index.manifest_count; i++)
            walk(reach, &index.manifests[i], depth - 1);
    }
    json_record_release(&oci_manifest_record, &manifest);
    json_record_release(&oci_index_record, &index);
}

static void walk(struct reach *reach, const struct oci_descriptor *descriptor, int depth)
{
    if (reach_add(reach, descriptor) && (platforms_is_index_type(descriptor->media_type) ||
                                         platforms_is_manifest_type(descriptor->media_type)))
        walk_document(reach, descriptor, depth);
}

uint64_t layout_total_size(const char *folder, const struct oci_descriptor *entry)
{
    struct reach reach = {.folder = folder, .complete = true};
    uint64_t size = 0;
    walk(&reach, entry, WALK_DEPTH);
    for (size_t i = 0; i < reach.count; i++)
        size += reach.items[i].size;
    free(reach.items);
    return size;
}

static bool is_reached(const struct reach *reach, const char *hex)
{
    for (size_t i = 0; i < reach->count; i++) {
        if (strcmp(digest_hex(reach->items[i].digest), hex) == 0)
            return true;
    }
    return false;
}

/* The digest of what an entry without a name is about; "": it has a name, or is about nothing. */
static void read_subject(const char *folder, const struct oci_descriptor *entry,
                         char ret_subject[DIGEST_TEXT_MAX])
{
    AUTO_FREE char *text = NULL;
    size_t length = 0;
    struct oci_manifest manifest = {0};
    ret_subject[0] = '\0';
    if (layout_entry_name(entry) != NULL ||
        layout_read_blob(folder, entry->digest, OCI_MANIFEST_LIMIT, &text, &length, NULL) < 0 ||
        json_parse_record(&oci_manifest_record, text, length, JSON_LENIENT, &manifest, NULL) < 0)
        return;
    if (manifest.has_subject)
        strcpy(ret_subject, manifest.subject.digest);
    json_record_release(&oci_manifest_record, &manifest);
}

void layout_prune_referrers(const char *folder, struct oci_index *index)
{
    struct reach reach = {.folder = folder, .complete = true};
    char(*subjects)[DIGEST_TEXT_MAX] = xcalloc(index->manifest_count + 1, sizeof *subjects);
    for (size_t i = 0; i < index->manifest_count; i++) {
        read_subject(folder, &index->manifests[i], subjects[i]);
        if (subjects[i][0] == '\0')
            walk(&reach, &index->manifests[i], WALK_DEPTH);
    }
    /* A signature of an SBOM is about something that is itself about the image. */
    for (bool grew = true; grew;) {
        grew = false;
        for (size_t i = 0; i < index->manifest_count; i++) {
            if (subjects[i][0] == '\0' || !is_reached(&reach, digest_hex(subjects[i])))
                continue;
            subjects[i][0] = '\0';
            grew = true;
            walk(&reach, &index->manifests[i], WALK_DEPTH);
        }
    }
    for (size_t i = index->manifest_count; i > 0 && reach.complete; i--) {
        if (subjects[i - 1][0] != '\0')
            layout_remove_entry(index, i - 1);
    }
    free(subjects);
    free(reach.items);
}

/* A blob, or what a writer of ours that was killed left of one: ".XXXXXX" behind its name. Nobody
 * else of ours writes now, and other tools call their own files something else. */
static bool is_blob_name(const char *name)
{
    return strspn(name, "0123456789abcdef") == 64 &&
           (name[64] == '\0' || (name[64] == '.' && strlen(name) == 71));
}

static void remove_unreached(const struct reach *reach)
{
    AUTO_FREE char *path = xasprintf("%s/blobs/sha256", reach->folder);
    DIR *blobs = opendir(path);
    if (blobs == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(blobs)) != NULL;) {
        if (is_blob_name(entry->d_name) && !is_reached(reach, entry->d_name))
            unlinkat(dirfd(blobs), entry->d_name, 0);
    }
    closedir(blobs);
}

void layout_collect_garbage(const char *folder, const struct oci_index *index)
{
    struct reach reach = {.folder = folder, .complete = true};
    for (size_t i = 0; i < index->manifest_count; i++)
        walk(&reach, &index->manifests[i], WALK_DEPTH);
    if (reach.complete)
        remove_unreached(&reach);
    free(reach.items);
}
