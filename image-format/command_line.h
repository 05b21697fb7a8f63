/* An image's argv and a service's additions as the one kernel command line a guest boots with.
 *
 * Owns the closed set of variables that image metadata may use, and the quoting: an argument with
 * a space, a quote or a backslash stands in double quotes, with a backslash before each quote and
 * backslash inside (what examples/runtime reads). Pure functions. */
#pragma once

#include "image-format/image_config.h"

/* Bytes of a whole command line. Guests are known to receive 1,000; some machines append entries
 * of their own behind ours (about 35 bytes a device). */
#define COMMAND_LINE_MAX 900
/* What a guest of family shoal reads, less the entries that machines append. */
#define COMMAND_LINE_ARGUMENTS_MAX   56
#define COMMAND_LINE_ENVIRONMENT_MAX 32

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

/* The config's cmdline with ${variables} expanded, with --env=K=V for each entry of `environment`
 * behind its leading runtime options (--ip= and so on), then `extra_arguments` as they are, with
 * "--" in front where the runtime would take the first for its own. Either may be NULL. An unknown
 * variable, a control character, broken UTF-8 (ERROR_INVALID) and a line over COMMAND_LINE_MAX
 * (ERROR_TOO_LARGE) are refused. The caller frees the line. */
int command_line_expand(const struct image_config *config,
                        const struct json_strings *extra_arguments,
                        const struct json_map *environment,
                        const struct command_line_values *values, char **ret_line,
                        struct error *error);
/* Refuses unknown variables in one string without needing their values. */
int command_line_check(const char *argument, struct error *error);
