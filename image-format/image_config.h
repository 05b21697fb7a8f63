/* The config blob of a unikernel image: how it boots, what it needs, what it serves.
 *
 * Owns its JSON form (docs/image-format.md) and what is allowed in it. Image metadata is hostile:
 * parts are named by digest, never by path, and nothing here is a host path or a monitor flag.
 * Pure functions; knows neither network nor disk. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/api/service_spec.h"
#include "lib/crypto.h"
#include "lib/json.h"
#include "lib/oci.h"

#define IMAGE_OS             "unikernel"
#define IMAGE_SCHEMA_VERSION 1
#define IMAGE_MEMORY_MIN     (1ull << 20) /* least memory an image may ask for, bytes */
#define IMAGE_MEMORY_MAX     (1ull << 40) /* most */
#define IMAGE_VCPUS_MAX      64
#define IMAGE_ARGUMENTS_MAX  64 /* strings in `cmdline` */
#define IMAGE_PORTS_MAX      16
#define IMAGE_DISKS_MAX      8
#define IMAGE_ENV_MAX        64
/* Bytes of the parts that boot; a packed layer has at most those of what it holds. */
#define IMAGE_KERNEL_MAX ((uint64_t)256 << 20)
#define IMAGE_INITRD_MAX ((uint64_t)4 << 30)
#define IMAGE_DISK_MAX   ((uint64_t)64 << 30)
#define IMAGE_DEBUG_MAX  ((uint64_t)4 << 30)

/* How a guest is asked to end; it is always killed when its grace time is over. */
enum image_stop_method {
    IMAGE_STOP_KILL,    /* not asked */
    IMAGE_STOP_CONSOLE, /* the byte 0x04 on the serial port */
    IMAGE_STOP_ACPI,    /* the power button */
    IMAGE_STOP_HTTP,    /* known, not supported yet */
};

struct image_boot {
    /* Digests of the bytes that boot, in an image of another kind those of a part named by number
     * (chain_content.h). */
    char protocol[16];            /* boot_protocol_names */
    char kernel[DIGEST_TEXT_MAX]; /* "" : the first disk boots */
    char initrd[DIGEST_TEXT_MAX]; /* "" : none */
    struct json_strings disks;
    char machine[16]; /* boot_machine_names */
};

struct image_memory {
    uint64_t min;           /* bytes */
    uint64_t default_bytes; /* bytes */
};

struct image_vcpus {
    uint32_t default_count;
    uint32_t max;
};

struct image_stop {
    enum image_stop_method method;
};

struct image_config {
    uint32_t schema_version;
    char architecture[16]; /* "amd64" */
    char os[16];           /* IMAGE_OS */
    char family[32];       /* family.h */
    struct image_boot boot;
    struct image_memory memory;
    struct image_vcpus vcpus;
    struct json_strings cmdline; /* an argv with ${variables}: command_line.h */
    bool is_literal;             /* not: an image of another tool, which knows no variables */
    struct json_map env;         /* the service's goes on top */
    struct api_port *ports;
    size_t port_count;
    bool has_health;
    struct api_health health;
    bool has_stop;
    struct image_stop stop;
};

extern const struct json_record image_config_record;
extern const struct json_record image_stop_record;

/* Decodes and checks everything; ERROR_INVALID for what makes no sense, ERROR_UNSUPPORTED for
 * families, and ways to boot or stop, that are not in the table. */
int image_config_parse(const char *bytes, size_t length, struct image_config *ret_config,
                       struct error *error);
/* The same checks on a struct that was filled by other means. */
int image_config_check(const struct image_config *config, struct error *error);
/* Those of `cmdline` and `env` alone. */
int image_config_check_words(const struct image_config *config, struct error *error);
void image_config_release(struct image_config *config);
/* What the image says, else its family's way. */
enum image_stop_method image_config_stop_method(const struct image_config *config);
/* The probes' defaults, the same as a service's. */
void image_health_set_defaults(struct api_health *ret_health);
/* The config's port of that name, or NULL. */
const struct api_port *image_config_port(const struct image_config *config, const char *name);
