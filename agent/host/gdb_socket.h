/* The socket on which a microVM's gdb stub listens: <run>/g/<id>, which only root reaches. That it
 * is there says that the stub is on, also to the next agent. May block for a second; any thread. */
#pragma once

#include <stdbool.h>

#include "agent/host/hypervisor.h"

/* The caller frees. */
char *gdb_socket_path(const char *run_directory, const char *id);
bool gdb_socket_is_open(const char *run_directory, const char *id);
/* Switches the stub on; one that is on is let go first, with whoever is connected to it. */
int gdb_socket_open(struct hypervisor *hypervisor, const char *run_directory, const char *id,
                    struct error *error);
/* Takes breakpoints away, lets the guest go on, and switches the stub off. */
int gdb_socket_close(struct hypervisor *hypervisor, const char *run_directory, const char *id,
                     struct error *error);
/* The microVM is gone. */
void gdb_socket_forget(const char *run_directory, const char *id);
