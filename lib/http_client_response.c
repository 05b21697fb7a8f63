/* Reading an answer: errors out of bodies, and the encoding of what goes into a URL. */
#include <ctype.h>
#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/http_client.h"
#include "lib/json.h"

/* {"errors": [{"code": "BLOB_UNKNOWN", "message": "..."}]}, as OCI registries answer. */
static bool error_from_oci(struct json_object *object, int status, struct error *error)
{
    struct json_object *errors, *code, *message;
    if (!json_object_object_get_ex(object, "errors", &errors) ||
        !json_object_is_type(errors, json_type_array) || json_object_array_length(errors) == 0)
        return false;
    struct json_object *first = json_object_array_get_idx(errors, 0);
    if (!json_object_object_get_ex(first, "code", &code) || code == NULL)
        return false;
    const char *text = "no message";
    if (json_object_object_get_ex(first, "message", &message) && message != NULL)
        text = json_object_get_string(message);
    error_set(error, error_code_from_http_status(status), "%s: %s", json_object_get_string(code),
              text);
    return true;
}

int http_response_check(const struct http_client_response *response, struct error *error)
{
    if (response->failed)
        return error_copy(error, &response->error);
    if (response->status >= 200 && response->status < 300)
        return 0;
    AUTO_JSON struct json_object *object = NULL;
    struct error found = ERROR_INIT;
    if (json_parse(response->body, response->body_length, &object, NULL) == 0 &&
        (error_from_json(object, &found) || error_from_oci(object, response->status, &found)))
        return error_copy(error, &found);
    return error_set(error, error_code_from_http_status(response->status), "HTTP status %d",
                     response->status);
}

bool http_response_is_absence(const struct http_client_response *response)
{
    return response->failed || (response->status >= 502 && response->status <= 504);
}

char *http_encode_segment(const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    struct buffer encoded = {0};
    for (const unsigned char *at = (const unsigned char *)text; *at != '\0'; at++) {
        if (*at < 0x80 && (isalnum(*at) || strchr("-._~", *at) != NULL)) {
            buffer_append(&encoded, at, 1);
        } else {
            char escape[3] = {'%', digits[*at >> 4], digits[*at & 15]};
            buffer_append(&encoded, escape, sizeof escape);
        }
    }
    return buffer_take(&encoded);
}
