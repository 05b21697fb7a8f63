/* Names of images. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lib/cleanup.h"
#include "lib/image_reference.h"

#define DIGEST "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void names_mean_host_repository_tag_and_digest(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host, *repository, *tag, *digest, *formatted;
    } cases[] = {
        {"hello:1.0", "", "default/hello", "1.0", "", "default/hello:1.0"},
        {"hello", "", "default/hello", "latest", "", "default/hello:latest"},
        {"shop/hello:1", "", "shop/hello", "1", "", "shop/hello:1"},
        {"hello@" DIGEST, "", "default/hello", "", DIGEST, "default/hello@" DIGEST},
        {"hello:1@" DIGEST, "", "default/hello", "1", DIGEST, "default/hello:1@" DIGEST},
        {"127.0.0.1:5000/a/b:2", "127.0.0.1:5000", "a/b", "2", "", "127.0.0.1:5000/a/b:2"},
        {"registry.example/b", "registry.example", "b", "latest", "", "registry.example/b:latest"},
        {"localhost/b", "localhost", "b", "latest", "", "localhost/b:latest"},
        {"[::1]:5000/b", "[::1]:5000", "b", "latest", "", "[::1]:5000/b:latest"},
        {"a-b/c__d/e.f:v_1", "", "a-b/c__d/e.f", "v_1", "", "a-b/c__d/e.f:v_1"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct image_reference reference;
        char text[IMAGE_TEXT_MAX];
        assert_int_equal(image_reference_parse(cases[i].text, "default", &reference, NULL), 0);
        assert_string_equal(reference.host, cases[i].host);
        assert_string_equal(reference.repository, cases[i].repository);
        assert_string_equal(reference.tag, cases[i].tag);
        assert_string_equal(reference.digest, cases[i].digest);
        image_reference_format(&reference, text);
        assert_string_equal(text, cases[i].formatted);
    }
}

static void one_component_gets_the_namespace_in_front(void **state)
{
    (void)state;
    struct image_reference reference;
    assert_int_equal(image_reference_parse("hello:1", "team-a", &reference, NULL), 0);
    assert_string_equal(reference.repository, "team-a/hello");
}

static void what_the_grammar_excludes_is_refused_and_named(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "",
        "Hello:1",
        "hello:",
        "hello:.1",
        "hello@sha256:12",
        "a//b",
        "/a",
        "a/",
        "../etc/passwd",
        "a/../b",
        "a b",
        "hello:1:2",
        "-a",
        "a-",
        "a___b",
        "x:99999/b",
        "x:/b",
        "host.name:1x/b",
        "[::1/b",
        "a\nb",

        "ho_st.name/b",
        "registry.example/",
    };
    for (size_t i = 0; i < ARRAY_LENGTH(refused); i++) {
        struct image_reference reference = {.tag = "untouched"};
        struct error error = ERROR_INIT;
        assert_int_equal(image_reference_parse(refused[i], "default", &reference, &error), -1);
        assert_int_equal(error.code, ERROR_INVALID);
        assert_non_null(strstr(error.message, refused[i]));
        assert_string_equal(reference.tag, "untouched");
    }
}

static void overlong_names_are_refused(void **state)
{
    (void)state;
    char name[1200];
    struct image_reference reference;
    struct error error = ERROR_INIT;
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = '\0';
    assert_int_equal(image_reference_parse(name, "default", &reference, &error), -1);
    name[300] = '\0';
    assert_int_equal(image_reference_parse(name, "default", &reference, &error), -1);
    name[REPOSITORY_MAX - 1 - strlen("default/")] = '\0';
    assert_int_equal(image_reference_parse(name, "default", &reference, &error), 0);
    name[129] = '\0';
    assert_false(tag_is_valid(name));
    name[128] = '\0';
    assert_true(tag_is_valid(name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_mean_host_repository_tag_and_digest),
        cmocka_unit_test(one_component_gets_the_namespace_in_front),
        cmocka_unit_test(what_the_grammar_excludes_is_refused_and_named),
        cmocka_unit_test(overlong_names_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
