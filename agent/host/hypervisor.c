#include "agent/host/hypervisor.h"

#include "agent/host/hypervisor_interface.h"

void hypervisor_watch(struct hypervisor *hypervisor, struct call_watch *watch)
{
    hypervisor->watch = watch;
}

bool hypervisor_takes_tap(const struct hypervisor *hypervisor)
{
    return hypervisor->operations->takes_tap;
}

int hypervisor_create(struct hypervisor *hypervisor, const struct microvm_spec *spec,
                      pid_t *ret_pid, struct error *error)
{
    struct call_under_way call;
    call_watch_begin(hypervisor->watch, &call, WATCHED_CREATE, spec->id);
    return call_watch_end(hypervisor->watch, &call,
                          hypervisor->operations->create(hypervisor, spec, ret_pid, error));
}

int hypervisor_resume(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    struct call_under_way call;
    call_watch_begin(hypervisor->watch, &call, WATCHED_RESUME, id);
    return call_watch_end(hypervisor->watch, &call,
                          hypervisor->operations->resume(hypervisor, id, error));
}

int hypervisor_pause(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    struct call_under_way call;
    call_watch_begin(hypervisor->watch, &call, WATCHED_PAUSE, id);
    return call_watch_end(hypervisor->watch, &call,
                          hypervisor->operations->pause(hypervisor, id, error));
}

int hypervisor_press_power(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    struct call_under_way call;
    call_watch_begin(hypervisor->watch, &call, WATCHED_PRESS_POWER, id);
    return call_watch_end(hypervisor->watch, &call,
                          hypervisor->operations->press_power(hypervisor, id, error));
}

int hypervisor_destroy(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    struct call_under_way call;
    call_watch_begin(hypervisor->watch, &call, WATCHED_DESTROY, id);
    return call_watch_end(hypervisor->watch, &call,
                          hypervisor->operations->destroy(hypervisor, id, error));
}

int hypervisor_await_gone(struct hypervisor *hypervisor, const char *id, struct error *error)
{
    struct call_under_way call;
    call_watch_begin(hypervisor->watch, &call, WATCHED_AWAIT_GONE, id);
    return call_watch_end(hypervisor->watch, &call,
                          hypervisor->operations->await_gone(hypervisor, id, error));
}

int hypervisor_adopt(struct hypervisor *hypervisor, struct hypervisor_found **ret_found,
                     size_t *ret_count, struct error *error)
{
    struct call_under_way call;
    call_watch_begin(hypervisor->watch, &call, WATCHED_ADOPT, "");
    return call_watch_end(hypervisor->watch, &call,
                          hypervisor->operations->adopt(hypervisor, ret_found, ret_count, error));
}

int hypervisor_use_of_disks(struct hypervisor *hypervisor, const char *id,
                            struct hypervisor_disk_use *ret_use, struct error *error)
{
    struct call_under_way call;
    if (hypervisor->operations->use_of_disks == NULL)
        return error_set(error, ERROR_UNSUPPORTED,
                         "this hypervisor does not tell what guests do with their disks");
    call_watch_begin(hypervisor->watch, &call, WATCHED_USE_OF_DISKS, id);
    return call_watch_end(hypervisor->watch, &call,
                          hypervisor->operations->use_of_disks(hypervisor, id, ret_use, error));
}

int hypervisor_debug(struct hypervisor *hypervisor, const char *id, int descriptor, bool listens,
                     struct error *error)
{
    struct call_under_way call;
    if (hypervisor->operations->debug == NULL)
        return error_set(error, ERROR_UNSUPPORTED, "this hypervisor has no gdb stub");
    call_watch_begin(hypervisor->watch, &call, WATCHED_DEBUG, id);
    return call_watch_end(
        hypervisor->watch, &call,
        hypervisor->operations->debug(hypervisor, id, descriptor, listens, error));
}

void hypervisor_close(struct hypervisor *hypervisor)
{
    if (hypervisor != NULL)
        hypervisor->operations->close(hypervisor);
}
