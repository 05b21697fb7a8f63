#include "image-format/packing.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define CHUNK      65536
#define ZSTD_LEVEL "9"

static void free_reader(struct archive **archive)
{
    if (*archive != NULL)
        archive_read_free(*archive);
}
#define AUTO_READER __attribute__((cleanup(free_reader)))

static void free_writer(struct archive **archive)
{
    if (*archive != NULL)
        archive_write_free(*archive);
}
#define AUTO_WRITER __attribute__((cleanup(free_writer)))

/* Only memory can be missing. */
static struct archive *check(struct archive *archive)
{
    if (archive == NULL)
        abort();
    return archive;
}

static int refuse(struct archive *archive, const char *what, struct error *error)
{
    const char *why = archive_error_string(archive);
    return error_set(error, ERROR_INVALID, "%s: %.200s", what, why != NULL ? why : "unreadable");
}

/* --- which compression --- */

#define MAGIC_LENGTH 4

/* libarchive would look by itself, and inside what it finds again: compressed data inside
 * compressed data that gives nothing is as good as endless. */
static int filter_of(const void *bytes, size_t length)
{
    static const unsigned char gzip[] = {0x1f, 0x8b}, zstd[] = {0x28, 0xb5, 0x2f, 0xfd};
    if (length >= sizeof gzip && memcmp(bytes, gzip, sizeof gzip) == 0)
        return ARCHIVE_FILTER_GZIP;
    if (length >= sizeof zstd && memcmp(bytes, zstd, sizeof zstd) == 0)
        return ARCHIVE_FILTER_ZSTD;
    return ARCHIVE_FILTER_NONE;
}

static int check_stop(const atomic_bool *stop, struct error *error)
{
    if (stop == NULL || !atomic_load(stop))
        return 0;
    return error_set(error, ERROR_UNAVAILABLE, "unpacking was stopped");
}

/* --- zstd --- */

static int copy_into(int from, struct archive *writer, struct error *error)
{
    AUTO_FREE char *chunk = xmalloc(CHUNK);
    for (;;) {
        ssize_t got = read(from, chunk, CHUNK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, errno, "read what is to be compressed");
        if (got == 0)
            return 0;
        if (archive_write_data(writer, chunk, (size_t)got) != got)
            return error_set(error, ERROR_IO, "compress: %s", archive_error_string(writer));
    }
}

int packing_compress_zstd(int from, int to, struct error *error)
{
    AUTO_WRITER struct archive *writer = check(archive_write_new());
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_pathname(entry, "data");
    bool ready = archive_write_set_format_raw(writer) == ARCHIVE_OK &&
                 archive_write_add_filter_zstd(writer) == ARCHIVE_OK &&
                 archive_write_set_filter_option(writer, "zstd", "compression-level", ZSTD_LEVEL) ==
                     ARCHIVE_OK &&
                 archive_write_set_bytes_per_block(writer, 0) == ARCHIVE_OK &&
                 archive_write_open_fd(writer, to) == ARCHIVE_OK &&
                 archive_write_header(writer, entry) == ARCHIVE_OK;
    archive_entry_free(entry);
    if (!ready)
        return error_set(error, ERROR_IO, "compress: %s", archive_error_string(writer));
    if (copy_into(from, writer, error) < 0)
        return -1;
    if (archive_write_close(writer) != ARCHIVE_OK)
        return error_set(error, ERROR_IO, "compress: %s", archive_error_string(writer));
    return 0;
}

/* Exactly `size` bytes, or why not. */
static int copy_exactly(struct archive *reader, uint64_t size, int to, const atomic_bool *stop,
                        struct error *error)
{
    AUTO_FREE char *chunk = xmalloc(CHUNK);
    uint64_t left = size;
    for (;;) {
        if (check_stop(stop, error) < 0)
            return -1;
        la_ssize_t got = archive_read_data(reader, chunk, CHUNK);
        if (got < 0)
            return refuse(reader, "the zstd stream is damaged", error);
        if (got == 0)
            break;
        if ((uint64_t)got > left)
            return error_set(
                error, ERROR_INVALID,
                "the zstd stream unpacks to more than the %llu bytes it was said to be",
                (unsigned long long)size);
        if (file_write_all(to, chunk, (size_t)got, error) < 0)
            return -1;
        left -= (uint64_t)got;
    }
    if (left > 0)
        return error_set(error, ERROR_INVALID,
                         "the zstd stream ends %llu bytes before the %llu it was said to be",
                         (unsigned long long)left, (unsigned long long)size);
    return 0;
}

int packing_unpack_zstd(int from, uint64_t size, int to, const atomic_bool *stop,
                        struct error *error)
{
    AUTO_READER struct archive *reader = check(archive_read_new());
    struct archive_entry *entry = NULL;
    char magic[MAGIC_LENGTH] = {0};
    if (pread(from, magic, sizeof magic, lseek(from, 0, SEEK_CUR)) < 0 ||
        filter_of(magic, sizeof magic) != ARCHIVE_FILTER_ZSTD)
        return error_set(error, ERROR_INVALID,
                         "it is no zstd stream, whatever its media type says");
    archive_read_support_format_raw(reader);
    if (archive_read_append_filter(reader, ARCHIVE_FILTER_ZSTD) != ARCHIVE_OK ||
        archive_read_open_fd(reader, from, CHUNK) != ARCHIVE_OK ||
        archive_read_next_header(reader, &entry) != ARCHIVE_OK)
        return refuse(reader, "it is no zstd stream", error);
    return copy_exactly(reader, size, to, stop, error);
}

/* --- tar --- */

/* Without "/" and "./" in front. */
static const char *bare_path(const char *path)
{
    for (;;) {
        if (path[0] == '/')
            path++;
        else if (path[0] == '.' && path[1] == '/')
            path += 2;
        else
            return path;
    }
}

/* Whether the entry is the whiteout of `path`, or of a folder that it is in (OCI image spec,
 * "Layer Filesystem Changeset"). */
static bool removes(const char *entry, const char *path)
{
    const char *name = strrchr(entry, '/');
    size_t folder = name != NULL ? (size_t)(name - entry) + 1 : 0;
    name = entry + folder;
    if (strncmp(entry, path, folder) != 0 || strncmp(name, ".wh.", 4) != 0)
        return false;
    if (strcmp(name, ".wh..wh..opq") == 0)
        return true;
    size_t length = strlen(name + 4);
    const char *rest = path + folder;
    return length > 0 && strncmp(rest, name + 4, length) == 0 &&
           (rest[length] == '\0' || rest[length] == '/');
}

static int copy_entry(struct archive *reader, struct packing_wanted *wanted,
                      const atomic_bool *stop, struct error *error)
{
    AUTO_FREE char *chunk = xmalloc(CHUNK);
    for (;;) {
        if (check_stop(stop, error) < 0)
            return -1;
        la_ssize_t got = archive_read_data(reader, chunk, CHUNK);
        if (got < 0)
            return refuse(reader, wanted->path, error);
        if (got == 0)
            return 0;
        wanted->size += (uint64_t)got;
        if (wanted->size > wanted->size_max)
            return error_set(error, ERROR_INVALID, "%s has more than %llu bytes", wanted->path,
                             (unsigned long long)wanted->size_max);
        if (file_write_all(wanted->to, chunk, (size_t)got, error) < 0)
            return -1;
    }
}

static int take(struct archive *reader, struct archive_entry *entry, struct packing_wanted *wanted,
                bool *taken, const atomic_bool *stop, struct error *error)
{
    if (*taken)
        return error_set(error, ERROR_INVALID, "%s stands in the archive twice", wanted->path);
    if (archive_entry_hardlink(entry) != NULL || archive_entry_symlink(entry) != NULL)
        return error_set(error, ERROR_INVALID, "%s is a link: only files can boot", wanted->path);
    if (archive_entry_filetype(entry) != AE_IFREG)
        return error_set(error, ERROR_INVALID, "%s is not a regular file", wanted->path);
    if (archive_entry_size(entry) < 0 || (uint64_t)archive_entry_size(entry) > wanted->size_max)
        return error_set(error, ERROR_INVALID, "%s has more than %llu bytes", wanted->path,
                         (unsigned long long)wanted->size_max);
    *taken = true;
    return copy_entry(reader, wanted, stop, error);
}

struct extraction {
    struct packing_wanted *wanted;
    size_t count;
    bool *taken;   /* in this layer */
    bool *removed; /* by this layer */
    uint64_t left; /* bytes that it may unpack to */
    uint64_t most;
    const atomic_bool *stop;
};

/* What is passed over is unpacked as well: its size is looked at before. */
static int check_total(struct extraction *extraction, struct archive_entry *entry,
                       struct error *error)
{
    int64_t size = archive_entry_size(entry);
    if (size >= 0 && (uint64_t)size <= extraction->left) {
        extraction->left -= (uint64_t)size;
        return 0;
    }
    extraction->left = 0;
    return error_set(error, ERROR_INVALID, "the archive unpacks to more than %llu bytes",
                     (unsigned long long)extraction->most);
}

static int visit(struct archive *reader, struct archive_entry *entry, struct extraction *extraction,
                 struct error *error)
{
    const char *name = archive_entry_pathname(entry);
    if (check_stop(extraction->stop, error) < 0 || check_total(extraction, entry, error) < 0)
        return -1;
    if (name == NULL)
        return error_set(error, ERROR_INVALID, "the archive has an entry without a name");
    if (text_path_climbs(name))
        return error_set(error, ERROR_INVALID, "the archive names \"%.200s\": \"..\" is refused",
                         name);
    const char *path = bare_path(name);
    for (size_t i = 0; i < extraction->count; i++) {
        struct packing_wanted *wanted = &extraction->wanted[i];
        if (wanted->found != 0)
            continue;
        if (removes(path, bare_path(wanted->path)))
            extraction->removed[i] = true;
        else if (strcmp(path, bare_path(wanted->path)) == 0 &&
                 take(reader, entry, wanted, &extraction->taken[i], extraction->stop, error) < 0)
            return -1;
    }
    return 0;
}

static int walk(struct archive *reader, struct extraction *extraction, struct error *error)
{
    struct archive_entry *entry = NULL;
    for (size_t entries = 0;; entries++) {
        int result = archive_read_next_header(reader, &entry);
        if (result == ARCHIVE_EOF)
            return 0;
        if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
            return refuse(reader,
                          entries == 0 ? "it is no tar archive" : "the tar archive is damaged",
                          error);
        if (entries == PACKING_ENTRIES_MAX)
            return error_set(error, ERROR_INVALID, "the archive has more than %d entries",
                             PACKING_ENTRIES_MAX);
        if (visit(reader, entry, extraction, error) < 0)
            return -1;
    }
}

static int extract(struct archive *reader, uint64_t *total, struct packing_wanted *wanted,
                   size_t count, const atomic_bool *stop, struct error *error)
{
    AUTO_FREE bool *taken = xcalloc(count + 1, sizeof *taken);
    AUTO_FREE bool *removed = xcalloc(count + 1, sizeof *removed);
    struct extraction extraction = {wanted, count, taken, removed, *total, *total, stop};
    int result = walk(reader, &extraction, error);
    *total = extraction.left;
    if (result < 0)
        return -1;
    /* A layer's own files stand above what it removes. */
    for (size_t i = 0; i < count; i++) {
        if (taken[i])
            wanted[i].found = 1;
        else if (wanted[i].found == 0 && removed[i])
            wanted[i].found = -1;
    }
    return 0;
}

static struct archive *create_reader(const void *magic, size_t length)
{
    struct archive *reader = check(archive_read_new());
    int filter = filter_of(magic, length);
    archive_read_support_format_tar(reader);
    if (filter != ARCHIVE_FILTER_NONE)
        archive_read_append_filter(reader, filter);
    return reader;
}

int packing_extract(int from, struct packing_wanted *wanted, size_t count, const atomic_bool *stop,
                    struct error *error)
{
    char magic[MAGIC_LENGTH] = {0};
    if (pread(from, magic, sizeof magic, lseek(from, 0, SEEK_CUR)) < 0)
        return error_set_errno(error, errno, "read a tar archive");
    AUTO_READER struct archive *reader = create_reader(magic, sizeof magic);
    uint64_t total = PACKING_TOTAL_MAX;
    if (archive_read_open_fd(reader, from, CHUNK) != ARCHIVE_OK)
        return refuse(reader, "it is no tar archive", error);
    return extract(reader, &total, wanted, count, stop, error);
}

int packing_extract_bytes(const void *bytes, size_t length, uint64_t *total,
                          struct packing_wanted *wanted, size_t count, struct error *error)
{
    AUTO_READER struct archive *reader = create_reader(bytes, length);
    if (archive_read_open_memory(reader, bytes, length) != ARCHIVE_OK)
        return refuse(reader, "it is no tar archive", error);
    return extract(reader, total, wanted, count, NULL, error);
}

/* --- writing tar --- */

static int refuse_writing(struct archive *writer, const struct packing_file *file,
                          struct error *error)
{
    return error_set(error, ERROR_IO, "write %s: %s", file->name, archive_error_string(writer));
}

static int write_header(struct archive *writer, const struct packing_file *file,
                        struct error *error)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, file->name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, (la_int64_t)file->size);
    archive_entry_set_mtime(entry, 0, 0);
    int result = archive_write_header(writer, entry);
    archive_entry_free(entry);
    return result == ARCHIVE_OK ? 0 : refuse_writing(writer, file, error);
}

static int write_from_path(struct archive *writer, const struct packing_file *file,
                           struct error *error)
{
    AUTO_CLOSE int from = open(file->path, O_RDONLY | O_CLOEXEC);
    AUTO_FREE char *chunk = xmalloc(CHUNK);
    uint64_t done = 0;
    if (from < 0)
        return error_set_errno(error, errno, "read %s", file->path);
    for (;;) {
        ssize_t got = read(from, chunk, CHUNK);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, errno, "read %s", file->path);
        done += (uint64_t)got;
        if ((got == 0 && done < file->size) || done > file->size)
            return error_set(error, ERROR_CONFLICT, "%s changed: it had %llu bytes", file->path,
                             (unsigned long long)file->size);
        if (got == 0)
            return 0;
        if (archive_write_data(writer, chunk, (size_t)got) != got)
            return refuse_writing(writer, file, error);
    }
}

static int write_file(struct archive *writer, const struct packing_file *file, struct error *error)
{
    if (write_header(writer, file, error) < 0)
        return -1;
    if (file->path != NULL)
        return write_from_path(writer, file, error);
    return archive_write_data(writer, file->bytes, (size_t)file->size) == (la_ssize_t)file->size
               ? 0
               : refuse_writing(writer, file, error);
}

int packing_write_tar(int to, const struct packing_file *files, size_t count, struct error *error)
{
    AUTO_WRITER struct archive *writer = check(archive_write_new());
    if (archive_write_set_format_pax_restricted(writer) != ARCHIVE_OK ||
        archive_write_open_fd(writer, to) != ARCHIVE_OK)
        return error_set(error, ERROR_IO, "write a tar archive: %s", archive_error_string(writer));
    for (size_t i = 0; i < count; i++) {
        if (write_file(writer, &files[i], error) < 0)
            return -1;
    }
    if (archive_write_close(writer) != ARCHIVE_OK)
        return error_set(error, ERROR_IO, "write a tar archive: %s", archive_error_string(writer));
    return 0;
}
