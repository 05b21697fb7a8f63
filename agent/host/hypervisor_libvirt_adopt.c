/* Domains that ran before: which are ours and whole, and which are to be ended. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/host/domain_xml.h"
#include "agent/host/hypervisor_libvirt_internal.h"
#include "agent/host/qemu_process.h"
#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/xalloc.h"

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
    found->pid = libvirt_read_pid(libvirt, found->identity.id);
    found->uptime_ms = process_uptime_ms(found->pid);
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

int libvirt_adopt(struct hypervisor *hypervisor, struct hypervisor_found **ret_found,
                  size_t *ret_count, struct error *error)
{
    struct libvirt *libvirt = libvirt_of(hypervisor);
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

void libvirt_end_unknown(struct libvirt *libvirt)
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
