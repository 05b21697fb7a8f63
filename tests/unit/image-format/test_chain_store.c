/* Chains as folders: what is saved is loaded again, and what was not saved whole is not. */
#include <sys/stat.h>

#include "tests/unit/image-format/chain_fixture.h"

static void bundles_are_saved_and_loaded(void **state)
{
    struct world *world = *state;
    char dir[] = "/tmp/chain.XXXXXX";
    assert_non_null(mkdtemp(dir));
    drop_signatures(&world->chain);
    add_bundle(&world->chain, world->key, world->chain.pinned, PREDICATE_SIGNATURE);
    add_bundle(&world->chain, world->key, world->chain.pinned, "https://cyclonedx.org/bom");
    assert_int_equal(image_chain_save(&world->chain, dir, NULL), 0);
    image_chain_release(&world->chain);
    assert_int_equal(image_chain_load(dir, &world->chain, NULL), 0);
    assert_int_equal(world->chain.signature_count, 1);
    assert_int_equal(world->chain.attestation_count, 1);
    assert_string_equal(world->chain.attestations[0].predicate_type, "https://cyclonedx.org/bom");
    assert_string_equal(world->chain.attestations[0].key_id, world->trusted.id);
    assert_verified(world);
    file_remove_tree(dir, NULL);
}

static void a_chain_is_the_same_after_saving_and_loading(void **state)
{
    struct world *world = *state;
    char *folder = temporary_folder();
    AUTO_FREE char *dir = xasprintf("%s/chains/a", folder);
    add_signature(&world->chain, world->stranger, world->image.manifests[0].digest);
    assert_int_equal(image_chain_save(&world->chain, dir, NULL), 0);
    image_chain_release(&world->chain);
    assert_int_equal(image_chain_load(dir, &world->chain, NULL), 0);
    assert_non_null(world->chain.index);
    assert_int_equal(world->chain.signature_count, 2);
    assert_verified(world);

    /* A plain image over it leaves no index of the former one. */
    struct packed_image plain = packed_fixture(1);
    struct image_chain chain = chain_of(&plain), loaded;
    assert_int_equal(image_chain_save(&chain, dir, NULL), 0);
    assert_int_equal(image_chain_load(dir, &loaded, NULL), 0);
    assert_null(loaded.index);
    assert_int_equal(loaded.signature_count, 0);
    image_chain_release(&loaded);
    image_chain_release(&chain);
    packed_image_release(&plain);
    remove_folder(folder);
}

static void a_chain_that_was_not_saved_whole_over_another_is_not_loaded(void **state)
{
    struct world *world = *state;
    char *folder = temporary_folder();
    struct image_chain loaded;
    struct error error = ERROR_INIT;
    AUTO_FREE char *config = xasprintf("%s/config", folder);
    assert_int_equal(image_chain_save(&world->chain, folder, NULL), 0);
    assert_int_equal(unlink(config), 0);
    assert_int_equal(mkdir(config, 0700), 0); /* no file gets this name */
    assert_int_equal(image_chain_save(&world->chain, folder, NULL), -1);
    assert_int_equal(image_chain_load(folder, &loaded, &error), -1);
    assert_int_equal(error.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(error.message, "/pinned"));
    remove_folder(folder);
}

static void altered_files_on_disk_are_found_by_verifying(void **state)
{
    struct world *world = *state;
    char *folder = temporary_folder();
    assert_int_equal(image_chain_save(&world->chain, folder, NULL), 0);
    image_chain_release(&world->chain);
    write_file(folder, "config", "{}", 2);
    assert_int_equal(image_chain_load(folder, &world->chain, NULL), 0);
    assert_refused(world, ERROR_SIGNATURE, "altered config", "");
    remove_folder(folder);
}

static void a_folder_that_holds_no_whole_chain_is_not_loaded(void **state)
{
    struct world *world = *state;
    static const char *const parts[] = {"pinned", "manifest", "config", "signatures.json"};
    for (size_t i = 0; i < ARRAY_LENGTH(parts); i++) {
        char *folder = temporary_folder();
        struct image_chain loaded;
        struct error error = ERROR_INIT;
        assert_int_equal(image_chain_save(&world->chain, folder, NULL), 0);
        AUTO_FREE char *path = xasprintf("%s/%s", folder, parts[i]);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(image_chain_load(folder, &loaded, &error), -1);
        assert_int_equal(error.code, ERROR_NOT_FOUND);
        remove_folder(folder);
    }
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(bundles_are_saved_and_loaded),
        TEST(a_chain_is_the_same_after_saving_and_loading),
        TEST(a_chain_that_was_not_saved_whole_over_another_is_not_loaded),
        TEST(altered_files_on_disk_are_found_by_verifying),
        TEST(a_folder_that_holds_no_whole_chain_is_not_loaded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
