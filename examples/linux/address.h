/*
 * The address of a Linux microVM, as the kernel's command line tells it:
 *
 *     ip=ADDRESS:SERVER:GATEWAY:MASK:NAME:DEVICE:off
 *
 * (Documentation/admin-guide/nfs/nfsroot.rst of Linux; the kernel itself reads it only where it is
 * built with IP_PNP.) The server is of no use here; the gateway and the name may be empty.
 */
#ifndef LINUX_ADDRESS_H
#define LINUX_ADDRESS_H

#include <netinet/in.h>
#include <stddef.h>

#define ADDRESS_NAME_SIZE 65

struct address {
    struct in_addr address;
    struct in_addr gateway; /* 0.0.0.0: none */
    struct in_addr mask;
    unsigned prefix; /* the mask's bits */
    char name[ADDRESS_NAME_SIZE];
    char device[16];
};

/* Reads what follows "ip=". Returns 0, or -1 with a sentence in `message`. */
int address_parse(struct address *address, const char *text, char *message, size_t message_size);

/* Gives the device the address, brings it up, announces it, and sets the default route. Returns 0,
 * or -1 with a sentence. */
int address_apply(const struct address *address, char *message, size_t message_size);

#endif
