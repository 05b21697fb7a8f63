/* shoal-registry gc, retain, scrub, backup, restore: work on the whole store. A registry that runs
 * on the state is asked to do it; without one the state is opened here. */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/http_client_blocking.h"
#include "lib/json.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "registry/command.h"
#include "registry/command_report.h"
#include "registry/registry.h"
#include "registry/storage/blob_backend.h"
#include "registry/upkeep/backup.h"
#include "registry/upkeep/control.h"

/* What one of these commands was asked. */
struct order {
    enum upkeep_task task;
    const char *command; /* its name */
    struct option_values values;
    struct upkeep_options options;
    const char *rate;
    bool json;
};

/* --- asking the registry that runs --- */

static void add_query(struct buffer *url, const char *key, const char *value)
{
    AUTO_FREE char *encoded = http_encode_segment(value);
    buffer_printf(url, "%c%s=%s", strchr(buffer_text(url), '?') == NULL ? '?' : '&', key, encoded);
}

static char *task_url(const struct order *order)
{
    struct buffer url = {0};
    buffer_printf(&url, "http://registry/tasks/%s", upkeep_task_names[order->task]);
    if (order->options.dry_run)
        add_query(&url, "dry_run", "1");
    if (order->options.untagged)
        add_query(&url, "untagged", "1");
    if (order->rate != NULL)
        add_query(&url, "rate", order->rate);
    if (order->options.target != NULL)
        add_query(&url, "target", order->options.target);
    return buffer_take(&url);
}

/* Shows on a terminal how far the registry is, until it is told to end. */
struct watch {
    struct http_blocking_client *client;
    const char *socket;
    const char *command;
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool is_ended;
    bool has_printed;
};

static void print_progress(struct watch *watch)
{
    struct http_client_request request = {
        .url = "http://registry/tasks", .unix_socket = watch->socket, .timeout_ms = 2000};
    const struct http_client_response *response =
        http_client_perform(watch->client, &request, NULL, NULL);
    AUTO_JSON struct json_object *status = NULL;
    char done[BYTES_TEXT_MAX];
    if (response != NULL && response->status == 200 &&
        json_parse(response->body, response->body_length, &status, NULL) == 0 &&
        report_number(status, "done") > 0) {
        report_format_bytes(report_number(status, "done"), done);
        fprintf(stderr, "\r%s: %s\033[K", watch->command, done);
        watch->has_printed = true;
    }
    http_client_release(watch->client, response);
}

static void *run_watch(void *data)
{
    struct watch *watch = data;
    pthread_mutex_lock(&watch->lock);
    while (!watch->is_ended) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec++;
        if (pthread_cond_timedwait(&watch->ended, &watch->lock, &until) == 0)
            continue;
        pthread_mutex_unlock(&watch->lock);
        print_progress(watch);
        pthread_mutex_lock(&watch->lock);
    }
    pthread_mutex_unlock(&watch->lock);
    return NULL;
}

static void end_watch(struct watch *watch, pthread_t thread)
{
    pthread_mutex_lock(&watch->lock);
    watch->is_ended = true;
    pthread_cond_signal(&watch->ended);
    pthread_mutex_unlock(&watch->lock);
    pthread_join(thread, NULL);
    if (watch->has_printed)
        fputs("\r\033[K", stderr);
}

/* Who leaves is told that the registry does not. */
static void on_interrupt(int number)
{
    static const char text[] = "\nIt goes on in the registry; `shoal-registry cancel` ends it.\n";
    ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
    (void)written;
    _exit(128 + number);
}

/* 1: it did it; 0: nobody is there; -1: it failed. */
static int ask(const struct order *order, const char *state, struct json_object **ret_report,
               struct error *error)
{
    AUTO_FREE char *socket = control_path(state);
    AUTO_FREE char *url = task_url(order);
    struct http_blocking_client *client = http_blocking_client_create(2);
    struct http_client_request request = {
        .method = "POST", .url = url, .unix_socket = socket, .timeout_ms = HTTP_NO_TIMEOUT};
    struct watch watch = {.client = client,
                          .socket = socket,
                          .command = order->command,
                          .lock = PTHREAD_MUTEX_INITIALIZER,
                          .ended = PTHREAD_COND_INITIALIZER};
    pthread_t thread;
    bool is_watched =
        isatty(STDERR_FILENO) && pthread_create(&thread, NULL, run_watch, &watch) == 0;
    signal(SIGINT, on_interrupt);
    const struct http_client_response *response =
        http_client_perform(client, &request, NULL, error);
    signal(SIGINT, SIG_DFL);
    if (is_watched)
        end_watch(&watch, thread);
    int result = -1;
    if (response != NULL && response->failed && response->error.code == ERROR_UNAVAILABLE)
        result = 0;
    else if (response != NULL && http_response_check(response, error) == 0)
        result = json_parse(response->body, response->body_length, ret_report, error) < 0 ? -1 : 1;
    http_client_release(client, response);
    http_blocking_client_destroy(client);
    return result;
}

/* --- doing it here --- */

/* A registry that runs and has no socket could not be asked. */
static int explain_conflict(const char *state, struct error *error)
{
    if (error->code != ERROR_CONFLICT || control_is_possible(state))
        return -1;
    struct error why = *error;
    return error_set(
        error, ERROR_CONFLICT,
        "%s. It cannot be asked, since the path of control.sock there is longer than a "
        "socket's may be: start it by a shorter path, such as a link to the folder",
        why.message);
}

static int do_here(const struct order *order, const struct registry_settings *settings,
                   struct json_object **ret_report, struct error *error)
{
    struct registry *registry = NULL;
    if (registry_open(settings, &registry, error) < 0)
        return explain_conflict(settings->state, error);
    int result = upkeep_run(registry->upkeep, order->task, &order->options, ret_report, error);
    registry_destroy(registry);
    return result;
}

static int refuse_missing_state(const char *state, struct error *error)
{
    AUTO_FREE char *database = xasprintf("%s/metadata.db", state);
    if (access(database, R_OK | W_OK) == 0)
        return 0;
    if (errno == EACCES)
        return error_set(error, ERROR_DENIED,
                         "%s: Permission denied: run it as the registry's user", state);
    if (errno != ENOENT && errno != ENOTDIR)
        return error_set_errno(error, errno, "%s", database);
    return error_set(error, ERROR_NOT_FOUND,
                     "%s holds no registry: name its folder by --state or --config", state);
}

/* What is easily taken for granted: that the settings given are those that count, and are there. */
static void warn_of_settings(const struct order *order, bool was_asked, struct json_object *report)
{
    const char *config = order->values.config;
    bool depends = order->task == UPKEEP_COLLECT || order->task == UPKEEP_RETAIN;
    if (was_asked && config != NULL && depends)
        fprintf(
            stderr,
            "shoal-registry: %s: the registry that runs there was asked, and the settings it has "
            "in force count: %s told where it is, no more\n",
            order->command, config);
    if (order->task == UPKEEP_RETAIN && report_number(report, "repositories") == 0)
        fprintf(stderr, "shoal-registry: retain: no repository has a policy with retention%s\n",
                !was_asked && config == NULL ? ": give the registry's settings by --config" : "");
}

static int carry_out(struct order *order)
{
    struct registry_settings settings;
    struct error error = ERROR_INIT;
    AUTO_JSON struct json_object *report = NULL;
    log_open("shoal-registry", LOG_LEVEL_WARN);
    if (command_settings(&order->values, &settings, &error) < 0)
        return command_fail(order->command, order->json, EXIT_USAGE, &error);
    int result = refuse_missing_state(settings.state, &error);
    if (result == 0)
        result = ask(order, settings.state, &report, &error);
    bool was_asked = result > 0;
    if (result == 0)
        result = do_here(order, &settings, &report, &error);
    registry_settings_release(&settings);
    if (result < 0)
        return command_fail(order->command, order->json, EXIT_FAILED, &error);
    warn_of_settings(order, was_asked, report);
    return report_print(order->task, order->options.dry_run, order->json, report);
}

/* --- options --- */

enum {
    OPTION_CONFIG = 'c',
    OPTION_STATE = 's',
    OPTION_DRY_RUN = 'n',
    OPTION_UNTAGGED = 'u',
    OPTION_RATE = 'r',
    OPTION_TO = 't',
    OPTION_FROM = 'f',
    OPTION_OUTPUT = 'o',
    OPTION_HELP = 'h',
};

#define COMMON_OPTIONS                                                                             \
    {"config", required_argument, NULL, OPTION_CONFIG},                                            \
        {"state", required_argument, NULL, OPTION_STATE},                                          \
        {"output", required_argument, NULL, OPTION_OUTPUT},                                        \
    {                                                                                              \
        "help", no_argument, NULL, OPTION_HELP                                                     \
    }
#define COMMON_USAGE                                                                               \
    "  --config FILE   the registry's settings\n"                                                  \
    "  --state DIR     its state (/var/lib/shoal/registry)\n"                                      \
    "  -o json         the report as JSON\n"

/* 0: go on; else the exit code plus one. */
static int read_option(int option, char **argv, struct order *order, const char *usage)
{
    switch (option) {
    case OPTION_CONFIG:
        order->values.config = optarg;
        return 0;
    case OPTION_STATE:
        order->values.state = optarg;
        return 0;
    case OPTION_DRY_RUN:
        order->options.dry_run = true;
        return 0;
    case OPTION_UNTAGGED:
        order->options.untagged = true;
        return 0;
    case OPTION_TO:
    case OPTION_FROM:
        order->options.target = optarg;
        return 0;
    case OPTION_RATE:
        order->rate = optarg;
        if (text_parse_size(optarg, &order->options.rate))
            return 0;
        return command_refuse(order->command, "--rate %s is no size such as 50Mi", optarg) + 1;
    case OPTION_OUTPUT:
        order->json = strcmp(optarg, "json") == 0;
        if (order->json)
            return 0;
        return command_refuse(order->command, "-o %s is not known: json is", optarg) + 1;
    case OPTION_HELP:
        fputs(usage, stdout);
        return EXIT_DONE + 1;
    default:
        return command_refuse_option(order->command, argv, option) + 1;
    }
}

static int read_options(int argc, char **argv, const struct option *options, const char *usage,
                        struct order *order)
{
    order->command = argv[0];
    for (int option; (option = getopt_long(argc, argv, ":ho:", options, NULL)) != -1;) {
        int end = read_option(option, argv, order, usage);
        if (end != 0)
            return end;
    }
    if (optind < argc)
        return command_refuse(order->command, "unexpected argument \"%s\"", argv[optind]) + 1;
    return 0;
}

int command_gc(int argc, char **argv)
{
    static const char usage[] =
        "usage: shoal-registry gc [OPTION]...\n"
        "\n"
        "Removes blobs that no manifest of their repository needs, and uploads that nobody ends.\n"
        "A registry that runs on the state does it, while it serves; it also does so by itself.\n"
        "What was pushed or asked for within the grace (1h) stays; so does everything for so long\n"
        "after its start.\n"
        "\n"
        "  --dry-run       say what would go, remove nothing\n"
        "  --untagged      manifests that no tag leads to, too (deployments may pin "
        "them)\n" COMMON_USAGE;
    static const struct option options[] = {{"dry-run", no_argument, NULL, OPTION_DRY_RUN},
                                            {"untagged", no_argument, NULL, OPTION_UNTAGGED},
                                            COMMON_OPTIONS,
                                            {NULL, 0, NULL, 0}};
    struct order order = {.task = UPKEEP_COLLECT};
    int end = read_options(argc, argv, options, usage, &order);
    return end != 0 ? end - 1 : carry_out(&order);
}

int command_retain(int argc, char **argv)
{
    static const char usage[] =
        "usage: shoal-registry retain [OPTION]...\n"
        "\n"
        "Removes the tags that the policies' retention does not keep, and the manifests that\n"
        "nothing else keeps. A registry that runs also does so before each collection.\n"
        "\n"
        "  --dry-run       count what would go (the log names it), remove nothing\n" COMMON_USAGE;
    static const struct option options[] = {
        {"dry-run", no_argument, NULL, OPTION_DRY_RUN}, COMMON_OPTIONS, {NULL, 0, NULL, 0}};
    struct order order = {.task = UPKEEP_RETAIN};
    int end = read_options(argc, argv, options, usage, &order);
    return end != 0 ? end - 1 : carry_out(&order);
}

int command_scrub(int argc, char **argv)
{
    static const char usage[] =
        "usage: shoal-registry scrub [OPTION]...\n"
        "\n"
        "Reads every blob and manifest and compares it with its digest. A damaged blob is put in\n"
        "quarantine; whoever pushes it again mends it. Exit code 3 when something was found.\n"
        "\n"
        "  --dry-run       put nothing in quarantine\n"
        "  --rate SIZE     read so much a second at most, \"50Mi\"\n" COMMON_USAGE;
    static const struct option options[] = {{"dry-run", no_argument, NULL, OPTION_DRY_RUN},
                                            {"rate", required_argument, NULL, OPTION_RATE},
                                            COMMON_OPTIONS,
                                            {NULL, 0, NULL, 0}};
    struct order order = {.task = UPKEEP_SCRUB};
    int end = read_options(argc, argv, options, usage, &order);
    return end != 0 ? end - 1 : carry_out(&order);
}

/* The registry's working folder is not this one. */
static char *make_absolute(const char *path)
{
    AUTO_FREE char *here = getcwd(NULL, 0);
    return path[0] == '/' ? xstrdup(path) : xasprintf("%s/%s", here != NULL ? here : "", path);
}

int command_backup(int argc, char **argv)
{
    static const char usage[] =
        "usage: shoal-registry backup --to DIR [OPTION]...\n"
        "\n"
        "Copies metadata and blobs to a folder while the registry goes on; garbage collection\n"
        "waits. A folder that holds an older backup gets what is new. Every byte is checked\n"
        "against its digest; exit code 3 when something was not copied, since it is damaged or "
        "gone.\n"
        "\n"
        "  --to DIR        where to; as the registry's user sees it\n" COMMON_USAGE;
    static const struct option options[] = {
        {"to", required_argument, NULL, OPTION_TO}, COMMON_OPTIONS, {NULL, 0, NULL, 0}};
    struct order order = {.task = UPKEEP_BACKUP};
    int end = read_options(argc, argv, options, usage, &order);
    if (end != 0)
        return end - 1;
    if (order.options.target == NULL)
        return command_refuse("backup", "--to DIR is needed: where the backup goes");
    AUTO_FREE char *target = make_absolute(order.options.target);
    order.options.target = target;
    return carry_out(&order);
}

/* --- cancel --- */

static int cancel(const char *state, struct json_object **ret_status, struct error *error)
{
    AUTO_FREE char *socket = control_path(state);
    struct http_blocking_client *client = http_blocking_client_create(0);
    struct http_client_request request = {
        .method = "DELETE", .url = "http://registry/tasks", .unix_socket = socket};
    const struct http_client_response *response =
        http_client_perform(client, &request, NULL, error);
    int result = -1;
    if (response != NULL && response->failed && response->error.code == ERROR_UNAVAILABLE)
        error_set(error, ERROR_UNAVAILABLE, "no registry runs on %s", state);
    else if (response != NULL && http_response_check(response, error) == 0)
        result = json_parse(response->body, response->body_length, ret_status, error);
    http_client_release(client, response);
    http_blocking_client_destroy(client);
    return result;
}

int command_cancel(int argc, char **argv)
{
    static const char usage[] =
        "usage: shoal-registry cancel [OPTION]...\n"
        "\n"
        "Ends the scrub, retain or backup that is under way in a registry that runs.\n"
        "\n" COMMON_USAGE;
    static const struct option options[] = {COMMON_OPTIONS, {NULL, 0, NULL, 0}};
    struct order order = {.command = "cancel"};
    struct registry_settings settings;
    struct error error = ERROR_INIT;
    AUTO_JSON struct json_object *status = NULL;
    struct json_object *task = NULL;
    int end = read_options(argc, argv, options, usage, &order);
    if (end != 0)
        return end - 1;
    if (command_settings(&order.values, &settings, &error) < 0)
        return command_fail("cancel", order.json, EXIT_USAGE, &error);
    int result = cancel(settings.state, &status, &error);
    registry_settings_release(&settings);
    if (result < 0)
        return command_fail("cancel", order.json, EXIT_FAILED, &error);
    json_object_object_get_ex(status, "task", &task);
    if (order.json)
        puts(json_object_to_json_string_ext(status, JSON_C_TO_STRING_PRETTY));
    else
        printf(task != NULL ? "%s will end soon.\n" : "Nothing is under way.\n",
               task != NULL ? json_object_get_string(task) : "");
    return EXIT_DONE;
}

/* --- restore --- */

/* A database's log that was left behind would be taken for the restored one's. */
static int check_empty(const char *state, struct error *error)
{
    AUTO_FREE char *database = xasprintf("%s/metadata.db", state);
    AUTO_FREE char *log = xasprintf("%s-wal", database);
    if (access(database, F_OK) == 0)
        return error_set(error, ERROR_CONFLICT,
                         "%s holds a registry already: move it away, or name another folder by "
                         "--state",
                         state);
    if (access(log, F_OK) == 0)
        return error_set(
            error, ERROR_CONFLICT,
            "%s is left of a registry that was here: move it to where metadata.db went", log);
    return 0;
}

/* Nobody else works on the state meanwhile, and a registry that starts does not find it half there.
 */
static int take_state(const char *state, int *ret_lock, struct error *error)
{
    if (file_make_directory(state, 0700, error) < 0 ||
        registry_lock_state(state, ret_lock, error) < 0)
        return -1;
    return check_empty(state, error);
}

static int restore(const struct order *order, const struct registry_settings *settings,
                   struct json_object **ret_report, struct error *error)
{
    AUTO_FREE char *source = make_absolute(order->options.target);
    AUTO_FREE char *database = xasprintf("%s/metadata.db", settings->state);
    struct blob_store *blobs = NULL;
    struct backup_report report = {0};
    AUTO_CLOSE int lock = -1;
    if (take_state(settings->state, &lock, error) < 0 ||
        registry_open_blobs(settings, &blobs, error) < 0)
        return -1;
    int result = backup_restore(source, blobs, database, NULL, &report, error);
    if (result == 0)
        *ret_report = json_encode(&backup_report_record, &report);
    json_record_release(&backup_report_record, &report);
    blob_store_close(blobs);
    return result;
}

int command_restore(int argc, char **argv)
{
    static const char usage[] =
        "usage: shoal-registry restore --from DIR [OPTION]...\n"
        "\n"
        "Makes a registry of a backup, in a state folder (or bucket) that holds none yet. Every\n"
        "byte is checked against its digest. Interrupted, it goes on where it was. Exit code 3 "
        "when\n"
        "something in the backup is damaged or gone; the rest is there.\n"
        "\n"
        "  --from DIR      the backup\n" COMMON_USAGE;
    static const struct option options[] = {
        {"from", required_argument, NULL, OPTION_FROM}, COMMON_OPTIONS, {NULL, 0, NULL, 0}};
    struct order order = {.task = UPKEEP_BACKUP};
    struct registry_settings settings;
    struct error error = ERROR_INIT;
    AUTO_JSON struct json_object *report = NULL;
    int end = read_options(argc, argv, options, usage, &order);
    if (end != 0)
        return end - 1;
    if (order.options.target == NULL)
        return command_refuse("restore", "--from DIR is needed: where the backup is");
    log_open("shoal-registry", LOG_LEVEL_WARN);
    if (command_settings(&order.values, &settings, &error) < 0)
        return command_fail("restore", order.json, EXIT_USAGE, &error);
    int result = restore(&order, &settings, &report, &error);
    registry_settings_release(&settings);
    if (result < 0)
        return command_fail("restore", order.json, EXIT_FAILED, &error);
    return report_print_restore(order.json, report);
}
