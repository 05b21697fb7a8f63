#include "lib/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/text.h"

static const struct {
    const char *name;
    int status;
} codes[] = {
    [ERROR_NONE] = {"none", 200},
    [ERROR_INTERNAL] = {"internal", 500},
    [ERROR_INVALID] = {"invalid", 400},
    [ERROR_UNSUPPORTED] = {"unsupported", 422},
    [ERROR_NOT_FOUND] = {"not_found", 404},
    [ERROR_CONFLICT] = {"conflict", 409},
    [ERROR_DENIED] = {"denied", 403},
    [ERROR_SIGNATURE] = {"signature_rejected", 403},
    [ERROR_POLICY] = {"policy_refused", 403},
    [ERROR_UNAVAILABLE] = {"unavailable", 503},
    [ERROR_NO_LEADER] = {"no_leader", 503}, /* behind the other 503: a bare 503 means that */
    [ERROR_UNKNOWN] = {"outcome_unknown", 503},
    [ERROR_TIMEOUT] = {"timeout", 504},
    [ERROR_IO] = {"io", 500},
    [ERROR_TOO_LARGE] = {"too_large", 413},
    [ERROR_STORAGE_FULL] = {"storage_full", 507}, /* before the other 507: a bare 507 means this */
    [ERROR_NO_CAPACITY] = {"no_capacity", 507},
    [ERROR_STALE] = {"stale", 412},
    [ERROR_COMPACTED] = {"compacted", 410},
    [ERROR_PROTOCOL] = {"protocol", 426},
    [ERROR_FAILED] = {"failed", 500},
};

static int set_formatted(struct error *error, enum error_code code, const char *format,
                         va_list arguments)
{
    if (error == NULL)
        return -1;
    error->code = code;
    error->pointer[0] = '\0';
    vsnprintf(error->message, sizeof error->message, format, arguments);
    text_make_printable(error->message);
    return -1;
}

int error_set(struct error *error, enum error_code code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    set_formatted(error, code, format, arguments);
    va_end(arguments);
    return -1;
}

int error_set_at(struct error *error, enum error_code code, const char *pointer, const char *format,
                 ...)
{
    va_list arguments;
    va_start(arguments, format);
    set_formatted(error, code, format, arguments);
    va_end(arguments);
    if (error != NULL)
        snprintf(error->pointer, sizeof error->pointer, "%s", pointer);
    return -1;
}

static enum error_code code_of_errno(int number)
{
    switch (number) {
    case ENOENT:
        return ERROR_NOT_FOUND;
    case EEXIST:
        return ERROR_CONFLICT;
    case EACCES:
    case EPERM:
        return ERROR_DENIED;
    case ENOSPC:
    case EDQUOT:
        return ERROR_STORAGE_FULL;
    case ETIMEDOUT:
        return ERROR_TIMEOUT;
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case ENETUNREACH:
        return ERROR_UNAVAILABLE;
    default:
        return ERROR_IO;
    }
}

int error_set_errno(struct error *error, int number, const char *format, ...)
{
    if (error == NULL)
        return -1;
    va_list arguments;
    va_start(arguments, format);
    set_formatted(error, code_of_errno(number), format, arguments);
    va_end(arguments);
    size_t used = strlen(error->message);
    snprintf(error->message + used, sizeof error->message - used, ": %s", strerror(number));
    return -1;
}

int error_wrap(struct error *error, const char *format, ...)
{
    if (error == NULL)
        return -1;
    char context[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(context, sizeof context, format, arguments);
    va_end(arguments);
    char message[ERROR_MESSAGE_MAX];
    memcpy(message, error->message, sizeof message);
    size_t used = (size_t)snprintf(error->message, sizeof error->message, "%s: ", context);
    size_t length = strnlen(message, sizeof error->message - used - 1);
    memcpy(error->message + used, message, length);
    error->message[used + length] = '\0';
    text_make_printable(error->message);
    return -1;
}

int error_copy(struct error *to, const struct error *from)
{
    if (to != NULL && from != NULL)
        *to = *from;
    return -1;
}

const char *error_code_name(enum error_code code)
{
    return (size_t)code < ARRAY_LENGTH(codes) ? codes[code].name : "internal";
}

enum error_code error_code_from_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(codes); i++) {
        if (strcmp(codes[i].name, name) == 0)
            return (enum error_code)i;
    }
    return ERROR_INTERNAL;
}

int error_http_status(enum error_code code)
{
    return (size_t)code < ARRAY_LENGTH(codes) ? codes[code].status : 500;
}

enum error_code error_code_from_http_status(int status)
{
    for (size_t i = 1; i < ARRAY_LENGTH(codes); i++) {
        if (codes[i].status == status)
            return (enum error_code)i;
    }
    if (status >= 502)
        return ERROR_UNAVAILABLE;
    return status >= 500 ? ERROR_INTERNAL : ERROR_INVALID;
}

struct json_object *error_to_json(const struct error *error)
{
    struct json_object *body = json_object_new_object();
    json_object_object_add(body, "code", json_object_new_string(error_code_name(error->code)));
    json_object_object_add(body, "message", json_object_new_string(error->message));
    if (error->pointer[0] != '\0') {
        char pointer[ERROR_POINTER_MAX];
        memcpy(pointer, error->pointer, sizeof pointer);
        text_make_printable(pointer);
        struct json_object *detail = json_object_new_object();
        json_object_object_add(detail, "pointer", json_object_new_string(pointer));
        json_object_object_add(body, "detail", detail);
    }
    struct json_object *object = json_object_new_object();
    json_object_object_add(object, "error", body);
    return object;
}

/* The text under a key; NULL when there is none, null among it. */
static const char *text_of(struct json_object *object, const char *key)
{
    struct json_object *value;
    if (!json_object_object_get_ex(object, key, &value) ||
        !json_object_is_type(value, json_type_string))
        return NULL;
    return json_object_get_string(value);
}

bool error_from_json(struct json_object *object, struct error *ret_error)
{
    struct json_object *body, *detail;
    if (!json_object_object_get_ex(object, "error", &body))
        return false;
    const char *code = text_of(body, "code"), *message = text_of(body, "message");
    if (code == NULL || message == NULL)
        return false;
    error_set(ret_error, error_code_from_name(code), "%s", message);
    const char *pointer =
        json_object_object_get_ex(body, "detail", &detail) ? text_of(detail, "pointer") : NULL;
    if (pointer != NULL)
        snprintf(ret_error->pointer, sizeof ret_error->pointer, "%s", pointer);
    return true;
}
