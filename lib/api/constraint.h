/* What a manifest may ask of the place of an instance: `label.zone == a`, `node in (a, b)`,
 * `label.rack ~ r1-*`, `accel == kvm`. The same rules serve CLI and scheduler.
 *
 *   constraint = subject operator value
 *   subject    = node | arch | accel | family | label.KEY | service (affinities only)
 *   operator   = == | != | in | ~
 *   value      = a text without spaces, commas, quotes and parentheses, or one in double quotes;
 *                for `in` a list of them, "a, b", in parentheses or not
 *
 * `~` takes a pattern (lib/glob.h). A label that a node does not have is like no value: only `!=`
 * holds. Pure functions; any thread. */
#pragma once

#include "lib/json.h"

#define API_CONSTRAINT_TEXT_MAX   512 /* bytes of one */
#define API_CONSTRAINT_VALUES_MAX 32  /* of `in` */
#define API_LABEL_KEY_MAX         64  /* with NUL */

enum api_subject {
    API_SUBJECT_NODE, /* its name */
    API_SUBJECT_ARCH,
    API_SUBJECT_ACCEL,
    API_SUBJECT_FAMILY,
    API_SUBJECT_LABEL,
    API_SUBJECT_SERVICE, /* an instance of that service, of the same namespace, is there */
};

enum api_operator { API_OPERATOR_IS, API_OPERATOR_IS_NOT, API_OPERATOR_IN, API_OPERATOR_MATCHES };

struct api_constraint {
    enum api_subject subject;
    char label[API_LABEL_KEY_MAX]; /* API_SUBJECT_LABEL: its key */
    enum api_operator operator;
    struct json_strings values; /* one, but for `in` */
};

/* ERROR_INVALID says at which character, what was found and what is allowed. The caller releases
 * the constraint. */
int api_constraint_parse(const char *text, struct api_constraint *ret_constraint,
                         struct error *error);
void api_constraint_release(struct api_constraint *constraint);
/* As it may be written; reading it again gives the same. The caller frees it. */
char *api_constraint_text(const struct api_constraint *constraint);
/* Whether it holds for a value of its subject; `value` NULL: there is none. */
bool api_constraint_holds(const struct api_constraint *constraint, const char *value);

/* "label.zone": the key behind "label."; NULL for any other text, or a key that is none. */
const char *api_label_key(const char *text);
/* NULL when fine, else what is allowed: letters, digits and . _ - /, at most 63. */
const char *api_check_label_key(const char *value);
