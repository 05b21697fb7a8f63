#include "lib/file.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <string.h>
#include <sys/stat.h>

#include "lib/cleanup.h"
#include "lib/xalloc.h"

int file_read(const char *path, size_t limit, char **ret_data, size_t *ret_length,
              struct error *error)
{
    AUTO_CLOSE int descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        return error_set_errno(error, errno, "read %s", path);
    size_t length = 0, capacity = 4096;
    AUTO_FREE char *data = xmalloc(capacity);
    for (;;) {
        if (length + 1 == capacity) {
            capacity *= 2;
            data = xreallocarray(data, capacity, 1);
        }
        ssize_t got = read(descriptor, data + length, capacity - length - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, errno, "read %s", path);
        if (got == 0)
            break;
        length += (size_t)got;
        if (length > limit)
            return error_set(error, ERROR_TOO_LARGE, "%s is larger than %zu bytes", path, limit);
    }
    data[length] = '\0';
    *ret_data = TAKE_POINTER(data);
    if (ret_length != NULL)
        *ret_length = length;
    return 0;
}

int file_write_all(int descriptor, const void *data, size_t length, struct error *error)
{
    const char *at = data;
    while (length > 0) {
        ssize_t written = write(descriptor, at, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return error_set_errno(error, errno, "write");
        at += written;
        length -= (size_t)written;
    }
    return 0;
}

int file_sync_directory(const char *path, struct error *error)
{
    AUTO_CLOSE int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0 || fsync(descriptor) < 0)
        return error_set_errno(error, errno, "sync %s", path);
    return 0;
}

static int write_temporary(int descriptor, const char *path, const void *data, size_t length,
                           mode_t mode, struct error *error)
{
    if (file_write_all(descriptor, data, length, error) < 0)
        return error_wrap(error, "%s", path);
    if (fchmod(descriptor, mode) < 0 || fsync(descriptor) < 0)
        return error_set_errno(error, errno, "write %s", path);
    return 0;
}

int file_write(const char *path, const void *data, size_t length, mode_t mode, struct error *error)
{
    AUTO_FREE char *temporary = xasprintf("%s.XXXXXX", path);
    AUTO_FREE char *copy = xstrdup(path);
    AUTO_CLOSE int descriptor = mkostemp(temporary, O_CLOEXEC);
    if (descriptor < 0)
        return error_set_errno(error, errno, "create a file beside %s", path);
    if (write_temporary(descriptor, path, data, length, mode, error) < 0) {
        unlink(temporary);
        return -1;
    }
    if (rename(temporary, path) < 0) {
        error_set_errno(error, errno, "rename to %s", path);
        unlink(temporary);
        return -1;
    }
    return file_sync_directory(dirname(copy), error);
}

int file_make_directory(const char *path, mode_t mode, struct error *error)
{
    AUTO_FREE char *copy = xstrdup(path);
    for (char *at = copy + 1; *at != '\0'; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        if (mkdir(copy, mode) < 0 && errno != EEXIST)
            return error_set_errno(error, errno, "create folder %s", copy);
        *at = '/';
    }
    if (mkdir(copy, mode) < 0 && errno != EEXIST)
        return error_set_errno(error, errno, "create folder %s", copy);
    return 0;
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status;
    (void)type;
    (void)walk;
    return remove(path);
}

int file_remove_tree(const char *path, struct error *error)
{
    if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "remove %s", path);
    return 0;
}
