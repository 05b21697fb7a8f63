/* tree: an image in the registry with all that it lists and all that was attached to it. */
#include <stdio.h>
#include <string.h>

#include "cli/format.h"
#include "cli/image_walk.h"
#include "image-format/attachment.h"
#include "lib/buffer.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

/* --- what there is, as a document --- */

static struct json_object *describe(const struct oci_descriptor *descriptor)
{
    struct json_object *entry = json_object_new_object();
    json_object_object_add(entry, "media_type", json_object_new_string(descriptor->media_type));
    json_object_object_add(entry, "digest", json_object_new_string(descriptor->digest));
    json_object_object_add(entry, "size", json_object_new_int64((int64_t)descriptor->size));
    return entry;
}

static void add_text(struct json_object *entry, const char *key, const char *text)
{
    if (text != NULL && text[0] != '\0')
        json_object_object_add(entry, key, json_object_new_string(text));
}

/* The parts of a manifest: config and layers. A manifest that cannot be read says so. */
static void add_parts(const struct image_node *node, struct json_object *entry)
{
    struct oci_manifest manifest = {0};
    struct error error = ERROR_INIT;
    if (json_parse_record(&oci_manifest_record, node->bytes, node->length, JSON_LENIENT, &manifest,
                          &error) < 0) {
        json_object_object_add(entry, "problem", json_object_new_string(error.message));
        return;
    }
    struct json_object *layers = json_object_new_array();
    add_text(entry, "artifact_type", manifest.artifact_type);
    if (manifest.has_config)
        json_object_object_add(entry, "config", describe(&manifest.config));
    for (size_t i = 0; i < manifest.layer_count; i++)
        json_object_array_add(layers, describe(&manifest.layers[i]));
    json_object_object_add(entry, "layers", layers);
    json_record_release(&oci_manifest_record, &manifest);
}

static struct json_object *describe_signature(const struct image_signature *signature)
{
    struct json_object *entry = json_object_new_object();
    json_object_object_add(
        entry, "form",
        json_object_new_string(signature->kind == SIGNATURE_BUNDLE ? "bundle" : "simple"));
    add_text(entry, "key_id", signature->key_id);
    add_text(entry, "predicate_type", signature->predicate_type);
    if (signature->kind == SIGNATURE_BUNDLE && signature->predicate_type[0] == '\0')
        json_object_object_add(entry, "problem", json_object_new_string("it cannot be read"));
    return entry;
}

static struct json_object *describe_signatures(const struct image_signature *signatures,
                                               size_t count)
{
    struct json_object *entries = json_object_new_array();
    for (size_t i = 0; i < count; i++)
        json_object_array_add(entries, describe_signature(&signatures[i]));
    return entries;
}

/* Bundles are told by what is in them; this is the rest. */
static struct json_object *describe_others(const struct oci_index *referrers)
{
    struct json_object *entries = json_object_new_array();
    for (size_t i = 0; i < referrers->manifest_count; i++) {
        const struct oci_descriptor *referrer = &referrers->manifests[i];
        if (strncmp(referrer->artifact_type, BUNDLE_TYPE_PREFIX, strlen(BUNDLE_TYPE_PREFIX)) == 0)
            continue;
        struct json_object *entry = describe(referrer);
        add_text(entry, "artifact_type", referrer->artifact_type);
        json_object_array_add(entries, entry);
    }
    return entries;
}

static int add_beside(struct registry *registry, const struct image_node *node,
                      struct json_object *entry, struct error *error)
{
    struct image_chain found = {0};
    struct oci_index referrers = {0};
    int result = registry_fetch_signatures(registry, node->descriptor.digest, &found, error);
    if (result == 0)
        result = registry_list_referrers(registry, node->descriptor.digest, &referrers, error);
    if (result == 0) {
        json_object_object_add(entry, "signatures",
                               describe_signatures(found.signatures, found.signature_count));
        json_object_object_add(entry, "attestations",
                               describe_signatures(found.attestations, found.attestation_count));
        json_object_object_add(entry, "attachments", describe_others(&referrers));
    }
    image_chain_release(&found);
    json_record_release(&oci_index_record, &referrers);
    return result;
}

static int describe_node(struct registry *registry, const struct image_node *node,
                         struct json_object **ret_entry, struct error *error)
{
    struct json_object *entry = describe(&node->descriptor);
    if (node->descriptor.has_platform) {
        add_text(entry, "os", node->descriptor.platform.os);
        add_text(entry, "architecture", node->descriptor.platform.architecture);
    }
    if (node->bytes == NULL)
        json_object_object_add(entry, "problem",
                               json_object_new_string("the registry does not have it"));
    else if (image_node_is_index(node))
        json_object_object_add(entry, "manifests", json_object_new_array());
    else
        add_parts(node, entry);
    if (add_beside(registry, node, entry, error) < 0) {
        json_object_put(entry);
        return -1;
    }
    *ret_entry = entry;
    return 0;
}

/* Nodes come parents first: the last entry of each depth is the parent of those below. */
static int describe_walk(struct registry *registry, const struct image_walk *walk,
                         struct json_object **ret_top, struct error *error)
{
    struct json_object *parents[IMAGE_WALK_DEPTH_MAX + 1] = {NULL};
    for (size_t i = 0; i < walk->count; i++) {
        unsigned depth = walk->nodes[i].depth;
        struct json_object *entry, *siblings;
        if (describe_node(registry, &walk->nodes[i], &entry, error) < 0) {
            json_object_put(parents[0]);
            return -1;
        }
        parents[depth] = entry;
        if (depth > 0 && json_object_object_get_ex(parents[depth - 1], "manifests", &siblings))
            json_object_array_add(siblings, entry);
    }
    *ret_top = parents[0];
    return 0;
}

/* --- the same for people --- */

/* One line of the tree, and what hangs below it. */
struct branch {
    char *label;
    struct json_object *below; /* lent; NULL: nothing */
};

struct branches {
    struct branch items[1024];
    size_t count;
};

static const char *text_of(struct json_object *entry, const char *key)
{
    struct json_object *value = NULL;
    return json_object_object_get_ex(entry, key, &value) && value != NULL
               ? json_object_get_string(value)
               : "";
}

static void add_branch(struct branches *branches, char *label, struct json_object *below)
{
    if (branches->count < ARRAY_LENGTH(branches->items))
        branches->items[branches->count++] = (struct branch){label, below};
    else
        free(label);
}

/* A layer of ours goes by its word ("kernel"), any other by its type. */
static char *part_label(const char *what, struct json_object *entry)
{
    static const char ours[] = "application/vnd.shoal.unikernel.";
    const char *type = text_of(entry, "media_type");
    char size[FORMAT_MAX], digest[FORMAT_MAX];
    bool is_ours = strncmp(type, ours, strlen(ours)) == 0;
    const char *word = is_ours ? type + strlen(ours) : type;
    format_bytes((uint64_t)json_object_get_int64(json_object_object_get(entry, "size")), size);
    format_digest(text_of(entry, "digest"), digest);
    if (!is_ours)
        return xasprintf("%s  %s  %s  %s", what, type, size, digest);
    return xasprintf("%.*s%s  %s  %s", (int)strcspn(word, "."), word,
                     strstr(word, "+zstd") != NULL ? " (zstd)" : "", size, digest);
}

static char *node_label(struct json_object *entry)
{
    char digest[FORMAT_MAX];
    const char *architecture = text_of(entry, "architecture"), *problem = text_of(entry, "problem");
    bool is_index = json_object_object_get_ex(entry, "manifests", NULL);
    format_digest(text_of(entry, "digest"), digest);
    return xasprintf("%s%s%s  %s%s%s", is_index ? "index" : "manifest",
                     architecture[0] != '\0' ? " " : "", architecture, digest,
                     problem[0] != '\0' ? "  " : "", problem);
}

static char *signature_label(const char *what, struct json_object *entry)
{
    const char *key = text_of(entry, "key_id"), *problem = text_of(entry, "problem");
    const char *type = text_of(entry, "predicate_type");
    const char *title = attachment_describe(type);
    if (strcmp(what, "attestation") == 0)
        return xasprintf("%s, signed by %s%s", title != NULL ? title : type,
                         key[0] != '\0' ? "key " : "an unnamed key", key);
    return xasprintf("%s (%s) by %s%s%s%s", what, text_of(entry, "form"),
                     key[0] != '\0' ? "key " : "an unnamed key", key,
                     problem[0] != '\0' ? ": " : "", problem);
}

static char *attachment_label(struct json_object *entry)
{
    const char *type = text_of(entry, "artifact_type"), *title = attachment_describe(type);
    char digest[FORMAT_MAX];
    format_digest(text_of(entry, "digest"), digest);
    return xasprintf("%s, not signed  %s",
                     title != NULL     ? title
                     : type[0] != '\0' ? type
                                       : "something",
                     digest);
}

enum branch_kind {
    BRANCH_LAYER,
    BRANCH_MANIFEST,
    BRANCH_SIGNATURE,
    BRANCH_ATTESTATION,
    BRANCH_OTHER
};

static void add_branches(struct branches *branches, struct json_object *node, const char *key,
                         enum branch_kind kind)
{
    struct json_object *entries = NULL;
    if (!json_object_object_get_ex(node, key, &entries))
        return;
    for (size_t i = 0; i < json_object_array_length(entries); i++) {
        struct json_object *entry = json_object_array_get_idx(entries, i);
        char *label = kind == BRANCH_LAYER         ? part_label("layer", entry)
                      : kind == BRANCH_MANIFEST    ? node_label(entry)
                      : kind == BRANCH_SIGNATURE   ? signature_label("signature", entry)
                      : kind == BRANCH_ATTESTATION ? signature_label("attestation", entry)
                                                   : attachment_label(entry);
        add_branch(branches, label, kind == BRANCH_MANIFEST ? entry : NULL);
    }
}

/* `prefix` is what stands in front of every line below. */
static void print_below(struct json_object *node, const char *prefix, struct buffer *text)
{
    struct branches *branches = xcalloc(1, sizeof *branches);
    struct json_object *config = NULL;
    if (json_object_object_get_ex(node, "config", &config))
        add_branch(branches, part_label("config", config), NULL);
    add_branches(branches, node, "layers", BRANCH_LAYER);
    add_branches(branches, node, "manifests", BRANCH_MANIFEST);
    add_branches(branches, node, "signatures", BRANCH_SIGNATURE);
    add_branches(branches, node, "attestations", BRANCH_ATTESTATION);
    add_branches(branches, node, "attachments", BRANCH_OTHER);
    for (size_t i = 0; i < branches->count; i++) {
        struct branch *branch = &branches->items[i];
        bool last = i + 1 == branches->count;
        buffer_printf(text, "%s%s", prefix, last ? "└─ " : "├─ ");
        text_append_safe(text, branch->label);
        buffer_append_text(text, "\n");
        if (branch->below != NULL) {
            AUTO_FREE char *deeper = xasprintf("%s%s", prefix, last ? "   " : "│  ");
            print_below(branch->below, deeper, text);
        }
        free(branch->label);
    }
    free(branches);
}

static void print_tree(const char *name, struct json_object *top)
{
    AUTO_BUFFER struct buffer text = {0};
    AUTO_FREE char *label = node_label(top);
    text_append_safe(&text, name);
    buffer_append_text(&text, "  ");
    text_append_safe(&text, label);
    buffer_append_text(&text, "\n");
    print_below(top, "", &text);
    fputs(buffer_text(&text), stdout);
}

int tree_run(struct cli *cli, struct error *error)
{
    char name[IMAGE_TEXT_MAX];
    struct registry registry;
    struct image_walk walk;
    struct json_object *top;
    if (registry_init(&registry, cli, cli_argument(cli, 0), error) < 0)
        return -1;
    image_reference_format(&registry.image, name);
    if (image_walk(&registry, registry_reference(&registry), &walk, error) < 0)
        return error_wrap(error, "%s", name);
    int result = describe_walk(&registry, &walk, &top, error);
    image_walk_release(&walk);
    if (result < 0)
        return error_wrap(error, "%s", name);
    json_object_object_add(top, "name", json_object_new_string(name));
    if (cli_wants_document(cli)) {
        cli_print_document(cli, top);
        return 0;
    }
    print_tree(name, top);
    json_object_put(top);
    return 0;
}
