/* What guests do with their disks, as libvirt tells it. */
#include <string.h>

#include "agent/host/hypervisor_libvirt_internal.h"

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
int libvirt_use_of_disks(struct hypervisor *hypervisor, const char *id,
                         struct hypervisor_disk_use *ret_use, struct error *error)
{
    AUTO_DOMAIN virDomainPtr domain = libvirt_find_domain(libvirt_of(hypervisor), id, error);
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
