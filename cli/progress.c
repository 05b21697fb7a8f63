#include "cli/progress.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/table.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

void progress_init(struct progress *progress)
{
    *progress = (struct progress){.terminal = isatty(STDERR_FILENO)};
}

static int terminal_width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 8 ? size.ws_col : 80;
}

/* Takes `text`. */
static void show(struct progress *progress, char *text)
{
    AUTO_FREE char *owned = text;
    struct buffer AUTO_BUFFER safe = {0};
    text_append_safe(&safe, owned);
    char line[PROGRESS_LINE_MAX];
    snprintf(line, sizeof line, "%s", buffer_text(&safe));
    if (strcmp(line, progress->line) == 0)
        return;
    strcpy(progress->line, line);
    if (!progress->terminal) {
        fprintf(stderr, "%s\n", line);
        return;
    }
    fprintf(stderr, "\r\033[K%.*s", terminal_width() - 1, line);
    fflush(stderr);
    progress->shown = true;
}

void progress_show(struct progress *progress, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    show(progress, xvasprintf(format, arguments));
    va_end(arguments);
}

void progress_show_fast(struct progress *progress, const char *format, ...)
{
    if (!progress->terminal)
        return;
    va_list arguments;
    va_start(arguments, format);
    show(progress, xvasprintf(format, arguments));
    va_end(arguments);
}

void progress_say(struct progress *progress, const char *format, ...)
{
    progress_clear(progress);
    va_list arguments;
    va_start(arguments, format);
    AUTO_FREE char *text = xvasprintf(format, arguments);
    va_end(arguments);
    struct buffer AUTO_BUFFER safe = {0};
    text_append_safe(&safe, text);
    fprintf(stderr, "%s\n", buffer_text(&safe));
}

void progress_quote(struct progress *progress, bool dim, const char *line)
{
    struct buffer AUTO_BUFFER safe = {0};
    text_append_safe(&safe, line);
    progress_clear(progress);
    fprintf(stderr, dim ? "\033[2m%s\033[0m\n" : "%s\n", buffer_text(&safe));
}

void progress_clear(struct progress *progress)
{
    if (progress->shown)
        fputs("\r\033[K", stderr);
    progress->shown = false;
    progress->line[0] = '\0';
}

void progress_finish(struct progress *progress)
{
    if (progress->shown)
        fputs("\n", stderr);
    progress->shown = false;
    progress->line[0] = '\0';
}
