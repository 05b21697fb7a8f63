/* logs: what guests wrote on their consoles. Guests are hostile: control characters reach a file,
 * never a terminal. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/scheduler.h"
#include "cli/table.h"
#include "lib/api/log_position.h"
#include "lib/api/service_spec.h"
#include "lib/cleanup.h"
#include "lib/http_client.h"
#include "lib/json.h"
#include "lib/xalloc.h"

#define TAIL_DEFAULT  100
#define TAIL_MAX      100000
#define PARTIAL_LIMIT 65536 /* bytes of a line that does not end */
/* A stream that broke off is taken up again so soon, and given up after so many tries in a row. */
#define RESUME_MS    500
#define RESUME_TRIES 120

/* How far an instance's log was printed. */
struct place {
    char instance[INSTANCE_ID_MAX];
    struct api_log_position position;
};

struct printer {
    struct cli *cli;
    bool terminal;
    bool follow;
    bool has_times;
    bool has_instances;            /* each line with whose it is */
    char open_in[INSTANCE_ID_MAX]; /* whose line has not ended yet; "": nobody's */
    struct buffer line;
    struct json_object *lines, *failed; /* -o json without --follow */
    uint64_t line_count;
    size_t failure_count; /* without --follow */
    struct place *places; /* with --follow, of those that are not over */
    size_t place_count;
    bool has_begun; /* the scheduler answered once */
    bool is_at_end; /* the scheduler says that nothing more comes */
};

static void note_place(struct printer *printer, const struct api_log_line *line)
{
    size_t i = 0;
    while (i < printer->place_count && strcmp(printer->places[i].instance, line->instance) != 0)
        i++;
    if (i == printer->place_count) {
        printer->places =
            xreallocarray(printer->places, printer->place_count + 1, sizeof *printer->places);
        printer->places[i] = (struct place){0};
        memcpy(printer->places[i].instance, line->instance, sizeof line->instance);
        printer->place_count++;
    }
    api_log_position_move(&printer->places[i].position, line);
    if (line->kind == API_LOG_POSITION && !printer->places[i].position.is_known)
        printer->places[i] = printer->places[--printer->place_count];
}

static void note_failure(struct printer *printer, const struct api_log_line *line)
{
    AUTO_FREE char *text = text_of_line(line->text, line->length);
    fprintf(stderr, "the log of %s cannot be read on: %s\n", line->instance, text);
    printer->failure_count++;
    if (printer->failed == NULL)
        return;
    struct json_object *object = json_object_new_object();
    json_object_object_add(object, "instance", json_object_new_string(line->instance));
    json_object_object_add(object, "message", json_object_new_string(text));
    json_object_array_add(printer->failed, object);
}

static void print_document(struct printer *printer, const struct api_log_line *line)
{
    char time[API_LOG_TIME_MAX];
    AUTO_FREE char *text = text_of_line(line->text, line->length);
    struct json_object *object = json_object_new_object();
    api_log_time_write(line->time_ms, time);
    json_object_object_add(object, "time", json_object_new_string(time));
    json_object_object_add(object, "instance", json_object_new_string(line->instance));
    json_object_object_add(object, "line", json_object_new_string(text));
    if (line->kind == API_LOG_PIECE)
        json_object_object_add(object, "partial", json_object_new_boolean(true));
    if (line->kind == API_LOG_MARK || line->kind == API_LOG_FAILURE)
        json_object_object_add(object, "mark", json_object_new_boolean(true));
    if (line->kind == API_LOG_FAILURE)
        json_object_object_add(object, "failed", json_object_new_boolean(true));
    if (printer->lines != NULL) {
        json_object_array_add(printer->lines, object);
        return;
    }
    AUTO_FREE char *document = json_text(object);
    puts(document);
    json_object_put(object);
}

/* What begins a line, unless it goes on with what was printed last. */
static void print_head(struct printer *printer, const struct api_log_line *line)
{
    char time[API_LOG_TIME_MAX];
    bool is_guests = line->kind == API_LOG_LINE || line->kind == API_LOG_PIECE;
    if (is_guests && strcmp(printer->open_in, line->instance) == 0)
        return;
    if (printer->open_in[0] != '\0')
        putchar('\n');
    api_log_time_write(line->time_ms, time);
    if (printer->has_times)
        printf("%s ", time);
    if (printer->has_instances)
        printf("%s ", line->instance);
}

static void print_text(struct printer *printer, const struct api_log_line *line)
{
    AUTO_FREE char *text = text_of_line(line->text, line->length);
    print_head(printer, line);
    if (line->kind == API_LOG_MARK)
        printf("-- %s --", text);
    else if (line->kind == API_LOG_FAILURE)
        printf("-- its log breaks off here: %s --", text);
    else if (printer->terminal)
        fputs(text, stdout);
    else
        fwrite(line->text, 1, line->length, stdout);
    printer->open_in[0] = '\0';
    if (line->kind == API_LOG_PIECE)
        memcpy(printer->open_in, line->instance, sizeof printer->open_in);
    else
        putchar('\n');
}

static void print_line(struct printer *printer, const char *bytes, size_t length)
{
    struct api_log_line line;
    printer->is_at_end = length == 0;
    if (!api_log_line_parse(bytes, length, true, &line))
        return;
    if (printer->follow && line.kind != API_LOG_FAILURE)
        note_place(printer, &line);
    if (line.kind == API_LOG_POSITION)
        return;
    printer->line_count += line.kind != API_LOG_FAILURE;
    if (line.kind == API_LOG_FAILURE && !printer->follow)
        note_failure(printer, &line);
    else if (cli_wants_document(printer->cli))
        print_document(printer, &line);
    else
        print_text(printer, &line);
}

static int on_bytes(const char *bytes, size_t length, void *data)
{
    struct printer *printer = data;
    size_t begin = 0;
    printer->has_begun = true;
    buffer_append(&printer->line, bytes, length);
    for (size_t i = printer->line.length - length; i < printer->line.length; i++) {
        if (printer->line.data[i] != '\n')
            continue;
        print_line(printer, printer->line.data + begin, i - begin);
        begin = i + 1;
    }
    buffer_consume(&printer->line, begin);
    if (printer->line.length > PARTIAL_LIMIT)
        buffer_clear(&printer->line);
    fflush(stdout);
    return ferror(stdout) ? -1 : 0;
}

/* What is asked for behind the path of a log. */
static char *query_of(const struct printer *printer)
{
    const struct invocation *invocation = printer->cli->invocation;
    const char *since = invocation_text(invocation, "since");
    uint64_t tail = invocation_number(invocation, "tail", since != NULL ? TAIL_MAX : TAIL_DEFAULT);
    AUTO_FREE char *encoded = since != NULL ? http_encode_segment(since) : NULL;
    struct buffer query = {0};
    buffer_printf(&query, "/logs?tail=%llu%s%s%s", (unsigned long long)tail,
                  since != NULL ? "&since=" : "", since != NULL ? encoded : "",
                  printer->follow ? "&follow=1" : "");
    if (printer->has_begun)
        buffer_append_text(&query, "&after=");
    return buffer_take(&query);
}

/* After what; "": nothing was read, or nothing is read on. */
static char *places_of(const struct printer *printer)
{
    struct buffer text = {0};
    for (size_t i = 0; i < printer->place_count; i++) {
        char position[API_LOG_POSITION_MAX];
        api_log_position_write(&printer->places[i].position, position);
        buffer_printf(&text, "%s%s:%s", i > 0 ? "," : "", printer->places[i].instance, position);
    }
    return buffer_take(&text);
}

static bool may_resume(const struct error *error)
{
    return error->code == ERROR_NONE || error->code == ERROR_UNAVAILABLE ||
           error->code == ERROR_TIMEOUT || error->code == ERROR_NO_LEADER;
}

/* The scheduler lets go of who reads too slowly, and ends itself now and then: reading goes on
 * behind the last line of each instance, so that none is missed and none comes twice. */
static int read_all(struct printer *printer, const char *path, struct error *error)
{
    struct session *session = cli_session(printer->cli);
    bool is_told = false;
    for (unsigned tries = 0;; tries++) {
        struct error ended = ERROR_INIT;
        uint64_t before = printer->line_count;
        AUTO_FREE char *query = query_of(printer);
        AUTO_FREE char *places = places_of(printer);
        AUTO_FREE char *whole = xasprintf("%s%s", path, query);
        int result = session_stream(session, whole, places, on_bytes, printer, &ended);
        buffer_clear(&printer->line);
        if (!printer->follow || printer->is_at_end || session_is_interrupted(session) ||
            ferror(stdout))
            return result == 0 ? 0 : error_copy(error, &ended);
        if (printer->line_count != before) {
            tries = 0;
            is_told = false;
        }
        if (result < 0 && (!printer->has_begun || tries >= RESUME_TRIES || !may_resume(&ended)))
            return error_copy(error, &ended);
        if (result < 0 && !is_told)
            fprintf(stderr, "%s\ntrying again until it answers; Ctrl-C ends this\n", ended.message);
        is_told = is_told || result < 0;
        if (!session_sleep(session, RESUME_MS))
            return 0;
    }
}

static int stream(struct printer *printer, const char *path, struct error *error)
{
    int result = read_all(printer, path, error);
    if (printer->open_in[0] != '\0')
        putchar('\n');
    printer->open_in[0] = '\0';
    buffer_finish(&printer->line);
    free(printer->places);
    printer->places = NULL;
    printer->place_count = 0;
    return result;
}

/* A word of 12 hex digits is an instance, unless there is only a service of that name. */
static int stream_of(struct printer *printer, const char *name, struct error *error)
{
    struct cli *cli = printer->cli;
    AUTO_FREE char *instance = xasprintf("/v1/instances/%s", name);
    AUTO_FREE char *service = scheduler_service_path(cli->settings.namespace_name, name, "");
    const char *noun = cli->invocation->command->noun;
    if (strcmp(noun, "instance") == 0 || api_check_instance_id(name) == NULL) {
        struct error reason = ERROR_INIT;
        if (stream(printer, instance, &reason) == 0)
            return 0;
        if (strcmp(noun, "instance") == 0 || reason.code != ERROR_NOT_FOUND)
            return error_copy(error, &reason);
        printer->has_instances = true;
        int result = stream(printer, service, error);
        /* Who types twelve hex digits means an instance. */
        if (result < 0 && error != NULL && error->code == ERROR_NOT_FOUND)
            return error_copy(error, &reason);
        return result;
    }
    printer->has_instances = true;
    return stream(printer, service, error);
}

static int check_since(struct cli *cli, struct error *error)
{
    const char *since = invocation_text(cli->invocation, "since");
    uint64_t time;
    if (since == NULL || api_log_since_parse(since, 0, &time))
        return 0;
    return cli_refuse_usage(cli, error, "--since %s: " API_LOG_SINCE_FORMS " is allowed", since);
}

/* What was read is printed; that it is not all, a script learns by the exit code. */
static int check_is_whole(const struct printer *printer, struct error *error)
{
    const struct invocation *invocation = printer->cli->invocation;
    if (!printer->follow && printer->line_count >= TAIL_MAX && !invocation_has(invocation, "tail"))
        fprintf(stderr, "only the last %d lines are shown: --since a later time shows less\n",
                TAIL_MAX);
    if (!printer->follow && !printer->is_at_end && !ferror(stdout))
        return error_set(error, ERROR_UNAVAILABLE,
                         "not all is shown: the scheduler's answer broke off. Try again.");
    if (printer->failure_count == 0)
        return 0;
    return error_set(error, ERROR_UNAVAILABLE,
                     "not all is shown: the logs of %zu instance%s could not be read. `shoal node "
                     "list` shows which nodes are silent.",
                     printer->failure_count, printer->failure_count == 1 ? "" : "s");
}

int logs_run(struct cli *cli, struct error *error)
{
    const char *name = cli_service_argument(cli, error);
    if (name == NULL || check_since(cli, error) < 0)
        return -1;
    struct printer printer = {.cli = cli,
                              .has_times = invocation_has(cli->invocation, "timestamps"),
                              .terminal = isatty(STDOUT_FILENO),
                              .follow = invocation_has(cli->invocation, "follow")};
    if (printer.follow)
        session_catch_interrupt(cli_session(cli));
    if (cli_wants_document(cli) && !printer.follow) {
        printer.lines = json_object_new_array();
        printer.failed = json_object_new_array();
    }
    int result = stream_of(&printer, name, error);
    if (result < 0) {
        json_object_put(printer.lines);
        json_object_put(printer.failed);
        return result;
    }
    cli->has_document = cli->has_document || printer.follow;
    if (printer.lines != NULL) {
        struct json_object *document = json_object_new_object();
        json_object_object_add(document, "lines", printer.lines);
        json_object_object_add(document, "failed", printer.failed);
        cli_print_document(cli, document);
    }
    return check_is_whole(&printer, error);
}
