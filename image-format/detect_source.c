#include "image-format/detect_source.h"

#include <errno.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define FIND_CHUNK (1u << 20) /* bytes looked through at a time */

void detect_source_of_bytes(const void *bytes, size_t length, struct detect_source *ret_source)
{
    *ret_source = (struct detect_source){
        .bytes = bytes != NULL ? bytes : (const void *)"", .descriptor = -1, .size = length};
}

int detect_source_of_file(int descriptor, struct detect_source *ret_source, struct error *error)
{
    struct stat status;
    if (fstat(descriptor, &status) < 0)
        return error_set_errno(error, errno, "look at the file");
    uint64_t size = (uint64_t)status.st_size;
    if (S_ISBLK(status.st_mode)) {
        if (ioctl(descriptor, BLKGETSIZE64, &size) < 0)
            return error_set_errno(error, errno, "size of the block device");
    } else if (!S_ISREG(status.st_mode)) {
        return error_set(error, ERROR_INVALID, "%s: a kernel or a disk is a file",
                         S_ISDIR(status.st_mode) ? "this is a folder" : "this is no regular file");
    }
    *ret_source = (struct detect_source){.descriptor = descriptor, .size = size};
    return 0;
}

struct detect_source detect_source_from(const struct detect_source *source, uint64_t offset)
{
    struct detect_source part = *source;
    if (offset > source->size)
        offset = source->size;
    part.base += offset;
    part.size -= offset;
    return part;
}

bool detect_source_holds(const struct detect_source *source, uint64_t offset, uint64_t length)
{
    return offset <= source->size && length <= source->size - offset;
}

int detect_source_read(const struct detect_source *source, uint64_t offset, void *ret_bytes,
                       size_t length, struct error *error)
{
    if (!detect_source_holds(source, offset, length))
        return error_set(error, ERROR_INVALID,
                         "%zu bytes at offset %" PRIu64 " do not lie within its %" PRIu64, length,
                         offset, source->size);
    uint64_t from = source->base + offset;
    if (source->bytes != NULL) {
        memcpy(ret_bytes, source->bytes + from, length);
        return 0;
    }
    for (size_t done = 0; done < length;) {
        ssize_t got = pread(source->descriptor, (char *)ret_bytes + done, length - done,
                            (off_t)(from + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, errno, "read the file");
        if (got == 0)
            return error_set(error, ERROR_CONFLICT, "the file became shorter while it was read");
        done += (size_t)got;
    }
    return 0;
}

int detect_source_peek(const struct detect_source *source, uint64_t offset, void *ret_bytes,
                       size_t length, struct error *error)
{
    memset(ret_bytes, 0, length);
    if (offset >= source->size)
        return 0;
    if (length > source->size - offset)
        length = (size_t)(source->size - offset);
    return detect_source_read(source, offset, ret_bytes, length, error);
}

int detect_source_find(const struct detect_source *source, const char *text, bool *ret_found,
                       struct error *error)
{
    size_t text_length = strlen(text);
    AUTO_FREE char *chunk = xmalloc(FIND_CHUNK);
    /* Each chunk begins with the end of the one before: a text on the border is seen. */
    for (uint64_t offset = 0; source->size - offset >= text_length;) {
        uint64_t left = source->size - offset;
        size_t length = left < FIND_CHUNK ? (size_t)left : FIND_CHUNK;
        if (detect_source_read(source, offset, chunk, length, error) < 0)
            return -1;
        if (memmem(chunk, length, text, text_length) != NULL) {
            *ret_found = true;
            return 0;
        }
        if (length == left)
            break;
        offset += length - (text_length - 1);
    }
    *ret_found = false;
    return 0;
}
