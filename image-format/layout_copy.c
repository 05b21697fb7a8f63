/* A file becomes a blob of the store, however large it is. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "image-format/layout_store.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

#define CHUNK (1u << 20)

/* From `source` to `target`, hashing; -1 as `source` hashes what `target` has already. */
struct copying {
    const char *name; /* of the source */
    int source;
    int target;
    uint64_t size;
    struct digest_stream *stream;
};

static bool is_zero(const char *bytes, size_t length)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}

/* Writes at the chunk's place; a chunk of zeros stays a hole. */
static int put_chunk(const struct copying *copying, const char *chunk, size_t length, off_t offset,
                     struct error *error)
{
    for (size_t done = 0; done < length && !is_zero(chunk, length);) {
        ssize_t written =
            pwrite(copying->target, chunk + done, length - done, offset + (off_t)done);
        if (written < 0 && errno != EINTR)
            return error_set_errno(error, errno, "copy %s", copying->name);
        done += written > 0 ? (size_t)written : 0;
    }
    return 0;
}

/* Reads `from` to its end, at most the expected size and a little more. */
static int read_through(struct copying *copying, int from, bool copies, struct error *error)
{
    AUTO_FREE char *chunk = xmalloc(CHUNK);
    uint64_t done = 0;
    while (done <= copying->size) {
        ssize_t got = pread(from, chunk, CHUNK, (off_t)done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, errno, "read %s", copying->name);
        if (got == 0)
            break;
        digest_stream_update(copying->stream, chunk, (size_t)got);
        if (copies && put_chunk(copying, chunk, (size_t)got, (off_t)done, error) < 0)
            return -1;
        done += (uint64_t)got;
    }
    if (done == copying->size)
        return 0;
    return error_set(error, ERROR_CONFLICT, "%s changed while it was copied", copying->name);
}

static int fill(struct copying *copying, const char *digest, struct error *error)
{
    char found[DIGEST_TEXT_MAX];
    bool shared = ioctl(copying->target, FICLONE, copying->source) == 0;
    if (!shared && ftruncate(copying->target, (off_t)copying->size) < 0)
        return error_set_errno(error, errno, "copy %s", copying->name);
    /* What is shared cannot change any more; so the target is what is hashed. */
    if (read_through(copying, shared ? copying->target : copying->source, !shared, error) < 0)
        return -1;
    digest_stream_text(copying->stream, found);
    if (strcmp(found, digest) != 0)
        return error_set(error, ERROR_CONFLICT, "%s changed: expected %s, got %s", copying->name,
                         digest, found);
    if (fchmod(copying->target, 0644) < 0 || fsync(copying->target) < 0)
        return error_set_errno(error, errno, "copy %s", copying->name);
    return 0;
}

static int open_source(const struct packed_blob *blob, int *ret_descriptor, struct error *error)
{
    AUTO_CLOSE int descriptor = open(blob->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat status;
    if (descriptor < 0 || fstat(descriptor, &status) < 0)
        return error_set_errno(error, errno, "read %s", blob->path);
    if (!S_ISREG(status.st_mode) || (uint64_t)status.st_size != blob->size)
        return error_set(error, ERROR_CONFLICT, "%s changed before it was copied", blob->path);
    *ret_descriptor = TAKE_DESCRIPTOR(descriptor);
    return 0;
}

static int copy_to(const struct packed_blob *blob, const char *path, struct error *error)
{
    AUTO_CLOSE int source = -1;
    AUTO_FREE char *temporary = xasprintf("%s.XXXXXX", path);
    if (open_source(blob, &source, error) < 0)
        return -1;
    AUTO_CLOSE int target = mkostemp(temporary, O_CLOEXEC);
    if (target < 0)
        return error_set_errno(error, errno, "create a file beside %s", path);
    struct copying copying = {blob->path, source, target, blob->size, digest_stream_create()};
    int result = fill(&copying, blob->digest, error);
    digest_stream_destroy(copying.stream);
    if (result == 0 && rename(temporary, path) < 0)
        result = error_set_errno(error, errno, "rename to %s", path);
    if (result < 0)
        unlink(temporary);
    return result;
}

int layout_copy_blob(const char *folder, const struct packed_blob *blob, struct error *error)
{
    AUTO_FREE char *path = layout_blob_path(folder, blob->digest);
    AUTO_FREE char *blobs = xasprintf("%s/blobs/sha256", folder);
    if (layout_has_blob(folder, blob->digest))
        return 0;
    if (copy_to(blob, path, error) < 0)
        return -1;
    return file_sync_directory(blobs, error);
}
