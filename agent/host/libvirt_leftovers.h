/* What libvirt's status files tell of microVMs that died while no agent ran, settled before libvirt
 * reads them: it would kill whatever process has such a pid by now, and, without the process, does
 * not find the control groups to remove. Knows libvirt's files, not its functions. */
#pragma once

/* `root`: the embedded driver's. Before it is opened; logs what goes wrong. */
void libvirt_leftovers_settle(const char *root);
