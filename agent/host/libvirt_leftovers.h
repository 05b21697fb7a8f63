/* What libvirt's status files tell of microVMs that died while no agent ran, settled before libvirt
 * reads them: it would kill whatever process has such a pid by now, and, without the process, does
 * not find the control groups to remove. Knows libvirt's files, not its functions. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* `root`: the embedded driver's. Before it is opened; logs what goes wrong. */
void libvirt_leftovers_settle(const char *root);
/* Whether a process is the QEMU of the domain. */
bool libvirt_pid_is_of(const char *name, pid_t pid);
/* The QEMU of the domain: as its pid file says, or, where that cannot be read, found among all
 * processes. -1: none. */
pid_t libvirt_find_pid(const char *name, const char *pid_file);
