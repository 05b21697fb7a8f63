#include "lib/api/constraint.h"

#include <string.h>

#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/glob.h"
#include "lib/xalloc.h"

#define SPACES    " \t"
#define LABEL     "label."
#define KEY_SIGNS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/"
#define SUBJECTS  "node, arch, accel, family, label.KEY"

static const char *const subject_names[] = {
    [API_SUBJECT_NODE] = "node",    [API_SUBJECT_ARCH] = "arch",
    [API_SUBJECT_ACCEL] = "accel",  [API_SUBJECT_FAMILY] = "family",
    [API_SUBJECT_LABEL] = "label.", [API_SUBJECT_SERVICE] = "service"};
static const char *const operator_names[] = {
    [API_OPERATOR_IS] = "==",
    [API_OPERATOR_IS_NOT] = "!=",
    [API_OPERATOR_IN] = "in",
    [API_OPERATOR_MATCHES] = "~",
};

/* A text that is being read. */
struct reading {
    const char *text;
    const char *at;
};

const char *api_check_label_key(const char *value)
{
    size_t length = strlen(value);
    return length > 0 && length < API_LABEL_KEY_MAX && strspn(value, KEY_SIGNS) == length
               ? NULL
               : "1 to 63 letters, digits and . _ - /";
}

const char *api_label_key(const char *text)
{
    if (strncmp(text, LABEL, strlen(LABEL)) != 0)
        return NULL;
    return api_check_label_key(text + strlen(LABEL)) == NULL ? text + strlen(LABEL) : NULL;
}

static int refuse(const struct reading *reading, const char *allowed, struct error *error)
{
    size_t length = strcspn(reading->at, SPACES);
    if (*reading->at == '\0')
        return error_set(error, ERROR_INVALID, "constraint \"%s\": it ends at character %zu: %s",
                         reading->text, (size_t)(reading->at - reading->text) + 1, allowed);
    return error_set(error, ERROR_INVALID, "constraint \"%s\": found \"%.*s\" at character %zu: %s",
                     reading->text, (int)(length < 40 ? length : 40), reading->at,
                     (size_t)(reading->at - reading->text) + 1, allowed);
}

static void skip_spaces(struct reading *reading)
{
    reading->at += strspn(reading->at, SPACES);
}

/* --- the three parts --- */

static int read_subject(struct reading *reading, struct api_constraint *constraint,
                        struct error *error)
{
    size_t length = strcspn(reading->at, SPACES "=!~");
    AUTO_FREE char *word = xstrndup(reading->at, length);
    const char *key = api_label_key(word);
    if (key != NULL) {
        constraint->subject = API_SUBJECT_LABEL;
        memcpy(constraint->label, key, strlen(key) + 1);
        reading->at += length;
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(subject_names); i++) {
        if (i != API_SUBJECT_LABEL && strcmp(word, subject_names[i]) == 0) {
            constraint->subject = (enum api_subject)i;
            reading->at += length;
            return 0;
        }
    }
    return refuse(reading,
                  "allowed is what is asked about: " SUBJECTS
                  " (a key is 1 to 63 letters, digits and . _ - /)",
                  error);
}

static int read_operator(struct reading *reading, struct api_constraint *constraint,
                         struct error *error)
{
    skip_spaces(reading);
    for (size_t i = 0; i < ARRAY_LENGTH(operator_names); i++) {
        size_t length = strlen(operator_names[i]);
        bool is_word = i == API_OPERATOR_IN;
        if (strncmp(reading->at, operator_names[i], length) != 0 ||
            (is_word && strchr(SPACES "(\"", reading->at[length]) == NULL))
            continue;
        constraint->operator=(enum api_operator) i;
        reading->at += length;
        return 0;
    }
    return refuse(reading, "allowed are ==, !=, in, ~", error);
}

static int read_value(struct reading *reading, struct api_constraint *constraint,
                      struct error *error)
{
    skip_spaces(reading);
    bool is_quoted = *reading->at == '"';
    const char *start = reading->at + is_quoted;
    size_t length = strcspn(start, is_quoted ? "\"" : SPACES ",()\"");
    if (length == 0 || (is_quoted && start[length] != '"'))
        return refuse(reading,
                      "allowed is a value: a text without spaces, commas, quotes and parentheses, "
                      "or one in double quotes",
                      error);
    if (constraint->values.count == API_CONSTRAINT_VALUES_MAX)
        return refuse(reading, "at most 32 values are allowed", error);
    AUTO_FREE char *value = xstrndup(start, length);
    json_strings_add(&constraint->values, value);
    reading->at = start + length + is_quoted;
    return 0;
}

static int read_list(struct reading *reading, struct api_constraint *constraint,
                     struct error *error)
{
    skip_spaces(reading);
    bool is_closed = *reading->at == '(';
    reading->at += is_closed;
    for (;;) {
        if (read_value(reading, constraint, error) < 0)
            return -1;
        skip_spaces(reading);
        if (*reading->at != ',')
            break;
        reading->at++;
    }
    if (is_closed && *reading->at != ')')
        return refuse(reading, "allowed are , and )", error);
    reading->at += is_closed;
    return 0;
}

static int read_end(struct reading *reading, const struct api_constraint *constraint,
                    struct error *error)
{
    skip_spaces(reading);
    if (*reading->at == '\0')
        return 0;
    return refuse(reading,
                  constraint->operator== API_OPERATOR_IN
                      ? "allowed is a list of values, as in (a, b)"
                      : "allowed is one value; several are asked for with in (a, b)",
                  error);
}

static int check_text(const char *text, struct error *error)
{
    if (strlen(text) >= API_CONSTRAINT_TEXT_MAX)
        return error_set(error, ERROR_INVALID, "a constraint has at most %d bytes",
                         API_CONSTRAINT_TEXT_MAX - 1);
    for (const char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            return error_set(error, ERROR_INVALID,
                             "a constraint has no control characters: found one at character %zu",
                             (size_t)(at - text) + 1);
    }
    return 0;
}

int api_constraint_parse(const char *text, struct api_constraint *ret_constraint,
                         struct error *error)
{
    struct reading reading = {text, text};
    struct api_constraint constraint = {0};
    if (check_text(text, error) < 0)
        return -1;
    skip_spaces(&reading);
    int result = read_subject(&reading, &constraint, error);
    if (result == 0)
        result = read_operator(&reading, &constraint, error);
    if (result == 0)
        result = constraint.operator== API_OPERATOR_IN ? read_list(&reading, &constraint, error)
                                                       : read_value(&reading, &constraint, error);
    if (result == 0)
        result = read_end(&reading, &constraint, error);
    if (result == 0)
        *ret_constraint = constraint;
    else
        api_constraint_release(&constraint);
    return result;
}

void api_constraint_release(struct api_constraint *constraint)
{
    json_strings_release(&constraint->values);
}

char *api_constraint_text(const struct api_constraint *constraint)
{
    struct buffer text = {0};
    bool is_list = constraint->operator== API_OPERATOR_IN;
    buffer_printf(&text, "%s%s %s %s", subject_names[constraint->subject],
                  constraint->subject == API_SUBJECT_LABEL ? constraint->label : "",
                  operator_names[constraint->operator], is_list ? "(" : "");
    for (size_t i = 0; i < constraint->values.count; i++) {
        const char *value = constraint->values.items[i];
        const char *quote = strpbrk(value, SPACES ",()") != NULL ? "\"" : "";
        buffer_printf(&text, "%s%s%s%s", i > 0 ? ", " : "", quote, value, quote);
    }
    buffer_append_text(&text, is_list ? ")" : "");
    return buffer_take(&text);
}

bool api_constraint_holds(const struct api_constraint *constraint, const char *value)
{
    const struct json_strings *values = &constraint->values;
    if (value == NULL)
        return constraint->operator== API_OPERATOR_IS_NOT;
    switch (constraint->operator) {
    case API_OPERATOR_IS:
        return strcmp(value, values->items[0]) == 0;
    case API_OPERATOR_IS_NOT:
        return strcmp(value, values->items[0]) != 0;
    case API_OPERATOR_MATCHES:
        return glob_matches(values->items[0], value);
    case API_OPERATOR_IN:
        break;
    }
    for (size_t i = 0; i < values->count; i++) {
        if (strcmp(value, values->items[i]) == 0)
            return true;
    }
    return false;
}
