#include "lib/image_metadata.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "image-format/chain_content.h"
#include "image-format/foreign.h"
#include "image-format/packing.h"
#include "lib/cleanup.h"
#include "lib/xalloc.h"

struct metadata_fetch {
    struct oci_client_hook hook; /* first: freed by it */
    struct oci_client *client;
    char *repository;
    struct image_chain *chain;
    struct oci_manifest manifest;
    size_t left;   /* layers that were not looked into yet */
    uint64_t work; /* bytes that they may still unpack to */
    image_metadata_callback *callback;
    void *data;
};

static void fetch_free(struct oci_client_hook *hook)
{
    struct metadata_fetch *fetch = (struct metadata_fetch *)hook;
    json_record_release(&oci_manifest_record, &fetch->manifest);
    free(fetch->repository);
    free(fetch);
}

static void fetch_end(struct metadata_fetch *fetch, const struct error *error)
{
    oci_client_remove_hook(&fetch->hook);
    fetch->callback(error, fetch->data);
    fetch_free(&fetch->hook);
}

bool image_metadata_is_needed(const struct image_chain *chain)
{
    struct oci_manifest manifest = {0};
    if (json_parse_unique_record(&oci_manifest_record, chain->manifest, chain->manifest_length,
                                 JSON_LENIENT, &manifest, NULL) < 0)
        return false;
    bool needed = image_content_needs_metadata(&manifest, chain->config, chain->config_length);
    json_record_release(&oci_manifest_record, &manifest);
    return needed;
}

/* 1 found, -1 removed by this layer, 0 not here. */
static int extract(struct metadata_fetch *fetch, const struct oci_result *layer, int *ret_found,
                   struct error *error)
{
    struct image_chain *chain = fetch->chain;
    struct error failure = ERROR_INIT;
    AUTO_CLOSE int file = memfd_create("metadata", MFD_CLOEXEC);
    struct packing_wanted wanted = {
        .path = FOREIGN_METADATA_PATH, .to = file, .size_max = FOREIGN_METADATA_MAX};
    int result =
        packing_extract_bytes(layer->bytes, layer->size, &fetch->work, &wanted, 1, &failure);
    if (result < 0 && fetch->work > 0)
        return error_copy(error, &failure);
    if (result < 0) {
        *ret_found = 0;
        return 0;
    }
    *ret_found = wanted.found;
    if (wanted.found != 1)
        return 0;
    char *bytes = xmalloc((size_t)wanted.size + 1);
    ssize_t got = pread(file, bytes, (size_t)wanted.size, 0);
    if (got != (ssize_t)wanted.size) {
        free(bytes);
        return error_set(error, ERROR_IO, "read " FOREIGN_METADATA_PATH);
    }
    bytes[got] = '\0';
    chain->metadata = bytes;
    chain->metadata_length = (size_t)got;
    return 0;
}

static void next_layer(struct metadata_fetch *fetch);

static void on_layer(const struct oci_result *result, void *data)
{
    struct metadata_fetch *fetch = data;
    struct error error = ERROR_INIT;
    int found = 0;
    if (result->error != NULL) {
        fetch_end(fetch, result->error);
    } else if (extract(fetch, result, &found, &error) < 0) {
        error_wrap(&error, "image %s@%s: layer %s", fetch->repository, fetch->chain->pinned,
                   fetch->manifest.layers[fetch->left].digest);
        fetch_end(fetch, &error);
    } else if (found != 0) {
        fetch_end(fetch, NULL);
    } else {
        next_layer(fetch);
    }
}

static void next_layer(struct metadata_fetch *fetch)
{
    while (fetch->left > 0) {
        const struct oci_descriptor *layer = &fetch->manifest.layers[--fetch->left];
        if (layer->size > IMAGE_METADATA_LAYER_MAX || strstr(layer->media_type, ".tar") == NULL)
            continue;
        oci_client_get_blob(fetch->client, fetch->repository, layer->digest,
                            IMAGE_METADATA_LAYER_MAX, on_layer, fetch);
        return;
    }
    fetch_end(fetch, NULL);
}

void image_metadata_fetch(struct oci_client *client, const char *repository,
                          struct image_chain *chain, image_metadata_callback *callback, void *data)
{
    struct metadata_fetch *fetch = xcalloc(1, sizeof *fetch);
    fetch->hook.on_destroy = fetch_free;
    fetch->client = client;
    fetch->work = IMAGE_METADATA_WORK_MAX;
    fetch->repository = xstrdup(repository);
    fetch->chain = chain;
    fetch->callback = callback;
    fetch->data = data;
    oci_client_add_hook(client, &fetch->hook);
    if (json_parse_unique_record(&oci_manifest_record, chain->manifest, chain->manifest_length,
                                 JSON_LENIENT, &fetch->manifest, NULL) == 0 &&
        fetch->manifest.layer_count <= IMAGE_LAYERS_MAX)
        fetch->left = fetch->manifest.layer_count;
    next_layer(fetch);
}
