#include "lib/api/health_spec.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/api/service_spec.h"

#define SECOND      UINT64_C(1000)
#define HOUR        (3600 * SECOND)
#define STATUS_MIN  100
#define STATUS_MAX  599
#define STATUS_FORM "statuses from 100 to 599 like 200, 200-299 or 200-299,404"

/* --- statuses --- */

/* Reads three digits; NULL when there are none, or more. */
static const char *read_status(const char *at, int *ret_status)
{
    int status = 0;
    for (int i = 0; i < 3; i++, at++) {
        if (*at < '0' || *at > '9')
            return NULL;
        status = status * 10 + (*at - '0');
    }
    if (status < STATUS_MIN || status > STATUS_MAX || (*at >= '0' && *at <= '9'))
        return NULL;
    *ret_status = status;
    return at;
}

/* One range of a list; NULL when it is none. */
static const char *read_range(const char *at, int *ret_first, int *ret_last)
{
    at = read_status(at, ret_first);
    if (at == NULL)
        return NULL;
    *ret_last = *ret_first;
    if (*at == '-')
        at = read_status(at + 1, ret_last);
    if (at == NULL || *ret_last < *ret_first || (*at != ',' && *at != '\0'))
        return NULL;
    return *at == ',' ? at + 1 : at;
}

bool api_status_matches(const char *list, int status)
{
    int first, last;
    if (list[0] == '\0')
        return status >= 200 && status <= 399;
    for (const char *at = list; at != NULL && *at != '\0';) {
        at = read_range(at, &first, &last);
        if (at != NULL && status >= first && status <= last)
            return true;
    }
    return false;
}

static const char *check_status(const char *value)
{
    int first, last;
    const char *at = value;
    while (at != NULL && *at != '\0')
        at = read_range(at, &first, &last);
    size_t length = strlen(value);
    bool fine = at != NULL && length > 0 && value[length - 1] != ',';
    return fine ? NULL : STATUS_FORM;
}

/* --- lines --- */

bool api_console_matches(const char *pattern, const char *line, size_t length)
{
    /* As if a star stood in front and behind: each piece where it comes first. */
    for (;;) {
        size_t piece = strcspn(pattern, "*");
        const char *found = piece > 0 ? memmem(line, length, pattern, piece) : line;
        if (found == NULL)
            return false;
        length -= (size_t)(found - line) + piece;
        line = found + piece;
        if (pattern[piece] == '\0')
            return true;
        pattern += piece + 1;
    }
}

/* --- tables --- */

static const char *check_text(const char *value)
{
    size_t length = strlen(value);
    for (const char *at = value; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            return "no control characters";
    }
    return length > 0 && length < API_PROBE_TEXT_MAX ? NULL : "1 to 255 bytes";
}

/* RFC 9110, 5.6.2; and none that the client writes itself. */
static const char *check_header_name(const char *value)
{
    static const char *const own[] = {"connection", "content-length", "expect",
                                      "transfer-encoding"};
    static const char others[] = "!#$%&'*+-.^_`|~";
    size_t length = strlen(value);
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++) {
        if (strcasecmp(value, own[i]) == 0)
            return "another header: this one is written by the check itself";
    }
    for (const char *at = value; *at != '\0'; at++) {
        bool fine = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z') ||
                    (*at >= '0' && *at <= '9') || strchr(others, *at) != NULL;
        if (!fine)
            return "a header's name: letters, digits and -";
    }
    return length > 0 && length < 64 ? NULL : "a header's name of 1 to 63 characters";
}

static const struct json_field http_fields[] = {
    JSON_FIELD(struct api_probe_http, path, "path", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_path),
    JSON_FIELD(struct api_probe_http, port, "port", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_name),
    JSON_FIELD(struct api_probe_http, status, "status", JSON_STRING,
               .flags = JSON_OMIT_EMPTY | JSON_NUMBER_TOO, .check = check_status),
    JSON_FIELD(struct api_probe_http, body, "body", JSON_TEXT, .flags = JSON_OMIT_EMPTY,
               .check = check_text),
    JSON_FIELD(struct api_probe_http, headers, "headers", JSON_MAP, .flags = JSON_OMIT_EMPTY,
               .max = API_PROBE_HEADERS_MAX, .check = check_header_name),
    JSON_FIELD_END,
};
static const struct json_record http_record = {sizeof(struct api_probe_http), http_fields};

static const struct json_field tcp_fields[] = {
    JSON_FIELD(struct api_probe_tcp, port, "port", JSON_STRING, .flags = JSON_REQUIRED,
               .check = api_check_name),
    JSON_FIELD_END,
};
static const struct json_record tcp_record = {sizeof(struct api_probe_tcp), tcp_fields};

static const struct json_field console_fields[] = {
    JSON_FIELD(struct api_probe_console, pattern, "pattern", JSON_TEXT, .flags = JSON_REQUIRED,
               .check = check_text),
    JSON_FIELD_END,
};
static const struct json_record console_record = {sizeof(struct api_probe_console), console_fields};

static const struct json_field probe_fields[] = {
    JSON_FIELD(struct api_probe, http, "http", JSON_OBJECT, .record = &http_record,
               .present_offset = offsetof(struct api_probe, has_http)),
    JSON_FIELD(struct api_probe, tcp, "tcp", JSON_OBJECT, .record = &tcp_record,
               .present_offset = offsetof(struct api_probe, has_tcp)),
    JSON_FIELD(struct api_probe, console, "console", JSON_OBJECT, .record = &console_record,
               .present_offset = offsetof(struct api_probe, has_console)),
    JSON_FIELD(struct api_probe, every_ms, "every", JSON_DURATION, .min = 10, .max = HOUR),
    JSON_FIELD(struct api_probe, timeout_ms, "timeout", JSON_DURATION, .min = 10,
               .max = 60 * SECOND),
    JSON_FIELD(struct api_probe, rise, "rise", JSON_UINT, .min = 1, .max = 100),
    JSON_FIELD(struct api_probe, fall, "fall", JSON_UINT, .min = 1, .max = 100),
    JSON_FIELD(struct api_probe, start_grace_ms, "start_grace", JSON_DURATION,
               .flags = JSON_OMIT_EMPTY, .max = HOUR),
    JSON_FIELD_END,
};
const struct json_record api_probe_record = {sizeof(struct api_probe), probe_fields};

static const struct json_field health_fields[] = {
    JSON_FIELD(struct api_health, readiness, "readiness", JSON_OBJECT, .record = &api_probe_record,
               .present_offset = offsetof(struct api_health, has_readiness)),
    JSON_FIELD(struct api_health, liveness, "liveness", JSON_OBJECT, .record = &api_probe_record,
               .present_offset = offsetof(struct api_health, has_liveness)),
    JSON_FIELD_END,
};
const struct json_record api_health_record = {sizeof(struct api_health), health_fields};

void api_probe_set_defaults(struct api_probe *ret_probe)
{
    ret_probe->every_ms = SECOND;
    ret_probe->timeout_ms = SECOND / 2;
    ret_probe->rise = 1;
    ret_probe->fall = 3;
}

/* --- what the tables cannot say --- */

const char *api_probe_port(const struct api_probe *probe)
{
    if (probe->has_http)
        return probe->http.port;
    return probe->has_tcp ? probe->tcp.port : NULL;
}

static int validate_headers(const struct json_map *headers, const char *pointer,
                            struct error *error)
{
    char at[200];
    for (size_t i = 0; i < headers->count; i++) {
        const char *value = headers->items[i].value;
        const char *allowed = check_text(value);
        if (value[0] == '\0' || allowed == NULL)
            continue;
        snprintf(at, sizeof at, "%s/http/headers/%s", pointer, headers->items[i].key);
        return error_set_at(error, ERROR_INVALID, at,
                            "the header's value does not fit: allowed is "
                            "%s",
                            allowed);
    }
    return 0;
}

int api_probe_validate(const struct api_probe *probe, const char *pointer, struct error *error)
{
    int kinds = (int)probe->has_http + (int)probe->has_tcp + (int)probe->has_console;
    if (kinds != 1)
        return error_set_at(error, ERROR_INVALID, pointer,
                            "a check needs exactly one of http, tcp and console, found %s",
                            kinds == 0 ? "none" : "more than one");
    return probe->has_http ? validate_headers(&probe->http.headers, pointer, error) : 0;
}

int api_health_validate(const struct api_health *health, struct error *error)
{
    if (health->has_readiness &&
        api_probe_validate(&health->readiness, "/health/readiness", error) < 0)
        return -1;
    if (!health->has_liveness)
        return 0;
    if (health->liveness.has_console)
        return error_set_at(error, ERROR_INVALID, "/health/liveness/console",
                            "what a guest has written says that it was ready once, not that it "
                            "lives: check liveness by http or tcp");
    return api_probe_validate(&health->liveness, "/health/liveness", error);
}
