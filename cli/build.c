/* build: a folder with a Unikernel.yaml becomes an image. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/build_command.h"
#include "cli/build_provenance.h"
#include "cli/format.h"
#include "cli/images.h"
#include "cli/keys.h"
#include "cli/transfer.h"
#include "image-format/layout.h"
#include "lib/cleanup.h"
#include "lib/clock.h"
#include "lib/xalloc.h"

#define SHOWN_FILE_MIN (64u << 20) /* bytes from which reading a file takes long enough to show */

/* One run of the command. */
struct build {
    struct cli *cli;
    const char *typed; /* the name as it was typed */
    char name[IMAGE_TEXT_MAX];
    const char *architecture; /* only this one; NULL: all */
    const char *output;       /* a folder or FILE.tar that gets the image too; NULL: none */
    struct private_key *key;  /* NULL: nothing is signed */
    bool quiet;
    struct progress progress;
    struct recipe recipe;
    struct layout_scratch scratch;
    struct packed_image image;
    struct transfer_result pushed; /* digest "": it was not */
};

/* `--output json` asks for that format, as with every command; anything else is a place. */
static const char *output_place(const struct invocation *invocation)
{
    const char *place = NULL;
    for (size_t i = 0; i < invocation->option_count; i++) {
        const struct invocation_option *given = &invocation->options[i];
        if (strcmp(given->option->name, "output") == 0 && !is_output_format(given->value))
            place = given->value;
    }
    return place;
}

static bool is_archive(const char *path)
{
    size_t length = strlen(path);
    return length > 4 && strcmp(path + length - 4, ".tar") == 0;
}

/* A folder of something else is not littered with blobs. */
static int check_output(const char *path, struct error *error)
{
    if (is_archive(path))
        return 0;
    AUTO_FREE char *marker = xasprintf("%s/oci-layout", path);
    DIR *folder = opendir(path);
    size_t entries = 0;
    if (folder == NULL && errno == ENOENT)
        return 0;
    if (folder == NULL)
        return error_set_errno(error, errno, "--output %s", path);
    while (readdir(folder) != NULL)
        entries++;
    closedir(folder);
    if (entries <= 2 || access(marker, F_OK) == 0)
        return 0;
    return error_set(error, ERROR_CONFLICT,
                     "--output %s: the folder holds other things and is no OCI layout; name one "
                     "that is empty or new",
                     path);
}

static int read_options(struct build *build, struct error *error)
{
    const struct invocation *invocation = build->cli->invocation;
    const char *key = invocation_text(invocation, "sign");
    bool has_use = invocation_has(invocation, "push") || invocation_has(invocation, "provenance");
    build->typed = invocation_text(invocation, "tag");
    build->architecture = invocation_text(invocation, "arch");
    build->output = output_place(invocation);
    build->quiet = cli_wants_document(build->cli);
    progress_init(&build->progress);
    if (key != NULL && !has_use)
        return cli_refuse_usage(build->cli, error,
                                "--sign signs what --push pushes and what --provenance says: give "
                                "one of them too");
    if (images_local_name(build->cli, build->typed, build->name, error) < 0)
        return -1;
    if (build->output != NULL && check_output(build->output, error) < 0)
        return -1;
    /* Asked for before a long build, not after it. */
    return key != NULL ? keys_load_private(key, &build->key, error) : 0;
}

static bool is_wanted(const struct build *build, size_t architecture)
{
    return build->recipe.architectures.present[architecture] &&
           (build->architecture == NULL ||
            strcmp(build->architecture, recipe_architecture_names[architecture]) == 0);
}

static int check_architecture(const struct build *build, struct error *error)
{
    for (size_t i = 0; i < RECIPE_ARCHITECTURES; i++) {
        if (is_wanted(build, i))
            return 0;
    }
    error_set(error, ERROR_NOT_FOUND, "there is nothing for --arch %s", build->architecture);
    return recipe_locate(&build->recipe, "/architectures", error);
}

static int run_command(struct build *build, size_t architecture, struct error *error)
{
    const char *name = recipe_architecture_names[architecture];
    AUTO_FREE char *title = xasprintf("%s: building %s", build->name, name);
    char pointer[64], spent[FORMAT_MAX];
    struct build_command command = {
        .title = title,
        .command = build->recipe.architectures.items[architecture].build,
        .folder = build->recipe.folder,
        .architecture = name,
        .quiet = build->quiet,
        .dim = build->cli->colored_progress,
        .progress = &build->progress,
    };
    uint64_t begin = clock_monotonic_ms(clock_system());
    const char *line_end = strchr(command.command, '\n');
    int length = (int)strcspn(command.command, "\n");
    if (!build->quiet)
        progress_say(&build->progress, "%s: %.*s%s", title, length, command.command,
                     line_end != NULL && line_end[1] != '\0' ? " ..." : "");
    int result = build_command_run(&command, error);
    format_span(clock_monotonic_ms(clock_system()) - begin, spent);
    if (result == 0 && !build->quiet)
        progress_say(&build->progress, "%s took %s", title, spent);
    if (result == 0)
        return 0;
    progress_finish(&build->progress);
    snprintf(pointer, sizeof pointer, "/architectures/%s/build", name);
    return recipe_locate(&build->recipe, pointer, error);
}

static int run_commands(struct build *build, struct error *error)
{
    if (invocation_has(build->cli->invocation, "no-build"))
        return 0;
    for (size_t i = 0; i < RECIPE_ARCHITECTURES; i++) {
        if (is_wanted(build, i) && build->recipe.architectures.items[i].build != NULL &&
            run_command(build, i, error) < 0)
            return -1;
    }
    return 0;
}

static void on_read(const char *path, uint64_t done, uint64_t total, void *data)
{
    struct build *build = data;
    const char *name = strrchr(path, '/');
    char part[FORMAT_MAX], whole[FORMAT_MAX];
    if (build->quiet || total < SHOWN_FILE_MIN)
        return;
    format_bytes(done, part);
    format_bytes(total, whole);
    name = name != NULL ? name + 1 : path;
    if (done < total)
        progress_show_fast(&build->progress, "%s: reading %s: %s of %s", build->name, name, part,
                           whole);
    else
        progress_show_fast(&build->progress, "%s: packing %s", build->name, name);
}

static int store(struct build *build, struct error *error)
{
    AUTO_FREE char *folder = image_store_path();
    if (!build->quiet)
        progress_show_fast(&build->progress, "%s: storing", build->name);
    if (layout_add(folder, build->name, &build->image, error) < 0)
        return -1;
    if (build->output == NULL)
        return 0;
    int result = is_archive(build->output)
                     ? layout_export(folder, build->name, build->output, error)
                     : layout_add(build->output, build->name, &build->image, error);
    return result < 0 ? error_wrap(error, "--output %s", build->output) : 0;
}

static int pack(struct build *build, struct error *error)
{
    const char *compression = invocation_text(build->cli->invocation, "compress");
    AUTO_FREE char *folder = image_store_path();
    if (layout_scratch_create(folder, &build->scratch, error) < 0)
        return -1;
    struct pack_options options = {
        .architecture = build->architecture,
        .progress = on_read,
        .progress_data = build,
        .has_compression = compression != NULL,
        .compression = compression != NULL && strcmp(compression, "zstd") == 0
                           ? RECIPE_COMPRESS_ZSTD
                           : RECIPE_COMPRESS_NONE,
        .scratch = build->scratch.path,
    };
    if (pack_image(&build->recipe, &options, &build->image, error) < 0)
        return -1;
    if (!invocation_has(build->cli->invocation, "provenance"))
        return 0;
    struct provenance provenance = {
        .recipe = &build->recipe,
        .image = &build->image,
        .options = &options,
        .ran_commands = !invocation_has(build->cli->invocation, "no-build"),
        .version = SHOAL_VERSION,
    };
    return build_provenance_add(&provenance, build->key, folder, build->name, &build->image, error);
}

static int make_image(struct build *build, struct error *error)
{
    const struct invocation *invocation = build->cli->invocation;
    if (check_architecture(build, error) < 0 || run_commands(build, error) < 0 ||
        pack(build, error) < 0)
        return -1;
    int result = store(build, error);
    progress_clear(&build->progress);
    if (result == 0 && invocation_has(invocation, "push"))
        result = transfer_push(build->cli, build->typed, build->key, &build->pushed, error);
    return result;
}

static void print_text(const struct build *build)
{
    struct buffer AUTO_BUFFER text = {0};
    for (size_t i = 0; i < build->image.manifest_count; i++)
        buffer_printf(&text, "%s%s", i > 0 ? " and " : "", build->image.manifests[i].architecture);
    printf("%s: built for %s%s%s%s\n%s\n", build->name, buffer_text(&text),
           build->pushed.digest[0] != '\0' ? ", pushed" : "",
           build->pushed.key_id[0] != '\0' ? ", signed by key " : "", build->pushed.key_id,
           packed_image_top(&build->image)->digest);
}

static void print_document(const struct build *build)
{
    struct json_object *document = json_object_new_object();
    struct json_object *architectures = json_object_new_array();
    for (size_t i = 0; i < build->image.manifest_count; i++)
        json_object_array_add(architectures,
                              json_object_new_string(build->image.manifests[i].architecture));
    json_object_object_add(document, "name", json_object_new_string(build->name));
    json_object_object_add(document, "digest",
                           json_object_new_string(packed_image_top(&build->image)->digest));
    json_object_object_add(document, "architectures", architectures);
    json_object_object_add(document, "result", json_object_new_string("built"));
    json_object_object_add(document, "pushed",
                           json_object_new_boolean(build->pushed.digest[0] != '\0'));
    if (build->pushed.key_id[0] != '\0')
        json_object_object_add(document, "key_id", json_object_new_string(build->pushed.key_id));
    if (build->image.referrer_count > 0)
        json_object_object_add(document, "provenance",
                               json_object_new_string(build->image.referrers[0].digest));
    if (build->output != NULL)
        json_object_object_add(document, "output", json_object_new_string(build->output));
    cli_print_document(build->cli, document);
}

int build_run(struct cli *cli, struct error *error)
{
    struct build build = {.cli = cli};
    int result = read_options(&build, error);
    if (result == 0)
        result = recipe_load(cli_argument(cli, 0), &build.recipe, error);
    if (result == 0)
        result = make_image(&build, error);
    if (result == 0 && cli_wants_document(cli))
        print_document(&build);
    else if (result == 0)
        print_text(&build);
    packed_image_release(&build.image);
    layout_scratch_remove(&build.scratch);
    recipe_release(&build.recipe);
    private_key_destroy(build.key);
    return result;
}
