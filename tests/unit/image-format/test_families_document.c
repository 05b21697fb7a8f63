/* docs/families.md says of each family what the table does. Run from the project's folder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "image-format/family.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/xalloc.h"

static char *read_document(void)
{
    char *text;
    size_t length;
    struct error error = ERROR_INIT;
    if (file_read("docs/families.md", 1 << 20, &text, &length, &error) < 0)
        fail_msg("%s", error.message);
    return text;
}

/* The family's row in the first table; the caller frees it. */
static char *row_of(const char *document, const char *family)
{
    AUTO_FREE char *start = xasprintf("\n| **%s** |", family);
    const char *row = strstr(document, start);
    if (row == NULL)
        fail_msg("docs/families.md has no row for family %s", family);
    return xstrndup(row + 1, strcspn(row + 1, "\n"));
}

static void assert_in_row(const struct family *family, const char *row, const char *text)
{
    if (strstr(row, text) == NULL)
        fail_msg("the row of family %s in docs/families.md does not say \"%s\"", family->name,
                 text);
}

static void every_family_has_a_row_and_a_note(void **state)
{
    (void)state;
    AUTO_FREE char *document = read_document();
    for (size_t i = 0; family_at(i) != NULL; i++) {
        const struct family *family = family_at(i);
        free(row_of(document, family->name));
        AUTO_FREE char *tested = xasprintf("\n| %s |", family->name);
        AUTO_FREE char *note = xasprintf("\n**%s.** ", family->name);
        assert_non_null(strstr(document, tested));
        assert_in_row(family, document, note);
    }
}

static void every_row_says_how_its_family_boots(void **state)
{
    (void)state;
    AUTO_FREE char *document = read_document();
    for (size_t i = 0; family_at(i) != NULL; i++) {
        const struct family *family = family_at(i);
        AUTO_FREE char *row = row_of(document, family->name);
        if (family->refused != NULL)
            continue;
        for (size_t j = 0; j < FAMILY_BOOTS_MAX && family->boots[j].architecture != NULL; j++) {
            assert_in_row(family, row, family->boots[j].architecture);
            assert_in_row(family, row, boot_protocol_names[family->boots[j].protocol]);
            assert_in_row(family, row, boot_machine_names[family->boots[j].machine]);
        }
        if (family->address == FAMILY_ADDRESS_DHCP)
            assert_in_row(family, row, "DHCP");
    }
}

static void every_row_says_the_familys_limits_and_stop(void **state)
{
    static const struct {
        enum family_stop stop;
        const char *text;
    } stops[] = {{FAMILY_STOP_KILL, "killed"},
                 {FAMILY_STOP_CONSOLE, "console"},
                 {FAMILY_STOP_ACPI, "power button"}};
    (void)state;
    AUTO_FREE char *document = read_document();
    for (size_t i = 0; family_at(i) != NULL; i++) {
        const struct family *family = family_at(i);
        AUTO_FREE char *row = row_of(document, family->name);
        if (family->refused != NULL)
            continue;
        AUTO_FREE char *memory =
            xasprintf("%llu MiB", (unsigned long long)(family->memory_min >> 20));
        AUTO_FREE char *line = xasprintf("%zu bytes", family->line_max);
        AUTO_FREE char *environment = xasprintf("%zu env", family->environment_max);
        assert_in_row(family, row, memory);
        if (family->line_max > 0)
            assert_in_row(family, row, line);
        if (family->has_environment)
            assert_in_row(family, row, environment);
        if (family->halted != NULL)
            assert_in_row(family, row, family->halted);
        for (size_t j = 0; j < ARRAY_LENGTH(stops); j++) {
            if (stops[j].stop == family->stop)
                assert_in_row(family, row, stops[j].text);
        }
    }
}

static void no_row_is_of_a_family_that_there_is_not(void **state)
{
    (void)state;
    AUTO_FREE char *document = read_document();
    size_t rows = 0, families = 0;
    for (const char *at = document; (at = strstr(at, "\n| **")) != NULL; at++) {
        const char *name = at + strlen("\n| **");
        AUTO_FREE char *family = xstrndup(name, strcspn(name, "*"));
        assert_non_null(family_find(family));
        rows++;
    }
    while (family_at(families) != NULL)
        families++;
    assert_int_equal(rows, families);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_family_has_a_row_and_a_note),
        cmocka_unit_test(every_row_says_how_its_family_boots),
        cmocka_unit_test(every_row_says_the_familys_limits_and_stop),
        cmocka_unit_test(no_row_is_of_a_family_that_there_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
