/*
 * The kernel's command line: how the platform tells a guest its address and the service its
 * arguments. Knows no machine and no network; the line is split in place.
 *
 *     --ip=A/NN [--gateway=G] [--instance=ID] [--mtu=N] [--env=K=V ...] [--] [ARGUMENT ...]
 *
 * Arguments are separated by spaces. A part in double quotes may contain spaces; within the quotes
 * a backslash takes the next character as it is. The first argument that is not the runtime's
 * begins the service's own. What a microvm appends (virtio_mmio.device=SIZE@ADDRESS:LINE) is taken
 * off the end.
 */
#ifndef RUNTIME_ARGUMENTS_H
#define RUNTIME_ARGUMENTS_H

#include <stddef.h>
#include <stdint.h>

#define ARGUMENTS_MAX             64
#define ARGUMENTS_ENVIRONMENT_MAX 32
#define ARGUMENTS_DEVICES_MAX     8

struct arguments_device {
    uint64_t address;
    int line;
};

struct arguments {
    uint32_t address; /* host byte order, as the gateway; 0: none */
    uint32_t gateway;
    unsigned prefix;
    unsigned mtu;                                       /* 0: not told */
    const char *instance_id;                            /* NULL: not told */
    const char *environment[ARGUMENTS_ENVIRONMENT_MAX]; /* "NAME=value" */
    unsigned environment_count;
    char *values[ARGUMENTS_MAX]; /* the service's own arguments */
    int value_count;
    struct arguments_device devices[ARGUMENTS_DEVICES_MAX];
    unsigned device_count;
};

/* The steps, in order, on a struct that is all zero at first; each returns 0, or -1 with a sentence
 * in `message`. First the words come in: those of a line, which is split in place, or one at a time
 * where something else has split them. Then the runtime's own among them are taken out and read.
 * The strings stay the caller's. */
int arguments_split(struct arguments *arguments, char *line, char *message, size_t message_size);
int arguments_add(struct arguments *arguments, char *value, char *message, size_t message_size);
int arguments_parse(struct arguments *arguments, char *message, size_t message_size);

/* The value of an environment entry, NULL without one. */
const char *arguments_find_environment(const struct arguments *arguments, const char *name);

#endif
