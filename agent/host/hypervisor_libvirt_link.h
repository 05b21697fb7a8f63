/* The connection to libvirt: made, listened to, and made again when the daemon at its other end
 * went away or said nothing for long.
 *
 * Owns the thread of libvirt's events and, for a daemon, one that connects again. Any thread. A
 * process has one at a time: libvirt has one list of events, and each thread that runs it tells
 * everybody's. */
#pragma once

#include <libvirt/libvirt.h>

#include "agent/host/libvirt_uri.h"
#include "lib/error.h"

struct libvirt_link;

/* All but `back` on the events' thread. */
struct libvirt_link_listener {
    void (*changed)(void *context, const char *name, int event, int detail); /* of a domain */
    /* What QEMU gives as the reason of a domain's shutdown, as JSON. */
    void (*shut_down)(void *context, const char *name, const char *details);
    /* Connected again: what happened in between was told to nobody. On the thread that connects. */
    void (*back)(void *context);
    void *context;
};

/* A daemon that does not answer within some seconds is an error. */
int libvirt_link_open(enum libvirt_driver driver, const char *uri,
                      const struct libvirt_link_listener *listener, struct libvirt_link **ret_link,
                      struct error *error);
/* NULL is fine. No listener is called any more. */
void libvirt_link_close(struct libvirt_link *link);

/* A reference of the caller's own (virConnectClose); NULL while there is no connection. */
virConnectPtr libvirt_link_take(struct libvirt_link *link, struct error *error);
/* What libvirt said last on this thread, as an error about `what`; -1. ERROR_NOT_FOUND: there is no
 * such domain; ERROR_UNAVAILABLE: the daemon is gone. */
int libvirt_refuse(struct error *error, const char *what);
