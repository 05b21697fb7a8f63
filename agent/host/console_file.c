#include "agent/host/console_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/api/log_line.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/xalloc.h"

/* How often a disk that took nothing is tried again. */
#define RETRY_MS 1000

static void fail(struct console_file *file, int number, size_t length)
{
    if (file->failure == 0)
        log_warn("a console log cannot be written: lines are lost until it can", "path", file->path,
                 "error", strerror(number));
    file->failure = number;
    file->failed_ms = clock_monotonic_ms(file->options->clock);
    file->lost += length;
}

/* A write that a kill cut off left a part of a line: it ends here, or what comes next would be read
 * as the rest of it. The file's time stays that of its last line, from which a gap is told. */
static void end_cut_line(struct console_file *file, const struct timespec *changed)
{
    const struct timespec times[] = {{.tv_nsec = UTIME_OMIT}, *changed};
    char last = '\n';
    if (file->size == 0 || pread(file->descriptor, &last, 1, (off_t)file->size - 1) != 1 ||
        last == '\n' || write(file->descriptor, "\n", 1) != 1)
        return;
    file->size++;
    futimens(file->descriptor, times);
}

static void open_file(struct console_file *file)
{
    struct stat status;
    file->descriptor = open(file->path, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0640);
    file->size = 0;
    if (file->descriptor < 0 || fstat(file->descriptor, &status) < 0)
        return;
    if (fchown(file->descriptor, 0, file->options->reader) < 0)
        log_warn("a console log cannot be given to its reader", "path", file->path);
    file->size = (uint64_t)status.st_size;
    end_cut_line(file, &status.st_mtim);
}

void console_file_init(struct console_file *file, const struct console_file_options *options,
                       const char *id)
{
    *file = (struct console_file){.options = options,
                                  .path = xasprintf("%s/%s.log", options->folder, id)};
    open_file(file);
    if (file->descriptor < 0)
        fail(file, errno, 0);
}

static void turn_over(struct console_file *file)
{
    for (uint32_t number = file->options->files; number-- > 0;) {
        AUTO_FREE char *from =
            number > 0 ? xasprintf("%s.%u", file->path, number) : xstrdup(file->path);
        AUTO_FREE char *to = xasprintf("%s.%u", file->path, number + 1);
        /* The last one goes; so does one that cannot be moved, or the log would grow. */
        if (number + 1 == file->options->files || (rename(from, to) < 0 && errno != ENOENT))
            unlink(from);
    }
    if (file->descriptor >= 0)
        close(file->descriptor);
    open_file(file);
}

/* All of it or nothing: a line that was cut would be read as another one. */
static int write_whole(struct console_file *file, const char *bytes, size_t length)
{
    size_t done = 0;
    while (done < length) {
        ssize_t count = write(file->descriptor, bytes + done, length - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0) {
            int number = errno;
            if (done > 0 && ftruncate(file->descriptor, (off_t)file->size) < 0)
                file->size += done;
            return number;
        }
        done += (size_t)count;
    }
    file->size += length;
    return 0;
}

/* Writing works again: what was lost is said first. */
static int write_loss(struct console_file *file)
{
    AUTO_BUFFER struct buffer record = {0};
    AUTO_FREE char *text = xasprintf("%" PRIu64 " bytes of this log could not be written: %s",
                                     file->lost, strerror(file->failure));
    struct api_log_line line = {.time_ms = clock_wall_ms(file->options->clock),
                                .kind = API_LOG_MARK,
                                .text = text,
                                .length = strlen(text)};
    if (file->lost == 0)
        return 0;
    api_log_line_write(&line, &record);
    return write_whole(file, record.data, record.length);
}

void console_file_append(struct console_file *file, const char *lines, size_t length)
{
    if (file->failure != 0 &&
        clock_monotonic_ms(file->options->clock) - file->failed_ms < RETRY_MS) {
        file->lost += length;
        return;
    }
    if (file->descriptor < 0)
        open_file(file);
    if (file->descriptor >= 0 && file->size > 0 && file->size + length > file->options->size)
        turn_over(file);
    int number = file->descriptor < 0 ? errno : 0;
    if (number == 0 && file->failure != 0)
        number = write_loss(file);
    if (number == 0 && file->failure != 0) {
        log_info("a console log is written again", "path", file->path);
        file->failure = 0;
        file->lost = 0;
    }
    if (number == 0)
        number = write_whole(file, lines, length);
    if (number != 0)
        fail(file, number, length);
}

void console_file_finish(struct console_file *file)
{
    if (file->descriptor >= 0)
        close(file->descriptor);
    free(file->path);
    *file = (struct console_file){.descriptor = -1};
}
