#include "image-format/pack_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "image-format/packing.h"
#include "image-format/qcow2.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define CHUNK (1u << 20)

const struct pack_role_facts pack_roles[] = {
    [PACK_KERNEL] = {"kernel", SHOAL_KERNEL_TYPE, IMAGE_KERNEL_MAX},
    [PACK_INITRD] = {"initrd", SHOAL_INITRD_TYPE, IMAGE_INITRD_MAX},
    [PACK_DISK] = {"disk", SHOAL_DISK_TYPE, IMAGE_DISK_MAX},
    [PACK_DEBUG] = {"debug", SHOAL_DEBUG_TYPE, IMAGE_DEBUG_MAX},
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

static bool same_file(const struct stat *one, const struct stat *other)
{
    return one->st_size == other->st_size && one->st_mtim.tv_sec == other->st_mtim.tv_sec &&
           one->st_mtim.tv_nsec == other->st_mtim.tv_nsec &&
           one->st_ctim.tv_sec == other->st_ctim.tv_sec &&
           one->st_ctim.tv_nsec == other->st_ctim.tv_nsec;
}

/* The blob becomes a compressed copy of the file, which nobody may have written since `before`. */
static int compress(const struct reading *reading, const struct stat *before,
                    struct packed_file *file, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/layer.XXXXXX", reading->options->scratch);
    AUTO_CLOSE int target = mkostemp(path, O_CLOEXEC);
    struct stat after;
    if (target < 0)
        return error_set_errno(error, errno, "create a file in %s", reading->options->scratch);
    if (reading->options->progress != NULL) /* libzstd does not say how far it is */
        reading->options->progress(reading->name, reading->size, reading->size,
                                   reading->options->progress_data);
    if (lseek(reading->descriptor, 0, SEEK_SET) < 0 ||
        packing_compress_zstd(reading->descriptor, target, error) < 0)
        return error_wrap(error, "%s", reading->name);
    if (fstat(reading->descriptor, &after) < 0 || !same_file(before, &after))
        return refuse_change(reading, error);
    struct packed_blob blob = {0};
    if (lseek(target, 0, SEEK_SET) < 0 ||
        digest_of_descriptor(target, blob.digest, &blob.size, error) < 0)
        return error_wrap(error, "%s", path);
    snprintf(blob.media_type, sizeof blob.media_type, "%.100s+zstd", file->blob.media_type);
    blob.path = TAKE_POINTER(path);
    free(file->blob.bytes);
    free(file->blob.path);
    file->blob = blob;
    return 0;
}

static int detect(const struct reading *reading, enum pack_role role, struct packed_file *file,
                  struct error *error)
{
    if (role == PACK_KERNEL)
        detect_bytes(file->blob.bytes, file->size, &file->detection);
    if (role != PACK_DISK)
        return 0;
    if (check_disk(reading, error) < 0)
        return -1;
    return detect_file(reading->descriptor, &file->detection, error);
}

/* Takes the name and the kept bytes of the reading. */
static int read_file(struct reading *reading, enum pack_role role, struct packed_file *file,
                     struct error *error)
{
    struct digest_stream *stream = digest_stream_create();
    int result = read_all(reading, stream, error);
    digest_stream_text(stream, file->digest);
    digest_stream_destroy(stream);
    if (result < 0)
        return -1;
    file->size = reading->size;
    file->blob.size = file->size;
    strcpy(file->blob.digest, file->digest);
    snprintf(file->blob.media_type, sizeof file->blob.media_type, "%s",
             pack_roles[role].media_type);
    if (reading->kept != NULL)
        file->blob.bytes = TAKE_POINTER(reading->kept);
    else
        file->blob.path = xstrdup(reading->name);
    return detect(reading, role, file, error);
}

static bool is_compressed(const struct recipe *recipe, const struct pack_options *options)
{
    if (options == NULL || options->scratch == NULL)
        return false;
    return options->has_compression ? options->compression == RECIPE_COMPRESS_ZSTD
                                    : recipe->compression == RECIPE_COMPRESS_ZSTD;
}

int pack_file(const struct recipe *recipe, const struct pack_options *options, enum pack_role role,
              const char *path, struct packed_file *ret_file, struct error *error)
{
    AUTO_CLOSE int descriptor = -1;
    AUTO_FREE char *name = xasprintf("%s/%s", recipe->folder, path);
    struct packed_file file = {0};
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
    reading.kept = role == PACK_KERNEL ? xcalloc(reading.size + 1, 1) : NULL;
    int result = read_file(&reading, role, &file, error);
    free(reading.kept);
    if (result == 0 && is_compressed(recipe, options))
        result = compress(&reading, &status, &file, error);
    if (result < 0)
        packed_file_release(&file);
    else
        *ret_file = file;
    return result;
}

void packed_file_release(struct packed_file *file)
{
    free(file->blob.bytes);
    free(file->blob.path);
    detection_release(&file->detection);
    *file = (struct packed_file){0};
}
