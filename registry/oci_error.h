/* The error bodies of the OCI distribution spec 1.1, "Error Codes":
 * {"errors": [{"code", "message", "detail"}]}. Any thread. */
#pragma once

#include "lib/http_server.h"

enum oci_error {
    OCI_BLOB_UNKNOWN,
    OCI_BLOB_UPLOAD_INVALID,
    OCI_BLOB_UPLOAD_UNKNOWN,
    OCI_DIGEST_INVALID,
    OCI_MANIFEST_BLOB_UNKNOWN,
    OCI_MANIFEST_INVALID,
    OCI_MANIFEST_UNKNOWN,
    OCI_NAME_INVALID,
    OCI_NAME_UNKNOWN,
    OCI_SIZE_INVALID,
    OCI_UNAUTHORIZED,
    OCI_DENIED,
    OCI_TOOMANYREQUESTS,
    OCI_UNSUPPORTED,
    OCI_UNKNOWN, /* not the spec's, but every registry's: what is not the client's fault */
};

/* Answers with the code's usual status. */
void oci_error_respond(struct http_request *request, enum oci_error code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Answers with another status. */
void oci_error_respond_status(struct http_request *request, enum oci_error code, int status,
                              const char *format, ...) __attribute__((format(printf, 4, 5)));
/* Answers with {"<key>": "<value>"} as the error's detail, for programs. */
void oci_error_respond_detail(struct http_request *request, enum oci_error code, int status,
                              const char *key, const char *value, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
/* Answers for something that failed here: 507 when the disk is full, else 500, and logs it. */
void oci_error_respond_failure(struct http_request *request, const struct error *error);
/* The form for errors that the HTTP server finds itself (http_server_options.respond_error). */
void oci_error_respond_server(struct http_request *request, const struct error *error);
