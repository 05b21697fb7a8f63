/* An image's argv and a service's additions as the one kernel command line a guest boots with.
 *
 * Owns the closed set of variables that image metadata may use. What the line looks like is the
 * family's: family.h. Pure functions. */
#pragma once

#include "image-format/image_config.h"

/* Bytes of a whole command line, whatever the family. Guests are known to receive 1,000; some
 * machines append entries of their own behind ours (about 35 bytes a device). */
#define COMMAND_LINE_MAX 900

/* What the variables stand for. A NULL string or zero number is a value that does not exist here:
 * an image that asks for it is refused. */
struct command_line_values {
    const char *address;     /* ${net.address}: "10.64.0.7" */
    unsigned prefix;         /* ${net.prefix}: 24 */
    const char *gateway;     /* ${net.gateway} */
    const char *dns;         /* ${net.dns} */
    unsigned mtu;            /* ${net.mtu} */
    const char *mac;         /* ${net.mac} */
    const char *instance_id; /* ${instance.id} */
    unsigned slot;           /* ${instance.slot}, from 0 */
    const char *service;
    const char *namespace_name; /* ${namespace} */
    const char *node;
};

/* The line for the config's family: its cmdline with ${variables} expanded, `environment` on top of
 * the config's own and
 * `extra_arguments` (either may be NULL) where the family has them. Where the cmdline uses no
 * ${net.} variable the family's own form of the address stands in front. Refused: an unknown
 * variable, a control character, broken UTF-8, a word that the guest would take apart, args or env
 * that would not reach it (ERROR_INVALID); more bytes, words or entries than it survives
 * (ERROR_TOO_LARGE). The caller frees the line. */
int command_line_expand(const struct image_config *config,
                        const struct json_strings *extra_arguments,
                        const struct json_map *environment,
                        const struct command_line_values *values, char **ret_line,
                        struct error *error);
/* Refuses control characters and what is not UTF-8. */
int command_line_check_characters(const char *argument, struct error *error);
/* The same, and unknown variables, in one string without needing their values. */
int command_line_check(const char *argument, struct error *error);
