#include "cli/build_command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <uv.h>

#include "cli/format.h"
#include "cli/table.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define LINE_LENGTH_MAX 1000 /* bytes of a line that is shown */
#define TAIL_LINES      10   /* that a failure tells */
#define TAIL_MAX        1200 /* bytes of them */
#define TICK_MS         500  /* how often the time is shown */
#define GRACE_MS        3000 /* to end by itself when interrupted */
#define LINGER_MS       500  /* for what it wrote last, when it has exited */

/* The command while it runs; its handles live until the loop has closed them. */
struct run {
    const struct build_command *command;
    uv_loop_t loop;
    uv_process_t process;
    uv_pipe_t output;
    uv_timer_t tick;
    uv_timer_t deadline;
    uv_signal_t signals[3];
    uint64_t begin; /* ms of the loop's clock */
    char chunk[16384];
    char line[LINE_LENGTH_MAX + 1];
    size_t line_length;
    struct buffer tail;
    int interrupted; /* the signal; 0: none */
    int64_t status;
    int signal;
};

static void end_group(const struct run *run, int number)
{
    if (run->process.pid > 0)
        kill(-run->process.pid, number); /* the group: it leads a session of its own */
}

static void close_handle(uv_handle_t *handle, void *data)
{
    (void)data;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void close_all(struct run *run)
{
    uv_walk(&run->loop, close_handle, NULL);
}

static void show_time(uv_timer_t *tick)
{
    const struct run *run = tick->data;
    uint64_t ms = uv_now(&run->loop) - run->begin;
    char spent[FORMAT_MAX];
    format_span(ms, spent);
    if (!run->command->quiet && ms >= TICK_MS)
        progress_show_fast(run->command->progress, "%s, %s", run->command->title, spent);
}

static void end_line(struct run *run)
{
    run->line[run->line_length] = '\0';
    run->line_length = 0;
    text_append_safe(&run->tail, run->line);
    buffer_append_text(&run->tail, "\n");
    if (run->tail.length > (size_t)8 * TAIL_MAX)
        buffer_consume(&run->tail, run->tail.length - TAIL_MAX);
    if (run->command->quiet)
        return;
    progress_quote(run->command->progress, run->command->dim, run->line);
    show_time(&run->tick);
}

/* A program that draws over its line ("\r") is shown a line at a time as well. */
static void take_bytes(struct run *run, const char *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        bool ends = bytes[i] == '\n' || bytes[i] == '\r';
        if (!ends)
            run->line[run->line_length++] = bytes[i];
        if (bytes[i] == '\n' || (ends && run->line_length > 0) ||
            run->line_length == LINE_LENGTH_MAX)
            end_line(run);
    }
}

static void on_allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)suggested;
    struct run *run = handle->data;
    *buffer = uv_buf_init(run->chunk, sizeof run->chunk);
}

static void on_output(uv_stream_t *stream, ssize_t length, const uv_buf_t *buffer)
{
    struct run *run = stream->data;
    if (length > 0)
        take_bytes(run, buffer->base, (size_t)length);
    if (length >= 0)
        return;
    if (run->line_length > 0)
        end_line(run);
    close_handle((uv_handle_t *)stream, NULL);
    if (!uv_is_active((uv_handle_t *)&run->process))
        close_all(run);
}

/* Its time to end is over, or others hold its output open. */
static void on_deadline(uv_timer_t *deadline)
{
    struct run *run = deadline->data;
    end_group(run, SIGKILL);
    if (!uv_is_active((uv_handle_t *)&run->process))
        close_all(run);
}

static void on_process_exit(uv_process_t *process, int64_t status, int number)
{
    struct run *run = process->data;
    run->status = status;
    run->signal = number;
    close_handle((uv_handle_t *)process, NULL);
    if (uv_is_closing((uv_handle_t *)&run->output))
        close_all(run);
    else
        uv_timer_start(&run->deadline, on_deadline, LINGER_MS, 0);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct run *run = handle->data;
    end_group(run, run->interrupted == 0 ? SIGTERM : SIGKILL);
    run->interrupted = number;
    uv_timer_start(&run->deadline, on_deadline, GRACE_MS, 0);
}

/* NAME=VALUE of our own environment, when it has one. */
static void pass_on(char **environment, size_t *count, const char *name, const char *otherwise)
{
    const char *value = getenv(name);
    if (value == NULL || value[0] == '\0')
        value = otherwise;
    if (value != NULL)
        environment[(*count)++] = xasprintf("%s=%s", name, value);
}

static int spawn(struct run *run, int output, struct error *error)
{
    char shell[] = "/bin/sh", option[] = "-c";
    char *environment[10] = {NULL};
    size_t count = 0;
    char *words[] = {shell, option, (char *)run->command->command, NULL};
    uv_stdio_container_t stdio[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = output},
        {.flags = UV_INHERIT_FD, .data.fd = output},
    };
    pass_on(environment, &count, "PATH", "/usr/local/bin:/usr/bin:/bin");
    pass_on(environment, &count, "HOME", NULL);
    pass_on(environment, &count, "USER", NULL);
    pass_on(environment, &count, "TMPDIR", NULL);
    pass_on(environment, &count, "SOURCE_DATE_EPOCH", NULL);
    environment[count++] = xstrdup("LC_ALL=C.UTF-8");
    environment[count] = xasprintf("SHOAL_ARCH=%s", run->command->architecture);
    uv_process_options_t options = {
        .exit_cb = on_process_exit,
        .file = shell,
        .args = words,
        .env = environment,
        .cwd = run->command->folder,
        .flags = UV_PROCESS_DETACHED, /* a session, so a group, of its own */
        .stdio_count = (int)ARRAY_LENGTH(stdio),
        .stdio = stdio,
    };
    int result = uv_spawn(&run->loop, &run->process, &options);
    for (size_t i = 0; i <= count; i++)
        free(environment[i]);
    if (result == 0)
        return 0;
    return error_set(error, ERROR_IO, "cannot run %s in %s: %s", shell, run->command->folder,
                     uv_strerror(result));
}

static void init_handles(struct run *run)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    uv_loop_init(&run->loop);
    uv_pipe_init(&run->loop, &run->output, 0);
    uv_timer_init(&run->loop, &run->tick);
    uv_timer_init(&run->loop, &run->deadline);
    run->process.data = run->output.data = run->tick.data = run->deadline.data = run;
    for (size_t i = 0; i < ARRAY_LENGTH(numbers); i++) {
        uv_signal_init(&run->loop, &run->signals[i]);
        run->signals[i].data = run;
        uv_signal_start(&run->signals[i], on_signal, numbers[i]);
    }
    run->begin = uv_now(&run->loop);
}

/* Takes the reading end of the pipe that the command's output goes to. */
static int start(struct run *run, int *reading, int writing, struct error *error)
{
    int result = uv_pipe_open(&run->output, *reading);
    if (result < 0)
        return error_set(error, ERROR_IO, "read a build command's output: %s", uv_strerror(result));
    *reading = -1;
    if (spawn(run, writing, error) < 0)
        return -1;
    uv_read_start((uv_stream_t *)&run->output, on_allocate, on_output);
    uv_timer_start(&run->tick, show_time, TICK_MS, TICK_MS);
    return 0;
}

/* The last lines of what it wrote, each on a line of its own behind two spaces. */
static void append_tail(const struct run *run, struct buffer *text)
{
    const char *all = buffer_text(&run->tail);
    size_t start = run->tail.length;
    for (size_t lines = 0; start > 0 && lines < TAIL_LINES; lines++) {
        size_t line = start - 1; /* the line's end, then its first byte */
        while (line > 0 && all[line - 1] != '\n')
            line--;
        if (lines > 0 && run->tail.length - line > TAIL_MAX)
            break;
        start = line;
    }
    buffer_append_text(text, "; it wrote last:");
    while (start < run->tail.length) {
        size_t length = strcspn(all + start, "\n");
        buffer_printf(text, "\n  %.*s", (int)length, all + start);
        start += length + 1;
    }
}

static int judge(const struct run *run, struct error *error)
{
    struct buffer AUTO_BUFFER text = {0};
    if (run->interrupted != 0)
        return error_set(error, ERROR_TIMEOUT, "interrupted: the build command was ended");
    if (run->status == 0 && run->signal == 0)
        return 0;
    if (run->signal != 0)
        buffer_printf(&text, "the build command was ended by signal %d (%s)", run->signal,
                      strsignal(run->signal));
    else
        buffer_printf(&text, "the build command ended with status %lld", (long long)run->status);
    if (run->tail.length == 0)
        buffer_append_text(&text, ", and wrote nothing");
    else if (run->command->quiet)
        append_tail(run, &text); /* else it stands right above */
    return error_set(error, ERROR_IO, "%s", buffer_text(&text));
}

int build_command_run(const struct build_command *command, struct error *error)
{
    struct run run = {.command = command};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(error, errno, "make a pipe");
    AUTO_CLOSE int reading = ends[0];
    init_handles(&run);
    int result = start(&run, &reading, ends[1], error);
    close(ends[1]);
    if (result == 0)
        show_time(&run.tick);
    else
        close_all(&run);
    uv_run(&run.loop, UV_RUN_DEFAULT);
    end_group(&run, SIGKILL); /* what it left behind without holding its output */
    uv_loop_close(&run.loop);
    if (result == 0)
        result = judge(&run, error);
    buffer_finish(&run.tail);
    return result;
}
