/* Whether guests run on KVM or by translation (TCG), decided at the start.
 *
 * That /dev/kvm is there proves nothing: only a guest that really ran under it does, or a QEMU that
 * refused it. A probe that only took too long may have been the machine's load: guests are
 * translated then, and a later start asks again. Where the answer is no, the device is hidden from
 * this process, because libvirt would probe QEMU anew for every microVM if it saw one that it
 * cannot use. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/host_protocol.h"
#include "lib/error.h"

struct accelerator {
    bool kvm;
    char reason[HOST_MESSAGE_TEXT_MAX]; /* why not KVM; "" with it */
    gid_t group;                        /* that may open /dev/kvm; only with KVM */
    bool is_proven;                     /* `kvm` holds until the host boots again */
    unsigned tries;                     /* probes in a row that proved nothing */
    uint64_t asked_ms;                  /* monotonic; when the last of them was made */
};

/* `wanted`: auto | kvm | tcg; kvm fails where it does not work. Runs a probe guest (3 s at most)
 * unless the answer was proven since the host's boot, or was asked for just now in vain; keeps it
 * below the state folder. No second thread runs yet. */
int accelerator_choose(const char *wanted, const char *state_directory, const char *run_directory,
                       struct accelerator *ret_accelerator, struct error *error);
/* The same for auto, but asks again whatever was kept, and keeps what was learnt where there is
 * such a state folder. */
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
 * reason when it does not work; any other error proves nothing about it (ERROR_TIMEOUT: it had not
 * ended within 3 s). */
int accelerator_probe(const char *accelerator, const char *run_directory, uid_t uid, gid_t gid,
                      struct error *error);

/* ---- what is known; for tests ---- */

/* How the probe's QEMU ended (wait(2)), and what it wrote: as accelerator_probe says. */
int accelerator_judge(int status, const char *text, struct error *error);
/* Whether a start has to ask: what was proven is not asked again, and what was asked in vain only
 * at the first start after that, and then after 1 min, 2 min, ... up to 1 h. */
bool accelerator_is_due(const struct accelerator *known, uint64_t now_ms);
/* Adds what a probe found to what is known (zeroes: nothing). `why`: its error, NULL: it ran. What
 * proves nothing takes no proof away. */
void accelerator_learn(struct accelerator *known, const struct error *why, uint64_t now_ms);

/* Kept for one boot of the host: `boot` is the kernel's id of it (random(4), boot_id). */
int accelerator_save(const char *path, const char *boot, const struct accelerator *accelerator,
                     struct error *error);
/* -1 when nothing well formed was kept for this boot. Fills all but the group. */
int accelerator_load(const char *path, const char *boot, struct accelerator *ret_accelerator);
