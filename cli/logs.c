/* logs: what guests wrote on their consoles. Guests are hostile: control characters reach a file,
 * never a terminal. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/scheduler.h"
#include "cli/table.h"
#include "lib/api/log_line.h"
#include "lib/api/service_spec.h"
#include "lib/cleanup.h"
#include "lib/http_client.h"
#include "lib/json.h"
#include "lib/xalloc.h"

#define TAIL_DEFAULT  100
#define TAIL_MAX      100000
#define PARTIAL_LIMIT 65536 /* bytes of a line that does not end */

struct printer {
    struct cli *cli;
    bool terminal;
    bool follow;
    bool has_times;
    bool has_instances;            /* each line with whose it is */
    char open_in[INSTANCE_ID_MAX]; /* whose line has not ended yet; "": nobody's */
    struct buffer line;
    struct json_object *lines; /* -o json without --follow */
};

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
    if (line->kind == API_LOG_MARK)
        json_object_object_add(object, "mark", json_object_new_boolean(true));
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
    bool goes_on = line->kind != API_LOG_MARK && strcmp(printer->open_in, line->instance) == 0;
    if (goes_on)
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
    if (!api_log_line_parse(bytes, length, true, &line))
        return;
    if (cli_wants_document(printer->cli))
        print_document(printer, &line);
    else
        print_text(printer, &line);
}

static int on_bytes(const char *bytes, size_t length, void *data)
{
    struct printer *printer = data;
    size_t begin = 0;
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

static int stream(struct printer *printer, const char *path, struct error *error)
{
    const struct invocation *invocation = printer->cli->invocation;
    const char *since = invocation_text(invocation, "since");
    uint64_t tail = invocation_number(invocation, "tail", since != NULL ? TAIL_MAX : TAIL_DEFAULT);
    AUTO_FREE char *encoded = since != NULL ? http_encode_segment(since) : NULL;
    AUTO_FREE char *whole = xasprintf("%s/logs?tail=%llu%s%s%s", path, (unsigned long long)tail,
                                      since != NULL ? "&since=" : "", since != NULL ? encoded : "",
                                      printer->follow ? "&follow=1" : "");
    int result = session_stream(cli_session(printer->cli), whole, on_bytes, printer, error);
    if (printer->open_in[0] != '\0')
        putchar('\n');
    printer->open_in[0] = '\0';
    buffer_finish(&printer->line);
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
    if (cli_wants_document(cli) && !printer.follow)
        printer.lines = json_object_new_array();
    int result = stream_of(&printer, name, error);
    if (result < 0 || printer.lines == NULL) {
        cli->has_document = cli->has_document || (result == 0 && printer.follow);
        json_object_put(printer.lines);
        return result;
    }
    struct json_object *document = json_object_new_object();
    json_object_object_add(document, "lines", printer.lines);
    cli_print_document(cli, document);
    return 0;
}
