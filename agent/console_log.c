#include "agent/console_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/api/log_line.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define CHUNK     65536
#define READ_MAX  ((size_t)256 << 10)
#define FILES_MAX 100
/* Files are turned over from the oldest on: for a moment there is none of some number. */
#define MISSING_MAX 1
/* No more lines come without a position. */
#define SKIP_MAX (CONSOLE_PAST_MAX / API_LOG_TIME_MAX)

static int open_file(const char *path)
{
    return open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

/* File `number` of a log, 0 the newest; the caller frees. */
static char *file_path(const char *path, unsigned number)
{
    return number == 0 ? xstrdup(path) : xasprintf("%s.%u", path, number);
}

/* Appends from the descriptor's position to the end, at most `limit` bytes. */
static void read_on(int descriptor, size_t limit, struct buffer *text)
{
    AUTO_FREE char *chunk = xmalloc(CHUNK);
    while (limit > 0) {
        ssize_t got = read(descriptor, chunk, limit < CHUNK ? limit : CHUNK);
        if (got <= 0)
            return;
        buffer_append(text, chunk, (size_t)got);
        limit -= (size_t)got;
    }
}

static void shorten(struct buffer *text, size_t length)
{
    if (length < text->length)
        text->data[length] = '\0';
    text->length = length;
}

static bool is_same_file(int descriptor, const struct stat *other)
{
    struct stat own;
    return descriptor >= 0 && fstat(descriptor, &own) == 0 && own.st_ino == other->st_ino &&
           own.st_dev == other->st_dev;
}

bool console_log_is_kept(const char *folder, const char *id)
{
    AUTO_FREE char *path = xasprintf("%s/%s.ended", folder, id);
    return access(path, R_OK) == 0;
}

/* --- the past --- */

/* The files from the newest back, as many as may hold what is asked for. */
struct files {
    int descriptors[FILES_MAX];
    off_t sizes[FILES_MAX];
    size_t count;
    uint64_t bytes;
};

static void close_files(struct files *files)
{
    for (size_t i = 0; i < files->count; i++) {
        if (files->descriptors[i] >= 0)
            close(files->descriptors[i]);
    }
}

/* One more than `limit` needs, if there is one, so that it is known what is left out. */
static void open_files(struct files *files, const char *path, uint64_t since_ms, uint64_t limit)
{
    unsigned missing = 0;
    for (unsigned number = 0; number < FILES_MAX && files->bytes <= limit; number++) {
        struct stat status;
        AUTO_FREE char *name = file_path(path, number);
        AUTO_CLOSE int file = open_file(name);
        if (file < 0 && errno == ENOENT && ++missing <= MISSING_MAX)
            continue;
        if (file < 0 || fstat(file, &status) < 0 || !S_ISREG(status.st_mode))
            return;
        /* It was turned over meanwhile, and is the one before. */
        if (files->count > 0 && is_same_file(files->descriptors[files->count - 1], &status))
            continue;
        if (status.st_mtim.tv_sec < (time_t)(since_ms / 1000) && files->count > 0)
            return;
        files->descriptors[files->count] = TAKE_DESCRIPTOR(file);
        files->sizes[files->count++] = status.st_size;
        files->bytes += (uint64_t)status.st_size;
    }
}

/* Of the forgotten, the last ones stay by another name. */
static int open_log(struct console_log *ret_log, const char *folder, const char *id,
                    uint64_t since_ms, uint64_t limit, struct files *files, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/%s.log", folder, id);
    AUTO_FREE char *ended = xasprintf("%s/%s.ended", folder, id);
    AUTO_CLOSE int newest = open_file(path);
    if (newest < 0 && errno != ENOENT)
        return error_set_errno(error, errno, "console log %s", path);
    bool is_forgotten = newest < 0 && access(ended, F_OK) == 0;
    open_files(files, is_forgotten ? ended : path, since_ms, limit);
    *ret_log = (struct console_log){
        .path = TAKE_POINTER(path), .ended = TAKE_POINTER(ended), .descriptor = -1};
    return 0;
}

/* Where a file's bytes begin in what was read. */
struct piece {
    size_t file;
    size_t at;
    uint64_t from;
};

/* The newest bytes of them, from the oldest file on. The newest file is read to its end. Returns
 * whether older bytes were left out. */
static bool read_files(const struct files *files, size_t limit, struct buffer *text,
                       struct piece pieces[FILES_MAX], size_t *ret_count)
{
    uint64_t skipped = files->bytes > limit ? files->bytes - limit : 0;
    bool is_cut = skipped > 0;
    size_t count = 0;
    for (size_t i = files->count; i-- > 0;) {
        uint64_t size = (uint64_t)files->sizes[i];
        uint64_t from = skipped < size ? skipped : size;
        skipped -= from;
        if (from < size || i == 0) {
            pieces[count++] = (struct piece){.file = i, .at = text->length, .from = from};
            lseek(files->descriptors[i], (off_t)from, SEEK_SET);
            read_on(files->descriptors[i], CONSOLE_PAST_MAX, text);
        }
    }
    *ret_count = count;
    return is_cut;
}

/* The end of the line that begins at `at`, behind its line feed. */
static size_t end_of_line(const struct buffer *text, size_t at)
{
    const char *end = at < text->length ? memchr(text->data + at, '\n', text->length - at) : NULL;
    return end != NULL ? (size_t)(end - text->data) + 1 : text->length;
}

/* From the first line on that is not older: a clock that was set back does not leave out others. */
static size_t find_since(const struct buffer *text, size_t at, uint64_t since_ms)
{
    struct api_log_line line;
    while (at < text->length) {
        size_t end = end_of_line(text, at);
        if (api_log_line_parse(text->data + at, end - at - 1, false, &line) &&
            line.time_ms >= since_ms)
            return at;
        at = end;
    }
    return text->length;
}

/* Where the last `*count` lines begin, not before `first`; how many of them are not there. */
static size_t find_tail(const struct buffer *text, size_t first, uint64_t *count)
{
    size_t start = text->length;
    for (; start > first && *count > 0; --*count) {
        const char *end =
            start - first > 1 ? memrchr(text->data + first, '\n', start - first - 1) : NULL;
        start = end != NULL ? (size_t)(end - text->data) + 1 : first;
    }
    return start;
}

/* Copies what are lines of ours. */
static void copy_lines(const struct buffer *text, size_t at, struct buffer *lines)
{
    struct api_log_line line;
    while (at < text->length) {
        size_t end = end_of_line(text, at);
        if (api_log_line_parse(text->data + at, end - at - 1, false, &line))
            buffer_append(lines, text->data + at, end - at);
        at = end;
    }
}

/* Of the newest file a line may not be there to its end. */
static void keep_part(struct console_log *log, struct buffer *text)
{
    const char *end = text->length > 0 ? memrchr(text->data, '\n', text->length) : NULL;
    size_t whole = end != NULL ? (size_t)(end - text->data) + 1 : 0;
    buffer_append(&log->part, buffer_text(text) + whole, text->length - whole);
    shorten(text, whole);
}

/* --- positions --- */

/* The time of the first line, by which a file is told from a later one of the same number. */
static uint64_t begin_of_file(int descriptor)
{
    char time[API_LOG_TIME_MAX] = "";
    uint64_t begun_ms = 0;
    if (pread(descriptor, time, sizeof time - 1, 0) != (ssize_t)sizeof time - 1 ||
        !api_log_time_parse(time, &begun_ms))
        return 0;
    return begun_ms;
}

/* Without a file: before the first line of all. */
static struct api_log_position position_in(int descriptor, uint64_t offset)
{
    struct stat status;
    if (descriptor < 0 || fstat(descriptor, &status) < 0)
        return (struct api_log_position){.is_known = true};
    return (struct api_log_position){.is_known = true,
                                     .file = status.st_ino,
                                     .begun_ms = begin_of_file(descriptor),
                                     .offset = offset};
}

static struct api_log_position position_of(const struct files *files, const struct piece *pieces,
                                           size_t count, size_t at)
{
    while (count-- > 0) {
        if (at >= pieces[count].at)
            return position_in(files->descriptors[pieces[count].file],
                               pieces[count].from + (at - pieces[count].at));
    }
    return position_in(-1, 0);
}

struct api_log_position console_log_position(const struct console_log *log)
{
    off_t offset = log->descriptor >= 0 ? lseek(log->descriptor, 0, SEEK_CUR) : 0;
    if (log->skip > 0)
        return (struct api_log_position){0};
    return position_in(log->descriptor, (uint64_t)offset - log->part.length);
}

/* Which of the files it is in; `count` when it is in none. */
static size_t find_position(const struct files *files, const struct api_log_position *position)
{
    for (size_t i = 0; i < files->count; i++) {
        struct stat status;
        if (fstat(files->descriptors[i], &status) == 0 && status.st_ino == position->file &&
            (position->begun_ms == 0 || position->begun_ms == begin_of_file(files->descriptors[i])))
            return i;
    }
    return files->count;
}

/* The log goes on reading that file. */
static void take_file(struct console_log *log, struct files *files, size_t number)
{
    log->descriptor = files->descriptors[number];
    files->descriptors[number] = -1;
}

int console_log_open(struct console_log *ret_log, const char *folder, const char *id,
                     const struct console_log_query *query, struct console_log_past *ret_past,
                     struct error *error)
{
    struct console_log log;
    struct console_log_past past = {0};
    struct files files = {0};
    struct piece pieces[FILES_MAX];
    size_t piece_count;
    AUTO_BUFFER struct buffer text = {0};
    if (open_log(&log, folder, id, query->since_ms, query->limit, &files, error) < 0)
        return -1;
    bool is_cut = read_files(&files, query->limit, &text, pieces, &piece_count);
    keep_part(&log, &text);
    size_t first = is_cut ? end_of_line(&text, 0) : 0;
    uint64_t missing = query->tail;
    size_t start = find_tail(&text, find_since(&text, first, query->since_ms), &missing);
    past.is_cut = is_cut && start == first && missing > 0;
    past.start = position_of(&files, pieces, piece_count, start);
    copy_lines(&text, start, &past.lines);
    if (files.count > 0)
        take_file(&log, &files, 0);
    close_files(&files);
    *ret_log = log;
    *ret_past = past;
    return 0;
}

int console_log_resume(struct console_log *ret_log, const char *folder, const char *id,
                       const struct api_log_position *position, bool *ret_is_lost,
                       struct error *error)
{
    struct console_log log;
    struct files files = {0};
    uint64_t lines = position->lines < SKIP_MAX ? position->lines : SKIP_MAX;
    if (open_log(&log, folder, id, 0, UINT64_MAX, &files, error) < 0)
        return -1;
    size_t found = find_position(&files, position);
    bool is_there = found < files.count;
    if (is_there) {
        /* A disk that lost the end of the file in a power cut lost lines that were read. */
        bool is_whole = position->offset <= (uint64_t)files.sizes[found];
        lseek(files.descriptors[found], is_whole ? (off_t)position->offset : files.sizes[found],
              SEEK_SET);
        log.skip = is_whole ? lines : 0;
        take_file(&log, &files, found);
    } else if (files.count > 0) {
        take_file(&log, &files, files.count - 1);
        log.skip = position->file == 0 ? lines : 0;
    }
    close_files(&files);
    *ret_log = log;
    *ret_is_lost = !is_there && position->file != 0;
    return 0;
}

/* --- what comes --- */

/* Behind those that the reader has; only what are lines of ours was counted. */
static size_t skip_lines(struct console_log *log, const struct buffer *text)
{
    struct api_log_line line;
    size_t at = 0;
    while (log->skip > 0 && at < text->length) {
        size_t end = end_of_line(text, at);
        if (api_log_line_parse(text->data + at, end - at - 1, false, &line))
            log->skip--;
        at = end;
    }
    return at;
}

/* A full disk has the other half take back a line that it could not write to its end. */
static void forget_taken_back(struct console_log *log)
{
    struct stat status;
    off_t offset = lseek(log->descriptor, 0, SEEK_CUR), part = (off_t)log->part.length;
    if (part == 0 || part > offset || fstat(log->descriptor, &status) < 0 ||
        status.st_size >= offset)
        return;
    lseek(log->descriptor, offset - part, SEEK_SET);
    buffer_clear(&log->part);
}

/* True: there may be more. */
static bool read_lines(struct console_log *log, struct buffer *text)
{
    AUTO_BUFFER struct buffer lines = {0};
    forget_taken_back(log);
    size_t before = log->part.length;
    buffer_append(&lines, buffer_text(&log->part), log->part.length);
    buffer_clear(&log->part);
    read_on(log->descriptor, READ_MAX, &lines);
    bool is_full = lines.length - before == READ_MAX;
    keep_part(log, &lines);
    size_t start = skip_lines(log, &lines);
    buffer_append(text, buffer_text(&lines) + start, lines.length - start);
    return is_full;
}

/* The number of the file that is read, FILES_MAX when it is gone. */
static unsigned find_own(const struct console_log *log, unsigned *ret_oldest)
{
    struct stat status;
    unsigned missing = 0;
    *ret_oldest = FILES_MAX;
    for (unsigned number = 0; number < FILES_MAX; number++) {
        AUTO_FREE char *path = file_path(log->path, number);
        if (stat(path, &status) < 0) {
            if (++missing > MISSING_MAX)
                break;
            continue;
        }
        if (is_same_file(log->descriptor, &status))
            return number;
        *ret_oldest = number;
    }
    return FILES_MAX;
}

/* Whether its file is not kept any more; else it is just being turned over. */
static bool is_removed(const struct console_log *log)
{
    struct stat status;
    return log->descriptor < 0 || (fstat(log->descriptor, &status) == 0 && status.st_nlink == 0);
}

/* Whether the log was turned over since the file that is read was found at `number`. */
static bool has_moved(const struct console_log *log, unsigned number)
{
    struct stat status;
    AUTO_FREE char *path = file_path(log->path, number);
    return stat(path, &status) < 0 || !is_same_file(log->descriptor, &status);
}

/* The next newer file; false when there is none, or not yet. */
static bool move_on(struct console_log *log, struct buffer *text)
{
    unsigned oldest, own = find_own(log, &oldest);
    if (own == FILES_MAX && oldest == FILES_MAX && log->ended != NULL &&
        access(log->ended, F_OK) == 0) {
        free(log->path);
        log->path = TAKE_POINTER(log->ended);
        own = find_own(log, &oldest);
    }
    if (own == 0 || (own == FILES_MAX && (oldest == FILES_MAX || !is_removed(log))))
        return false;
    AUTO_FREE char *path = file_path(log->path, own == FILES_MAX ? oldest : own - 1);
    AUTO_CLOSE int next = open_file(path);
    struct stat status;
    if (next < 0 || fstat(next, &status) < 0 || is_same_file(log->descriptor, &status))
        return false;
    /* What was opened is then not the one that follows it. */
    if (own < FILES_MAX && has_moved(log, own))
        return false;
    if (log->descriptor >= 0) {
        while (read_lines(log, text)) /* what came between the last read and the turn-over */
            ;
        close(log->descriptor);
    }
    log->has_gap = log->descriptor >= 0 && own == FILES_MAX;
    buffer_clear(&log->part);
    log->descriptor = TAKE_DESCRIPTOR(next);
    return !log->has_gap;
}

void console_log_read(struct console_log *log, struct buffer *text)
{
    log->has_gap = false;
    do {
        while (log->descriptor >= 0 && read_lines(log, text)) {
            if (text->length > 0)
                return;
        }
    } while (text->length < READ_MAX && move_on(log, text));
}

void console_log_close(struct console_log *log)
{
    if (log->descriptor >= 0)
        close(log->descriptor);
    buffer_finish(&log->part);
    free(log->path);
    free(log->ended);
    *log = (struct console_log){.descriptor = -1};
}
