/* shoal-scheduler: options, signals, exit code. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/addresses.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/memory.h"
#include "lib/text.h"
#include "lib/xalloc.h"
#include "scheduler/scheduler.h"
#include "scheduler/store_open.h"
#include "scheduler/store_restore.h"

#define EXIT_USAGE       2
#define EVENTS_KEPT_MOST 100000000

static const char usage[] =
    "Usage: shoal-scheduler [OPTION]...\n"
    "Keeps services as they are wanted: places instances on nodes, rolls versions out and back.\n"
    "\n"
    "  --address ADDRESS      listen on this address (127.0.0.1)\n"
    "  --port PORT            and this port (7000); 0: any free one\n"
    "  --advertise URL        where the other schedulers reach this one (http://ADDRESS:PORT)\n"
    "  --state DIR            where the state is (/var/lib/shoal/scheduler)\n"
    "  --store PLACE          where documents are: sqlite:FOLDER (sqlite: and --state's folder), "
    "or\n"
    "                         etcd:http://HOST:2379[,...], which several schedulers may share\n"
    "  --registry URL         the cluster's registry (http://127.0.0.1:5000)\n"
    "  --registry-auth FILE   logins for it, as docker, podman and skopeo write them (none)\n"
    "  --network NETWORK      addresses of guests, a /24 for each node (10.64.0.0/10)\n"
    "  --lease DURATION       a node is silent after so long without a status (10s)\n"
    "  --replace-after DURATION  instances of a silent node are replaced after so long more (30s)\n"
    "  --freeze-above PERCENT replace none while more of the nodes than this are silent (50)\n"
    "  --reschedule-rate N    replace at most N of lost nodes a second (one for each node that is\n"
    "                         ready, at least 10)\n"
    "  --keep-events N        so many events at most (1000000)\n"
    "  --keep-events-for DURATION  and none older than this (24h)\n"
    "  --restored             the state came back from a backup: begin a new term\n"
    "  --restore FILE         fill the store, which must be empty, from a backup, and end\n"
    "  --log-level LEVEL      debug, info, warn or error (info)\n"
    "  --help, --version\n";

enum option_number {
    OPTION_ADDRESS = 256,
    OPTION_PORT,
    OPTION_ADVERTISE,
    OPTION_STATE,
    OPTION_STORE,
    OPTION_REGISTRY,
    OPTION_REGISTRY_AUTH,
    OPTION_NETWORK,
    OPTION_LEASE,
    OPTION_REPLACE_AFTER,
    OPTION_FREEZE_ABOVE,
    OPTION_RESCHEDULE_RATE,
    OPTION_KEEP_EVENTS,
    OPTION_KEEP_EVENTS_FOR,
    OPTION_RESTORED,
    OPTION_RESTORE,
    OPTION_LOG_LEVEL,
    OPTION_HELP,
    OPTION_VERSION,
};

static const struct option long_options[] = {
    {"address", required_argument, NULL, OPTION_ADDRESS},
    {"port", required_argument, NULL, OPTION_PORT},
    {"advertise", required_argument, NULL, OPTION_ADVERTISE},
    {"state", required_argument, NULL, OPTION_STATE},
    {"store", required_argument, NULL, OPTION_STORE},
    {"registry", required_argument, NULL, OPTION_REGISTRY},
    {"registry-auth", required_argument, NULL, OPTION_REGISTRY_AUTH},
    {"network", required_argument, NULL, OPTION_NETWORK},
    {"lease", required_argument, NULL, OPTION_LEASE},
    {"replace-after", required_argument, NULL, OPTION_REPLACE_AFTER},
    {"freeze-above", required_argument, NULL, OPTION_FREEZE_ABOVE},
    {"reschedule-rate", required_argument, NULL, OPTION_RESCHEDULE_RATE},
    {"keep-events", required_argument, NULL, OPTION_KEEP_EVENTS},
    {"keep-events-for", required_argument, NULL, OPTION_KEEP_EVENTS_FOR},
    {"restored", no_argument, NULL, OPTION_RESTORED},
    {"restore", required_argument, NULL, OPTION_RESTORE},
    {"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

struct arguments {
    struct scheduler_options scheduler;
    enum log_level log_level;
    const char *restore; /* a backup's file: fill the store and end */
    bool ends;           /* help or version was printed */
};

static int refuse(const char *option, const char *value, const char *allowed)
{
    fprintf(stderr, "shoal-scheduler: --%s \"%s\": %s\n", option, value, allowed);
    return -1;
}

static int read_duration(const char *option, uint64_t *ret_ms)
{
    uint64_t ms;
    if (!text_parse_duration(optarg, &ms) || ms < 100)
        return refuse(option, optarg, "a duration like 10s, at least 100ms, is needed");
    *ret_ms = ms;
    return 0;
}

static int read_number(const char *option, uint64_t least, uint64_t most, const char *allowed,
                       uint32_t *ret_number)
{
    uint64_t number;
    if (!text_parse_u64(optarg, most, &number) || number < least)
        return refuse(option, optarg, allowed);
    *ret_number = (uint32_t)number;
    return 0;
}

static int read_option(int number, struct arguments *arguments)
{
    struct scheduler_options *options = &arguments->scheduler;
    uint64_t port;
    switch (number) {
    case OPTION_ADDRESS:
        options->address = optarg;
        return 0;
    case OPTION_PORT:
        if (!text_parse_u64(optarg, 65535, &port))
            return refuse("port", optarg, "a number from 0 to 65535 is needed");
        options->port = (uint16_t)port;
        return 0;
    case OPTION_ADVERTISE:
        if (address_normalize(optarg, "--advertise", options->advertise, NULL) < 0)
            return refuse("advertise", optarg, "a URL like http://10.0.0.1:7000 is needed");
        return 0;
    case OPTION_STATE:
        options->state = optarg;
        return 0;
    case OPTION_STORE:
        if (store_place_check(optarg) != NULL)
            return refuse("store", optarg, store_place_check(optarg));
        options->store = optarg;
        return 0;
    case OPTION_REGISTRY:
        if (strncmp(optarg, "http://", 7) != 0 || optarg[strlen(optarg) - 1] == '/')
            return refuse("registry", optarg, "a URL like http://127.0.0.1:5000 is needed");
        options->registry = optarg;
        return 0;
    case OPTION_REGISTRY_AUTH:
        options->registry_auth = optarg;
        return 0;
    case OPTION_NETWORK:
        options->network = optarg;
        return 0;
    case OPTION_LEASE:
        return read_duration("lease", &options->lease_ms);
    case OPTION_REPLACE_AFTER:
        return read_duration("replace-after", &options->replace_after_ms);
    case OPTION_FREEZE_ABOVE:
        return read_number("freeze-above", 1, 100, "a percentage from 1 to 100 is needed",
                           &options->freeze_percent);
    case OPTION_RESCHEDULE_RATE:
        return read_number("reschedule-rate", 1, 1000000,
                           "a number of instances from 1 to 1000000 is needed",
                           &options->reschedule_rate);
    case OPTION_KEEP_EVENTS:
        if (!text_parse_u64(optarg, EVENTS_KEPT_MOST, &options->events_kept))
            return refuse("keep-events", optarg, "a number from 0 to 100000000 is needed");
        return 0;
    case OPTION_KEEP_EVENTS_FOR:
        return read_duration("keep-events-for", &options->events_kept_ms);
    case OPTION_RESTORED:
        options->restored = true;
        return 0;
    case OPTION_RESTORE:
        arguments->restore = optarg;
        return 0;
    case OPTION_LOG_LEVEL:
        if (log_level_parse(optarg, &arguments->log_level) == 0)
            return 0;
        return refuse("log-level", optarg, "debug, info, warn or error is needed");
    case OPTION_HELP:
        fputs(usage, stdout);
        arguments->ends = true;
        return 0;
    case OPTION_VERSION:
        printf("shoal-scheduler %s (protocol %d)\n", SHOAL_VERSION, SHOAL_PROTOCOL);
        arguments->ends = true;
        return 0;
    default:
        fputs("Try shoal-scheduler --help.\n", stderr);
        return -1;
    }
}

static int read_arguments(int argc, char **argv, struct arguments *ret_arguments)
{
    int number;
    while ((number = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (read_option(number, ret_arguments) < 0)
            return -1;
        if (ret_arguments->ends)
            return 0;
    }
    if (optind == argc)
        return 0;
    fprintf(stderr, "shoal-scheduler: unexpected \"%s\"\nTry shoal-scheduler --help.\n",
            argv[optind]);
    return -1;
}

struct signals {
    uv_signal_t terminate;
    uv_signal_t interrupt;
    struct scheduler *scheduler;
};

static void on_signal(uv_signal_t *handle, int number)
{
    struct signals *signals = handle->data;
    log_info("stopping", "signal", strsignal(number));
    uv_close((uv_handle_t *)&signals->terminate, NULL);
    uv_close((uv_handle_t *)&signals->interrupt, NULL);
    scheduler_stop(signals->scheduler);
}

static void watch_signals(uv_loop_t *loop, struct signals *signals)
{
    uv_signal_init(loop, &signals->terminate);
    uv_signal_init(loop, &signals->interrupt);
    signals->terminate.data = signals;
    signals->interrupt.data = signals;
    uv_signal_start(&signals->terminate, on_signal, SIGTERM);
    uv_signal_start(&signals->interrupt, on_signal, SIGINT);
}

static int run(const struct scheduler_options *options)
{
    struct error error = ERROR_INIT;
    struct signals signals = {0};
    uv_loop_t loop;
    uv_loop_init(&loop);
    if (scheduler_create(&loop, options, &signals.scheduler, &error) < 0) {
        log_error("cannot start", "error", error.message);
        fprintf(stderr, "shoal-scheduler: %s\n", error.message);
        uv_run(&loop, UV_RUN_DEFAULT);
        uv_loop_close(&loop);
        return EXIT_FAILURE;
    }
    log_info("listening", "address", options->address, "port",
             LOG_NUMBER(scheduler_port(signals.scheduler)), "state", options->state);
    watch_signals(&loop, &signals);
    uv_run(&loop, UV_RUN_DEFAULT);
    scheduler_destroy(signals.scheduler);
    uv_loop_close(&loop);
    log_info("stopped");
    return EXIT_SUCCESS;
}

/* Tells on standard output what was restored, as JSON: `shoal store restore` reads it. */
static int restore(const struct scheduler_options *options, const char *path)
{
    struct error error = ERROR_INIT;
    struct store_restored restored;
    AUTO_FREE char *place =
        options->store != NULL ? xstrdup(options->store) : xasprintf("sqlite:%s", options->state);
    if (store_restore(place, path, &restored, &error) < 0) {
        fprintf(stderr, "shoal-scheduler: %s\n", error.message);
        return EXIT_FAILURE;
    }
    AUTO_JSON struct json_object *told = json_object_new_object();
    json_object_object_add(told, "store", json_object_new_string(place));
    json_object_object_add(told, "cluster", json_object_new_string(restored.identity.cluster));
    json_object_object_add(told, "term", json_object_new_int64((int64_t)restored.identity.term));
    json_object_object_add(told, "documents", json_object_new_int64((int64_t)restored.documents));
    puts(json_object_to_json_string_ext(told, JSON_C_TO_STRING_PLAIN));
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    memory_prepare_heap();
    struct arguments arguments = {
        .scheduler = {.address = "127.0.0.1",
                      .port = SCHEDULER_DEFAULT_PORT,
                      .state = "/var/lib/shoal/scheduler",
                      .registry = "http://127.0.0.1:5000",
                      .network = "10.64.0.0/10",
                      .lease_ms = 10000,
                      .replace_after_ms = 30000,
                      .events_kept = 1000000,
                      .events_kept_ms = UINT64_C(86400000)},
        .log_level = LOG_LEVEL_INFO,
    };
    if (read_arguments(argc, argv, &arguments) < 0)
        return EXIT_USAGE;
    if (arguments.ends)
        return EXIT_SUCCESS;
    log_open("shoal-scheduler", arguments.log_level);
    signal(SIGPIPE, SIG_IGN);
    if (arguments.restore != NULL)
        return restore(&arguments.scheduler, arguments.restore);
    return run(&arguments.scheduler);
}
