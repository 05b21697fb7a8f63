/* Any of libvirt's drivers: what is asked and told of its domains. Only the files
 * hypervisor_libvirt*.c know libvirt. */
#include <libvirt/virterror.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "agent/host/domain_xml.h"
#include "agent/host/hypervisor_libvirt_debug.h"
#include "agent/host/hypervisor_libvirt_internal.h"
#include "agent/host/libvirt_leftovers.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/log.h"
#include "lib/xalloc.h"

/* Where libvirt's daemon keeps what the driver inside this process keeps below its root. */
#define DAEMON_RUN_FOLDER "/run/libvirt"
#define DAEMON_LOG_FOLDER "/var/log/libvirt"

#define PROCESSOR_PERIOD_US 100000

virDomainPtr libvirt_find_domain(struct libvirt *libvirt, const char *id, struct error *error)
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

/* QEMU holds its pid file open and can write to it: it must not be able to name somebody else. */
pid_t libvirt_read_pid(struct libvirt *libvirt, const char *id)
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
    struct libvirt *libvirt = libvirt_of(hypervisor);
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
    *ret_pid = libvirt_read_pid(libvirt, spec->id);
    return 0;
}

static int resume(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    AUTO_DOMAIN virDomainPtr domain = libvirt_find_domain(libvirt_of(hypervisor), id, error);
    if (domain == NULL)
        return error_wrap(error, "start the microVM");
    return virDomainResume(domain) < 0 ? libvirt_refuse(error, "start the microVM") : 0;
}

static int pause_guest(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    AUTO_DOMAIN virDomainPtr domain = libvirt_find_domain(libvirt_of(hypervisor), id, error);
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

static int press_power(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    struct libvirt *libvirt = libvirt_of(hypervisor);
    unsigned flags = libvirt->driver == LIBVIRT_TEST ? 0 : VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN;
    AUTO_DOMAIN virDomainPtr domain = libvirt_find_domain(libvirt, id, error);
    if (domain == NULL)
        return error_wrap(error, "press the microVM's power button");
    if (virDomainShutdownFlags(domain, flags) < 0)
        return libvirt_refuse(error, "press the microVM's power button");
    return 0;
}

static int destroy(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    struct error missing = ERROR_INIT;
    AUTO_DOMAIN virDomainPtr domain = libvirt_find_domain(libvirt_of(hypervisor), id, &missing);
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
        AUTO_DOMAIN virDomainPtr domain = libvirt_find_domain(libvirt_of(hypervisor), id, &missing);
        if (domain == NULL && missing.code == ERROR_NOT_FOUND)
            return 0;
        if (domain == NULL)
            return error_set(error, missing.code, "%s", missing.message);
        nanosleep(&(struct timespec){.tv_nsec = 5 * 1000 * 1000}, NULL);
    }
    return error_set(error, ERROR_TIMEOUT, "libvirt still holds the ended microVM %s", id);
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

static void on_back(void *context)
{
    struct libvirt *libvirt = context;
    char id[INSTANCE_ID_MAX] = "";
    while (libvirt_known_next(libvirt->known, id)) {
        struct error missing = ERROR_INIT;
        AUTO_DOMAIN virDomainPtr domain = libvirt_find_domain(libvirt, id, &missing);
        if (domain == NULL && missing.code == ERROR_NOT_FOUND)
            libvirt->listener.ended(libvirt->listener.context, id,
                                    libvirt_known_end(libvirt->known, id, HYPERVISOR_END_DEATH));
    }
    libvirt_end_unknown(libvirt);
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
    struct libvirt *libvirt = libvirt_of(hypervisor);
    libvirt_link_close(libvirt->link);
    libvirt_known_destroy(libvirt->known);
    free(libvirt->root);
    free(libvirt);
}

static int debug(struct hypervisor *hypervisor, const char *id, int descriptor, bool listens,
                 struct error *error)
{
    AUTO_DOMAIN virDomainPtr domain = libvirt_find_domain(libvirt_of(hypervisor), id, error);
    return domain != NULL ? libvirt_debug(domain, descriptor, listens, error) : -1;
}

static const struct hypervisor_operations operations = {
    .create = create,
    .resume = resume,
    .pause = pause_guest,
    .press_power = press_power,
    .destroy = destroy,
    .await_gone = await_gone,
    .adopt = libvirt_adopt,
    .use_of_disks = libvirt_use_of_disks,
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
