/* down: the scheduler first, so that nothing is placed again; then the agent and, unless --keep,
 * its guests, data plane and namespace; the registry last. What was deployed stays on disk. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cluster.h"
#include "cli/progress.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define STOP_GRACE_MS 15000
#define CLEAN_MS      60000
#define POLL_MS       50
#define COMMAND_MAX   65536 /* bytes of a process's command line */

struct down {
    struct cli *cli;
    struct cluster cluster;
    struct progress progress;
    bool keep;
    bool was_running; /* a daemon did */
    bool cleaned;     /* guests of this node were ended */
};

static void stop(struct down *down, enum cluster_daemon which)
{
    const char *name = cluster_daemon_names[which];
    struct daemon_record record;
    if (!daemon_record_read(down->cluster.run, name, &record))
        return;
    if (daemon_is_alive(&record)) {
        down->was_running = true;
        progress_show(&down->progress, "shoal-%s: stopping", name);
        daemon_stop(&record, STOP_GRACE_MS);
    }
    if (which != CLUSTER_AGENT)
        daemon_record_remove(down->cluster.run, name);
    daemon_record_release(&record);
}

/* `shoal-agent --clean` with the options it was started with: ends what outlives an agent. */
static int run_cleaner(struct down *down, struct daemon_record *cleaner, struct error *error)
{
    AUTO_FREE char *log = cluster_log(&down->cluster, CLUSTER_AGENT);
    uint64_t log_length = daemon_log_length(log);
    int status = -1;
    pid_t ended = 0;
    if (daemon_start(cleaner, log, error) < 0)
        return -1;
    for (unsigned waited = 0; ended == 0 && waited < CLEAN_MS; waited += POLL_MS) {
        ended = waitpid((pid_t)cleaner->pid, &status, WNOHANG);
        if (ended == 0)
            session_sleep(cli_session(down->cli), POLL_MS);
    }
    if (ended == 0)
        daemon_stop(cleaner, 0);
    if (ended > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    AUTO_FREE char *tail = daemon_log_tail(log, log_length);
    return error_set(error, ERROR_IO,
                     "shoal-agent --clean failed, guests may be left. The end of %s:\n%s", log,
                     tail);
}

/* Whether the process's command line names the run folder or a daemon's state. */
static bool belongs(const struct down *down, const char *pid)
{
    AUTO_FREE char *path = xasprintf("/proc/%s/cmdline", pid);
    AUTO_FREE char *command = NULL;
    AUTO_FREE char *state = xasprintf("%s/agent", down->cluster.state);
    size_t length;
    if (file_read(path, COMMAND_MAX, &command, &length, NULL) < 0)
        return false;
    return memmem(command, length, down->cluster.run, strlen(down->cluster.run)) != NULL ||
           memmem(command, length, state, strlen(state)) != NULL;
}

static bool find_left_process(const struct down *down, char ret_pid[16])
{
    DIR *processes = opendir("/proc");
    bool found = false;
    for (struct dirent *entry; processes != NULL && !found && (entry = readdir(processes));) {
        uint64_t pid;
        if (!text_parse_u64(entry->d_name, INT32_MAX, &pid) || (pid_t)pid == getpid())
            continue;
        if (belongs(down, entry->d_name)) {
            found = true;
            snprintf(ret_pid, 16, "%.15s", entry->d_name);
        }
    }
    if (processes != NULL)
        closedir(processes);
    return found;
}

/* The agent's command line: as it was recorded, or, when no record is left, made for the node of
 * --node or, where something of this cluster still runs, for the one that `up` kept. Without any
 * of it nothing is left; a guess could hit another cluster's node. */
static bool find_agent(struct down *down, struct daemon_record *ret_record)
{
    if (daemon_record_read(down->cluster.run, "agent", ret_record)) {
        strcpy(down->cluster.node, ret_record->node);
        return true;
    }
    char pid[16];
    bool knows_node = invocation_has(down->cli->invocation, "node") ||
                      (down->cluster.kept.node[0] != '\0' && find_left_process(down, pid));
    *ret_record = (struct daemon_record){0};
    return knows_node &&
           cluster_command(&down->cluster, CLUSTER_AGENT, &ret_record->command, NULL) == 0;
}

static int clean(struct down *down, struct error *error)
{
    struct daemon_record cleaner;
    if (!find_agent(down, &cleaner))
        return 0;
    down->cleaned = true;
    json_strings_add(&cleaner.command, "--clean");
    progress_show(&down->progress, "ending the guests of node %s", down->cluster.node);
    int result = run_cleaner(down, &cleaner, error);
    daemon_record_release(&cleaner);
    return result;
}

static int check_nothing_left(struct down *down, struct error *error)
{
    AUTO_FREE char *namespace_path = xasprintf("/run/netns/shoal-%s", down->cluster.node);
    char pid[16];
    bool left = find_left_process(down, pid);
    for (int tries = 0; left && tries < 100; tries++) {
        session_sleep(cli_session(down->cli), POLL_MS);
        left = find_left_process(down, pid);
    }
    if (left)
        return error_set(error, ERROR_IO, "process %s is left behind: see `ps %s`", pid, pid);
    if (down->cleaned && access(namespace_path, F_OK) == 0)
        return error_set(error, ERROR_IO, "the namespace %s is left behind", namespace_path);
    return 0;
}

static int take_down(struct down *down, struct error *error)
{
    stop(down, CLUSTER_SCHEDULER);
    stop(down, CLUSTER_AGENT);
    int result = down->keep ? 0 : clean(down, error);
    stop(down, CLUSTER_REGISTRY);
    if (result == 0 && !down->keep)
        result = check_nothing_left(down, error);
    if (result < 0)
        return -1;
    if (!down->keep) {
        daemon_record_remove(down->cluster.run, "agent");
        AUTO_FREE char *lock = xasprintf("%s/lock", down->cluster.run);
        unlink(lock);
        rmdir(down->cluster.run);
    }
    return 0;
}

static void print_down(struct down *down)
{
    if (!cli_wants_document(down->cli)) {
        printf("%s%s\n",
               down->was_running || down->cleaned ? "The cluster is down" : "Nothing was running",
               down->keep ? "; guests go on" : "");
        if (!down->keep)
            printf("State is kept in %s: `shoal up` brings the services back\n",
                   down->cluster.state);
        return;
    }
    struct json_object *document = json_object_new_object();
    json_object_object_add(
        document, "result",
        json_object_new_string(down->was_running || down->cleaned ? "stopped" : "unchanged"));
    json_object_object_add(document, "kept", json_object_new_boolean(down->keep));
    json_object_object_add(document, "state", json_object_new_string(down->cluster.state));
    cli_print_document(down->cli, document);
}

int down_run(struct cli *cli, struct error *error)
{
    struct down down = {.cli = cli, .keep = invocation_has(cli->invocation, "keep")};
    if (cluster_open(&down.cluster, cli, false, error) < 0)
        return -1;
    progress_init(&down.progress);
    int result = take_down(&down, error);
    progress_finish(&down.progress);
    if (result == 0)
        print_down(&down);
    cluster_close(&down.cluster);
    return result;
}
