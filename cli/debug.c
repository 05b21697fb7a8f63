/* debug: a guest's gdb stub, with the symbols of its image. The stub's socket is on the guest's own
 * node, and root's there (agent/debug_requests.h). */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/daemon.h"
#include "cli/registry.h"
#include "image-format/chain_content.h"
#include "image-format/packing.h"
#include "image-format/platforms.h"
#include "lib/api/service_spec.h"
#include "lib/cleanup.h"
#include "lib/file.h"
#include "lib/json.h"
#include "lib/text.h"
#include "lib/xalloc.h"

#define BOOT_ID_PATH "/proc/sys/kernel/random/boot_id"

/* What the agent answers. */
struct stub {
    char node[NAME_MAX_TEXT];
    char socket[128];
    char repository[256];
    char image_digest[DIGEST_TEXT_MAX];
    char architecture[16];
};

static const struct json_field stub_fields[] = {
    JSON_FIELD(struct stub, node, "node", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct stub, socket, "socket", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct stub, repository, "repository", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct stub, image_digest, "image_digest", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD(struct stub, architecture, "architecture", JSON_STRING, .flags = JSON_REQUIRED),
    JSON_FIELD_END,
};
static const struct json_record stub_record = {sizeof(struct stub), stub_fields};

static int switch_stub(struct cli *cli, const char *id, bool stops, struct stub *ret_stub,
                       struct error *error)
{
    AUTO_FREE char *boot = NULL;
    AUTO_JSON struct json_object *answer = NULL;
    if (geteuid() != 0)
        return error_set(error, ERROR_DENIED,
                         "debugging a guest needs root, on the node that it runs on (shoal ps says "
                         "which)");
    if (file_read(BOOT_ID_PATH, 64, &boot, NULL, error) < 0)
        return -1;
    boot[strcspn(boot, "\n")] = '\0';
    AUTO_FREE char *path =
        xasprintf("/v1/instances/%s/debug?boot=%s&stop=%d", id, boot, stops ? 1 : 0);
    if (session_call(cli_session(cli), "POST", path, NULL, &answer, error) < 0)
        return -1;
    return json_decode(&stub_record, answer, JSON_LENIENT, ret_stub, error);
}

/* --- symbols --- */

/* The part with symbols, else the kernel, which may have some; NULL: neither. */
static const struct oci_descriptor *find_symbols(const struct oci_manifest *manifest)
{
    static const char *const types[] = {SHOAL_DEBUG_TYPE, SHOAL_KERNEL_TYPE};
    for (size_t i = 0; i < ARRAY_LENGTH(types); i++) {
        for (size_t j = 0; j < manifest->layer_count; j++) {
            if (strncmp(manifest->layers[j].media_type, types[i], strlen(types[i])) == 0)
                return &manifest->layers[j];
        }
    }
    return NULL;
}

static int unpack(const char *from_path, const char *to_path, uint64_t size, struct error *error)
{
    AUTO_CLOSE int from = open(from_path, O_RDONLY | O_CLOEXEC);
    AUTO_CLOSE int to = open(to_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (from < 0 || to < 0)
        return error_set(error, ERROR_IO, "unpack %s to %s: they cannot be opened", from_path,
                         to_path);
    return packing_unpack_zstd(from, size, to, NULL, error);
}

static int pull_layer(struct registry *registry, const struct oci_descriptor *layer,
                      char **ret_path, struct error *error)
{
    AUTO_FREE char *folder = debug_store_path();
    AUTO_FREE char *path = xasprintf("%s/%s", folder, digest_hex(layer->digest));
    AUTO_FREE char *packed = xasprintf("%s.zst", path);
    AUTO_FREE char *part = xasprintf("%s.part", path);
    const char *size_text = json_map_get(&layer->annotations, CONTENT_SIZE_ANNOTATION);
    size_t length = strlen(layer->media_type);
    bool is_packed = length > 5 && strcmp(layer->media_type + length - 5, "+zstd") == 0;
    uint64_t size;
    if (access(path, R_OK) != 0) {
        if (file_make_directory(folder, 0700, error) < 0 ||
            registry_pull_blob(registry, layer->digest, layer->size, is_packed ? packed : part,
                               error) < 0)
            return -1;
        if (is_packed && (size_text == NULL || !text_parse_u64(size_text, IMAGE_DEBUG_MAX, &size)))
            return error_set(error, ERROR_INVALID,
                             "the layer %s does not say how much it unpacks "
                             "to",
                             layer->digest);
        if (is_packed && unpack(packed, part, size, error) < 0)
            return -1;
        unlink(packed);
        if (rename(part, path) < 0)
            return error_set(error, ERROR_IO, "%s cannot be kept", path);
    }
    *ret_path = TAKE_POINTER(path);
    return 0;
}

static int get_manifest(struct registry *registry, const char *reference, const char *architecture,
                        struct oci_manifest *ret_manifest, struct error *error)
{
    struct registry_manifest fetched = {0};
    struct oci_index index = {0};
    if (registry_get_manifest(registry, reference, &fetched, error) < 0)
        return -1;
    AUTO_FREE char *bytes = fetched.bytes;
    if (!platforms_is_index_type(fetched.media_type))
        return json_parse_record(&oci_manifest_record, bytes, fetched.length, JSON_LENIENT,
                                 ret_manifest, error);
    if (json_parse_record(&oci_index_record, bytes, fetched.length, JSON_LENIENT, &index, error) <
        0)
        return -1;
    const struct oci_descriptor *child = platforms_find(&index, architecture, error);
    char digest[DIGEST_TEXT_MAX] = "";
    if (child != NULL)
        memcpy(digest, child->digest, sizeof digest);
    json_record_release(&oci_index_record, &index);
    /* An index in an index is none that was deployed. */
    return child != NULL && strcmp(digest, reference) != 0
               ? get_manifest(registry, digest, architecture, ret_manifest, error)
               : -1;
}

static int fetch_symbols(struct cli *cli, const struct stub *stub, char **ret_path,
                         bool *ret_has_debug_part, struct error *error)
{
    struct registry registry = {0};
    struct oci_manifest manifest = {0};
    AUTO_FREE char *name = xasprintf("%s@%s", stub->repository, stub->image_digest);
    if (registry_init(&registry, cli, name, error) < 0)
        return -1;
    registry.doing = "fetching symbols";
    if (get_manifest(&registry, stub->image_digest, stub->architecture, &manifest, error) < 0)
        return -1;
    const struct oci_descriptor *layer = find_symbols(&manifest);
    int result = layer != NULL ? pull_layer(&registry, layer, ret_path, error)
                               : error_set(error, ERROR_NOT_FOUND,
                                           "the image has neither a debug part nor a kernel");
    *ret_has_debug_part = layer != NULL && strncmp(layer->media_type, SHOAL_DEBUG_TYPE,
                                                   strlen(SHOAL_DEBUG_TYPE)) == 0;
    progress_finish(&registry.progress);
    json_record_release(&oci_manifest_record, &manifest);
    return result;
}

/* --- the command --- */

#if defined(__aarch64__)
#define OWN_ARCHITECTURE "arm64"
#else
#define OWN_ARCHITECTURE "amd64"
#endif

static void print_stub(struct cli *cli, const char *id, const struct stub *stub,
                       const char *symbols, bool has_debug_part)
{
    const char *gdb = strcmp(stub->architecture, OWN_ARCHITECTURE) == 0 ? "gdb" : "gdb-multiarch";
    AUTO_FREE char *command = xasprintf("%s -ex 'target remote %s'%s%s", gdb, stub->socket,
                                        symbols != NULL ? " " : "", symbols != NULL ? symbols : "");
    if (cli_wants_document(cli)) {
        struct json_object *document = json_object_new_object();
        json_object_object_add(document, "instance", json_object_new_string(id));
        json_object_object_add(document, "node", json_object_new_string(stub->node));
        json_object_object_add(document, "socket", json_object_new_string(stub->socket));
        if (symbols != NULL)
            json_object_object_add(document, "symbols", json_object_new_string(symbols));
        json_object_object_add(document, "command", json_object_new_string(command));
        cli_print_document(cli, document);
        return;
    }
    puts(command);
    AUTO_FREE char *installed = daemon_find_program(gdb);
    if (installed == NULL)
        fprintf(stderr, "%s is not installed here: `apt-get install %s` brings it.\n", gdb, gdb);
    if (symbols != NULL && !has_debug_part)
        fputs("The image has no debug part, so gdb may know no names: `debug: FILE` in its "
              "Unikernel.yaml packs one.\n",
              stderr);
    fprintf(stderr,
            "The guest stops when gdb connects; until `shoal debug --stop %s` it is not judged by "
            "its liveness.\n",
            id);
}

int debug_run(struct cli *cli, struct error *error)
{
    const char *id = cli_argument(cli, 0);
    bool stops = invocation_has(cli->invocation, "stop");
    struct stub stub = {0};
    struct error reason = ERROR_INIT;
    AUTO_FREE char *symbols = NULL;
    bool has_debug_part = false;
    if (api_check_instance_id(id) != NULL)
        return cli_refuse_usage(cli, error, "%s is no instance: `shoal ps` lists them", id);
    if (switch_stub(cli, id, stops, &stub, error) < 0)
        return -1;
    if (stops) {
        fprintf(stderr, "%s: its gdb stub is off, and it runs on.\n", id);
        if (cli_wants_document(cli)) {
            struct json_object *document = json_object_new_object();
            json_object_object_add(document, "instance", json_object_new_string(id));
            json_object_object_add(document, "result", json_object_new_string("stopped"));
            cli_print_document(cli, document);
        }
        return 0;
    }
    if (fetch_symbols(cli, &stub, &symbols, &has_debug_part, &reason) < 0)
        fprintf(stderr, "shoal: without symbols: %s\n", reason.message);
    print_stub(cli, id, &stub, symbols, has_debug_part);
    return 0;
}
