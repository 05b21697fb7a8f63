/* Lists of tags and of referrers, and what a registry may answer instead of them. */
#include "tests/unit/lib/registry_fixture.h"

#include <stdlib.h>

#define REPO "default/hello"

static int set_up(void **state)
{
    *state = script_open(3);
    return 0;
}

static int tear_down(void **state)
{
    script_close(*state);
    return 0;
}

static void all_pages_of_a_list_are_joined(void **state)
{
    struct scripted_registry *registry = *state;
    static const char first[] = "{\"name\":\"default/hello\",\"tags\":[\"1.0\",\"2.0\"]}";
    static const char second[] = "{\"name\":\"default/hello\",\"tags\":[\"3.0\"]}";
    script_add(registry, "/v2/" REPO "/tags/list", "application/json", first, strlen(first))->link =
        "</v2/default/hello/tags/more?last=2.0>; rel=\"next\"";
    script_add(registry, "/v2/" REPO "/tags/more", "application/json", second, strlen(second));
    oci_client_list_tags(registry->client, REPO, script_note, registry);
    script_assert_ok(registry);
    assert_string_equal(buffer_text(&registry->bytes),
                        "{\"name\":\"default/hello\",\"tags\":[\"1.0\",\"2.0\",\"3.0\"]}");
    static const char catalog[] = "{\"repositories\":[\"a/b\"]}";
    script_add(registry, "/v2/_catalog", "application/json", catalog, strlen(catalog));
    oci_client_list_repositories(registry->client, script_note, registry);
    script_assert_ok(registry);
    assert_string_equal(buffer_text(&registry->bytes), catalog);
}

#define REFERRERS_PATH "/v2/" REPO "/referrers/"
#define TAG_PATH       "/v2/" REPO "/manifests/sha256-"
#define SUBJECT_HEX    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define REFERRERS(list)                                                                            \
    "{\"schemaVersion\":2,\"mediaType\":\"" OCI_INDEX_TYPE "\",\"manifests\":[" list "]}"

static void list_referrers(struct scripted_registry *registry)
{
    oci_client_list_referrers(registry->client, REPO, "sha256:" SUBJECT_HEX, NULL, script_note,
                              registry);
}

static void serve_text(struct scripted_registry *registry, const char *path, const char *text,
                       const char *link)
{
    script_add(registry, path, OCI_INDEX_TYPE, text, strlen(text))->link = link;
}

static void pages_of_referrers_are_joined(void **state)
{
    struct scripted_registry *registry = *state;
    serve_text(registry, REFERRERS_PATH "sha256:" SUBJECT_HEX, "{\"manifests\":[{\"a\":1}]}",
               "</v2/default/hello/referrers/more>; rel=\"next\"");
    serve_text(registry, REFERRERS_PATH "more", "{\"manifests\":[{\"b\":2},{\"c\":3}]}", NULL);
    list_referrers(registry);
    script_assert_ok(registry);
    assert_string_equal(buffer_text(&registry->bytes), REFERRERS("{\"a\":1},{\"b\":2},{\"c\":3}"));
}

static void where_there_is_no_list_of_referrers_a_tag_has_it(void **state)
{
    struct scripted_registry *registry = *state;
    list_referrers(registry); /* nor the tag */
    script_assert_ok(registry);
    assert_string_equal(buffer_text(&registry->bytes), REFERRERS(""));
    serve_text(registry, TAG_PATH SUBJECT_HEX, "{\"manifests\":[{\"a\":1}]}",
               "</v2/default/hello/referrers/more>; rel=\"next\"");
    list_referrers(registry);
    script_assert_ok(registry);
    assert_string_equal(buffer_text(&registry->bytes), REFERRERS("{\"a\":1}"));
}

static void a_tag_that_is_something_else_lists_nothing(void **state)
{
    struct scripted_registry *registry = *state;
    serve_text(registry, TAG_PATH SUBJECT_HEX, "{\"layers\":[]}", NULL);
    list_referrers(registry);
    script_assert_ok(registry);
    assert_string_equal(buffer_text(&registry->bytes), REFERRERS(""));
}

static void referrers_without_end_or_form_are_refused(void **state)
{
    struct scripted_registry *registry = *state;
    struct buffer AUTO_BUFFER many = {0};
    buffer_append_text(&many, "{\"manifests\":[1");
    for (int i = 0; i < OCI_REFERRERS_MAX; i++)
        buffer_append_text(&many, ",1");
    buffer_append_text(&many, "]}");
    serve_text(registry, REFERRERS_PATH "sha256:" SUBJECT_HEX, buffer_text(&many), NULL);
    list_referrers(registry);
    script_assert_error(registry, ERROR_TOO_LARGE, "more than 1000 referrers");
    oci_client_list_referrers(registry->client, "../x", "sha256:" SUBJECT_HEX, NULL, script_note,
                              registry);
    script_assert_error(registry, ERROR_INVALID, "not a name");
    oci_client_list_referrers(registry->client, REPO, "latest", NULL, script_note, registry);
    script_assert_error(registry, ERROR_INVALID, "not a name");
}

static void a_link_to_another_host_is_not_followed(void **state)
{
    struct scripted_registry *registry = *state;
    script_add(registry, "/v2/" REPO "/tags/list", "application/json", "{\"tags\":[\"1\"]}", 14)
        ->link = "<http://127.0.0.2:1/v2/x>; rel=\"next\"";
    oci_client_list_tags(registry->client, REPO, script_note, registry);
    script_assert_ok(registry);
    assert_string_equal(buffer_text(&registry->bytes),
                        "{\"name\":\"default/hello\",\"tags\":[\"1\"]}");
}

static void an_empty_page_ends_a_list(void **state)
{
    struct scripted_registry *registry = *state;
    struct scripted *page =
        script_add(registry, "/v2/" REPO "/tags/list", "application/json", "{\"tags\":null}", 13);
    page->link = "</v2/default/hello/tags/list>; rel=\"next\"";
    oci_client_list_tags(registry->client, REPO, script_note, registry);
    script_assert_ok(registry);
    assert_int_equal(page->requests, 1);
    assert_string_equal(buffer_text(&registry->bytes), "{\"name\":\"default/hello\",\"tags\":[]}");
}

static void what_is_listed_must_be_names(void **state)
{
    struct scripted_registry *registry = *state;
    static const char *const lists[] = {"{\"tags\":[null]}", "{\"tags\":[1]}",
                                        "{\"tags\":[\"\\u001b[2J\"]}"};
    for (size_t i = 0; i < ARRAY_LENGTH(lists); i++) {
        AUTO_FREE char *path = xasprintf("/v2/r%zu/tags/list", i);
        AUTO_FREE char *repository = xasprintf("r%zu", i);
        script_add(registry, path, "application/json", lists[i], strlen(lists[i]));
        oci_client_list_tags(registry->client, repository, script_note, registry);
        script_assert_error(registry, ERROR_PROTOCOL, "\"tags\" holds something that is no name");
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(all_pages_of_a_list_are_joined),
        TEST(pages_of_referrers_are_joined),
        TEST(where_there_is_no_list_of_referrers_a_tag_has_it),
        TEST(a_tag_that_is_something_else_lists_nothing),
        TEST(referrers_without_end_or_form_are_refused),
        TEST(a_link_to_another_host_is_not_followed),
        TEST(an_empty_page_ends_a_list),
        TEST(what_is_listed_must_be_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
