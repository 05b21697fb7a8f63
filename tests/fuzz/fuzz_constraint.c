/* Constraints: what is accepted is written so that it is read as the same again, and asks for
 * something. The first line is the constraint, the rest a value that it is held against. */
#include "lib/api/constraint.h"
#include "tests/fuzz/fuzz.h"

static bool is_listed(const struct api_constraint *constraint, const char *value)
{
    bool found = false;
    for (size_t i = 0; i < constraint->values.count; i++)
        found = found || strcmp(constraint->values.items[i], value) == 0;
    return found;
}

static void expect_answer(const struct api_constraint *constraint, const char *value)
{
    bool holds = api_constraint_holds(constraint, value);
    if (constraint->operator== API_OPERATOR_IS_NOT)
        EXPECT(holds != is_listed(constraint, value));
    else if (constraint->operator!= API_OPERATOR_MATCHES)
        EXPECT(holds == is_listed(constraint, value));
    EXPECT(api_constraint_holds(constraint, NULL) == (constraint->operator== API_OPERATOR_IS_NOT));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE char *text = fuzz_line(&bytes, &length);
    AUTO_FREE char *value = fuzz_text(bytes, length);
    struct api_constraint constraint = {0}, again = {0};
    struct error error = ERROR_INIT;
    if (api_constraint_parse(text, &constraint, &error) < 0) {
        EXPECT(error.code == ERROR_INVALID && error.message[0] != '\0');
        EXPECT(constraint.values.items == NULL);
        return 0;
    }
    EXPECT(constraint.values.count > 0);
    EXPECT(constraint.values.count == 1 || constraint.operator== API_OPERATOR_IN);
    EXPECT((constraint.subject == API_SUBJECT_LABEL) ==
           (api_check_label_key(constraint.label) == NULL));
    expect_answer(&constraint, value);
    AUTO_FREE char *written = api_constraint_text(&constraint);
    if (strlen(written) < API_CONSTRAINT_TEXT_MAX) {
        EXPECT(api_constraint_parse(written, &again, NULL) == 0);
        AUTO_FREE char *twice = api_constraint_text(&again);
        EXPECT(strcmp(written, twice) == 0);
        api_constraint_release(&again);
    }
    api_constraint_release(&constraint);
    return 0;
}
