#include "image-format/pack_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "image-format/qcow2.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define CHUNK (1u << 20)

const struct pack_role_facts pack_roles[] = {
    [PACK_KERNEL] = {"kernel", SHOAL_KERNEL_TYPE, PACK_KERNEL_MAX},
    [PACK_INITRD] = {"initrd", SHOAL_INITRD_TYPE, PACK_INITRD_MAX},
    [PACK_DISK] = {"disk", SHOAL_DISK_TYPE, PACK_DISK_MAX},
    [PACK_DEBUG] = {"debug", SHOAL_DEBUG_TYPE, PACK_DEBUG_MAX},
};

/* A file on its way through: `kept` is NULL where the bytes are only hashed. */
struct reading {
    const struct pack_options *options;
    const char *name;
    int descriptor;
    uint64_t size;
    char *kept;
    char head[QCOW2_HEAD_MAX];
};

static int read_chunk(const struct reading *reading, char *chunk, size_t length, size_t *ret_length,
                      struct error *error)
{
    ssize_t got;
    do
        got = read(reading->descriptor, chunk, length);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return error_set_errno(error, errno, "read %s", reading->name);
    *ret_length = (size_t)got;
    return 0;
}

static int refuse_change(const struct reading *reading, struct error *error)
{
    return error_set(error, ERROR_CONFLICT,
                     "%s changed while it was read: let nothing write it, and build again",
                     reading->name);
}

static int read_all(struct reading *reading, struct digest_stream *stream, struct error *error)
{
    AUTO_FREE char *scratch = reading->kept == NULL ? xmalloc(CHUNK) : NULL;
    uint64_t done = 0;
    for (size_t got = 1; got > 0;) {
        char *chunk = scratch != NULL ? scratch : reading->kept + done;
        uint64_t left = reading->size - done;
        size_t wanted = left < CHUNK ? (size_t)left : CHUNK;
        /* One byte more than there should be tells of a file that grew. */
        char beyond;
        if (read_chunk(reading, wanted > 0 ? chunk : &beyond, wanted > 0 ? wanted : 1, &got,
                       error) < 0)
            return -1;
        if ((got == 0) != (left == 0))
            return refuse_change(reading, error);
        digest_stream_update(stream, chunk, got);
        if (done < sizeof reading->head) {
            size_t room = sizeof reading->head - (size_t)done;
            memcpy(reading->head + done, chunk, got < room ? got : room);
        }
        done += got;
        if (reading->options != NULL && reading->options->progress != NULL)
            reading->options->progress(reading->name, done, reading->size,
                                       reading->options->progress_data);
    }
    return 0;
}

static int check_size(const struct reading *reading, enum pack_role role, struct error *error)
{
    if (reading->size == 0)
        return error_set(error, ERROR_INVALID, "%s is empty", reading->name);
    if (reading->size > pack_roles[role].max)
        return error_set(error, ERROR_TOO_LARGE, "%s: %" PRIu64 " bytes, a %s has at most %" PRIu64,
                         reading->name, reading->size, pack_roles[role].name, pack_roles[role].max);
    return 0;
}

/* A qcow2 disk may name other files. */
static int check_disk(const struct reading *reading, struct error *error)
{
    size_t length =
        reading->size < sizeof reading->head ? (size_t)reading->size : sizeof reading->head;
    uint64_t size;
    if (!qcow2_is(reading->head, length) ||
        qcow2_check(reading->head, length, reading->size, &size, error) == 0)
        return 0;
    return error_wrap(error, "%s", reading->name);
}

int pack_file(const struct recipe *recipe, const struct pack_options *options, enum pack_role role,
              const char *path, struct packed_blob *ret_blob, struct error *error)
{
    AUTO_CLOSE int descriptor = -1;
    AUTO_FREE char *name = xasprintf("%s/%s", recipe->folder, path);
    struct stat status;
    if (recipe_open(recipe, path, &descriptor, error) < 0)
        return -1;
    if (fstat(descriptor, &status) < 0)
        return error_set_errno(error, errno, "%s", name);
    struct reading reading = {.options = options,
                              .name = name,
                              .descriptor = descriptor,
                              .size = (uint64_t)status.st_size};
    if (check_size(&reading, role, error) < 0)
        return -1;
    AUTO_FREE char *bytes = role == PACK_KERNEL ? xcalloc(reading.size + 1, 1) : NULL;
    reading.kept = bytes;
    struct packed_blob blob = {.size = reading.size};
    struct digest_stream *stream = digest_stream_create();
    int result = read_all(&reading, stream, error);
    digest_stream_text(stream, blob.digest);
    digest_stream_destroy(stream);
    if (result < 0 || (role == PACK_DISK && check_disk(&reading, error) < 0))
        return -1;
    snprintf(blob.media_type, sizeof blob.media_type, "%s", pack_roles[role].media_type);
    blob.path = bytes == NULL ? TAKE_POINTER(name) : NULL;
    blob.bytes = TAKE_POINTER(bytes);
    *ret_blob = blob;
    return 0;
}
