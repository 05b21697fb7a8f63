/* doctor: whether this machine can run what it is to run, and what mends it. What takes the agent's
 * code is asked of `shoal-agent --probe`. */
#include <stdio.h>
#include <sys/timex.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/cluster.h"
#include "cli/daemon.h"
#include "cli/format.h"
#include "cli/lists.h"
#include "cli/scheduler.h"
#include "cli/table.h"
#include "lib/api/checks.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define TIMEOUT_MS 5000
/* Before the program was written: a clock that was never set. */
#define TIME_LEAST 1700000000

/* ---- the machine, by the agent ---- */

static int read_answer(const struct buffer *output, struct api_checks *checks, struct error *error)
{
    return json_parse_record(&api_checks_record, buffer_text(output), output->length, JSON_LENIENT,
                             checks, error);
}

static void ask_agent(const char *state, struct api_checks *checks)
{
    static const char remedy[] = "install shoal-agent beside shoal, or leave it: this machine then "
                                 "is no node";
    AUTO_FREE char *program = daemon_find_program("shoal-agent");
    AUTO_FREE char *folder = xasprintf("%s/agent", state);
    AUTO_BUFFER struct buffer output = {0};
    struct error error = ERROR_INIT;
    int status = 0;
    if (program == NULL) {
        api_checks_add(checks, "agent", API_CHECK_WARNING, remedy, "there is no shoal-agent here");
        return;
    }
    char *const arguments[] = {program, (char *)"--probe", (char *)"--state", folder, NULL};
    if (daemon_run_program(arguments, false, &output, &status, &error) < 0 ||
        read_answer(&output, checks, &error) < 0)
        api_checks_add(checks, "agent", API_CHECK_FAILED, "look at what `shoal-agent --probe` says",
                       "%s does not say what it finds: %s", program, error.message);
}

/* ---- the clock ---- */

/* Agents, tokens and signatures compare times of several machines. */
static void check_clock(struct api_checks *checks)
{
    struct timex state = {0};
    char text[32];
    time_t now = time(NULL);
    struct tm broken;
    gmtime_r(&now, &broken);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &broken);
    if (now < TIME_LEAST)
        api_checks_add(checks, "clock", API_CHECK_FAILED, "set it: date -s", "it says %s", text);
    else if (adjtimex(&state) == TIME_ERROR)
        api_checks_add(checks, "clock", API_CHECK_WARNING,
                       "let something set it: systemd-timesyncd, chrony or the hypervisor",
                       "%s, but nothing keeps it right", text);
    else
        api_checks_add(checks, "clock", API_CHECK_OK, NULL, "%s", text);
}

/* ---- the daemons ---- */

/* True when it answers. */
static bool check_daemon(struct cli *cli, const char *name, const char *url, const char *remedy,
                         struct api_checks *checks)
{
    AUTO_FREE char *healthz = xasprintf("%s/healthz", url);
    struct error error = ERROR_INIT;
    bool answers = session_probe(cli_session(cli), healthz, TIMEOUT_MS, &error) == 0;
    if (answers)
        api_checks_add(checks, name, API_CHECK_OK, NULL, "%s answers", url);
    else
        api_checks_add(checks, name, API_CHECK_FAILED, remedy, "%s", error.message);
    return answers;
}

/* An agent whose deciding half reports while its host half says nothing. */
static void check_host_halves(const struct view_list *nodes, struct api_checks *checks)
{
    static const char remedy[] = "find what holds shoal-agent there (SIGSTOP, a disk that does not "
                                 "answer), or start it again: guests go on meanwhile";
    struct buffer AUTO_BUFFER silent = {0};
    for (size_t i = 0; i < nodes->count; i++) {
        const struct api_node_view *node = (const struct api_node_view *)nodes->items + i;
        char silence[FORMAT_MAX];
        if (node->state != NODE_READY || node->host_silent_ms == 0)
            continue;
        format_span(node->host_silent_ms, silence);
        buffer_printf(&silent, "%s%s for %s", silent.length > 0 ? ", " : "", node->name, silence);
    }
    if (silent.length > 0)
        api_checks_add(checks, "host halves", API_CHECK_FAILED, remedy,
                       "the host half of the agent says nothing: %s", buffer_text(&silent));
}

/* Whether the agents run is what the scheduler hears of them. */
static void check_nodes(struct cli *cli, struct api_checks *checks)
{
    static const char remedy[] = "start shoal-agent there again (shoal up; the end of its log says "
                                 "why it ended), or forget the node (shoal node rm)";
    struct view_list AUTO_VIEWS nodes = {0};
    struct buffer AUTO_BUFFER silent = {0};
    struct error error = ERROR_INIT;
    size_t count = 0;
    if (scheduler_nodes(cli, &nodes, &error) < 0) {
        api_checks_add(checks, "nodes", API_CHECK_SKIPPED, NULL, "%s", error.message);
        return;
    }
    for (size_t i = 0; i < nodes.count; i++) {
        const struct api_node_view *node = (const struct api_node_view *)nodes.items + i;
        char silence[FORMAT_MAX];
        if (node->state == NODE_READY)
            continue;
        format_span(node->heartbeat_age_ms, silence);
        buffer_printf(&silent, "%s%s for %s", count++ > 0 ? ", " : "", node->name, silence);
    }
    if (nodes.count == 0)
        api_checks_add(checks, "nodes", API_CHECK_WARNING, "start an agent (shoal up)",
                       "the scheduler knows none: nothing can run");
    else if (count > 0)
        api_checks_add(checks, "nodes", count == nodes.count ? API_CHECK_FAILED : API_CHECK_WARNING,
                       remedy, "%zu of %zu silent: %s", count, nodes.count, buffer_text(&silent));
    else
        api_checks_add(checks, "nodes", API_CHECK_OK, NULL, "%zu report%s", nodes.count,
                       nodes.count == 1 ? "s" : "");
    check_host_halves(&nodes, checks);
}

static void check_daemons(struct cli *cli, struct api_checks *checks)
{
    const struct addresses *schedulers = &cli->settings.schedulers;
    bool answers = false;
    for (size_t i = 0; i < schedulers->count; i++)
        answers |= check_daemon(cli, "scheduler", schedulers->urls[i],
                                "start it (shoal up), or say where it is (--address)", checks);
    if (answers)
        check_nodes(cli, checks);
    check_daemon(cli, "registry", cli->settings.registry,
                 "start it (shoal up), or say where it is (--registry)", checks);
}

/* ---- the answer ---- */

static void print_table(struct cli *cli, const struct api_checks *checks)
{
    static const struct table_column columns[] = {{"CHECK", .right = false},
                                                  {"STATE", .right = false},
                                                  {"FOUND", .right = false},
                                                  {NULL, false, false}};
    static const enum tone tones[] = {[API_CHECK_OK] = TONE_GOOD,
                                      [API_CHECK_WARNING] = TONE_BUSY,
                                      [API_CHECK_FAILED] = TONE_BAD,
                                      [API_CHECK_SKIPPED] = TONE_PLAIN};
    struct table *table = table_create(columns);
    for (size_t i = 0; i < checks->check_count; i++) {
        const struct api_check *check = &checks->checks[i];
        table_cell(table, "%s", check->name);
        table_cell_toned(table, tones[check->state], api_check_state_names[check->state]);
        table_cell(table, "%s%s%s", check->detail, check->remedy != NULL ? "; " : "",
                   check->remedy != NULL ? check->remedy : "");
    }
    lists_print_table(cli, table);
}

static size_t count_failed(const struct api_checks *checks)
{
    size_t count = 0;
    for (size_t i = 0; i < checks->check_count; i++)
        count += checks->checks[i].state == API_CHECK_FAILED;
    return count;
}

int doctor_run(struct cli *cli, struct error *error)
{
    const char *state = invocation_text(cli->invocation, "state");
    struct api_checks checks = {0};
    ask_agent(state != NULL ? state : CLUSTER_STATE_DEFAULT, &checks);
    check_clock(&checks);
    check_daemons(cli, &checks);
    size_t failed = count_failed(&checks);
    if (cli_wants_document(cli))
        cli_print_document(cli, json_encode(&api_checks_record, &checks));
    else
        print_table(cli, &checks);
    json_record_release(&api_checks_record, &checks);
    if (failed > 0)
        return error_set(error, ERROR_UNAVAILABLE, "%zu check%s failed", failed,
                         failed == 1 ? "" : "s");
    return 0;
}
