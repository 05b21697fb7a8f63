/* Errors: messages, context, their way through HTTP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/error.h"
#include "lib/json.h"

static void context_goes_in_front(void **state)
{
    (void)state;
    struct error error = ERROR_INIT;
    assert_int_equal(error_set(&error, ERROR_IO, "disk %d", 3), -1);
    assert_int_equal(error_wrap(&error, "boot %s", "hello"), -1);
    assert_string_equal(error.message, "boot hello: disk 3");
    assert_int_equal(error.code, ERROR_IO);
}

static void system_errors_choose_a_code(void **state)
{
    (void)state;
    struct error error = ERROR_INIT;
    error_set_errno(&error, ENOENT, "read %s", "/x");
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_string_equal(error.message, "read /x: No such file or directory");
    error_set_errno(&error, ECONNREFUSED, "connect");
    assert_int_equal(error.code, ERROR_UNAVAILABLE);
    error_set_errno(&error, ENOSPC, "write");
    assert_int_equal(error.code, ERROR_STORAGE_FULL);
}

static void setting_clears_the_pointer_and_wrapping_keeps_it(void **state)
{
    (void)state;
    struct error error = ERROR_INIT;
    error_set(&error, ERROR_INVALID, "bad");
    strcpy(error.pointer, "/a");
    error_wrap(&error, "file");
    assert_string_equal(error.pointer, "/a");
    error_set(&error, ERROR_INVALID, "worse");
    assert_string_equal(error.pointer, "");
}

static void long_messages_are_cut_not_overrun(void **state)
{
    (void)state;
    struct error error = ERROR_INIT;
    char text[3 * ERROR_MESSAGE_MAX];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    error_set(&error, ERROR_IO, "%s", text);
    assert_int_equal(strlen(error.message), ERROR_MESSAGE_MAX - 1);
    error_wrap(&error, "%s", text);
    assert_true(strlen(error.message) < ERROR_MESSAGE_MAX);
    assert_int_equal(error.message[0], 'x');
}

static void nobody_needs_to_care(void **state)
{
    (void)state;
    assert_int_equal(error_set(NULL, ERROR_IO, "x"), -1);
    assert_int_equal(error_set_errno(NULL, EIO, "x"), -1);
    assert_int_equal(error_wrap(NULL, "x"), -1);
    assert_int_equal(error_copy(NULL, NULL), -1);
}

static void every_code_has_a_name_that_reads_back(void **state)
{
    (void)state;
    for (int code = ERROR_NONE; code <= ERROR_FAILED; code++) {
        const char *name = error_code_name((enum error_code)code);
        assert_int_equal(error_code_from_name(name), code);
        assert_in_range(error_http_status((enum error_code)code), 200, 599);
    }
    assert_int_equal(error_code_from_name("from the future"), ERROR_INTERNAL);
    assert_string_equal(error_code_name((enum error_code)1000), "internal");
}

static void http_statuses_stand_for_codes(void **state)
{
    (void)state;
    assert_int_equal(error_code_from_http_status(404), ERROR_NOT_FOUND);
    assert_int_equal(error_code_from_http_status(507), ERROR_STORAGE_FULL);
    assert_int_equal(error_code_from_http_status(502), ERROR_UNAVAILABLE);
    assert_int_equal(error_code_from_http_status(418), ERROR_INVALID);
}

static void an_error_survives_json(void **state)
{
    (void)state;
    struct error error = ERROR_INIT, read = ERROR_INIT;
    error_set(&error, ERROR_CONFLICT, "port \"80\" is taken");
    strcpy(error.pointer, "/ports/0/publish");
    AUTO_JSON struct json_object *object = error_to_json(&error);
    assert_true(error_from_json(object, &read));
    assert_int_equal(read.code, ERROR_CONFLICT);
    assert_string_equal(read.message, error.message);
    assert_string_equal(read.pointer, error.pointer);
    AUTO_JSON struct json_object *other = json_object_new_object();
    assert_false(error_from_json(other, &read));
    json_object_object_add(other, "error", json_object_new_string("no object"));
    assert_false(error_from_json(other, &read));
}

static void an_error_of_another_form_is_none(void **state)
{
    (void)state;
    static const char *const others[] = {
        "null",
        "[]",
        "{\"error\":null}",
        "{\"error\":{\"code\":null,\"message\":\"m\"}}",
        "{\"error\":{\"code\":\"io\",\"message\":null}}",
        "{\"error\":{\"code\":1,\"message\":\"m\"}}",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(others); i++) {
        struct error read = ERROR_INIT;
        AUTO_JSON struct json_object *object = json_tokener_parse(others[i]);
        assert_false(error_from_json(object, &read));
    }
    struct error read = ERROR_INIT;
    AUTO_JSON struct json_object *pointerless = json_tokener_parse(
        "{\"error\":{\"code\":\"io\",\"message\":\"m\",\"detail\":{\"pointer\":null}}}");
    assert_true(error_from_json(pointerless, &read));
    assert_int_equal(read.code, ERROR_IO);
    assert_string_equal(read.pointer, "");
}

static void what_came_from_outside_is_printable(void **state)
{
    (void)state;
    struct error error = ERROR_INIT;
    error_set(&error, ERROR_INVALID, "\"%s\"", "a\x1b[2J\xff\tb\n\xc3\xa9");
    assert_string_equal(error.message, "\"a?[2J?\tb\n\xc3\xa9\"");
    error_set(&error, ERROR_INVALID, "%.1s", "\xc3\xa9"); /* cut within a character */
    error_wrap(&error, "%.1s", "\xc3\xa9");
    assert_string_equal(error.message, "?: ?");
}

static void a_place_of_a_document_goes_with_the_message(void **state)
{
    (void)state;
    struct error error = ERROR_INIT;
    assert_int_equal(error_set_at(&error, ERROR_INVALID, "/ports/0", "port %d", 7), -1);
    assert_int_equal(error.code, ERROR_INVALID);
    assert_string_equal(error.message, "port 7");
    assert_string_equal(error.pointer, "/ports/0");
    assert_int_equal(error_set_at(NULL, ERROR_INVALID, "/x", "y"), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_place_of_a_document_goes_with_the_message),
        cmocka_unit_test(context_goes_in_front),
        cmocka_unit_test(system_errors_choose_a_code),
        cmocka_unit_test(setting_clears_the_pointer_and_wrapping_keeps_it),
        cmocka_unit_test(long_messages_are_cut_not_overrun),
        cmocka_unit_test(nobody_needs_to_care),
        cmocka_unit_test(every_code_has_a_name_that_reads_back),
        cmocka_unit_test(http_statuses_stand_for_codes),
        cmocka_unit_test(an_error_survives_json),
        cmocka_unit_test(an_error_of_another_form_is_none),
        cmocka_unit_test(what_came_from_outside_is_printable),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
