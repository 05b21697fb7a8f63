#include "agent/host/hypervisor.h"

#include "agent/host/hypervisor_interface.h"

bool hypervisor_takes_tap(const struct hypervisor *hypervisor)
{
    return hypervisor->operations->takes_tap;
}

int hypervisor_create(struct hypervisor *hypervisor, const struct microvm_spec *spec,
                      pid_t *ret_pid, struct error *error)
{
    return hypervisor->operations->create(hypervisor, spec, ret_pid, error);
}

int hypervisor_resume(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    return hypervisor->operations->resume(hypervisor, id, error);
}

int hypervisor_pause(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    return hypervisor->operations->pause(hypervisor, id, error);
}

int hypervisor_press_power(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    return hypervisor->operations->press_power(hypervisor, id, error);
}

int hypervisor_destroy(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    return hypervisor->operations->destroy(hypervisor, id, error);
}

int hypervisor_await_gone(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    return hypervisor->operations->await_gone(hypervisor, id, error);
}

int hypervisor_adopt(struct hypervisor *hypervisor, struct hypervisor_found **ret_found,
                     size_t *ret_count, struct error *error)
{
    return hypervisor->operations->adopt(hypervisor, ret_found, ret_count, error);
}

int hypervisor_use_of_disks(struct hypervisor *hypervisor, const char *id,
                            struct hypervisor_disk_use *ret_use, struct error *error)
{
    if (hypervisor->operations->use_of_disks == NULL)
        return error_set(error, ERROR_UNSUPPORTED,
                         "this hypervisor does not tell what guests do with their disks");
    return hypervisor->operations->use_of_disks(hypervisor, id, ret_use, error);
}

int hypervisor_debug(struct hypervisor *hypervisor, const char *id, int descriptor, bool listens,
                     struct error *error)
{
    if (hypervisor->operations->debug == NULL)
        return error_set(error, ERROR_UNSUPPORTED, "this hypervisor has no gdb stub");
    return hypervisor->operations->debug(hypervisor, id, descriptor, listens, error);
}

void hypervisor_close(struct hypervisor *hypervisor)
{
    if (hypervisor != NULL)
        hypervisor->operations->close(hypervisor);
}
