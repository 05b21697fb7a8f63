#include "agent/image_unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "image-format/detect.h"
#include "image-format/foreign.h"
#include "image-format/packing.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define HASH_CHUNK 65536

struct image_unpack {
    uv_async_t done;
    pthread_t thread;
    atomic_bool stop; /* abandoned: the thread ends at its next chunk */
    struct image_layer layers[IMAGE_LAYERS_MAX];
    size_t layer_count;
    struct image_part parts[IMAGE_PARTS_MAX];
    size_t part_count;
    char family[32], protocol[16], architecture[16]; /* that the image says */
    bool is_foreign;                                 /* made by another tool */
    char *folder;
    char *staging;
    char *metadata;
    size_t metadata_length;
    struct error error;
    int status;
    image_unpack_callback *callback;
    void *data;
};

static uint64_t size_limit(enum image_part_kind kind)
{
    switch (kind) {
    case IMAGE_PART_KERNEL:
        return IMAGE_KERNEL_MAX;
    case IMAGE_PART_INITRD:
        return IMAGE_INITRD_MAX;
    case IMAGE_PART_DISK:
        break;
    }
    return IMAGE_DISK_MAX;
}

/* --- the thread's --- */

/* Of a file from where it is; a large one takes minutes, so it looks whether anybody waits. */
static int hash(const struct image_unpack *unpack, int descriptor, char ret_digest[DIGEST_TEXT_MAX],
                struct error *error)
{
    struct digest_stream *stream = digest_stream_create();
    AUTO_FREE char *chunk = xmalloc(HASH_CHUNK);
    ssize_t got = 0;
    while (!atomic_load(&unpack->stop) && (got = read(descriptor, chunk, HASH_CHUNK)) != 0) {
        if (got < 0 && errno != EINTR)
            break;
        if (got > 0)
            digest_stream_update(stream, chunk, (size_t)got);
    }
    int result = 0;
    if (atomic_load(&unpack->stop))
        result = error_set(error, ERROR_UNAVAILABLE, "unpacking was stopped");
    else if (got < 0)
        result = error_set_errno(error, errno, "read a layer");
    else
        digest_stream_text(stream, ret_digest);
    digest_stream_destroy(stream);
    return result;
}

static int open_layer(const struct image_unpack *unpack, const struct image_layer *layer,
                      int *ret_descriptor, struct error *error)
{
    char found[DIGEST_TEXT_MAX];
    AUTO_FREE char *path = xasprintf("%s/%s", unpack->folder, digest_hex(layer->digest));
    AUTO_CLOSE int descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    if (descriptor < 0)
        return error_set_errno(error, errno, "open the layer %s", path);
    if (hash(unpack, descriptor, found, error) < 0)
        return -1;
    if (strcmp(found, layer->digest) != 0)
        return error_set(error, ERROR_SIGNATURE,
                         "layer: expected %s, but the bytes on disk are %s: it is pulled again",
                         layer->digest, found);
    if (lseek(descriptor, 0, SEEK_SET) < 0)
        return error_set_errno(error, errno, "read the layer %s", path);
    *ret_descriptor = TAKE_DESCRIPTOR(descriptor);
    return 0;
}

static char *part_path(const struct image_unpack *unpack, size_t part)
{
    return xasprintf("%s/part-%zu", unpack->folder, part);
}

static int create_part(const struct image_unpack *unpack, size_t part, int *ret_descriptor,
                       struct error *error)
{
    AUTO_FREE char *path = part_path(unpack, part);
    int descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (descriptor < 0)
        return error_set_errno(error, errno, "create %s", path);
    *ret_descriptor = descriptor;
    return 0;
}

/* The first disk boots where there is no kernel. */
static bool boots(const struct image_unpack *unpack, size_t index)
{
    bool of_disk = strcmp(unpack->protocol, "disk") == 0;
    enum image_part_kind kind = of_disk ? IMAGE_PART_DISK : IMAGE_PART_KERNEL;
    for (size_t i = 0; i < index; i++) {
        if (unpack->parts[i].kind == kind)
            return false;
    }
    return unpack->parts[index].kind == kind;
}

/* What was packed nobody could look at before: bytes that contradict the image, or that no machine
 * here can enter, are said to be so instead of booting into silence. Other tools' images do not say
 * a protocol: QEMU finds out how a kernel is entered. */
static int check_bytes(const struct image_unpack *unpack, size_t index, int descriptor,
                       struct error *error)
{
    const struct image_part *part = &unpack->parts[index];
    const char *protocol = unpack->protocol;
    struct detection detection;
    if (!boots(unpack, index))
        return 0;
    if (detect_file(descriptor, &detection, error) < 0)
        return -1;
    if (unpack->is_foreign && strcmp(protocol, "disk") != 0 && detection.protocols.count > 0 &&
        strcmp(detection.protocols.items[0], "disk") != 0)
        protocol = detection.protocols.items[0];
    AUTO_FREE char *name = xasprintf("its %s%s%s", image_part_kind_names[part->kind],
                                     part->path[0] != '\0' ? " " : "", part->path);
    int result =
        detection_check(&detection, name, unpack->family, protocol, unpack->architecture, error);
    detection_release(&detection);
    return result;
}

/* Hashes what was unpacked and names it by that. */
static int keep_part(struct image_unpack *unpack, size_t index, int descriptor, struct error *error)
{
    struct image_part *part = &unpack->parts[index];
    char found[DIGEST_TEXT_MAX];
    struct stat status;
    if (lseek(descriptor, 0, SEEK_SET) < 0 || fstat(descriptor, &status) < 0 ||
        fsync(descriptor) < 0)
        return error_set_errno(error, errno, "read what was unpacked");
    if (hash(unpack, descriptor, found, error) < 0)
        return -1;
    if (part->digest[0] != '\0' && strcmp(found, part->digest) != 0)
        return error_set(error, ERROR_INVALID, "the %s unpacks to %s, but the image says it is %s",
                         image_part_kind_names[part->kind], found, part->digest);
    if (check_bytes(unpack, index, descriptor, error) < 0)
        return -1;
    AUTO_FREE char *from = part_path(unpack, index);
    AUTO_FREE char *to = xasprintf("%s/%s", unpack->staging, digest_hex(found));
    if (rename(from, to) < 0)
        return error_set_errno(error, errno, "rename to %s", to);
    memcpy(part->digest, found, sizeof part->digest);
    part->size = (uint64_t)status.st_size;
    return 0;
}

static int unpack_zstd(struct image_unpack *unpack, size_t index, struct error *error)
{
    const struct image_part *part = &unpack->parts[index];
    AUTO_CLOSE int from = -1;
    AUTO_CLOSE int to = -1;
    if (open_layer(unpack, &unpack->layers[part->layer], &from, error) < 0 ||
        create_part(unpack, index, &to, error) < 0)
        return -1;
    if (packing_unpack_zstd(from, part->size, to, &unpack->stop, error) < 0)
        return error_wrap(error, "layer %s", unpack->layers[part->layer].digest);
    return keep_part(unpack, index, to, error);
}

/* The tar archives, from the last: what it has hides what the others have. */
static int search(struct image_unpack *unpack, struct packing_wanted *wanted, size_t count,
                  struct error *error)
{
    for (size_t i = unpack->layer_count; i-- > 0;) {
        const struct image_layer *layer = &unpack->layers[i];
        AUTO_CLOSE int from = -1;
        bool all = true;
        for (size_t j = 0; j < count; j++)
            all = all && wanted[j].found != 0;
        if (all)
            return 0;
        if (open_layer(unpack, layer, &from, error) < 0)
            return -1;
        if (packing_extract(from, wanted, count, &unpack->stop, error) < 0)
            return error_wrap(error, "layer %s", layer->digest);
    }
    return 0;
}

static int keep_found(struct image_unpack *unpack, size_t index,
                      const struct packing_wanted *wanted, struct error *error)
{
    struct image_part *part = &unpack->parts[index];
    if (wanted->found == 1 && wanted->size > 0)
        return keep_part(unpack, index, wanted->to, error);
    if (part->is_optional) {
        part->size = 0;
        return 0;
    }
    return error_set(error, ERROR_INVALID, "the image's layers have no %s %s%s",
                     image_part_kind_names[part->kind], part->path,
                     wanted->found == 1 ? ": it is empty" : "");
}

/* What the proof was read from is what the hashed layers hold. */
static int check_metadata(const struct image_unpack *unpack, const struct packing_wanted *wanted,
                          struct error *error)
{
    AUTO_FREE char *bytes = xmalloc(FOREIGN_METADATA_MAX);
    ssize_t got = wanted->found == 1 ? pread(wanted->to, bytes, FOREIGN_METADATA_MAX, 0) : -1;
    if (got == (ssize_t)unpack->metadata_length &&
        memcmp(bytes, unpack->metadata, unpack->metadata_length) == 0)
        return 0;
    return error_set(error, ERROR_SIGNATURE,
                     "the image's layers hold another " FOREIGN_METADATA_PATH
                     " than the one it was judged by");
}

static void close_all(struct packing_wanted *wanted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (wanted[i].to >= 0)
            close(wanted[i].to);
    }
}

static int unpack_tar(struct image_unpack *unpack, struct error *error)
{
    struct packing_wanted wanted[IMAGE_PARTS_MAX + 1];
    size_t of[IMAGE_PARTS_MAX], count = 0;
    int result = 0;
    for (size_t i = 0; i < unpack->part_count && result == 0; i++) {
        if (unpack->parts[i].packing != IMAGE_PACKING_TAR)
            continue;
        wanted[count] = (struct packing_wanted){
            .path = unpack->parts[i].path, .to = -1, .size_max = size_limit(unpack->parts[i].kind)};
        of[count] = i;
        result = create_part(unpack, i, &wanted[count++].to, error);
    }
    size_t parts = count;
    if (parts > 0 && unpack->metadata != NULL)
        wanted[count++] = (struct packing_wanted){.path = FOREIGN_METADATA_PATH,
                                                  .to = memfd_create("metadata", MFD_CLOEXEC),
                                                  .size_max = FOREIGN_METADATA_MAX};
    if (result == 0 && parts > 0)
        result = search(unpack, wanted, count, error);
    if (result == 0 && count > parts)
        result = check_metadata(unpack, &wanted[parts], error);
    for (size_t i = 0; i < parts && result == 0; i++)
        result = keep_found(unpack, of[i], &wanted[i], error);
    close_all(wanted, count);
    return result;
}

static void remove_parts(const struct image_unpack *unpack)
{
    for (size_t i = 0; i < unpack->part_count; i++) {
        AUTO_FREE char *path = part_path(unpack, i);
        unlink(path);
    }
}

static void *run(void *context)
{
    struct image_unpack *unpack = context;
    unpack->status = unpack_tar(unpack, &unpack->error);
    for (size_t i = 0; i < unpack->part_count && unpack->status == 0; i++) {
        if (unpack->parts[i].packing == IMAGE_PACKING_ZSTD)
            unpack->status = unpack_zstd(unpack, i, &unpack->error);
    }
    remove_parts(unpack);
    uv_async_send(&unpack->done);
    return NULL;
}

/* --- the loop's --- */

static void on_closed(uv_handle_t *handle)
{
    struct image_unpack *unpack = handle->data;
    free(unpack->folder);
    free(unpack->staging);
    free(unpack->metadata);
    free(unpack);
}

static void on_done(uv_async_t *async)
{
    struct image_unpack *unpack = async->data;
    struct image_unpack_result result = {unpack->status < 0 ? &unpack->error : NULL, unpack->parts};
    pthread_join(unpack->thread, NULL);
    unpack->callback(&result, unpack->data);
    uv_close((uv_handle_t *)&unpack->done, on_closed);
}

struct image_unpack *image_unpack_start(const struct image_unpack_options *options,
                                        image_unpack_callback *callback, void *data)
{
    struct image_unpack *unpack = xcalloc(1, sizeof *unpack);
    unpack->folder = xstrdup(options->layers);
    unpack->staging = xstrdup(options->staging);
    memcpy(unpack->layers, options->image->layers, sizeof unpack->layers);
    memcpy(unpack->parts, options->image->parts, sizeof unpack->parts);
    const struct image_config *config = &options->image->config;
    unpack->is_foreign = strcmp(options->image->made_for, "shoal") != 0;
    snprintf(unpack->family, sizeof unpack->family, "%s", config->family);
    snprintf(unpack->protocol, sizeof unpack->protocol, "%s", config->boot.protocol);
    snprintf(unpack->architecture, sizeof unpack->architecture, "%s", config->architecture);
    unpack->layer_count = options->image->layer_count;
    unpack->part_count = options->image->part_count;
    if (options->metadata != NULL) {
        unpack->metadata = xstrndup(options->metadata, options->metadata_length);
        unpack->metadata_length = options->metadata_length;
    }
    unpack->callback = callback;
    unpack->data = data;
    uv_async_init(options->loop, &unpack->done, on_done);
    unpack->done.data = unpack;
    if (pthread_create(&unpack->thread, NULL, run, unpack) != 0)
        abort();
    return unpack;
}

void image_unpack_abandon(struct image_unpack *unpack)
{
    if (unpack == NULL)
        return;
    atomic_store(&unpack->stop, true);
    pthread_join(unpack->thread, NULL);
    uv_close((uv_handle_t *)&unpack->done, on_closed);
}
