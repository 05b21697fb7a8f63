/* console: a guest's serial console on this terminal, or between two pipes. The output is one
 * stream; what is typed goes by small calls, one after the other (agent/console_sessions.h). */
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <termios.h>
#include <unistd.h>
#include <uv.h>

#include "cli/cli.h"
#include "cli/scheduler.h"
#include "cli/table.h"
#include "lib/api/protocol.h"
#include "lib/api/service_spec.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/http_client.h"
#include "lib/json.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define DETACH_KEY 0x1d /* Ctrl-] */
#define POST_MAX   4096
#define KEEP_MS    5000 /* a third of what the agent waits for */
#define RETRY_MS   100  /* after the guest took nothing */
#define WAIT_MS    1000
#define CALL_MS    5000
#define SLOW_MS    3000 /* to attach, until a person is told what is waited for */
#define HEAD       "attached\n"

struct console {
    struct cli *cli;
    char id[INSTANCE_ID_MAX];
    char node[NAME_MAX_TEXT];
    char token[33];
    bool writes;
    bool is_terminal; /* standard input is one, and is raw */
    struct termios before;
    struct http_call *stream, *post;
    struct buffer head;  /* the stream's first line, until it is there */
    struct buffer typed; /* and not taken by the guest yet */
    uv_poll_t input;
    uv_timer_t keep;  /* until the next post, at the latest */
    uv_timer_t leave; /* after the end of a piped input */
    uv_timer_t slow;  /* until it is attached */
    uv_signal_t end;  /* SIGTERM or SIGHUP: the terminal is to be put right */
    bool input_watched, input_ended, is_attached;
    bool done;
    bool detached;
    struct error error;
};

static void finish(struct console *console, const struct error *error)
{
    if (error != NULL && console->error.code == ERROR_NONE)
        console->error = *error;
    console->done = true;
}

/* --- the terminal --- */

/* Keys come as they are typed, Ctrl-C too; what is written is still given its carriage returns. */
static void make_raw(struct console *console)
{
    struct termios raw;
    console->is_terminal =
        console->writes && isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &console->before) == 0;
    if (!console->is_terminal)
        return;
    raw = console->before;
    raw.c_iflag &= ~(tcflag_t)(BRKINT | ICRNL | INLCR | IGNCR | ISTRIP | IXON);
    raw.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
}

static void restore(const struct console *console)
{
    if (console->is_terminal)
        tcsetattr(STDIN_FILENO, TCSANOW, &console->before);
}

static void on_end_signal(uv_signal_t *signal, int number)
{
    (void)number;
    struct console *console = signal->data;
    console->detached = true;
    finish(console, NULL);
}

/* --- what is typed --- */

static void post(struct console *console);
static void watch_input(struct console *console);

static void on_leave(uv_timer_t *timer)
{
    struct console *console = timer->data;
    finish(console, NULL);
}

/* Piped input is over and sent: what the guest answers is waited for. */
static void begin_leaving(struct console *console)
{
    if (!console->input_ended || console->typed.length > 0 ||
        uv_is_active((const uv_handle_t *)&console->leave))
        return;
    uv_timer_start(&console->leave, on_leave,
                   invocation_duration(console->cli->invocation, "wait", WAIT_MS), 0);
}

static void on_keep(uv_timer_t *timer)
{
    post(timer->data);
}

static uint64_t read_taken(const struct http_client_response *response)
{
    AUTO_JSON struct json_object *answer = NULL;
    struct json_object *taken = NULL;
    if (json_parse(response->body, response->body_length, &answer, NULL) < 0 ||
        !json_object_object_get_ex(answer, "taken", &taken))
        return 0;
    return json_object_get_uint64(taken);
}

static void on_posted(const struct http_client_response *response, void *data)
{
    struct console *console = data;
    struct error error = ERROR_INIT;
    console->post = NULL;
    if (http_response_check(response, &error) < 0) {
        if (console->stream != NULL) /* else its end says more */
            finish(console, &error);
        return;
    }
    uint64_t taken = read_taken(response);
    if (taken > console->typed.length)
        taken = console->typed.length;
    buffer_consume(&console->typed, (size_t)taken);
    if (console->typed.length > 0 && taken > 0) {
        post(console);
    } else {
        uv_timer_start(&console->keep, on_keep, console->typed.length > 0 ? RETRY_MS : KEEP_MS, 0);
        begin_leaving(console);
    }
    watch_input(console);
}

static struct http_call *call_session(struct console *console, const char *query, const void *body,
                                      size_t length, http_client_callback *callback, void *data,
                                      struct error *error)
{
    static const char *const headers[] = {SHOAL_PROTOCOL_HEADER,
                                          "Content-Type: application/octet-stream", NULL};
    AUTO_FREE char *url = xasprintf("%s/v1/instances/%s/console?session=%s%s",
                                    addresses_current(&console->cli->settings.schedulers),
                                    console->id, console->token, query);
    struct http_client_request request = {.method = "POST",
                                          .url = url,
                                          .headers = headers,
                                          .body = length > 0 ? body : NULL,
                                          .body_length = length,
                                          .timeout_ms = CALL_MS};
    return http_client_start(session_http(cli_session(console->cli)), &request, callback, data,
                             error);
}

static void post(struct console *console)
{
    struct error error = ERROR_INIT;
    size_t length = console->typed.length < POST_MAX ? console->typed.length : POST_MAX;
    if (console->post != NULL || console->done)
        return;
    uv_timer_stop(&console->keep);
    console->post =
        call_session(console, "", console->typed.data, length, on_posted, console, &error);
    if (console->post == NULL)
        finish(console, &error);
}

static void on_detached(const struct http_client_response *response, void *data)
{
    (void)response;
    *(bool *)data = true;
}

/* So that the next one need not wait until the agent misses this one. */
static void detach(struct console *console)
{
    bool done = false;
    if (console->post != NULL)
        http_client_cancel(console->post);
    console->post = NULL;
    done = call_session(console, "&end=1", NULL, 0, on_detached, &done, NULL) == NULL;
    while (!done)
        uv_run(console->keep.loop, UV_RUN_ONCE);
}

static void end_input(struct console *console)
{
    console->input_ended = true;
    begin_leaving(console);
}

/* As far as there is something; false: nothing more comes just now. */
static bool read_input(struct console *console)
{
    char bytes[1024];
    ssize_t got = read(STDIN_FILENO, bytes, sizeof bytes);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (got <= 0) {
        end_input(console);
        return false;
    }
    char *key = console->is_terminal ? memchr(bytes, DETACH_KEY, (size_t)got) : NULL;
    if (key != NULL) {
        console->detached = true;
        finish(console, NULL);
        return false;
    }
    buffer_append(&console->typed, bytes, (size_t)got);
    post(console);
    return true;
}

static void on_input(uv_poll_t *poll, int status, int events)
{
    (void)events;
    struct console *console = poll->data;
    if (status < 0)
        end_input(console);
    else
        read_input(console);
    watch_input(console);
}

/* No more is read than is sent. A file cannot be waited for: it is read as its bytes are taken. */
static void watch_input(struct console *console)
{
    bool wanted = console->writes && console->is_attached && !console->input_ended &&
                  console->typed.length < POST_MAX && !console->done;
    if (console->input_watched) {
        if (wanted)
            uv_poll_start(&console->input, UV_READABLE, on_input);
        else
            uv_poll_stop(&console->input);
    } else if (wanted) {
        read_input(console);
    }
}

/* --- what the guest writes --- */

/* Of a document: without the carriage returns that a terminal needs, and no byte ends it. */
static char *text_of(const char *bytes, size_t length)
{
    char *text = xcalloc(length + 1, 1);
    size_t kept = 0;
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] != '\r')
            text[kept++] = (char)(bytes[i] != '\0' ? bytes[i] : '?');
    }
    text_make_printable(text);
    return text;
}

static void print(struct console *console, const char *bytes, size_t length)
{
    if (length == 0)
        return;
    if (!cli_wants_document(console->cli)) {
        fwrite(bytes, 1, length, stdout);
    } else {
        AUTO_FREE char *text = text_of(bytes, length);
        AUTO_JSON struct json_object *object = json_object_new_object();
        json_object_object_add(object, "output", json_object_new_string(text));
        AUTO_FREE char *document = json_text(object);
        puts(document);
    }
    fflush(stdout);
    if (ferror(stdout))
        finish(console, NULL);
}

static void on_attached(struct console *console)
{
    console->is_attached = true;
    uv_timer_stop(&console->slow);
    fprintf(stderr, "Attached to %s on node %s.%s\n", console->id, console->node,
            console->is_terminal ? " Ctrl-] detaches." : "");
    make_raw(console);
    uv_timer_start(&console->keep, on_keep, KEEP_MS, 0);
    watch_input(console);
}

static int on_output(const void *bytes, size_t length, void *data)
{
    struct console *console = data;
    const char *text = bytes;
    if (!console->is_attached) {
        buffer_append(&console->head, bytes, length);
        if (console->head.length < strlen(HEAD))
            return 0;
        on_attached(console);
        print(console, console->head.data + strlen(HEAD), console->head.length - strlen(HEAD));
        return 0;
    }
    print(console, text, length);
    return 0;
}

static void on_slow(uv_timer_t *timer)
{
    const struct console *console = timer->data;
    fprintf(stderr,
            "Node %s has not attached to %s yet: is its shoal-agent stopped, or busy? Ctrl-C gives "
            "up.\n",
            console->node, console->id);
}

static void on_stream_end(const struct http_client_response *response, void *data)
{
    struct console *console = data;
    struct error error = ERROR_INIT;
    console->stream = NULL;
    finish(console, http_response_check(response, &error) < 0 ? &error : NULL);
}

/* --- one run --- */

static void make_token(char ret_token[33])
{
    unsigned char random[16];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        abort();
    text_format_hex(random, sizeof random, ret_token);
}

/* Who is told to others that come; the caller frees. */
static char *who_am_i(void)
{
    char host[64] = "";
    const struct passwd *user = getpwuid(geteuid());
    gethostname(host, sizeof host - 1);
    return xasprintf("%s@%s", user != NULL ? user->pw_name : "somebody", host);
}

static int begin(struct console *console, struct error *error)
{
    static const char *const headers[] = {SHOAL_PROTOCOL_HEADER, NULL};
    AUTO_FREE char *who = who_am_i();
    AUTO_FREE char *by = http_encode_segment(who);
    AUTO_FREE char *url = xasprintf("%s/v1/instances/%s/console?session=%s&write=%d&by=%s",
                                    addresses_current(&console->cli->settings.schedulers),
                                    console->id, console->token, console->writes, by);
    struct http_client_request request = {
        .url = url, .headers = headers, .timeout_ms = HTTP_NO_TIMEOUT, .on_body = on_output};
    console->stream = http_client_start(session_http(cli_session(console->cli)), &request,
                                        on_stream_end, console, error);
    return console->stream != NULL ? 0 : -1;
}

static void open_handles(struct console *console)
{
    uv_loop_t *loop = http_client_loop(session_http(cli_session(console->cli)));
    uv_timer_init(loop, &console->keep);
    uv_timer_init(loop, &console->leave);
    uv_timer_init(loop, &console->slow);
    uv_signal_init(loop, &console->end);
    console->keep.data = console->leave.data = console;
    console->slow.data = console->end.data = console;
    uv_timer_start(&console->slow, on_slow, SLOW_MS, 0);
    uv_signal_start(&console->end, on_end_signal, SIGTERM);
    console->input_watched =
        console->writes && uv_poll_init(loop, &console->input, STDIN_FILENO) == 0;
    console->input.data = console;
}

static void on_closed(uv_handle_t *handle)
{
    (void)handle;
}

/* The handles stay valid until the loop has let them go, which a turn of it does. */
static void close_handles(struct console *console)
{
    uv_loop_t *loop = console->keep.loop;
    if (console->stream != NULL)
        http_client_cancel(console->stream);
    if (console->post != NULL)
        http_client_cancel(console->post);
    uv_close((uv_handle_t *)&console->keep, on_closed);
    uv_close((uv_handle_t *)&console->leave, on_closed);
    uv_close((uv_handle_t *)&console->slow, on_closed);
    uv_close((uv_handle_t *)&console->end, on_closed);
    if (console->input_watched)
        uv_close((uv_handle_t *)&console->input, on_closed);
    uv_run(loop, UV_RUN_NOWAIT);
    uv_run(loop, UV_RUN_NOWAIT);
}

/* Finds the instance, and by it a scheduler that answers. */
static int find(struct console *console, const char *id, struct error *error)
{
    AUTO_FREE char *path = xasprintf("/v1/instances/%s", id);
    AUTO_JSON struct json_object *document = NULL;
    struct api_instance_view view = {0};
    if (session_get(cli_session(console->cli), path, &document, error) < 0 ||
        json_decode(&api_instance_view_record, document, JSON_LENIENT, &view, error) < 0)
        return -1;
    text_copy(console->id, sizeof console->id, view.id);
    text_copy(console->node, sizeof console->node, view.node);
    json_record_release(&api_instance_view_record, &view);
    return 0;
}

int console_run(struct cli *cli, struct error *error)
{
    const char *id = cli_argument(cli, 0);
    if (api_check_instance_id(id) != NULL)
        return cli_refuse_usage(cli, error, "%s is no instance: `shoal ps` lists them", id);
    struct console console = {.cli = cli, .writes = !invocation_has(cli->invocation, "read-only")};
    if (find(&console, id, error) < 0)
        return -1;
    make_token(console.token);
    session_catch_interrupt(cli_session(cli));
    console.is_terminal = console.writes && isatty(STDIN_FILENO);
    open_handles(&console);
    if (begin(&console, &console.error) == 0)
        session_run_until(cli_session(cli), &console.done);
    restore(&console);
    bool ended = console.stream == NULL && console.is_attached;
    if (console.is_attached && !ended)
        detach(&console);
    close_handles(&console);
    buffer_finish(&console.head);
    buffer_finish(&console.typed);
    cli->has_document = cli->has_document || cli_wants_document(cli);
    if (console.error.code != ERROR_NONE)
        return error_copy(error, &console.error);
    if (console.is_attached)
        fputs(ended ? "\nThe console closed: the guest ended, or its agent did.\n"
                    : "\nDetached.\n",
              stderr);
    return 0;
}
