/* Whether guests run on KVM or by translation (TCG), decided once.
 *
 * That /dev/kvm is there proves nothing: only a guest that really ran under it does. Where the
 * answer is no, the device is hidden from this process, because libvirt would probe QEMU anew for
 * every microVM if it saw one that it cannot use. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "agent/host_protocol.h"
#include "lib/error.h"

struct accelerator {
    bool kvm;
    char reason[HOST_MESSAGE_TEXT_MAX]; /* why not KVM; "" with it */
    gid_t group;                        /* that may open /dev/kvm; only with KVM */
};

/* `wanted`: auto | kvm | tcg; kvm fails where it does not work. Runs a probe guest (3 s at most)
 * once per boot of the host, and keeps the answer below the state folder. No second thread runs
 * yet. */
int accelerator_choose(const char *wanted, const char *state_directory, const char *run_directory,
                       struct accelerator *ret_accelerator, struct error *error);
/* The same for auto, but asks again whatever was kept, and keeps the new answer where there is such
 * a state folder. */
int accelerator_choose_again(const char *state_directory, const char *run_directory,
                             struct accelerator *ret_accelerator, struct error *error);
/* Hides a device that is of no use from this process, which has a mount namespace of its own
 * (mounts.h). */
int accelerator_hide_device(const struct accelerator *accelerator, const char *run_directory,
                            struct error *error);
/* "kvm" or "tcg": KVM runs guests of the host's own architecture only. */
const char *accelerator_of(const struct accelerator *accelerator, const char *architecture);
/* The architectures whose emulator is installed, the host's own first. */
uint32_t accelerator_list_machines(const struct accelerator *accelerator,
                                   struct host_machine ret_machines[HOST_MACHINES_MAX]);
/* Boots the probe guest once; `accelerator` is QEMU's name, kvm or tcg. ERROR_UNAVAILABLE with the
 * reason when it did not run to its end. */
int accelerator_probe(const char *accelerator, const char *run_directory, uid_t uid, gid_t gid,
                      struct error *error);

/* ---- what is kept; for tests ---- */

/* Kept for one boot of the host: `boot` is the kernel's id of it (random(4), boot_id). */
int accelerator_save(const char *path, const char *boot, const struct accelerator *accelerator,
                     struct error *error);
/* -1 when nothing well formed was kept for this boot. Fills what was kept: not the group. */
int accelerator_load(const char *path, const char *boot, struct accelerator *ret_accelerator);
