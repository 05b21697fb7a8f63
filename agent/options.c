#include "agent/options.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/host/console_file.h"
#include "agent/host/hypervisors.h"
#include "agent/host/libvirt_uri.h"
#include "agent/image_keeper.h"
#include "lib/api/constraint.h"
#include "lib/api/protocol.h"
#include "lib/cleanup.h"
#include "lib/text.h"
#include "lib/xalloc.h"

const char agent_options_usage[] =
    "Usage: shoal-agent [options]\n"
    "Boots this node's instances, checks them, and routes traffic to them. Needs root.\n"
    "\n"
    "  --node NAME              this node's name (the host's name)\n"
    "  --scheduler URL[,URL...] where the scheduler is, or several of one cluster: the next one "
    "is\n"
    "                           asked when one fails (http://127.0.0.1:7000)\n"
    "  --state DIR              what is kept (/var/lib/shoal/agent)\n"
    "  --run DIR                sockets and pids (/run/shoal/<8 hex of the state folder's path>)\n"
    "  --address ADDRESS        of the agent's own HTTP interface (127.0.0.1)\n"
    "  --port PORT              of the same, 0 for any free one (7001)\n"
    "  --publish-address ADDR   published ports are bound here (127.0.0.1)\n"
    "  --accelerator KIND       auto, kvm or tcg (auto: kvm only if a guest really runs on it)\n"
    "  --hypervisor NAME        qemu or libvirt: what starts the microVMs (qemu)\n"
    "  --hypervisor-uri URI     of libvirt: qemu:///embed, or qemu:///system for the host's "
    "daemon\n"
    "                           (qemu:///embed)\n"
    "  --memory SIZE            memory for guests, \"8Gi\" (what the host has, less a reserve)\n"
    "  --vcpus N                processors to promise to guests (128 for each of the host)\n"
    "  --volumes SIZE           disk for volumes and their snapshots (80 % of what is free)\n"
    "  --label KEY=VALUE        a label of this node; may be given often\n"
    "  --trust-dir DIR          honour only trusted keys that are also in this folder\n"
    "  --registry-auth FILE     logins for registries, as docker, podman and skopeo write them\n"
    "  --image-cache SIZE       what images may take of the disk: the least recently used go, "
    "those\n"
    "                           in use stay in any case (a tenth of the disk, 10Gi at most)\n"
    "  --image-age TIME         images that no instance used for longer go (7d)\n"
    "  --log-size SIZE          of a file of an instance's console log, 64Ki to 1Gi (1Mi)\n"
    "  --log-files N            such files of an instance, 1 to 100: older lines go (4)\n"
    "  --log-level LEVEL        debug, info, warn or error (info)\n"
    "  --probe                  try what an agent needs of this machine, print it as JSON, and "
    "exit\n"
    "  --clean                  end every microVM of this node, remove its network, and exit\n"
    "  --help, --version\n";

enum option_id {
    OPTION_NODE = 256,
    OPTION_SCHEDULER,
    OPTION_STATE,
    OPTION_RUN,
    OPTION_ADDRESS,
    OPTION_PORT,
    OPTION_PUBLISH_ADDRESS,
    OPTION_ACCELERATOR,
    OPTION_HYPERVISOR_URI,
    OPTION_HYPERVISOR,
    OPTION_MEMORY,
    OPTION_VCPUS,
    OPTION_VOLUMES,
    OPTION_LABEL,
    OPTION_TRUST_DIR,
    OPTION_REGISTRY_AUTH,
    OPTION_IMAGE_CACHE,
    OPTION_IMAGE_AGE,
    OPTION_LOG_SIZE,
    OPTION_LOG_FILES,
    OPTION_LOG_LEVEL,
    OPTION_PROBE,
    OPTION_CLEAN,
    OPTION_HELP,
    OPTION_VERSION,
    OPTION_DECIDER_CHANNEL,
};

static const struct option option_table[] = {
    {"node", required_argument, NULL, OPTION_NODE},
    {"scheduler", required_argument, NULL, OPTION_SCHEDULER},
    {"state", required_argument, NULL, OPTION_STATE},
    {"run", required_argument, NULL, OPTION_RUN},
    {"address", required_argument, NULL, OPTION_ADDRESS},
    {"port", required_argument, NULL, OPTION_PORT},
    {"publish-address", required_argument, NULL, OPTION_PUBLISH_ADDRESS},
    {"accelerator", required_argument, NULL, OPTION_ACCELERATOR},
    {"hypervisor-uri", required_argument, NULL, OPTION_HYPERVISOR_URI},
    {"hypervisor", required_argument, NULL, OPTION_HYPERVISOR},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"vcpus", required_argument, NULL, OPTION_VCPUS},
    {"volumes", required_argument, NULL, OPTION_VOLUMES},
    {"label", required_argument, NULL, OPTION_LABEL},
    {"trust-dir", required_argument, NULL, OPTION_TRUST_DIR},
    {"registry-auth", required_argument, NULL, OPTION_REGISTRY_AUTH},
    {"image-cache", required_argument, NULL, OPTION_IMAGE_CACHE},
    {"image-age", required_argument, NULL, OPTION_IMAGE_AGE},
    {"log-size", required_argument, NULL, OPTION_LOG_SIZE},
    {"log-files", required_argument, NULL, OPTION_LOG_FILES},
    {"log-level", required_argument, NULL, OPTION_LOG_LEVEL},
    {"probe", no_argument, NULL, OPTION_PROBE},
    {"clean", no_argument, NULL, OPTION_CLEAN},
    {"help", no_argument, NULL, OPTION_HELP},
    {"version", no_argument, NULL, OPTION_VERSION},
    /* Between the two halves only: the number of the channel's descriptor. */
    {"decider-channel", required_argument, NULL, OPTION_DECIDER_CHANNEL},
    {NULL, 0, NULL, 0},
};

#define TEXT(value)           TEXT_(value)
#define TEXT_(value)          #value
#define SCHEDULER_DEFAULT_URL "http://127.0.0.1:" TEXT(SCHEDULER_DEFAULT_PORT)

static void set(char **member, const char *text)
{
    free(*member);
    *member = xstrdup(text);
}

static int set_address(char **member, const char *option, const char *text, struct error *error)
{
    struct in_addr address;
    if (inet_pton(AF_INET, text, &address) != 1)
        return error_set(error, ERROR_INVALID, "--%s %s: an IPv4 address is allowed", option, text);
    set(member, text);
    return 0;
}

static int set_number(const char *option, const char *text, uint64_t most, uint64_t *ret_number,
                      struct error *error)
{
    if (!text_parse_u64(text, most, ret_number))
        return error_set(error, ERROR_INVALID, "--%s %s: a number up to %llu is allowed", option,
                         text, (unsigned long long)most);
    return 0;
}

static int set_label(struct json_map *labels, const char *text, struct error *error)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text)
        return error_set(error, ERROR_INVALID, "--label %s: KEY=VALUE is allowed", text);
    AUTO_FREE char *key = xstrndup(text, (size_t)(equals - text));
    if (api_check_label_key(key) != NULL)
        return error_set(error, ERROR_INVALID, "--label %s: a key is %s", text,
                         api_check_label_key(key));
    json_map_set(labels, key, equals + 1);
    return 0;
}

static int set_accelerator(struct agent_options *options, const char *text, struct error *error)
{
    if (strcmp(text, "auto") != 0 && strcmp(text, "kvm") != 0 && strcmp(text, "tcg") != 0)
        return error_set(error, ERROR_INVALID, "--accelerator %s: auto, kvm or tcg is allowed",
                         text);
    set(&options->accelerator, text);
    return 0;
}

static int set_log_size(struct agent_options *options, const char *text, struct error *error)
{
    uint64_t size;
    if (!text_parse_size(text, &size) || size < CONSOLE_LOG_SIZE_MIN || size > CONSOLE_LOG_SIZE_MAX)
        return error_set(error, ERROR_INVALID, "--log-size %s: 64Ki to 1Gi is allowed", text);
    options->log_size = size;
    return 0;
}

static int set_log_files(struct agent_options *options, const char *text, struct error *error)
{
    uint64_t files;
    if (!text_parse_u64(text, CONSOLE_LOG_FILES_MAX, &files) || files == 0)
        return error_set(error, ERROR_INVALID, "--log-files %s: a number from 1 to %d is allowed",
                         text, CONSOLE_LOG_FILES_MAX);
    options->log_files = (uint32_t)files;
    return 0;
}

static int set_hypervisor_uri(struct agent_options *options, const char *text, struct error *error)
{
    enum libvirt_driver driver;
    if (libvirt_uri_parse(text, &driver, error) < 0)
        return error_wrap(error, "--hypervisor-uri");
    if (driver == LIBVIRT_TEST)
        return error_set(error, ERROR_INVALID, "--hypervisor-uri %s: it runs no guest", text);
    set(&options->hypervisor_uri, text);
    return 0;
}

static int set_scheduler(struct agent_options *options, const char *text, struct error *error)
{
    struct addresses schedulers;
    if (addresses_parse(text, "--scheduler", &schedulers, error) < 0)
        return -1;
    for (size_t i = 0; i < schedulers.count; i++) {
        if (strncmp(schedulers.urls[i], "http://", 7) != 0)
            return error_set(error, ERROR_INVALID,
                             "--scheduler %s: a URL such as http://127.0.0.1:%d is allowed", text,
                             SCHEDULER_DEFAULT_PORT);
    }
    options->schedulers = schedulers;
    return 0;
}

/* The host's name with whatever is not allowed in a name turned into '-'. */
static void default_node(char ret_node[NAME_MAX_TEXT])
{
    char name[NAME_MAX_TEXT] = "";
    if (gethostname(name, sizeof name - 1) < 0)
        name[0] = '\0';
    name[strcspn(name, ".")] = '\0';
    size_t length = 0;
    for (const char *from = name; *from != '\0'; from++) {
        unsigned char c = (unsigned char)*from;
        bool is_plain = isalnum(c) && c < 0x80;
        if (!is_plain && length == 0)
            continue;
        ret_node[length++] = is_plain ? (char)tolower(c) : '-';
    }
    while (length > 0 && ret_node[length - 1] == '-')
        length--;
    ret_node[length] = '\0';
    if (length == 0)
        memcpy(ret_node, "node", sizeof "node");
}

static int set_size(const char *option, const char *text, uint64_t least, uint64_t *ret_bytes,
                    struct error *error)
{
    uint64_t bytes;
    if (!text_parse_size(text, &bytes) || bytes < least)
        return error_set(error, ERROR_INVALID, "--%s %s: a size such as 8Gi is allowed", option,
                         text);
    *ret_bytes = bytes;
    return 0;
}

static int set_node(struct agent_options *options, const char *text, struct error *error)
{
    if (!text_is_name(text) || !text_copy(options->node, sizeof options->node, text))
        return error_set(error, ERROR_INVALID,
                         "--node %s: lower-case letters, digits and '-' are allowed", text);
    return 0;
}

static int set_hypervisor(struct agent_options *options, const char *text, struct error *error)
{
    if (!hypervisor_is_known(text))
        return error_set(
            error, ERROR_INVALID,
            "--hypervisor %s: " HYPERVISOR_QEMU " or " HYPERVISOR_LIBVIRT " is allowed", text);
    set(&options->hypervisor, text);
    return 0;
}

static int set_log_level(struct agent_options *options, const char *text, struct error *error)
{
    if (log_level_parse(text, &options->log_level) < 0)
        return error_set(error, ERROR_INVALID,
                         "--log-level %s: debug, info, warn or error is allowed", text);
    return 0;
}

static int set_image_age(struct agent_options *options, const char *text, struct error *error)
{
    if (!text_parse_duration(text, &options->image_age_ms))
        return error_set(error, ERROR_INVALID, "--image-age %s: a time such as 7d is allowed",
                         text);
    return 0;
}

static int take_one(struct agent_options *options, int option, const char *text,
                    struct error *error)
{
    uint64_t number = 0;
    switch (option) {
    case OPTION_NODE:
        return set_node(options, text, error);
    case OPTION_SCHEDULER:
        return set_scheduler(options, text, error);
    case OPTION_STATE:
        set(&options->state, text);
        return 0;
    case OPTION_RUN:
        set(&options->run, text);
        return 0;
    case OPTION_ADDRESS:
        return set_address(&options->address, "address", text, error);
    case OPTION_PORT:
        if (set_number("port", text, 65535, &number, error) < 0)
            return -1;
        options->port = (uint16_t)number;
        return 0;
    case OPTION_PUBLISH_ADDRESS:
        return set_address(&options->publish_address, "publish-address", text, error);
    case OPTION_ACCELERATOR:
        return set_accelerator(options, text, error);
    case OPTION_HYPERVISOR_URI:
        return set_hypervisor_uri(options, text, error);
    case OPTION_HYPERVISOR:
        return set_hypervisor(options, text, error);
    case OPTION_MEMORY:
        return set_size("memory", text, 0, &options->memory, error);
    case OPTION_VCPUS:
        if (set_number("vcpus", text, 65535, &number, error) < 0)
            return -1;
        options->vcpus = (uint32_t)number;
        return 0;
    case OPTION_VOLUMES:
        return set_size("volumes", text, 1, &options->volumes, error);
    case OPTION_LABEL:
        return set_label(&options->labels, text, error);
    case OPTION_TRUST_DIR:
        set(&options->trust_directory, text);
        return 0;
    case OPTION_REGISTRY_AUTH:
        set(&options->registry_auth, text);
        return 0;
    case OPTION_IMAGE_CACHE:
        options->has_image_cache = true;
        return set_size("image-cache", text, 0, &options->image_cache, error);
    case OPTION_IMAGE_AGE:
        return set_image_age(options, text, error);
    case OPTION_LOG_SIZE:
        return set_log_size(options, text, error);
    case OPTION_LOG_FILES:
        return set_log_files(options, text, error);
    case OPTION_LOG_LEVEL:
        return set_log_level(options, text, error);
    case OPTION_PROBE:
        options->probe = true;
        return 0;
    case OPTION_CLEAN:
        options->clean = true;
        return 0;
    case OPTION_HELP:
        options->help = true;
        return 0;
    case OPTION_VERSION:
        options->version = true;
        return 0;
    case OPTION_DECIDER_CHANNEL:
        if (set_number("decider-channel", text, 65535, &number, error) < 0)
            return -1;
        options->decider_channel = (int)number;
        return 0;
    default:
        return error_set(error, ERROR_INVALID, "try shoal-agent --help");
    }
}

/* UNIX sockets' paths are short, so the run folder's name must be. */
static void complete(struct agent_options *options)
{
    if (options->state[0] != '/') {
        AUTO_FREE char *here = getcwd(NULL, 0);
        char *absolute = xasprintf("%s/%s", here != NULL ? here : "", options->state);
        free(options->state);
        options->state = absolute;
    }
    if (options->hypervisor == NULL) /* a URI is libvirt's */
        options->hypervisor =
            xstrdup(options->hypervisor_uri != NULL ? HYPERVISOR_LIBVIRT : HYPERVISOR_DEFAULT);
    if (options->hypervisor_uri == NULL)
        options->hypervisor_uri = xstrdup(LIBVIRT_URI_EMBED);
    if (options->run == NULL) {
        char digest[DIGEST_TEXT_MAX];
        digest_of_bytes(options->state, strlen(options->state), digest);
        options->run = xasprintf("/run/shoal/%.8s", digest_hex(digest));
    }
}

int agent_options_parse(int argc, char **argv, struct agent_options *ret_options,
                        struct error *error)
{
    struct agent_options options = {
        .state = xstrdup("/var/lib/shoal/agent"),
        .address = xstrdup("127.0.0.1"),
        .port = AGENT_DEFAULT_PORT,
        .publish_address = xstrdup("127.0.0.1"),
        .accelerator = xstrdup("auto"),
        .image_age_ms = IMAGE_KEEPER_AGE_MS,
        .log_size = CONSOLE_LOG_SIZE,
        .log_files = CONSOLE_LOG_FILES,
        .log_level = LOG_LEVEL_INFO,
        .decider_channel = -1,
    };
    default_node(options.node);
    addresses_parse(SCHEDULER_DEFAULT_URL, "default", &options.schedulers, NULL);
    int option;
    optind = 1;
    while ((option = getopt_long(argc, argv, "", option_table, NULL)) != -1) {
        if (take_one(&options, option, optarg, error) < 0) {
            agent_options_release(&options);
            return -1;
        }
    }
    if (optind < argc) {
        error_set(error, ERROR_INVALID, "%s: no arguments are taken; try shoal-agent --help",
                  argv[optind]);
        agent_options_release(&options);
        return -1;
    }
    if (options.hypervisor != NULL && options.hypervisor_uri != NULL &&
        strcmp(options.hypervisor, HYPERVISOR_LIBVIRT) != 0) {
        agent_options_release(&options);
        return error_set(error, ERROR_INVALID,
                         "--hypervisor-uri is for --hypervisor " HYPERVISOR_LIBVIRT);
    }
    complete(&options);
    *ret_options = options;
    return 0;
}

void agent_options_release(struct agent_options *options)
{
    free(options->state);
    free(options->run);
    free(options->address);
    free(options->publish_address);
    free(options->accelerator);
    free(options->hypervisor_uri);
    free(options->hypervisor);
    free(options->trust_directory);
    free(options->registry_auth);
    json_map_release(&options->labels);
    *options = (struct agent_options){.decider_channel = -1};
}
