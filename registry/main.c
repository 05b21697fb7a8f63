/* shoal-registry: options, signals, exit code (0 stopped, 1 failed, 2 wrong usage). */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>

#include "lib/log.h"
#include "lib/text.h"
#include "registry/registry.h"

static const char usage[] =
    "usage: shoal-registry [--address ADDRESS] [--port PORT] [--state DIR] [--log-level LEVEL]\n"
    "\n"
    "An OCI registry.\n"
    "\n"
    "  --address ADDRESS   where to listen (127.0.0.1)\n"
    "  --port PORT         0: any free one, the log says which (5000)\n"
    "  --state DIR         blobs, uploads and metadata (/var/lib/shoal/registry)\n"
    "  --log-level LEVEL   debug, info, warn or error (info)\n"
    "  --help, --version\n";

struct settings {
    struct registry_options registry;
    enum log_level level;
};

/* 0: go on; else the exit code plus one. */
static int parse_option(int option, struct settings *settings)
{
    uint64_t port;
    switch (option) {
    case 'a':
        settings->registry.address = optarg;
        return 0;
    case 'p':
        if (!text_parse_u64(optarg, UINT16_MAX, &port)) {
            fprintf(stderr, "shoal-registry: --port %s is no port: 0 to 65535\n", optarg);
            return 3;
        }
        settings->registry.port = (uint16_t)port;
        return 0;
    case 's':
        settings->registry.state = optarg;
        return 0;
    case 'l':
        if (log_level_parse(optarg, &settings->level) < 0) {
            fprintf(stderr, "shoal-registry: --log-level %s is none of debug, info, warn, error\n",
                    optarg);
            return 3;
        }
        return 0;
    case 'h':
        fputs(usage, stdout);
        return 1;
    case 'v':
        puts("shoal-registry " SHOAL_VERSION);
        return 1;
    default:
        fputs(usage, stderr);
        return 3;
    }
}

static int parse(int argc, char **argv, struct settings *settings)
{
    static const struct option options[] = {
        {"address", required_argument, NULL, 'a'},
        {"port", required_argument, NULL, 'p'},
        {"state", required_argument, NULL, 's'},
        {"log-level", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        int end = parse_option(option, settings);
        if (end != 0)
            return end;
    }
    if (optind < argc) {
        fprintf(stderr, "shoal-registry: unexpected argument \"%s\"\n%s", argv[optind], usage);
        return 3;
    }
    return 0;
}

int main(int argc, char **argv)
{
    struct settings settings = {
        .registry = {.address = "127.0.0.1", .port = 5000, .state = "/var/lib/shoal/registry"},
        .level = LOG_LEVEL_INFO,
    };
    int end = parse(argc, argv, &settings);
    if (end != 0)
        return end - 1;
    log_open("shoal-registry", settings.level);
    /* Blocked before there are threads, so that only sigwait sees them. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    struct registry *registry = NULL;
    struct error error = ERROR_INIT;
    if (registry_create(&settings.registry, &registry, &error) < 0) {
        log_error("cannot start", "error", error.message);
        return 1;
    }
    log_info("registry started", "address", settings.registry.address, "port",
             LOG_NUMBER(registry_port(registry)), "state", settings.registry.state);
    int received = 0;
    sigwait(&signals, &received);
    log_info("registry stopping", "signal", received == SIGTERM ? "SIGTERM" : "SIGINT");
    registry_destroy(registry);
    return 0;
}
