/* The checks of an instance, as manifests, images and assignments write them. One table and one
 * judgement for all of them. Pure; any thread. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "lib/api/protocol.h"
#include "lib/json.h"

#define API_PROBE_STATUS_MAX  64
#define API_PROBE_TEXT_MAX    256 /* of a body's or a console's text */
#define API_PROBE_HEADERS_MAX 16

struct api_probe_http {
    char path[256];
    char port[NAME_MAX_TEXT];          /* a port's name */
    char status[API_PROBE_STATUS_MAX]; /* "200-299,404"; "": 200-399 */
    char *body;                        /* the answer's body has this text; NULL: any body */
    struct json_map headers;           /* of the request */
};

struct api_probe_tcp {
    char port[NAME_MAX_TEXT];
};

struct api_probe_console {
    char *pattern; /* a line that the guest writes has this; `*` stands for any characters */
};

struct api_probe {
    struct api_probe_http http;
    struct api_probe_tcp tcp;
    struct api_probe_console console;
    bool has_http, has_tcp, has_console; /* exactly one */
    uint64_t every_ms;
    uint64_t timeout_ms;
    uint32_t rise;
    uint32_t fall;
    uint64_t start_grace_ms; /* failures do not count for so long after the boot */
};

struct api_health {
    struct api_probe readiness;
    struct api_probe liveness;
    bool has_readiness, has_liveness;
};

extern const struct json_record api_health_record;
extern const struct json_record api_probe_record;

/* A probe's defaults: every 1s, timeout 500ms, rise 1, fall 3. Lists of probes start from these. */
void api_probe_set_defaults(struct api_probe *ret_probe);
/* Checks what a probe's table cannot say; `pointer` is the probe's place in the document. */
int api_probe_validate(const struct api_probe *probe, const char *pointer, struct error *error);
/* Both checks, at "/health/...". */
int api_health_validate(const struct api_health *health, struct error *error);
/* The name of the port that it asks; NULL: none (console). */
const char *api_probe_port(const struct api_probe *probe);

/* Whether a status of HTTP (100 to 599) is in a list like "200-299,404"; "" is 200-399. */
bool api_status_matches(const char *list, int status);
/* Whether a line has the pattern somewhere in it. Both may be hostile: it takes about as long as
 * the line is, as a guest may write megabytes between two looks. */
bool api_console_matches(const char *pattern, const char *line, size_t length);
