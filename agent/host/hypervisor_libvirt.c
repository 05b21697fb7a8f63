/* libvirt's embedded QEMU driver. The only file that knows libvirt. */
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/host/domain_xml.h"
#include "agent/host/hypervisor_interface.h"
#include "agent/host/libvirt_leftovers.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"

struct libvirt {
    struct hypervisor hypervisor;
    struct hypervisor_listener listener;
    char *root;
    virConnectPtr connection;
    int callback;
    pthread_t thread;
    atomic_bool stopping;
    atomic_bool unlimited; /* said once */
};

static struct libvirt *of(struct hypervisor *hypervisor)
{
    return (struct libvirt *)hypervisor;
}

static void ignore_error(void *context, virErrorPtr error)
{
    (void)context;
    (void)error;
}

static int refuse(struct error *error, const char *what)
{
    const char *message = virGetLastErrorMessage();
    enum error_code code = virGetLastErrorCode() == VIR_ERR_NO_DOMAIN ? ERROR_NOT_FOUND : ERROR_IO;
    return error_set(error, code, "%s: %s", what, message);
}

static void free_domain(virDomainPtr *domain)
{
    if (*domain != NULL)
        virDomainFree(*domain);
}
#define AUTO_DOMAIN __attribute__((cleanup(free_domain)))

static virDomainPtr find(struct libvirt *libvirt, const char *id)
{
    char uuid[DOMAIN_UUID_MAX];
    domain_uuid(id, uuid);
    return virDomainLookupByUUIDString(libvirt->connection, uuid);
}

/* -1 when unknown. QEMU holds its pid file open and can write to it: it must not be able to name
 * somebody else. */
static pid_t read_pid(struct libvirt *libvirt, const char *id)
{
    char name[DOMAIN_NAME_MAX];
    domain_name(id, name);
    AUTO_FREE char *path = xasprintf("%s/run/qemu/%s.pid", libvirt->root, name);
    AUTO_FREE char *text = NULL;
    if (file_read(path, 64, &text, NULL, NULL) < 0)
        return -1;
    uint64_t pid;
    text[strcspn(text, "\n")] = '\0';
    return text_parse_u64(text, INT32_MAX, &pid) && libvirt_pid_is_of(name, (pid_t)pid) ? (pid_t)pid
                                                                                        : -1;
}

/* What libvirt and QEMU write about one boot; the caller frees. */
static char *log_path(struct libvirt *libvirt, const char *id)
{
    char name[DOMAIN_NAME_MAX];
    domain_name(id, name);
    return xasprintf("%s/log/qemu/%s.log", libvirt->root, name);
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

/* libvirt's message for a QEMU that ended at once is its whole command line: of no use to people.
 */
static int refuse_create(struct libvirt *libvirt, const char *id, struct error *error)
{
    const char *message = virGetLastErrorMessage();
    if (strstr(message, "Child process (") == NULL)
        return refuse(error, "create the microVM");
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
        !atomic_exchange(&libvirt->unlimited, true))
        log_warn("microVMs run without a memory limit", "error", virGetLastErrorMessage());
}

static int create(struct hypervisor *hypervisor, const struct microvm_spec *spec, pid_t *ret_pid,
                  struct error *error)
{
    struct libvirt *libvirt = of(hypervisor);
    AUTO_BUFFER struct buffer xml = {0};
    AUTO_FREE char *log = log_path(libvirt, spec->id);
    unlink(log); /* or it would grow with every restart */
    if (domain_xml_render(spec, &xml, error) < 0)
        return -1;
    AUTO_DOMAIN virDomainPtr domain =
        virDomainCreateXML(libvirt->connection, buffer_text(&xml), VIR_DOMAIN_START_PAUSED);
    if (domain == NULL)
        return refuse_create(libvirt, spec->id, error);
    limit_memory(libvirt, domain, spec->limit);
    *ret_pid = read_pid(libvirt, spec->id);
    return 0;
}

static int resume(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    AUTO_DOMAIN virDomainPtr domain = find(of(hypervisor), id);
    if (domain == NULL || virDomainResume(domain) < 0)
        return refuse(error, "start the microVM");
    return 0;
}

static int pause_guest(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    AUTO_DOMAIN virDomainPtr domain = find(of(hypervisor), id);
    int state = VIR_DOMAIN_NOSTATE;
    if (domain == NULL || virDomainGetState(domain, &state, NULL, 0) < 0)
        return refuse(error, "pause the microVM");
    if (state != VIR_DOMAIN_RUNNING)
        return error_set(error, ERROR_CONFLICT, "microVM %s does not run", id);
    return virDomainSuspend(domain) < 0 ? refuse(error, "pause the microVM") : 0;
}

static int press_power(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    AUTO_DOMAIN virDomainPtr domain = find(of(hypervisor), id);
    if (domain == NULL || virDomainShutdownFlags(domain, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN) < 0)
        return refuse(error, "press the microVM's power button");
    return 0;
}

static int destroy(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    AUTO_DOMAIN virDomainPtr domain = find(of(hypervisor), id);
    if (domain == NULL || virDomainDestroy(domain) == 0)
        return 0;
    if (virDomainIsActive(domain) == 1)
        return refuse(error, "end the microVM");
    return 0;
}

static int await_gone(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    for (int i = 0; i < 1000; i++) {
        AUTO_DOMAIN virDomainPtr domain = find(of(hypervisor), id);
        if (domain == NULL)
            return 0;
        nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
    }
    return error_set(error, ERROR_TIMEOUT, "libvirt still holds the ended microVM %s", id);
}

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
static bool read_metadata(virDomainPtr domain, struct microvm_identity *ret_metadata)
{
    char name[DOMAIN_NAME_MAX], mac[18], expected[64];
    AUTO_FREE char *text = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_DESCRIPTION, NULL, 0);
    AUTO_FREE char *xml = virDomainGetXMLDesc(domain, 0);
    struct microvm_identity metadata;
    if (text == NULL || xml == NULL || domain_metadata_parse(text, &metadata) < 0)
        return false;
    domain_name(metadata.id, name);
    host_mac_of_instance(metadata.id, mac);
    snprintf(expected, sizeof expected, "<mac address='%s'/>", mac);
    if (strcmp(virDomainGetName(domain), name) != 0 || strstr(xml, expected) == NULL)
        return false;
    *ret_metadata = metadata;
    return true;
}

/* True when the domain runs and is whole. libvirt looks at what it finds in threads of its own;
 * asking for statistics takes a turn behind them. */
static bool adopt_one(struct libvirt *libvirt, virDomainPtr domain, struct hypervisor_found *found)
{
    virDomainMemoryStatStruct statistics[VIR_DOMAIN_MEMORY_STAT_NR];
    virDomainMemoryStats(domain, statistics, VIR_DOMAIN_MEMORY_STAT_NR, 0);
    int state = VIR_DOMAIN_NOSTATE, reason = 0;
    if (virDomainIsActive(domain) != 1 || virDomainGetState(domain, &state, &reason, 0) < 0)
        return false;
    if (state != VIR_DOMAIN_RUNNING || !read_metadata(domain, &found->identity)) {
        log_warn("a microVM that cannot be adopted is ended", "domain", virDomainGetName(domain));
        virDomainDestroy(domain);
        return false;
    }
    found->pid = read_pid(libvirt, found->identity.id);
    found->uptime_ms = uptime_of(found->pid);
    return true;
}

static int adopt(struct hypervisor *hypervisor, struct hypervisor_found **ret_found,
                 size_t *ret_count, struct error *error)
{
    struct libvirt *libvirt = of(hypervisor);
    virDomainPtr *domains = NULL;
    int count =
        virConnectListAllDomains(libvirt->connection, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
    if (count < 0)
        return refuse(error, "list the microVMs that run");
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

static int on_lifecycle(virConnectPtr connection, virDomainPtr domain, int event, int detail,
                        void *context)
{
    (void)connection;
    struct libvirt *libvirt = context;
    const char *name = virDomainGetName(domain);
    if (event == VIR_DOMAIN_EVENT_STOPPED && strlen(name) == 2 + INSTANCE_ID_MAX - 1)
        libvirt->listener.ended(libvirt->listener.context, name + 2, end_of_detail(detail));
    return 0;
}

static void *run_events(void *context)
{
    struct libvirt *libvirt = context;
    while (!atomic_load(&libvirt->stopping))
        virEventRunDefaultImpl();
    return NULL;
}

static void on_wake(int timer, void *context)
{
    struct libvirt *libvirt = context;
    atomic_store(&libvirt->stopping, true);
    virEventRemoveTimeout(timer);
}

/* dynamic_ownership off and labels with relabel='no': libvirt changes no file's owner. namespaces
 * and security drivers off: our own namespaces, uids and QEMU's seccomp filter stand in. */
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

static int connect_to_driver(struct libvirt *libvirt, struct error *error)
{
    AUTO_FREE char *uri = xasprintf("qemu:///embed?root=%s", libvirt->root);
    libvirt->connection = virConnectOpen(uri);
    if (libvirt->connection == NULL) {
        refuse(error, "open libvirt's QEMU driver");
        if (strstr(error->message, "libvirt-qemu") != NULL)
            error_wrap(error, "libvirt needs the system user libvirt-qemu (make deps, or the "
                              "package libvirt-daemon-system, creates it)");
        return -1;
    }
    libvirt->callback =
        virConnectDomainEventRegisterAny(libvirt->connection, NULL, VIR_DOMAIN_EVENT_ID_LIFECYCLE,
                                         VIR_DOMAIN_EVENT_CALLBACK(on_lifecycle), libvirt, NULL);
    if (libvirt->callback < 0)
        return refuse(error, "listen to libvirt's events");
    return 0;
}

static void close_driver(struct hypervisor *hypervisor)
{
    struct libvirt *libvirt = of(hypervisor);
    if (libvirt->callback >= 0)
        virConnectDomainEventDeregisterAny(libvirt->connection, libvirt->callback);
    if (libvirt->connection != NULL)
        virConnectClose(libvirt->connection);
    virEventAddTimeout(0, on_wake, libvirt, NULL);
    pthread_join(libvirt->thread, NULL);
    free(libvirt->root);
    free(libvirt);
}

static const struct hypervisor_operations operations = {
    .create = create,
    .resume = resume,
    .pause = pause_guest,
    .press_power = press_power,
    .destroy = destroy,
    .await_gone = await_gone,
    .adopt = adopt,
    .close = close_driver,
};

int hypervisor_libvirt_open(const char *root, gid_t gid, const struct hypervisor_listener *listener,
                            struct hypervisor **ret_hypervisor, struct error *error)
{
    if (write_configuration(root, gid, error) < 0)
        return -1;
    libvirt_leftovers_settle(root);
    /* Its messages come back in errors; LIBVIRT_LOG_OUTPUTS from outside still shows them all. */
    setenv("LIBVIRT_LOG_OUTPUTS", "4:file:/dev/null", 0);
    virSetErrorFunc(NULL, ignore_error);
    if (virInitialize() < 0 || virEventRegisterDefaultImpl() < 0)
        return refuse(error, "initialize libvirt");
    struct libvirt *libvirt = xcalloc(1, sizeof *libvirt);
    libvirt->hypervisor.operations = &operations;
    libvirt->listener = *listener;
    libvirt->root = xstrdup(root);
    libvirt->callback = -1;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&libvirt->thread, NULL, run_events, libvirt);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0)
        abort();
    if (connect_to_driver(libvirt, error) < 0) {
        close_driver(&libvirt->hypervisor);
        return -1;
    }
    *ret_hypervisor = &libvirt->hypervisor;
    return 0;
}
