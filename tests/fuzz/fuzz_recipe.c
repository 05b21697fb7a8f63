/* Unikernel.yaml: what is accepted names files inside its folder only, and becomes configs that a
 * node accepts as well; what is refused says where. */
#include "image-format/family.h"
#include "image-format/recipe.h"
#include "tests/fuzz/fuzz.h"

static void expect_path(const char *path)
{
    static regex_t above;
    EXPECT(path[0] != '/' && strlen(path) < RECIPE_PATH_MAX);
    EXPECT(!fuzz_matches(&above, "(^|/)\\.\\.(/|$)", path));
    for (const char *at = path; *at != '\0'; at++)
        EXPECT((unsigned char)*at >= ' ');
}

static void expect_paths(const struct recipe_architecture *given)
{
    EXPECT(given->kernel[0] != '\0' || given->disks.count > 0);
    expect_path(given->kernel);
    expect_path(given->initrd);
    expect_path(given->debug);
    EXPECT(given->disks.count <= RECIPE_DISKS_MAX);
    for (size_t i = 0; i < given->disks.count; i++)
        expect_path(given->disks.items[i]);
    EXPECT(given->build == NULL || strlen(given->build) <= RECIPE_COMMAND_MAX);
}

/* With files of any bytes. */
static void expect_config(const struct recipe *recipe, size_t architecture)
{
    const struct recipe_architecture *given = &recipe->architectures.items[architecture];
    struct recipe_parts parts = {.family = recipe->family};
    struct image_config config, again;
    char disk[DIGEST_TEXT_MAX];
    digest_of_bytes("disk", 4, disk);
    if (given->kernel[0] != '\0')
        digest_of_bytes("kernel", 6, parts.kernel);
    if (given->initrd[0] != '\0')
        digest_of_bytes("initrd", 6, parts.initrd);
    for (size_t i = 0; i < given->disks.count; i++)
        json_strings_add(&parts.disks, disk);
    EXPECT(recipe_config(recipe, architecture, &parts, &config, NULL) == 0);
    AUTO_FREE char *text = json_record_text(&image_config_record, &config);
    EXPECT(image_config_parse(text, strlen(text), &again, NULL) == 0);
    EXPECT(family_find(again.family) != NULL);
    image_config_release(&again);
    image_config_release(&config);
    json_strings_release(&parts.disks);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    AUTO_FREE char *text = xmemdup(bytes, length);
    struct recipe recipe;
    struct error error = ERROR_INIT;
    if (recipe_parse("recipe", text, length, &recipe, &error) < 0) {
        EXPECT(error.code != ERROR_INTERNAL && strncmp(error.message, "recipe:", 7) == 0);
        return 0;
    }
    bool is_known = strcmp(recipe.family, RECIPE_FAMILY_AUTO) != 0;
    size_t count = 0;
    for (size_t i = 0; i < RECIPE_ARCHITECTURES; i++) {
        if (!recipe.architectures.present[i])
            continue;
        count++;
        expect_paths(&recipe.architectures.items[i]);
        if (is_known)
            expect_config(&recipe, i);
    }
    EXPECT(count > 0);
    recipe_release(&recipe);
    return 0;
}
