/* What a domain says of the microVM it is, in an element of our own in its <metadata>: libvirt
 * keeps it with the domain, so that nothing depends on files of ours. Pure. */
#pragma once

#include "agent/host/microvm.h"
#include "lib/buffer.h"

#define DOMAIN_METADATA_URI "urn:shoal:instance:1"
#define DOMAIN_OWNER_MAX    9

struct domain_metadata {
    struct microvm_identity identity;
    char owner[DOMAIN_OWNER_MAX]; /* which agent of this machine: 8 hex digits of its run folder */
};

void domain_owner_of(const char *run_directory, char ret_owner[DOMAIN_OWNER_MAX]);
/* Appends the element; its texts are checked as XML's by domain_xml_render. */
void domain_metadata_append(const struct microvm_spec *spec, const char *owner,
                            struct buffer *buffer);
/* Reads the element as libvirt gives it back (virDomainGetMetadata), without its namespace; -1 when
 * it is not ours or any part is not well formed. */
int domain_metadata_parse(const char *text, struct domain_metadata *ret_metadata);
