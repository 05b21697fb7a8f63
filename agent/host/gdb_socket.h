/* The socket on which a microVM's gdb stub listens: <run>/g/<id>, which only root reaches. That it
 * is there says that the stub is on, also to the next agent. While the stub is switched on or off
 * it is <run>/g/<id>.half: who finds one of those at its start switches that stub off. May block
 * for some seconds; any thread, one at a time for an id. */
#pragma once

#include <stdbool.h>

#include "agent/host/hypervisor.h"

/* The caller frees. */
char *gdb_socket_path(const char *run_directory, const char *id);
bool gdb_socket_is_open(const char *run_directory, const char *id);
/* Whether somebody may be connected to it, or will be in a moment. */
bool gdb_socket_is_in_use(const char *run_directory, const char *id);
/* Makes the socket, from which on it is in use, for gdb_socket_open or gdb_socket_unmake. */
int gdb_socket_make(const char *run_directory, const char *id, int *ret_descriptor,
                    struct error *error);
/* It is not to be opened after all; a stub that is on stays so. */
void gdb_socket_unmake(const char *run_directory, const char *id);
/* Has the stub serve it, whose descriptor stays the caller's; a stub that is on is let go first,
 * with whoever is connected to it. */
int gdb_socket_open(struct hypervisor *hypervisor, const char *run_directory, const char *id,
                    int descriptor, struct error *error);
/* Takes breakpoints away, lets the guest go on, and switches the stub off; fine when it is off. */
int gdb_socket_close(struct hypervisor *hypervisor, const char *run_directory, const char *id,
                     struct error *error);
/* Every socket that is there; `is_half`: it was being switched when the agent ended. */
void gdb_socket_list(const char *run_directory,
                     void (*each)(void *context, const char *id, bool is_half), void *context);
/* The microVM is gone. */
void gdb_socket_forget(const char *run_directory, const char *id);
