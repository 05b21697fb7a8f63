/* shoal-agent: options, the two processes, exit codes.
 *
 * The process that is started becomes the host half (agent/host/); its child, the same program
 * started again with an end of the channel, becomes the deciding half (agent/agent.h). */
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/host/checkup.h"
#include "agent/host/host.h"
#include "agent/privileges.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

#define EXIT_USAGE 2
/* How long the deciding half may take to write its state at the end. */
#define DECIDER_END_MS 3000

static struct host_options host_options_of(const struct agent_options *options)
{
    return (struct host_options){
        .node = options->node,
        .state_directory = options->state,
        .run_directory = options->run,
        .log_directory = options->state,
        .log_size = options->log_size,
        .log_files = options->log_files,
        .publish_address = options->publish_address,
        .accelerator = options->accelerator,
        .hypervisor_uri = options->hypervisor_uri,
        .hypervisor = options->hypervisor,
        .volumes = options->volumes,
        .channel = -1,
    };
}

/* --- the deciding half --- */

static int run_decider(struct agent_options *options, struct error *error)
{
    struct trust trust;
    struct registry_logins *logins = NULL;
    char *state;
    prctl(PR_SET_NAME, "shoal-agent"); /* else it would be called "exe" */
    if (fcntl(options->decider_channel, F_SETFD, FD_CLOEXEC) < 0)
        return error_set_errno(error, errno, "the channel to the host half");
    /* Read as root: folder and file need not be anybody else's business. */
    if (trust_init(&trust, options->trust_directory, error) < 0)
        return -1;
    if (registry_logins_load(options->registry_auth, &logins, error) < 0 ||
        privileges_drop(options, &state, error) < 0) {
        registry_logins_destroy(logins);
        trust_finish(&trust);
        return -1;
    }
    free(options->state);
    options->state = state;
    int exit_code = agent_run(options, &trust, logins);
    registry_logins_destroy(logins);
    trust_finish(&trust);
    return exit_code;
}

/* --- the host half --- */

static void exec_decider(int argc, char **argv, int channel)
{
    char number[16];
    char **arguments = xcalloc((size_t)argc + 3, sizeof *arguments);
    memcpy(arguments, argv, (size_t)argc * sizeof *arguments);
    snprintf(number, sizeof number, "%d", channel);
    char option[] = "--decider-channel";
    arguments[argc] = option;
    arguments[argc + 1] = number;
    if (close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) == 0 && fcntl(channel, F_SETFD, 0) == 0)
        execv("/proc/self/exe", arguments);
    log_error("the deciding half cannot be started", "reason", strerror(errno));
    _exit(EXIT_FAILURE);
}

static void wait_for_decider(pid_t decider)
{
    for (int waited = 0; waited < DECIDER_END_MS; waited += 10) {
        pid_t ended = waitpid(decider, NULL, WNOHANG);
        if (ended == decider || (ended < 0 && errno == ECHILD))
            return;
        usleep(10000);
    }
    kill(decider, SIGKILL);
    waitpid(decider, NULL, 0);
}

static int run_host(const struct agent_options *options, int argc, char **argv, struct error *error)
{
    int channel[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, channel) < 0)
        return error_set_errno(error, errno, "the channel between the halves");
    pid_t decider = fork();
    if (decider < 0)
        return error_set_errno(error, errno, "start the deciding half");
    if (decider == 0)
        exec_decider(argc, argv, channel[1]);
    close(channel[1]);
    struct host_options host = host_options_of(options);
    host.decider = decider;
    host.channel = channel[0];
    int exit_code = host_run(&host);
    wait_for_decider(decider);
    return exit_code;
}

/* Beside whatever agent runs. 0: nothing that is needed is missing. */
static int run_probe(const struct agent_options *options)
{
    struct host_options host = host_options_of(options);
    struct api_checks checks;
    int exit_code = 0;
    checkup_run(&host, &checks);
    for (size_t i = 0; i < checks.check_count; i++) {
        if (checks.checks[i].state == API_CHECK_FAILED)
            exit_code = EXIT_FAILURE;
    }
    AUTO_FREE char *text = json_record_text(&api_checks_record, &checks);
    puts(text);
    json_record_release(&api_checks_record, &checks);
    return exit_code;
}

static int run(struct agent_options *options, int argc, char **argv, struct error *error)
{
    if (geteuid() != 0)
        return error_set(error, ERROR_DENIED,
                         "shoal-agent makes network namespaces and microVMs and needs root: run it "
                         "with sudo");
    if (options->decider_channel >= 0)
        return run_decider(options, error);
    /* What the parent left open would go on to every microVM. */
    close_range(3, ~0U, 0);
    if (privileges_make_folders(options, error) < 0 || privileges_lock(options, error) < 0 ||
        privileges_claim_state(options, error) < 0)
        return -1;
    if (options->clean) {
        struct host_options host = host_options_of(options);
        int status = host_clean(&host, error);
        privileges_clean(options);
        return status;
    }
    return run_host(options, argc, argv, error);
}

int main(int argc, char **argv)
{
    struct agent_options options;
    struct error error = ERROR_INIT;
    if (agent_options_parse(argc, argv, &options, &error) < 0) {
        fprintf(stderr, "shoal-agent: %s\n", error.message);
        return EXIT_USAGE;
    }
    int exit_code = 0;
    if (options.help) {
        fputs(agent_options_usage, stdout);
    } else if (options.version) {
        puts("shoal-agent " SHOAL_VERSION);
    } else if (options.probe) {
        log_open("shoal-agent", LOG_LEVEL_ERROR);
        exit_code = run_probe(&options);
    } else {
        log_open("shoal-agent", options.log_level);
        exit_code = run(&options, argc, argv, &error);
        if (exit_code < 0) {
            fprintf(stderr, "shoal-agent: %s\n", error.message);
            exit_code = EXIT_FAILURE;
        }
    }
    agent_options_release(&options);
    return exit_code;
}
