/* top: what instances, services or nodes use just now. */
#include "cli/top.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/format.h"
#include "cli/scheduler.h"
#include "lib/cleanup.h"
#include "lib/http_client.h"
#include "lib/xalloc.h"

#define INTERVAL_MS 2000
#define LEAST_MS    500
#define FAILED_MAX  8 /* nodes that did not answer, told each */

struct view {
    struct cli *cli;
    enum top_kind kind;
    enum top_order order;
    const char *service; /* NULL: of all */
};

/* --- asking --- */

static char *path_of(const struct view *view)
{
    const char *of = api_stats_of_names[view->kind];
    const struct cli *cli = view->cli;
    if (view->service != NULL) {
        AUTO_FREE char *rest = xasprintf("/stats?of=%s", of);
        return scheduler_service_path(cli->settings.namespace_name, view->service, rest);
    }
    if (!invocation_has(cli->invocation, "namespace"))
        return xasprintf("/v1/stats?of=%s", of);
    AUTO_FREE char *space = http_encode_segment(cli->settings.namespace_name);
    return xasprintf("/v1/stats?of=%s&namespace=%s", of, space);
}

/* Release by api_cluster_stats_record. */
static int fetch(const struct view *view, struct api_cluster_stats *ret_stats, struct error *error)
{
    AUTO_FREE char *path = path_of(view);
    AUTO_JSON struct json_object *document = NULL;
    struct api_cluster_stats stats = {0};
    if (session_get(cli_session(view->cli), path, &document, error) < 0)
        return -1;
    if (json_decode(&api_cluster_stats_record, document, JSON_LENIENT, &stats, error) < 0)
        return error_wrap(error, "the scheduler's answer");
    *ret_stats = stats;
    return 0;
}

/* --- showing --- */

/* Rows of services have no age of their own. */
static void append_old(const struct api_cluster_stats *stats, struct buffer *text)
{
    size_t count = 0;
    for (size_t i = 0; i < stats->node_count; i++) {
        const struct api_stats *node = &stats->nodes[i];
        char age[FORMAT_MAX];
        if (node->host.age_ms <= TOP_OLD_MS || count++ >= FAILED_MAX)
            continue;
        format_span(node->host.age_ms, age);
        buffer_append_text(text, "node ");
        text_append_safe(text, node->node);
        buffer_printf(text, ": its figures are %s old (see `shoal node list`)\n", age);
    }
    if (count > FAILED_MAX)
        buffer_printf(text, "and those of %zu nodes more\n", count - FAILED_MAX);
}

static void append_remarks(const struct api_cluster_stats *stats, bool is_empty,
                           struct buffer *text)
{
    if (is_empty && stats->failed_count == 0)
        buffer_append_text(text, "Nothing to show: no instance runs.\n");
    append_old(stats, text);
    for (size_t i = 0; i < stats->failed_count && i < FAILED_MAX; i++) {
        buffer_append_text(text, "node ");
        text_append_safe(text, stats->failed[i].node);
        buffer_append_text(text, ": ");
        text_append_safe(text, stats->failed[i].message);
        buffer_append_text(text, "\n");
    }
    if (stats->failed_count > FAILED_MAX)
        buffer_printf(text, "and %zu nodes more that do not answer\n",
                      stats->failed_count - FAILED_MAX);
    if (stats->left_out > 0)
        buffer_printf(text, "%u nodes were not asked, there are too many: name a service\n",
                      stats->left_out);
}

/* What is shown is shown; that it is not all, a script learns by the exit code. */
static int check_is_whole(const struct api_cluster_stats *stats, struct error *error)
{
    size_t missing = stats->failed_count + stats->left_out;
    if (missing == 0)
        return 0;
    return error_set(error, ERROR_UNAVAILABLE,
                     "not all is shown: %zu node%s did not tell what runs there. `shoal node list` "
                     "shows them; `shoal node rm` forgets one that will not come back.",
                     missing, missing == 1 ? "" : "s");
}

static void append_table(const struct cli *cli, const struct top *top, size_t most,
                         struct buffer *text)
{
    struct table *table = top_table(top, most);
    table_render(table, cli->format == OUTPUT_WIDE, cli->colored, text);
    table_destroy(table);
}

static int show_once(const struct view *view, struct error *error)
{
    struct api_cluster_stats stats;
    struct top top;
    struct cli *cli = view->cli;
    AUTO_BUFFER struct buffer text = {0};
    AUTO_BUFFER struct buffer remarks = {0};
    if (fetch(view, &stats, error) < 0)
        return -1;
    top_gather(view->kind, view->order, &stats, &top);
    if (cli_wants_document(cli)) {
        AUTO_JSON struct json_object *answer = json_encode(&api_cluster_stats_record, &stats);
        struct json_object *document = top_document(&top), *failed;
        json_object_object_get_ex(answer, "failed", &failed);
        json_object_object_add(document, "failed", json_object_get(failed));
        json_object_object_add(document, "left_out", json_object_new_int64(stats.left_out));
        cli_print_document(cli, document);
    } else {
        append_table(cli, &top, SIZE_MAX, &text);
        append_remarks(&stats, top.count == 0, &remarks);
        fputs(buffer_text(&text), stdout);
        fputs(buffer_text(&remarks), stderr);
    }
    int result = check_is_whole(&stats, error);
    top_release(&top);
    json_record_release(&api_cluster_stats_record, &stats);
    return result;
}

static size_t screen_rows(void)
{
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 6;
    return known ? size.ws_row : 24;
}

/* Each line ends what stood there before. */
static void draw(const struct buffer *text)
{
    fputs("\033[H", stdout);
    for (size_t i = 0; i < text->length; i++) {
        if (text->data[i] == '\n')
            fputs("\033[K", stdout);
        putchar(text->data[i]);
    }
    fputs("\033[J", stdout);
    fflush(stdout);
}

static void draw_answer(const struct view *view, const struct api_cluster_stats *stats)
{
    AUTO_BUFFER struct buffer text = {0};
    AUTO_BUFFER struct buffer remarks = {0};
    struct top top;
    size_t lines = 0, room = screen_rows() - 3; /* the header, what is left out, the cursor */
    top_gather(view->kind, view->order, stats, &top);
    append_remarks(stats, top.count == 0, &remarks);
    for (size_t i = 0; i < remarks.length; i++)
        lines += remarks.data[i] == '\n';
    room = room > lines + 1 ? room - lines : 1;
    append_table(view->cli, &top, room, &text);
    if (top.count > room)
        buffer_printf(&text, "and %zu more\n", top.count - room);
    buffer_append(&text, remarks.data, remarks.length);
    draw(&text);
    top_release(&top);
}

/* Until Ctrl-C. A scheduler that is away for a moment is waited for. */
static int show_live(const struct view *view, struct error *error)
{
    struct session *session = cli_session(view->cli);
    uint64_t interval = invocation_duration(view->cli->invocation, "interval", INTERVAL_MS);
    bool shown = false;
    session_catch_interrupt(session);
    do {
        struct api_cluster_stats stats;
        struct error reason = ERROR_INIT;
        if (fetch(view, &stats, &reason) == 0) {
            if (!shown)
                fputs("\033[2J", stdout);
            shown = true;
            draw_answer(view, &stats);
            json_record_release(&api_cluster_stats_record, &stats);
        } else if (!session_is_interrupted(session) && !shown) {
            return error_copy(error, &reason);
        } else if (!session_is_interrupted(session)) {
            AUTO_BUFFER struct buffer text = {0};
            text_append_safe(&text, reason.message);
            buffer_append_text(&text, "\n");
            draw(&text);
        }
    } while (session_sleep(session, (unsigned)(interval > LEAST_MS ? interval : LEAST_MS)));
    putchar('\n');
    return 0;
}

/* --- what was asked for --- */

static int find_name(const char *const *names, const char *name)
{
    for (int i = 0; names[i] != NULL; i++) {
        if (strcmp(names[i], name) == 0)
            return i;
    }
    return -1;
}

/* "[WHAT] [SERVICE]": a first word that is no kind is a service, whose instances are meant. */
static int read_arguments(struct cli *cli, struct view *view, struct error *error)
{
    const char *first = cli_argument(cli, 0), *second = cli_argument(cli, 1);
    int kind = first != NULL ? find_name(top_kind_names, first) : TOP_INSTANCES;
    const char *sort = invocation_text(cli->invocation, "sort");
    if (kind < 0 && second != NULL)
        return cli_refuse_usage(cli, error,
                                "\"%s\" cannot be shown: instances, services and nodes can", first);
    view->kind = kind >= 0 ? (enum top_kind)kind : TOP_INSTANCES;
    view->service = kind >= 0 ? second : first;
    view->order = sort != NULL ? (enum top_order)find_name(top_order_names, sort) : TOP_BY_CPU;
    if (view->service != NULL && view->kind == TOP_NODES)
        return cli_refuse_usage(cli, error, "nodes are shown whole: leave \"%s\" away",
                                view->service);
    return 0;
}

int top_run(struct cli *cli, struct error *error)
{
    struct view view = {.cli = cli};
    if (read_arguments(cli, &view, error) < 0)
        return -1;
    struct error unknown = ERROR_INIT;
    bool live = isatty(STDOUT_FILENO) && !invocation_has(cli->invocation, "once") &&
                !cli_wants_document(cli);
    if ((live ? show_live(&view, &unknown) : show_once(&view, &unknown)) == 0)
        return 0;
    /* The one word may have been meant as a kind. */
    if (unknown.code == ERROR_NOT_FOUND && view.service != NULL && cli_argument(cli, 1) == NULL)
        return error_set(error, ERROR_NOT_FOUND,
                         "%s (and WHAT may be instances, services or nodes)", unknown.message);
    return error_copy(error, &unknown);
}
