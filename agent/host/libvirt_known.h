/* The microVMs that libvirt was asked for, from their making to the word of their end, and why QEMU
 * says that it shuts each down. Any thread. Knows no libvirt. */
#pragma once

#include <stdbool.h>

#include "agent/host/hypervisor.h"

struct libvirt_known;

struct libvirt_known *libvirt_known_create(void);
void libvirt_known_destroy(struct libvirt_known *known);

/* `is_made` false: it is being made, and libvirt_known_next passes it over. */
void libvirt_known_begin(struct libvirt_known *known, const char *id, bool is_made);
void libvirt_known_finish_making(struct libvirt_known *known, const char *id);
/* The details of QEMU's event SHUTDOWN (qapi/run-state.json), as JSON. Only the first counts: to
 * end a QEMU whose guest has shut down libvirt sends it a signal. */
void libvirt_known_shut_down(struct libvirt_known *known, const char *id, const char *details);
/* Forgets it. Its end as QEMU gave it; `otherwise` when QEMU said nothing. */
enum hypervisor_end libvirt_known_end(struct libvirt_known *known, const char *id,
                                      enum hypervisor_end otherwise);

bool libvirt_known_has(struct libvirt_known *known, const char *id);
/* The next after `at` ("": the first) in the order of ids, so that all may change in between. */
bool libvirt_known_next(struct libvirt_known *known, char at[INSTANCE_ID_MAX]);
