/* Any of libvirt's drivers. With hypervisor_libvirt_link.c the only file that knows libvirt. */
#include <libvirt/virterror.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/host/domain_metadata.h"
#include "agent/host/domain_xml.h"
#include "agent/host/hypervisor_interface.h"
#include "agent/host/hypervisor_libvirt_debug.h"
#include "agent/host/hypervisor_libvirt_link.h"
#include "agent/host/libvirt_known.h"
#include "agent/host/libvirt_leftovers.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/xalloc.h"

/* Where libvirt's daemon keeps what the driver inside this process keeps below its root. */
#define DAEMON_RUN_FOLDER "/run/libvirt"
#define DAEMON_LOG_FOLDER "/var/log/libvirt"

#define PROCESSOR_PERIOD_US 100000

struct libvirt {
    struct hypervisor hypervisor;
    struct hypervisor_listener listener;
    enum libvirt_driver driver;
    char *root; /* of the driver inside this process */
    char owner[DOMAIN_OWNER_MAX];
    struct libvirt_link *link;
    struct libvirt_known *known;
    atomic_bool unlimited_memory, unlimited_processors; /* said once */
};

static struct libvirt *of(struct hypervisor *hypervisor)
{
    return (struct libvirt *)hypervisor;
}

static void free_domain(virDomainPtr *domain)
{
    if (*domain != NULL)
        virDomainFree(*domain);
}
#define AUTO_DOMAIN __attribute__((cleanup(free_domain)))

/* What libvirt said last is gone with it. */
static void close_connection(virConnectPtr *connection)
{
    if (*connection != NULL)
        virConnectClose(*connection);
}
#define AUTO_CONNECTION __attribute__((cleanup(close_connection)))

/* NULL and why; ERROR_NOT_FOUND when there is none. */
static virDomainPtr find(struct libvirt *libvirt, const char *id, struct error *error)
{
    char uuid[DOMAIN_UUID_MAX];
    domain_uuid(id, uuid);
    AUTO_CONNECTION virConnectPtr connection = libvirt_link_take(libvirt->link, error);
    virDomainPtr domain = connection != NULL ? virDomainLookupByUUIDString(connection, uuid) : NULL;
    if (connection != NULL && domain == NULL)
        libvirt_refuse(error, "look for the microVM");
    return domain;
}

/* ---- what libvirt's files say of one ---- */

/* -1 when unknown. QEMU holds its pid file open and can write to it: it must not be able to name
 * somebody else. */
static pid_t read_pid(struct libvirt *libvirt, const char *id)
{
    char name[DOMAIN_NAME_MAX];
    domain_name(id, name);
    if (libvirt->driver == LIBVIRT_TEST)
        return -1;
    AUTO_FREE char *path = libvirt->driver == LIBVIRT_EMBED
                               ? xasprintf("%s/run/qemu/%s.pid", libvirt->root, name)
                               : xasprintf(DAEMON_RUN_FOLDER "/qemu/%s.pid", name);
    return libvirt_find_pid(name, path);
}

/* What libvirt and QEMU write about one boot; the caller frees. */
static char *log_path(struct libvirt *libvirt, const char *id)
{
    char name[DOMAIN_NAME_MAX];
    domain_name(id, name);
    return libvirt->driver == LIBVIRT_EMBED ? xasprintf("%s/log/qemu/%s.log", libvirt->root, name)
                                            : xasprintf(DAEMON_LOG_FOLDER "/qemu/%s.log", name);
}

/* The last line that QEMU itself left in its log, or "". The caller frees. */
static char *last_words(struct libvirt *libvirt, const char *id)
{
    AUTO_FREE char *path = log_path(libvirt, id);
    AUTO_FREE char *text = NULL;
    size_t length;
    if (file_read(path, 1 << 20, &text, &length, NULL) < 0)
        return xstrdup("");
    char *end = strstr(text, "shutting down, reason="); /* libvirt's own last line */
    for (char *next; end != NULL && (next = strstr(end + 1, "shutting down, reason=")) != NULL;)
        end = next;
    if (end != NULL && (end = memrchr(text, '\n', (size_t)(end - text))) != NULL)
        *end = '\0';
    const char *line = strrchr(text, '\n');
    return xstrdup(line != NULL ? line + 1 : text);
}

/* ---- making ---- */

/* libvirt's message for a QEMU that ended at once is its whole command line: of no use to people.
 */
static int refuse_create(struct libvirt *libvirt, const char *id, struct error *error)
{
    const char *message = virGetLastErrorMessage();
    if (strstr(message, "Child process (") == NULL)
        return libvirt_refuse(error, "create the microVM");
    AUTO_FREE char *words = last_words(libvirt, id);
    return error_set(error, ERROR_IO, "QEMU does not start: %.300s", words);
}

/* By cgroup, once the domain is there: in the XML it would also raise the limit of locked memory,
 * which not every host allows. Without a memory controller there is no limit. */
static void limit_memory(struct libvirt *libvirt, virDomainPtr domain, uint64_t bytes)
{
    virTypedParameter limit = {.type = VIR_TYPED_PARAM_ULLONG, .value.ul = bytes / 1024};
    snprintf(limit.field, sizeof limit.field, "%s", VIR_DOMAIN_MEMORY_HARD_LIMIT);
    if (virDomainSetMemoryParameters(domain, &limit, 1, VIR_DOMAIN_AFFECT_LIVE) < 0 &&
        !atomic_exchange(&libvirt->unlimited_memory, true))
        log_warn("microVMs run without a memory limit", "error", virGetLastErrorMessage());
}

/* Of QEMU as a whole, its virtual processors' threads and its own; also only where the host can,
 * where the XML would be refused. */
static void limit_processors(struct libvirt *libvirt, virDomainPtr domain, uint32_t vcpus)
{
    virTypedParameter limits[] = {
        {.type = VIR_TYPED_PARAM_ULLONG, .value.ul = PROCESSOR_PERIOD_US},
        {.type = VIR_TYPED_PARAM_LLONG,
         .value.l = (long long)microvm_processor_percent(vcpus) * PROCESSOR_PERIOD_US / 100},
    };
    snprintf(limits[0].field, sizeof limits[0].field, "%s", VIR_DOMAIN_SCHEDULER_GLOBAL_PERIOD);
    snprintf(limits[1].field, sizeof limits[1].field, "%s", VIR_DOMAIN_SCHEDULER_GLOBAL_QUOTA);
    if (virDomainSetSchedulerParametersFlags(domain, limits, ARRAY_LENGTH(limits),
                                             VIR_DOMAIN_AFFECT_LIVE) < 0 &&
        !atomic_exchange(&libvirt->unlimited_processors, true))
        log_warn("microVMs run without a processor limit", "error", virGetLastErrorMessage());
}

/* libvirt's test driver begins nothing paused. */
static virDomainPtr create_paused(struct libvirt *libvirt, const char *id, const char *xml,
                                  struct error *error)
{
    bool is_test = libvirt->driver == LIBVIRT_TEST;
    AUTO_CONNECTION virConnectPtr connection = libvirt_link_take(libvirt->link, error);
    if (connection == NULL)
        return NULL;
    virDomainPtr domain =
        virDomainCreateXML(connection, xml, is_test ? 0 : VIR_DOMAIN_START_PAUSED);
    if (domain == NULL)
        refuse_create(libvirt, id, error);
    else if (is_test)
        virDomainSuspend(domain);
    return domain;
}

static int create(struct hypervisor *hypervisor, const struct microvm_spec *spec, pid_t *ret_pid,
                  struct error *error)
{
    struct libvirt *libvirt = of(hypervisor);
    AUTO_BUFFER struct buffer xml = {0};
    AUTO_FREE char *log = log_path(libvirt, spec->id);
    if (libvirt->driver == LIBVIRT_EMBED)
        unlink(log); /* or it would grow with every restart */
    if (domain_xml_render(libvirt->driver, libvirt->owner, spec, &xml, error) < 0)
        return -1;
    libvirt_known_begin(libvirt->known, spec->id, false);
    AUTO_DOMAIN virDomainPtr domain = create_paused(libvirt, spec->id, buffer_text(&xml), error);
    if (domain == NULL) {
        libvirt_known_end(libvirt->known, spec->id, HYPERVISOR_END_DEATH);
        return -1;
    }
    libvirt_known_finish_making(libvirt->known, spec->id);
    limit_memory(libvirt, domain, spec->limit);
    limit_processors(libvirt, domain, spec->vcpus);
    *ret_pid = read_pid(libvirt, spec->id);
    return 0;
}

static int resume(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    AUTO_DOMAIN virDomainPtr domain = find(of(hypervisor), id, error);
    if (domain == NULL)
        return error_wrap(error, "start the microVM");
    return virDomainResume(domain) < 0 ? libvirt_refuse(error, "start the microVM") : 0;
}

static int pause_guest(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    AUTO_DOMAIN virDomainPtr domain = find(of(hypervisor), id, error);
    int state = VIR_DOMAIN_NOSTATE;
    if (domain == NULL)
        return error_wrap(error, "pause the microVM");
    if (virDomainGetState(domain, &state, NULL, 0) < 0)
        return libvirt_refuse(error, "pause the microVM");
    if (state != VIR_DOMAIN_RUNNING)
        return error_set(error, ERROR_CONFLICT, "microVM %s does not run", id);
    return virDomainSuspend(domain) < 0 ? libvirt_refuse(error, "pause the microVM") : 0;
}

/* ---- ending ---- */

/* "block.0.rd.bytes" and the like, of each disk. */
static void add_parameter(struct hypervisor_disk_use *use, virTypedParameterPtr parameter)
{
    const char *name = strchr(parameter->field + strlen("block."), '.');
    if (name == NULL || parameter->type != VIR_TYPED_PARAM_ULLONG)
        return;
    if (strcmp(name, ".rd.bytes") == 0)
        use->read_bytes += parameter->value.ul;
    else if (strcmp(name, ".rd.reqs") == 0)
        use->read_operations += parameter->value.ul;
    else if (strcmp(name, ".wr.bytes") == 0)
        use->written_bytes += parameter->value.ul;
    else if (strcmp(name, ".wr.reqs") == 0)
        use->write_operations += parameter->value.ul;
}

/* Does not stand in line behind another call about the same microVM: then it tells nothing. */
static int use_of_disks(struct hypervisor *hypervisor, const char *id,
                        struct hypervisor_disk_use *ret_use, struct error *error)
{
    AUTO_DOMAIN virDomainPtr domain = find(of(hypervisor), id, error);
    virDomainPtr domains[] = {domain, NULL};
    virDomainStatsRecordPtr *records = NULL;
    struct hypervisor_disk_use use = {0};
    if (domain == NULL)
        return error_wrap(error, "what the microVM's disks do");
    int count = virDomainListGetStats(domains, VIR_DOMAIN_STATS_BLOCK, &records,
                                      VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT);
    if (count < 0)
        return libvirt_refuse(error, "what the microVM's disks do");
    bool told = false;
    for (int i = 0; count > 0 && i < records[0]->nparams; i++) {
        virTypedParameterPtr parameter = &records[0]->params[i];
        if (strcmp(parameter->field, "block.count") == 0)
            use.disks = parameter->value.ui;
        told = told || strcmp(parameter->field, "block.count") == 0;
        if (strncmp(parameter->field, "block.", strlen("block.")) == 0)
            add_parameter(&use, parameter);
    }
    virDomainStatsRecordListFree(records);
    if (!told)
        return error_set(error, ERROR_UNAVAILABLE, "microVM %s is busy", id);
    *ret_use = use;
    return 0;
}

static int press_power(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    struct libvirt *libvirt = of(hypervisor);
    unsigned flags = libvirt->driver == LIBVIRT_TEST ? 0 : VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN;
    AUTO_DOMAIN virDomainPtr domain = find(libvirt, id, error);
    if (domain == NULL)
        return error_wrap(error, "press the microVM's power button");
    if (virDomainShutdownFlags(domain, flags) < 0)
        return libvirt_refuse(error, "press the microVM's power button");
    return 0;
}

static int destroy(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    struct error missing = ERROR_INIT;
    AUTO_DOMAIN virDomainPtr domain = find(of(hypervisor), id, &missing);
    if (domain == NULL && missing.code == ERROR_NOT_FOUND)
        return 0;
    if (domain == NULL)
        return error_set(error, missing.code, "end the microVM: %s", missing.message);
    if (virDomainDestroy(domain) == 0)
        return 0;
    libvirt_refuse(&missing, "end the microVM");
    if (virDomainIsActive(domain) != 0 && missing.code != ERROR_NOT_FOUND)
        return error_set(error, missing.code, "%s", missing.message);
    return 0;
}

static int await_gone(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    for (int i = 0; i < 1000; i++) {
        struct error missing = ERROR_INIT;
        AUTO_DOMAIN virDomainPtr domain = find(of(hypervisor), id, &missing);
        if (domain == NULL && missing.code == ERROR_NOT_FOUND)
            return 0;
        if (domain == NULL)
            return error_set(error, missing.code, "%s", missing.message);
        nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
    }
    return error_set(error, ERROR_TIMEOUT, "libvirt still holds the ended microVM %s", id);
}

/* ---- adopting ---- */

/* From the process's own start time, which survives ours. */
static uint64_t uptime_of(pid_t pid)
{
    AUTO_FREE char *path = xasprintf("/proc/%d/stat", (int)pid);
    AUTO_FREE char *text = NULL;
    struct timespec now;
    if (file_read(path, 4096, &text, NULL, NULL) < 0)
        return 0;
    const char *at = strrchr(text, ')');
    for (int field = 2; at != NULL && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return 0;
    clock_gettime(CLOCK_BOOTTIME, &now);
    uint64_t begun = strtoull(at + 1, NULL, 10) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK);
    uint64_t present = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    return present > begun ? present - begun : 0;
}

/* Whether name, metadata, MAC and tap of a domain tell of one instance. */
static bool read_metadata(virDomainPtr domain, struct domain_metadata *ret_metadata)
{
    char name[DOMAIN_NAME_MAX], mac[18], expected[64];
    AUTO_FREE char *text =
        virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, DOMAIN_METADATA_URI, 0);
    AUTO_FREE char *xml = virDomainGetXMLDesc(domain, 0);
    struct domain_metadata metadata;
    if (text == NULL || xml == NULL || domain_metadata_parse(text, &metadata) < 0)
        return false;
    domain_name(metadata.identity.id, name);
    host_mac_of_instance(metadata.identity.id, mac);
    snprintf(expected, sizeof expected, "<mac address='%s'/>", mac);
    if (strcmp(virDomainGetName(domain), name) != 0 || strstr(xml, expected) == NULL)
        return false;
    *ret_metadata = metadata;
    return true;
}

/* libvirt looks at what it finds in threads of its own; asking for statistics takes a turn behind
 * them. */
static bool is_there(virDomainPtr domain, bool *ret_paused)
{
    virDomainMemoryStatStruct statistics[VIR_DOMAIN_MEMORY_STAT_NR];
    int state = VIR_DOMAIN_NOSTATE, reason = 0;
    virDomainMemoryStats(domain, statistics, VIR_DOMAIN_MEMORY_STAT_NR, 0);
    if (virDomainGetState(domain, &state, &reason, 0) < 0)
        return false;
    /* What nobody here paused stands still in a debugger. */
    *ret_paused = state == VIR_DOMAIN_PAUSED && reason != VIR_DOMAIN_PAUSED_UNKNOWN;
    return state == VIR_DOMAIN_RUNNING || state == VIR_DOMAIN_PAUSED;
}

enum judgement { NOT_OURS, TO_END, TO_ADOPT };

/* A daemon has other people's domains as well, which are nothing to us. */
static enum judgement judge(struct libvirt *libvirt, virDomainPtr domain,
                            struct domain_metadata *metadata, bool *ret_paused)
{
    bool runs = is_there(domain, ret_paused), is_told = read_metadata(domain, metadata);
    if (libvirt->driver == LIBVIRT_EMBED)
        return virDomainIsActive(domain) != 1 ? NOT_OURS : runs && is_told ? TO_ADOPT : TO_END;
    if (!is_told || strcmp(metadata->owner, libvirt->owner) != 0)
        return NOT_OURS;
    return runs ? TO_ADOPT : TO_END;
}

/* True when it runs and is whole. It is known before its end, which may come at any time. */
static bool adopt_one(struct libvirt *libvirt, virDomainPtr domain, struct hypervisor_found *found)
{
    struct domain_metadata metadata;
    enum judgement judgement = judge(libvirt, domain, &metadata, &found->paused);
    if (judgement == TO_END) {
        log_warn("a microVM that cannot be adopted is ended", "domain", virDomainGetName(domain));
        virDomainDestroy(domain);
    }
    if (judgement != TO_ADOPT)
        return false;
    libvirt_known_begin(libvirt->known, metadata.identity.id, true);
    if (virDomainIsActive(domain) != 1) {
        libvirt_known_end(libvirt->known, metadata.identity.id, HYPERVISOR_END_DEATH);
        return false;
    }
    found->identity = metadata.identity;
    found->pid = read_pid(libvirt, found->identity.id);
    found->uptime_ms = uptime_of(found->pid);
    return true;
}

static int list_active(struct libvirt *libvirt, virDomainPtr **ret_domains, struct error *error)
{
    AUTO_CONNECTION virConnectPtr connection = libvirt_link_take(libvirt->link, error);
    if (connection == NULL)
        return -1;
    int count = virConnectListAllDomains(connection, ret_domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
    return count < 0 ? libvirt_refuse(error, "list the microVMs that run") : count;
}

static int adopt(struct hypervisor *hypervisor, struct hypervisor_found **ret_found,
                 size_t *ret_count, struct error *error)
{
    struct libvirt *libvirt = of(hypervisor);
    virDomainPtr *domains = NULL;
    int count = list_active(libvirt, &domains, error);
    if (count < 0)
        return -1;
    struct hypervisor_found *found = xcalloc((size_t)count + 1, sizeof *found);
    size_t adopted = 0;
    for (int i = 0; i < count; i++) {
        if (adopt_one(libvirt, domains[i], &found[adopted]))
            adopted++;
        virDomainFree(domains[i]);
    }
    free(domains);
    *ret_found = found;
    *ret_count = adopted;
    return 0;
}

/* ---- what is told ---- */

static enum hypervisor_end end_of_detail(int detail)
{
    switch (detail) {
    case VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN:
        return HYPERVISOR_END_EXIT;
    case VIR_DOMAIN_EVENT_STOPPED_CRASHED:
        return HYPERVISOR_END_PANIC;
    case VIR_DOMAIN_EVENT_STOPPED_DESTROYED:
        return HYPERVISOR_END_STOP;
    default:
        return HYPERVISOR_END_DEATH;
    }
}

/* Only names of our form: "sh" and an id. */
static const char *id_of(const char *name)
{
    return strncmp(name, "sh", 2) == 0 && strlen(name) == 2 + INSTANCE_ID_MAX - 1 ? name + 2 : NULL;
}

static void on_changed(void *context, const char *name, int event, int detail)
{
    struct libvirt *libvirt = context;
    const char *id = id_of(name);
    if (event != VIR_DOMAIN_EVENT_STOPPED || id == NULL)
        return;
    enum hypervisor_end end = end_of_detail(detail);
    /* libvirt calls every shutdown one; QEMU has said which. */
    enum hypervisor_end said = libvirt_known_end(libvirt->known, id, end);
    libvirt->listener.ended(libvirt->listener.context, id, end == HYPERVISOR_END_EXIT ? said : end);
}

static void on_shut_down(void *context, const char *name, const char *details)
{
    struct libvirt *libvirt = context;
    const char *id = id_of(name);
    if (id != NULL)
        libvirt_known_shut_down(libvirt->known, id, details);
}

/* One whose making was cut off by the daemon's end is nobody's. */
static void end_unknown(struct libvirt *libvirt)
{
    virDomainPtr *domains = NULL;
    int count = list_active(libvirt, &domains, NULL);
    for (int i = 0; i < count; i++) {
        bool paused;
        struct domain_metadata metadata;
        if (judge(libvirt, domains[i], &metadata, &paused) != NOT_OURS &&
            !libvirt_known_has(libvirt->known, metadata.identity.id)) {
            log_warn("a microVM that was half made is ended", "id", metadata.identity.id);
            virDomainDestroy(domains[i]);
        }
        virDomainFree(domains[i]);
    }
    if (count >= 0)
        free(domains);
}

static void on_back(void *context)
{
    struct libvirt *libvirt = context;
    char id[INSTANCE_ID_MAX] = "";
    while (libvirt_known_next(libvirt->known, id)) {
        struct error missing = ERROR_INIT;
        AUTO_DOMAIN virDomainPtr domain = find(libvirt, id, &missing);
        if (domain == NULL && missing.code == ERROR_NOT_FOUND)
            libvirt->listener.ended(libvirt->listener.context, id,
                                    libvirt_known_end(libvirt->known, id, HYPERVISOR_END_DEATH));
    }
    end_unknown(libvirt);
}

/* ---- opening ---- */

/* dynamic_ownership off and labels with relabel='no': libvirt changes no file's owner.
 *
 * security_driver: libvirt's AppArmor driver confines QEMUs only of a process that is confined as
 * libvirtd is, which this is not, and SELinux's would label the image files that all share; dac,
 * which gives each QEMU its user, is on whatever stands here.
 * namespaces: the only one libvirt has is of mounts, to show QEMU few devices; it cannot be made
 * where one device is covered by a file (accelerator.h), and QEMU's user may open none but KVM's.
 */
static int write_configuration(const char *root, gid_t gid, struct error *error)
{
    AUTO_FREE char *folder = xasprintf("%s/etc", root);
    AUTO_FREE char *path = xasprintf("%s/qemu.conf", folder);
    AUTO_FREE char *text = xasprintf("user = \"nobody\"\n"
                                     "group = \"+%u\"\n"
                                     "security_driver = \"none\"\n"
                                     "security_default_confined = 0\n"
                                     "dynamic_ownership = 0\n"
                                     "remember_owner = 0\n"
                                     "stdio_handler = \"file\"\n"
                                     "namespaces = []\n"
                                     "seccomp_sandbox = 1\n"
                                     "set_process_name = 0\n"
                                     "max_core = 0\n",
                                     (unsigned)gid);
    if (file_make_directory(folder, 0755, error) < 0)
        return -1;
    return file_write(path, text, strlen(text), 0644, error);
}

static void close_driver(struct hypervisor *hypervisor)
{
    struct libvirt *libvirt = of(hypervisor);
    libvirt_link_close(libvirt->link);
    libvirt_known_destroy(libvirt->known);
    free(libvirt->root);
    free(libvirt);
}

static int debug(struct hypervisor *hypervisor, const char *id, int descriptor, bool listens,
                 struct error *error)
{
    AUTO_DOMAIN virDomainPtr domain = find(of(hypervisor), id, error);
    return domain != NULL ? libvirt_debug(domain, descriptor, listens, error) : -1;
}

static const struct hypervisor_operations operations = {
    .create = create,
    .resume = resume,
    .pause = pause_guest,
    .press_power = press_power,
    .destroy = destroy,
    .await_gone = await_gone,
    .adopt = adopt,
    .use_of_disks = use_of_disks,
    .debug = debug,
    .close = close_driver,
};

/* The full URI; the caller frees. */
static char *prepare_driver(const struct hypervisor_libvirt_options *options,
                            enum libvirt_driver driver, struct error *error)
{
    if (driver != LIBVIRT_EMBED)
        return xstrdup(options->uri);
    if (write_configuration(options->root, options->gid, error) < 0)
        return NULL;
    libvirt_leftovers_settle(options->root);
    return xasprintf("%s?root=%s", options->uri, options->root);
}

int hypervisor_libvirt_open(const struct hypervisor_libvirt_options *options,
                            const struct hypervisor_listener *listener,
                            struct hypervisor **ret_hypervisor, struct error *error)
{
    enum libvirt_driver driver;
    if (libvirt_uri_parse(options->uri, &driver, error) < 0)
        return -1;
    if (driver == LIBVIRT_XEN)
        return error_set(error, ERROR_UNSUPPORTED,
                         "%s: domains are described for Xen, but nothing connects a Xen guest's "
                         "console and network yet; use qemu:///embed",
                         options->uri);
    AUTO_FREE char *uri = prepare_driver(options, driver, error);
    if (uri == NULL)
        return -1;
    struct libvirt *libvirt = xcalloc(1, sizeof *libvirt);
    libvirt->hypervisor.operations = &operations;
    libvirt->listener = *listener;
    libvirt->driver = driver;
    libvirt->root = xstrdup(options->root);
    domain_owner_of(options->root, libvirt->owner);
    libvirt->known = libvirt_known_create();
    struct libvirt_link_listener heard = {
        .changed = on_changed, .shut_down = on_shut_down, .back = on_back, .context = libvirt};
    if (libvirt_link_open(driver, uri, &heard, &libvirt->link, error) < 0) {
        close_driver(&libvirt->hypervisor);
        return -1;
    }
    *ret_hypervisor = &libvirt->hypervisor;
    return 0;
}
