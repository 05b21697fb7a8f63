#include "registry/oci_error.h"

#include <stdarg.h>

#include "lib/cleanup.h"
#include "lib/log.h"
#include "lib/text.h"
#include "lib/xalloc.h"

static const struct {
    const char *name;
    int status;
} codes[] = {
    [OCI_BLOB_UNKNOWN] = {"BLOB_UNKNOWN", 404},
    [OCI_BLOB_UPLOAD_INVALID] = {"BLOB_UPLOAD_INVALID", 400},
    [OCI_BLOB_UPLOAD_UNKNOWN] = {"BLOB_UPLOAD_UNKNOWN", 404},
    [OCI_DIGEST_INVALID] = {"DIGEST_INVALID", 400},
    [OCI_MANIFEST_BLOB_UNKNOWN] = {"MANIFEST_BLOB_UNKNOWN", 400},
    [OCI_MANIFEST_INVALID] = {"MANIFEST_INVALID", 400},
    [OCI_MANIFEST_UNKNOWN] = {"MANIFEST_UNKNOWN", 404},
    [OCI_NAME_INVALID] = {"NAME_INVALID", 400},
    [OCI_NAME_UNKNOWN] = {"NAME_UNKNOWN", 404},
    [OCI_SIZE_INVALID] = {"SIZE_INVALID", 400},
    [OCI_UNAUTHORIZED] = {"UNAUTHORIZED", 401},
    [OCI_DENIED] = {"DENIED", 403},
    [OCI_TOOMANYREQUESTS] = {"TOOMANYREQUESTS", 429},
    [OCI_UNSUPPORTED] = {"UNSUPPORTED", 405},
    [OCI_UNKNOWN] = {"UNKNOWN", 500},
};

/* Takes the detail, which may be NULL. */
static void respond(struct http_request *request, enum oci_error code, int status, char *message,
                    struct json_object *detail)
{
    text_make_printable(message); /* parts of it are the client's */
    struct json_object *entry = json_object_new_object();
    json_object_object_add(entry, "code", json_object_new_string(codes[code].name));
    json_object_object_add(entry, "message", json_object_new_string(message));
    if (detail != NULL)
        json_object_object_add(entry, "detail", detail);
    struct json_object *errors = json_object_new_array();
    json_object_array_add(errors, entry);
    struct json_object *body = json_object_new_object();
    json_object_object_add(body, "errors", errors);
    http_request_respond_json(request, status, body);
}

void oci_error_respond(struct http_request *request, enum oci_error code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    AUTO_FREE char *message = xvasprintf(format, arguments);
    va_end(arguments);
    respond(request, code, codes[code].status, message, NULL);
}

void oci_error_respond_status(struct http_request *request, enum oci_error code, int status,
                              const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    AUTO_FREE char *message = xvasprintf(format, arguments);
    va_end(arguments);
    respond(request, code, status, message, NULL);
}

void oci_error_respond_detail(struct http_request *request, enum oci_error code, int status,
                              const char *key, const char *value, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    AUTO_FREE char *message = xvasprintf(format, arguments);
    va_end(arguments);
    AUTO_FREE char *printable = xstrdup(value);
    text_make_printable(printable);
    struct json_object *detail = json_object_new_object();
    json_object_object_add(detail, key, json_object_new_string(printable));
    respond(request, code, status, message, detail);
}

void oci_error_respond_failure(struct http_request *request, const struct error *error)
{
    log_error("request failed", "method", http_request_method(request), "path",
              http_request_path(request), "error", error->message);
    /* Paths of this machine are for the log, not for clients. */
    if (error->code == ERROR_STORAGE_FULL)
        oci_error_respond_status(request, OCI_UNKNOWN, 507, "the registry's disk is full");
    else if (error->code == ERROR_UNAVAILABLE || error->code == ERROR_TIMEOUT)
        oci_error_respond_status(request, OCI_UNKNOWN, 503,
                                 "the registry's storage cannot be reached now: try again");
    else
        oci_error_respond_status(request, OCI_UNKNOWN, 500,
                                 "the registry failed; its log says why");
}

void oci_error_respond_server(struct http_request *request, const struct error *error)
{
    enum oci_error code;
    switch (error->code) {
    case ERROR_NOT_FOUND:
        code = OCI_NAME_UNKNOWN;
        break;
    case ERROR_INVALID:
        code = OCI_NAME_INVALID;
        break;
    case ERROR_DENIED:
        code = OCI_DENIED;
        break;
    case ERROR_TOO_LARGE:
        code = OCI_SIZE_INVALID;
        break;
    case ERROR_UNSUPPORTED:
        code = OCI_UNSUPPORTED;
        break;
    default:
        code = OCI_UNKNOWN;
        break;
    }
    oci_error_respond_status(request, code, error_http_status(error->code), "%s", error->message);
}
