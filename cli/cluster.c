#include "cli/cluster.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/cleanup.h"
#include "lib/crypto.h"
#include "lib/file.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define LOG_DEFAULT "/var/log/shoal"

const char *const cluster_daemon_names[] = {"registry", "scheduler", "agent", NULL};

/* The host's name as a node's: what does not fit becomes '-'. */
static void node_default(char ret_node[NAME_MAX_TEXT])
{
    char name[NAME_MAX_TEXT] = "";
    gethostname(name, sizeof name - 1);
    for (char *at = name; *at != '\0'; at++)
        *at = isalnum((unsigned char)*at) ? (char)tolower((unsigned char)*at) : '-';
    strcpy(ret_node, text_is_name(name) ? name : "local");
}

static int choose_paths(struct cluster *cluster, const char *state, bool create,
                        struct error *error)
{
    char digest[DIGEST_TEXT_MAX];
    if (create &&
        file_make_directory(state != NULL ? state : CLUSTER_STATE_DEFAULT, 0755, error) < 0)
        return -1;
    cluster->state = realpath(state != NULL ? state : CLUSTER_STATE_DEFAULT, NULL);
    if (cluster->state == NULL && errno == ENOENT)
        return error_set(error, ERROR_NOT_FOUND,
                         "there is no cluster in %s: another folder is named by --state",
                         state != NULL ? state : CLUSTER_STATE_DEFAULT);
    if (cluster->state == NULL)
        return error_set_errno(error, errno, "the state in %s",
                               state != NULL ? state : CLUSTER_STATE_DEFAULT);
    digest_of_bytes(cluster->state, strlen(cluster->state), digest);
    cluster->run = xasprintf("/run/shoal/%.8s", digest_hex(digest));
    cluster->log = state != NULL ? xasprintf("%s/log", cluster->state) : xstrdup(LOG_DEFAULT);
    if (file_make_directory(cluster->run, 0755, error) < 0)
        return -1;
    return file_make_directory(cluster->log, 0755, error);
}

/* `down` removes the file at its end: a lock on a file that is no longer there counts for nothing.
 */
static bool is_current(const char *path, int descriptor)
{
    struct stat there, here;
    return stat(path, &there) == 0 && fstat(descriptor, &here) == 0 &&
           there.st_ino == here.st_ino && there.st_dev == here.st_dev;
}

static int take_lock(struct cluster *cluster, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/lock", cluster->run);
    for (;;) {
        AUTO_CLOSE int lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (lock < 0)
            return error_set_errno(error, errno, "open %s", path);
        if (flock(lock, LOCK_EX | LOCK_NB) < 0)
            return error_set(error, ERROR_CONFLICT,
                             "another `shoal up` or `shoal down` works on %s: wait for it",
                             cluster->state);
        if (is_current(path, lock)) {
            cluster->lock = TAKE_DESCRIPTOR(lock);
            return 0;
        }
    }
}

/* --- what the next `up` need not be told --- */

#define CHOICES_MAX 4096
#define PORT_FIELD(which, name)                                                                    \
    JSON_FIELD(struct cluster_choices, ports[which], name, JSON_UINT, .max = UINT16_MAX)

static const struct json_field choices_fields[] = {
    PORT_FIELD(CLUSTER_REGISTRY, "registry_port"),
    PORT_FIELD(CLUSTER_SCHEDULER, "scheduler_port"),
    PORT_FIELD(CLUSTER_AGENT, "agent_port"),
    JSON_FIELD(struct cluster_choices, node, "node", JSON_STRING, .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct cluster_choices, accelerator, "accelerator", JSON_STRING,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD(struct cluster_choices, hypervisor, "hypervisor", JSON_STRING,
               .flags = JSON_OMIT_EMPTY),
    JSON_FIELD_END,
};
static const struct json_record choices_record = {sizeof(struct cluster_choices), choices_fields};

static int load_choices(struct cluster *cluster, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/up.json", cluster->state);
    AUTO_FREE char *text = NULL;
    size_t length;
    struct error reason = ERROR_INIT;
    if (file_read(path, CHOICES_MAX, &text, &length, &reason) < 0)
        return reason.code == ERROR_NOT_FOUND ? 0 : error_copy(error, &reason);
    if (json_parse_record(&choices_record, text, length, JSON_LENIENT, &cluster->kept, error) == 0)
        return 0;
    return error_wrap(error, "%s, where `shoal up` keeps ports and the node's name", path);
}

int cluster_keep_choices(const struct cluster *cluster, bool agent_started, struct error *error)
{
    AUTO_FREE char *path = xasprintf("%s/up.json", cluster->state);
    struct cluster_choices choices = cluster->kept;
    for (int i = 0; i < CLUSTER_DAEMONS; i++)
        choices.ports[i] = cluster->ports[i];
    memcpy(choices.node, cluster->node, sizeof choices.node);
    if (agent_started && cluster->accelerator != NULL)
        text_copy(choices.accelerator, sizeof choices.accelerator, cluster->accelerator);
    if (agent_started && cluster->hypervisor != NULL)
        text_copy(choices.hypervisor, sizeof choices.hypervisor, cluster->hypervisor);
    AUTO_FREE char *text = json_record_text(&choices_record, &choices);
    return file_write(path, text, strlen(text), 0644, error);
}

/* Of an option that is not given: what was kept, else NULL. */
static const char *choose_text(const struct cli *cli, const char *option, const char *kept)
{
    const char *text = invocation_text(cli->invocation, option);
    return text != NULL || kept[0] == '\0' ? text : kept;
}

static int choose_ports(struct cluster *cluster, struct cli *cli, struct error *error)
{
    static const char *const options[] = {"registry-port", "scheduler-port", "agent-port"};
    static const uint16_t defaults[] = {REGISTRY_DEFAULT_PORT, SCHEDULER_DEFAULT_PORT,
                                        AGENT_DEFAULT_PORT};
    for (int i = 0; i < CLUSTER_DAEMONS; i++) {
        uint32_t kept = cluster->kept.ports[i];
        cluster->ports[i] = (uint16_t)invocation_number(cli->invocation, options[i],
                                                        kept != 0 ? kept : defaults[i]);
        for (int j = 0; j < i; j++) {
            if (cluster->ports[i] == cluster->ports[j])
                return cli_refuse_usage(cli, error,
                                        "--%s and --%s are both %u: each daemon needs a port of "
                                        "its own",
                                        options[j], options[i], cluster->ports[i]);
        }
    }
    return 0;
}

int cluster_open(struct cluster *cluster, struct cli *cli, bool create, struct error *error)
{
    const char *node = invocation_text(cli->invocation, "node");
    *cluster = (struct cluster){.lock = -1};
    if (geteuid() != 0)
        return error_set(error, ERROR_DENIED,
                         "the agent makes network namespaces, taps and microVMs, which needs root: "
                         "run `sudo shoal %s`",
                         cli->invocation->command->verb);
    if (node != NULL && !text_is_name(node))
        return cli_refuse_usage(cli, error,
                                "--node \"%s\": allowed are 1 to 63 of a-z, 0-9 and -, with a "
                                "letter or digit at both ends",
                                node);
    if (choose_paths(cluster, invocation_text(cli->invocation, "state"), create, error) < 0 ||
        take_lock(cluster, error) < 0 || load_choices(cluster, error) < 0 ||
        choose_ports(cluster, cli, error) < 0) {
        cluster_close(cluster);
        return -1;
    }
    node = choose_text(cli, "node", cluster->kept.node);
    if (node != NULL && text_is_name(node))
        strcpy(cluster->node, node);
    else
        node_default(cluster->node);
    cluster->accelerator = choose_text(cli, "accelerator", cluster->kept.accelerator);
    cluster->hypervisor = choose_text(cli, "hypervisor", cluster->kept.hypervisor);
    return 0;
}

void cluster_close(struct cluster *cluster)
{
    if (cluster->lock >= 0)
        close(cluster->lock);
    free(cluster->state);
    free(cluster->run);
    free(cluster->log);
    *cluster = (struct cluster){.lock = -1};
}

char *cluster_log(const struct cluster *cluster, enum cluster_daemon which)
{
    return xasprintf("%s/%s.log", cluster->log, cluster_daemon_names[which]);
}

char *cluster_url(uint16_t port)
{
    return xasprintf("http://127.0.0.1:%u", port);
}

/* Takes the value. */
static void add_option(struct json_strings *command, const char *name, char *value)
{
    json_strings_add(command, name);
    json_strings_add(command, value);
    free(value);
}

int cluster_command(const struct cluster *cluster, enum cluster_daemon which,
                    struct json_strings *ret_command, struct error *error)
{
    const char *name = cluster_daemon_names[which];
    AUTO_FREE char *program_name = xasprintf("shoal-%s", name);
    AUTO_FREE char *program = daemon_find_program(program_name);
    if (program == NULL)
        return error_set(error, ERROR_NOT_FOUND,
                         "%s is neither beside this program nor in PATH: build or install it",
                         program_name);
    struct json_strings command = {0};
    json_strings_add(&command, program);
    add_option(&command, "--address", xstrdup("127.0.0.1"));
    add_option(&command, "--port", xasprintf("%u", cluster->ports[which]));
    add_option(&command, "--state", xasprintf("%s/%s", cluster->state, name));
    if (which == CLUSTER_SCHEDULER)
        add_option(&command, "--registry", cluster_url(cluster->ports[CLUSTER_REGISTRY]));
    if (which == CLUSTER_AGENT) {
        add_option(&command, "--node", xstrdup(cluster->node));
        add_option(&command, "--scheduler", cluster_url(cluster->ports[CLUSTER_SCHEDULER]));
        add_option(&command, "--run", xstrdup(cluster->run));
        add_option(&command, "--publish-address", xstrdup("127.0.0.1"));
        if (cluster->accelerator != NULL)
            add_option(&command, "--accelerator", xstrdup(cluster->accelerator));
        if (cluster->hypervisor != NULL)
            add_option(&command, "--hypervisor", xstrdup(cluster->hypervisor));
    }
    *ret_command = command;
    return 0;
}
