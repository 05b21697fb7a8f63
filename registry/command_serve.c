/* shoal-registry serve: options, signals. */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "lib/log.h"
#include "registry/command.h"
#include "registry/registry.h"

/* The database's, and the blobs that are kept open. */
#define DESCRIPTORS_OF_ITS_OWN 128

static const char usage[] =
    "usage: shoal-registry [serve] [OPTION]...\n"
    "\n"
    "Answers OCI clients until SIGTERM or SIGINT. SIGHUP reads certificates, users, rules and\n"
    "policies again and opens the access log anew.\n"
    "\n"
    "  --config FILE        settings in JSON (docs/registry.md); options here come on top\n"
    "  --address ADDRESS    where to listen (127.0.0.1)\n"
    "  --port PORT          0: any free one, the log says which (5000)\n"
    "  --state DIR          blobs, uploads and metadata (/var/lib/shoal/registry)\n"
    "  --tls-cert FILE      PEM chain: speak TLS\n"
    "  --tls-key FILE       its key\n"
    "  --tls-client-ca FILE clients must show a certificate that leads there\n"
    "  --htpasswd FILE      users (shoal-registry passwd): others may do nothing\n"
    "  --access-log FILE    one line a request\n"
    "  --log-level LEVEL    debug, info, warn or error (info)\n"
    "  --help, --version\n"
    "\n"
    "Exit code 1 when it cannot start (port, state, certificate, users), 2 when the command line "
    "or\n"
    "the settings have a mistake.\n";

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"address", required_argument, NULL, 'a'},
    {"port", required_argument, NULL, 'p'},
    {"state", required_argument, NULL, 's'},
    {"tls-cert", required_argument, NULL, 't'},
    {"tls-key", required_argument, NULL, 'k'},
    {"tls-client-ca", required_argument, NULL, 'C'},
    {"htpasswd", required_argument, NULL, 'u'},
    {"access-log", required_argument, NULL, 'A'},
    {"log-level", required_argument, NULL, 'l'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'v'},
    {NULL, 0, NULL, 0},
};

/* 0: go on; else the exit code plus one. */
static int read_option(int option, char **argv, struct option_values *values)
{
    switch (option) {
    case 'c':
        values->config = optarg;
        return 0;
    case 'a':
        values->address = optarg;
        return 0;
    case 'p':
        values->port = optarg;
        return 0;
    case 's':
        values->state = optarg;
        return 0;
    case 't':
        values->certificate = optarg;
        return 0;
    case 'k':
        values->key = optarg;
        return 0;
    case 'C':
        values->client_ca = optarg;
        return 0;
    case 'u':
        values->htpasswd = optarg;
        return 0;
    case 'A':
        values->access_log = optarg;
        return 0;
    case 'l':
        values->log_level = optarg;
        return 0;
    case 'h':
        fputs(usage, stdout);
        return EXIT_DONE + 1;
    case 'v':
        puts("shoal-registry " SHOAL_VERSION);
        return EXIT_DONE + 1;
    default:
        return command_refuse_option("serve", argv, option) + 1;
    }
}

static int read_options(int argc, char **argv, struct option_values *values)
{
    for (int option; (option = getopt_long(argc, argv, ":h", options, NULL)) != -1;) {
        int end = read_option(option, argv, values);
        if (end != 0)
            return end;
    }
    if (optind < argc)
        return command_refuse("serve", "unexpected argument \"%s\"", argv[optind]) + 1;
    return 0;
}

static void reload(struct registry *registry, const struct option_values *values)
{
    struct registry_settings settings;
    struct error error = ERROR_INIT;
    if (command_settings(values, &settings, &error) < 0) {
        log_error("not reloaded, what was in force stays", "error", error.message);
        return;
    }
    if (values->config == NULL)
        log_info("there is no settings file: what the options name is read again");
    registry_reload(registry, &settings);
    registry_settings_release(&settings);
}

/* Each connection has a socket and may have a blob open: more than the usual 1024 descriptors. */
static void raise_descriptor_limit(const struct limit_settings *limits)
{
    struct rlimit limit;
    uint64_t needed = 2 * (uint64_t)limits->connections + DESCRIPTORS_OF_ITS_OWN;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur < needed)
        log_warn("not every connection that is allowed can be served: raise the limit of open "
                 "files (ulimit -n, LimitNOFILE=), or lower limits.connections",
                 "files", LOG_NUMBER(limit.rlim_cur), "needed", LOG_NUMBER(needed));
}

static int serve(const struct registry_settings *settings, const struct option_values *values)
{
    struct registry *registry = NULL;
    struct error error = ERROR_INIT;
    log_open("shoal-registry", (enum log_level)settings->log.level);
    raise_descriptor_limit(&settings->limits);
    /* Blocked before there are threads, so that only sigwait sees them. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    if (registry_create(settings, &registry, &error) < 0) {
        log_error("cannot start", "error", error.message);
        return EXIT_FAILED;
    }
    log_info("registry started", "address", settings->listen.address, "port",
             LOG_NUMBER(registry_port(registry)), "state", settings->state);
    int received = 0;
    while (sigwait(&signals, &received) == 0 && received == SIGHUP)
        reload(registry, values);
    log_info("registry stopping", "signal", received == SIGTERM ? "SIGTERM" : "SIGINT");
    registry_destroy(registry);
    return EXIT_DONE;
}

int command_serve(int argc, char **argv)
{
    struct option_values values = {0};
    struct registry_settings settings;
    struct error error = ERROR_INIT;
    int end = read_options(argc, argv, &values);
    if (end != 0)
        return end - 1;
    if (command_settings(&values, &settings, &error) < 0)
        return command_fail("serve", false, EXIT_USAGE, &error);
    int result = serve(&settings, &values);
    registry_settings_release(&settings);
    return result;
}
