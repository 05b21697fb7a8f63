/* The description of one microVM as libvirt reads it. Pure functions: no libvirt, no effects. */
#pragma once

#include "agent/host/libvirt_uri.h"
#include "agent/host/microvm.h"
#include "lib/buffer.h"

#define DOMAIN_NAME_MAX       16
#define DOMAIN_UUID_MAX       37
#define DOMAIN_EMULATOR_AMD64 "/usr/bin/qemu-system-x86_64"
#define DOMAIN_EMULATOR_ARM64 "/usr/bin/qemu-system-aarch64"

/* Appends text with <, >, &, ' and " escaped. */
void xml_append(struct buffer *buffer, const char *text);
/* For a driver, and with the mark of the agent whose microVM it is (domain_metadata.h).
 * ERROR_INVALID when a text of `spec` holds what XML cannot carry unchanged (control characters,
 * line ends, broken UTF-8); ERROR_UNSUPPORTED for a machine that cannot have what is asked for, or
 * that the driver has not. */
int domain_xml_render(enum libvirt_driver driver, const char *owner,
                      const struct microvm_spec *spec, struct buffer *buffer, struct error *error);
void domain_name(const char *id, char ret_name[DOMAIN_NAME_MAX]);
/* The same for one id always: what libvirt still knows of an earlier boot is replaced. */
void domain_uuid(const char *id, char ret_uuid[DOMAIN_UUID_MAX]);
